"""`verify`: are the rows of both sides the same, now?

Sound while both sides move: what is not due yet, and what has changed since, is told
by count and not judged; see `runtime.ops.standing`. One aggregate per side comes
first, by buckets of keys; rows are only fetched of buckets that differ, and of tables
with columns that sums cannot cover.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from runtime.contract.errors import SyncError
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.ops.checksum import source_side, target_side
from runtime.ops.compare import (
    Comparison,
    Difference,
    Row,
    Tally,
    alike,
    buckets_of,
    compare,
    parser,
)
from runtime.ops.source import STATEMENT_SECONDS, told
from runtime.ops.standing import Standing, standing
from runtime.ops.warehouse import Warehouse, refusals

SAMPLES = 10
# Rows that are held at a time; JSON may be large.
_FETCHED = 500
# More of them than this are not worth naming: all rows are read then.
_MOST_BUCKETS = 2000

Tell = Callable[[str, str], None]


class Verdict(Struct, frozen=True, kw_only=True):
    """What comparing a table has shown.

    Attributes:
        table: Source table.
        verdict: `equal`, `ghosts` (equal but for rows that `deletes: ignore` leaves
            in the target), `different`, `inconclusive` (nothing was compared), or
            `failed` (one side could not be read).
        merged_through: Rows up to this watermark were compared.
        source_rows: Rows compared at the source.
        target_rows: Rows compared in the target.
        newer_rows: Rows of the source that are not due yet: above `merged_through`,
            or without watermark and different.
        changed_rows: Rows that the target has in a version newer than the snapshot.
        excluded_rows: Rows that its `where` or `null_watermark` leaves behind.
        source_checksum: Sum over the source's rows.
        target_checksum: Sum over the target's rows.
        by_checksum: Columns that the sums cover.
        by_value: Columns that were compared value by value.
        missing: Rows that the target lacks.
        extra: Rows that only the target has.
        different: Rows that differ.
        samples: Some of those rows.
        deletes: What the table does about deletes, which `extra` rows wait for.
        loading: Whether nothing was compared because a load is under way.
        error: Why it failed.
    """

    table: str
    verdict: Literal["equal", "ghosts", "different", "inconclusive", "failed"]
    merged_through: str | None = None
    source_rows: int | None = None
    target_rows: int | None = None
    newer_rows: int | None = None
    changed_rows: int | None = None
    excluded_rows: int | None = None
    source_checksum: str | None = None
    target_checksum: str | None = None
    by_checksum: tuple[str, ...] = ()
    by_value: tuple[str, ...] = ()
    missing: int | None = None
    extra: int | None = None
    different: int | None = None
    samples: tuple[Difference, ...] = ()
    deletes: str | None = None
    loading: bool = False
    error: dict[str, Any] | None = None

    @property
    def wrong(self) -> int:
        """How many rows are not as they should be."""
        return (self.missing or 0) + (self.extra or 0) + (self.different or 0)


def verify(
    tables: Sequence[Table],
    connection: Any,
    warehouse: Warehouse,
    tell: Tell = lambda table, text: None,
    most: int = SAMPLES,
) -> tuple[Verdict, ...]:
    """Compare tables; one that cannot be read does not keep the others from it.

    Args:
        tables: The tables.
        connection: A session made by `runtime.ops.source.connect`.
        warehouse: Where the targets are.
        tell: Told table and what happens, for people who watch.
        most: How many differing rows of each table to name.
    """
    verdicts = []
    for table in tables:
        try:
            comparing = _Comparing(table, connection, warehouse, tell, most)
            verdicts.append(comparing.verdict())
        except SyncError as error:
            name = table.contract.table
            verdicts.append(
                Verdict(table=name, verdict="failed", error=error.as_dict())
            )
        finally:
            # Each table is read in a snapshot of its own, held as shortly as can be.
            if not connection.closed:
                connection.rollback()
    return tuple(verdicts)


def sound(verdicts: Sequence[Verdict]) -> bool:
    """Whether something was compared and nothing differs that should not."""
    found = {each.verdict for each in verdicts}
    return bool(found & {"equal", "ghosts"}) and not found & {"different", "failed"}


class _Comparing:
    """The comparison of one table; the arguments are those of `verify`."""

    def __init__(
        self,
        table: Table,
        connection: Any,
        warehouse: Warehouse,
        tell: Tell,
        most: int,
    ) -> None:
        self._table = table
        self._connection = connection
        self._warehouse = warehouse
        self._tell = tell
        self._most = most
        self._source = source_side(table)
        self._target = target_side(table, warehouse.objects)
        self._parsers = tuple(
            parser(rule_for(column).type)
            for _, column in table.contract.live
            if column.name in self._source.values
        )

    def verdict(self) -> Verdict:
        """Compare sums, then rows where that is needed."""
        name = self._table.contract.table
        # M first: only what it promises can be asked of a later snapshot.
        progress = self._warehouse.progress([name]).get(name)
        if progress is None or progress.merged_through is None:
            # Of this source something is on its way, but no load has come to its end.
            loading = progress is not None
            return Verdict(table=name, verdict="inconclusive", loading=loading)
        by = standing(self._table, self._connection, self._warehouse, progress)
        if by is None:
            return Verdict(table=name, verdict="inconclusive", loading=True)
        self._tell(name, "summing up the source")
        query = self._source.aggregate(by.source, "TRUE")
        source = buckets_of(self._ask_source(query))
        self._tell(name, "summing up the target")
        query = self._target.aggregate(by.target_group, self._target.where)
        target = buckets_of(self._ask_target(query))
        differing = {
            bucket
            for bucket in source.keys() | target.keys()
            if self._source.values or not alike(source[bucket], target[bucket])
        }
        found = Comparison(most=self._most)
        if differing:
            self._compare(found, by, differing)
        for bucket in source.keys() - differing:
            found.add_alike(source[bucket], target[bucket])
        return self._judged(by, source.values(), found)

    def _judged(
        self, by: Standing, sums: Iterable[dict[str, Tally]], found: Comparison
    ) -> Verdict:
        """Put together what sums and rows have shown."""
        verdict = Verdict(
            table=self._table.contract.table,
            verdict="equal",
            merged_through=by.through,
            source_rows=found.source.rows,
            target_rows=found.target.rows,
            newer_rows=found.undue,
            changed_rows=found.changed,
            excluded_rows=sum(each["excluded"].rows for each in sums),
            source_checksum=str(found.source.checksum),
            target_checksum=str(found.target.checksum),
            by_checksum=tuple(self._source.parts),
            by_value=tuple(self._source.values),
            missing=found.counts.get("missing", 0),
            extra=found.counts.get("extra", 0),
            different=found.counts.get("different", 0),
            deletes=self._table.spec.deletes,
        )
        if not found.source.rows and not found.target.rows:
            return replace(verdict, verdict="inconclusive")
        if not found.counts:
            return verdict
        ghosts = verdict.deletes == "ignore" and found.counts.keys() == {"extra"}
        return replace(
            verdict,
            verdict="ghosts" if ghosts else "different",
            samples=self._named(found),
        )

    def _compare(self, found: Comparison, by: Standing, buckets: set[str]) -> None:
        self._tell(self._table.contract.table, "comparing row by row")
        few = sorted(buckets) if len(buckets) <= _MOST_BUCKETS else ()
        wanted = f"({by.source}) NOT IN ('excluded', 'marked')"
        with (
            closing(
                self._source_rows(self._source.rows(by.source, wanted, few))
            ) as source,
            closing(
                self._target_rows(self._target.rows(by.target, by.target_rows, few))
            ) as target,
        ):
            names = tuple(self._source.values)
            compare(source, target, self._source.key, names, found)

    def _source_rows(self, query: str) -> Generator[Row]:
        with told(self._table.contract.table):
            with self._connection.cursor(name="aurora_sync_verify") as cursor:
                cursor.itersize = _FETCHED
                cursor.execute(query)
                for row in cursor:
                    yield self._row(row)

    def _target_rows(self, query: str) -> Generator[Row]:
        with refusals(self._target.name):
            with closing(self._warehouse.connection.cursor()) as cursor:
                cursor.execute(query, timeout=STATEMENT_SECONDS)
                while rows := cursor.fetchmany(_FETCHED):
                    yield from map(self._row, rows)

    def _row(self, row: Sequence[Any]) -> Row:
        width = len(self._source.key)
        return Row(
            order=row[0],
            digest=row[1],
            standing=row[2],
            key=tuple(row[3 : 3 + width]),
            values=tuple(
                parse(value)
                for parse, value in zip(self._parsers, row[3 + width :], strict=True)
            ),
        )

    def _named(self, found: Comparison) -> tuple[Difference, ...]:
        """Add to differing samples the columns whose texts differ."""
        orders = [
            order for order, sample in found.samples if sample.kind == "different"
        ][:SAMPLES]
        if not orders:
            return tuple(sample for _, sample in found.samples)
        source, target = (
            {row[0]: row[1:] for row in ask(side.picked(orders))}
            for ask, side in (
                (self._ask_source, self._source),
                (self._ask_target, self._target),
            )
        )
        names = tuple(self._source.parts)
        named = []
        for order, sample in found.samples:
            if order in source and order in target:
                pairs = zip(names, source[order], target[order], strict=True)
                texts = [name for name, one, other in pairs if one != other]
                sample = replace(sample, columns=(*texts, *sample.columns))
            named.append(sample)
        return tuple(named)

    def _ask_source(self, query: str) -> list[Any]:
        with told(self._table.contract.table), self._connection.cursor() as cursor:
            cursor.execute(query)
            rows: list[Any] = cursor.fetchall()
            return rows

    def _ask_target(self, query: str) -> list[Any]:
        with refusals(self._target.name):
            with closing(self._warehouse.connection.cursor()) as cursor:
                cursor.execute(query, timeout=STATEMENT_SECONDS)
                return list(cursor.fetchall())
