"""`verify`: are the rows of both sides the same, now?

Sound for tables that nobody writes to meanwhile: what was written after the last
merged run counts as a difference. One aggregate per side comes first; rows are only
fetched where sums cannot tell, or to name what differs.
"""

from collections.abc import Callable, Generator, Sequence
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
    compare,
    parser,
)
from runtime.ops.source import STATEMENT_SECONDS, told
from runtime.ops.warehouse import Warehouse, refusals

SAMPLES = 10
# Rows that are held at a time; JSON may be large.
_FETCHED = 500

Tell = Callable[[str, str], None]


class Verdict(Struct, frozen=True, kw_only=True):
    """What comparing a table has shown.

    Attributes:
        table: Source table.
        verdict: `equal`, `different`, `inconclusive` (no row on either side), or
            `failed` (one side could not be read).
        source_rows: Rows compared at the source.
        target_rows: Rows compared in the target.
        excluded_rows: Rows of the source that its `null_watermark` leaves behind.
        source_checksum: Sum over the source's rows.
        target_checksum: Sum over the target's rows.
        by_checksum: Columns that the sums cover.
        by_value: Columns that were compared value by value.
        missing: Rows that the target lacks; None when rows were not fetched.
        extra: Rows that only the target has.
        different: Rows that differ.
        samples: Some of those rows.
        error: Why it failed.
    """

    table: str
    verdict: Literal["equal", "different", "inconclusive", "failed"]
    source_rows: int | None = None
    target_rows: int | None = None
    excluded_rows: int | None = None
    source_checksum: str | None = None
    target_checksum: str | None = None
    by_checksum: tuple[str, ...] = ()
    by_value: tuple[str, ...] = ()
    missing: int | None = None
    extra: int | None = None
    different: int | None = None
    samples: tuple[Difference, ...] = ()
    error: dict[str, Any] | None = None


def verify(
    tables: Sequence[Table],
    connection: Any,
    warehouse: Warehouse,
    tell: Tell = lambda table, text: None,
) -> tuple[Verdict, ...]:
    """Compare tables; one that cannot be read does not keep the others from it.

    Args:
        tables: The tables.
        connection: A session made by `runtime.ops.source.connect`.
        warehouse: Where the targets are.
        tell: Told table and what happens, for people who watch.
    """
    verdicts = []
    for table in tables:
        try:
            verdicts.append(_Comparing(table, connection, warehouse, tell).verdict())
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
    """Whether something was compared and nothing differs."""
    found = {each.verdict for each in verdicts}
    return "equal" in found and not found & {"different", "failed"}


class _Comparing:
    """The comparison of one table; the arguments are those of `verify`."""

    def __init__(
        self, table: Table, connection: Any, warehouse: Warehouse, tell: Tell
    ) -> None:
        self._table = table
        self._connection = connection
        self._warehouse = warehouse
        self._tell = tell
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
        self._tell(name, "summing up the source")
        rows, checksum, excluded = self._ask_source(self._source.aggregate)[0]
        self._tell(name, f"summing up the target ({rows or 0} rows at the source)")
        target_rows, target_checksum, _ = self._ask_target(self._target.aggregate)[0]
        sums = Verdict(
            table=name,
            verdict="equal",
            source_rows=int(rows or 0),
            target_rows=int(target_rows or 0),
            excluded_rows=int(excluded or 0),
            source_checksum=str(checksum or 0),
            target_checksum=str(target_checksum or 0),
            by_checksum=tuple(self._source.parts),
            by_value=tuple(self._source.values),
        )
        if not sums.source_rows and not sums.target_rows:
            return replace(sums, verdict="inconclusive")
        alike = (sums.source_rows, sums.source_checksum) == (
            sums.target_rows,
            sums.target_checksum,
        )
        if alike and not self._source.values:
            return sums
        self._tell(name, "comparing row by row")
        found = self._compared()
        return replace(
            sums,
            verdict="equal" if alike and not found.counts else "different",
            missing=found.counts.get("missing", 0),
            extra=found.counts.get("extra", 0),
            different=found.counts.get("different", 0),
            samples=self._named(found),
        )

    def _compared(self) -> Comparison:
        with closing(self._source_rows()) as source:
            with closing(self._target_rows()) as target:
                return compare(
                    source,
                    target,
                    self._source.key,
                    tuple(self._source.values),
                    SAMPLES,
                )

    def _source_rows(self) -> Generator[Row]:
        with told(self._table.contract.table):
            with self._connection.cursor(name="aurora_sync_verify") as cursor:
                cursor.itersize = _FETCHED
                cursor.execute(self._source.rows)
                for row in cursor:
                    yield self._row(row)

    def _target_rows(self) -> Generator[Row]:
        with refusals(self._target.name):
            with closing(self._warehouse.connection.cursor()) as cursor:
                cursor.execute(self._target.rows, timeout=STATEMENT_SECONDS)
                while rows := cursor.fetchmany(_FETCHED):
                    yield from map(self._row, rows)

    def _row(self, row: Sequence[Any]) -> Row:
        width = len(self._source.key)
        return Row(
            order=row[0],
            digest=row[1],
            key=tuple(row[2 : 2 + width]),
            values=tuple(
                parse(value)
                for parse, value in zip(self._parsers, row[2 + width :], strict=True)
            ),
        )

    def _named(self, found: Comparison) -> tuple[Difference, ...]:
        """Add to differing samples the columns whose texts differ."""
        orders = [
            order for order, sample in found.samples if sample.kind == "different"
        ]
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
