"""`explain`: one row's way from Aurora to its target, hop by hop.

Every version of the row of the last 30 days stands in the landing table with its file
and line; the manifests say which run wrote the file and what it read above.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

import psycopg2
from msgspec import Struct
from psycopg2 import sql

from runtime.contract.columns import Column
from runtime.contract.errors import ConfigError, SourceError
from runtime.contract.names import literal, quote_postgres, quote_snowflake_column
from runtime.contract.records import LedgerState
from runtime.contract.snowflake_cleaning import KEPT_DAYS
from runtime.contract.snowflake_names import LANDING, QUARANTINE, SYNC
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.ops.checksum import source_side, target_side
from runtime.ops.compare import parser, same
from runtime.ops.source import told
from runtime.ops.warehouse import Warehouse

_MOST_VERSIONS = 50

Fate = Literal["in the target", "superseded", "in quarantine", "not merged yet"]


class Version(Struct, frozen=True, kw_only=True):
    """One version of the row as a file carried it.

    Attributes:
        file: Key of the file in the lake.
        line: Line of it.
        stamp: Stamp of the snapshot that the file shows.
        watermark: The row's watermark in it.
        run: Number of the run's manifest; None while that has not arrived.
        low: Watermark that the run read above, before lookback; high: moved on to.
        reason: Why it stands in quarantine.
    """

    file: str
    line: int
    stamp: str
    watermark: str | None
    run: int | None
    mode: str | None
    low: str | None
    high: str | None
    committed_at: str | None
    loaded_at: str
    merged_at: str | None
    fate: Fate
    reason: str | None


class Explanation(Struct, frozen=True, kw_only=True):
    """What is known of one row.

    Attributes:
        table: Source table.
        key: The key's columns and their canonical texts.
        verdict: What it comes to.
        sound: Whether both sides agree, or will without anybody's help.
        watermark: The row's watermark in Aurora; None without row.
        versions: What was exported of it, oldest first.
        differs: Columns that differ between the sides.
    """

    table: str
    key: dict[str, str]
    verdict: str
    sound: bool
    watermark: str | None
    in_source: bool
    exported_through: str | None
    held_by: dict[str, Any] | None
    versions: tuple[Version, ...]
    target: str
    in_target: bool
    differs: tuple[str, ...] = ()


class Explaining:
    """The explanation of one row.

    Args:
        table: The table.
        key: Its key, column by column, in a form that PostgreSQL reads.
        connection: A session made by `runtime.ops.source.connect`.
        warehouse: Where the target is.
        state: The table's ledger state; None before its first run.

    Raises:
        ConfigError: When the key has a wrong number of parts or a wrong form.
    """

    def __init__(
        self,
        table: Table,
        key: Sequence[str],
        connection: Any,
        warehouse: Warehouse,
        state: LedgerState | None,
    ) -> None:
        self._table = table
        self._connection = connection
        self._warehouse = warehouse
        self._state = state or LedgerState()
        self._name = table.contract.table
        self._key = self._canonical(key)

    def explanation(self) -> Explanation:
        """Ask both sides; the target first, which can only be older.

        Raises:
            SourceError: When Aurora refuses or does not answer.
            WarehouseError: When Snowflake refuses or does not answer.
        """
        target = self._target_row()
        versions = self._versions(target[:2] if target else None)
        source = self._source_row()
        differs = self._differs(source, target)
        due = bool(source and source[1])
        fates = [each.fate for each in versions]
        in_source, in_target = source is not None, target is not None
        sound, verdict = _verdict(in_source, in_target, due, not differs, fates)
        return Explanation(
            table=self._name,
            key=dict(zip(self._table.spec.key, self._key, strict=True)),
            verdict=verdict,
            sound=sound,
            watermark=source[0] if source else None,
            in_source=in_source,
            exported_through=self._state.watermark,
            held_by=self._state.held_by,
            versions=versions,
            target=self._warehouse.objects.qualified(*self._table.spec.target),
            in_target=in_target,
            differs=differs,
        )

    def _canonical(self, key: Sequence[str]) -> tuple[str, ...]:
        """Return the key as the export prints it; PostgreSQL reads what was given."""
        columns = [column for _, column in self._table.keys]
        if len(key) != len(columns):
            raise ConfigError(
                "has a key of another number of columns",
                subject=f"table {self._name}",
                got=", ".join(key),
                allowed=f"a value for each of {', '.join(self._table.spec.key)}",
                remedy="give the key's values in this order, with blanks between",
            )
        texts = [
            f"pg_catalog.concat({rule_for(column).export(f'k.k{n}')})"
            for n, column in enumerate(columns)
        ]
        given = [
            f"{self._cast(text, column)} AS k{n}"
            for n, (column, text) in enumerate(zip(columns, key, strict=True))
        ]
        query = f"SELECT {', '.join(texts)} FROM (SELECT {', '.join(given)}) AS k"
        try:
            found = self._ask(self._name, query)
        except SourceError as error:
            if isinstance(error.__cause__, psycopg2.DataError):
                raise ConfigError(
                    f"has another kind of key ({str(error.__cause__).splitlines()[0]})",
                    subject=f"table {self._name}",
                    got=", ".join(key),
                    remedy="give each value as PostgreSQL reads it",
                ) from error
            raise
        return found or ()  # a SELECT without a table has one row

    def _cast(self, value: Any, column: Column) -> str:
        """Return a typed literal; no placeholder, for names may hold a percent sign."""
        text = sql.Literal(value).as_string(self._connection)
        return f"CAST({text} AS {column.type})"

    def _ask(self, subject: str, query: str) -> tuple[Any, ...] | None:
        with told(subject), closing(self._connection.cursor()) as cursor:
            cursor.execute(query)
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row

    def _source_row(self) -> tuple[Any, ...] | None:
        """Watermark, whether the next run reads it, then the columns."""
        keys = " AND ".join(
            f"{quote_postgres(column.name)} = {self._cast(text, column)}"
            for (_, column), text in zip(self._table.keys, self._key, strict=True)
        )
        side = source_side(self._table)
        side = replace(side, where=f"{side.where} AND {keys}")
        return self._ask(self._name, side.one_row(self._head()))

    def _head(self) -> str:
        if self._table.spec.is_full:
            return "NULL, TRUE"
        watermark = quote_postgres(self._table.watermark.name)
        low = self._cast(self._state.watermark, self._table.watermark)
        reach = sql.Literal(self._table.spec.reach).as_string(self._connection)
        # Without a watermark a row goes out with the run after it was written.
        due = f"COALESCE({watermark} > {low} - {reach}, TRUE)"
        return f"{watermark}::pg_catalog.text, {due}"

    def _target_row(self) -> tuple[Any, ...] | None:
        """Stamp and file of the version that it holds, then the columns."""
        keys = " AND ".join(
            f"{quote_snowflake_column(column.target)} = "
            f"{rule_for(column).cast(literal(text))}"
            for (_, column), text in zip(self._table.keys, self._key, strict=True)
        )
        side = target_side(self._table, self._warehouse.objects)
        side = replace(side, where=f"{side.where} AND {keys}")
        rows = self._warehouse.ask(side.one_row("_sync_stamp, _sync_file"))
        return tuple(rows[0].values()) if rows else None

    def _differs(
        self, source: tuple[Any, ...] | None, target: tuple[Any, ...] | None
    ) -> tuple[str, ...]:
        """Compare canonical texts, then parsed values, in the order of both sides."""
        if source is None or target is None:
            return ()
        side, found = source_side(self._table), []
        types = {c.name: rule_for(c).type for _, c in self._table.contract.live}
        names = [*side.parts, *side.values]
        for name, one, other in zip(names, source[2:], target[2:], strict=True):
            if name in side.values:
                one, other = map(parser(types[name]), (one, other))
            if not same(one, other):
                found.append(name)
        return tuple(found)

    def _versions(self, held: tuple[str, str] | None) -> tuple[Version, ...]:
        objects = self._warehouse.objects
        places = {column.name: place for place, column in self._table.contract.live}
        keys = " AND ".join(
            f"l.c{places[name]} = {literal(text)}"
            for name, text in zip(self._table.spec.key, self._key, strict=True)
        )
        marked = not self._table.spec.is_full and self._table.watermark.name
        watermark = f"l.c{places[marked]}" if marked else "NULL::VARCHAR"
        rows = self._warehouse.ask(
            "SELECT DISTINCT l.file_name AS file, l.file_row AS line, f.stamp, "
            f"{watermark} AS watermark, r.seq AS run, r.mode, r.low, r.high, "
            "r.committed_at, "
            "MIN(l.loaded_at) OVER (PARTITION BY l.file_name, l.file_row)::VARCHAR "
            "AS loaded_at, f.merged_at::VARCHAR AS merged_at, q.reason\n"
            f"FROM {objects.qualified(LANDING, objects.landing(self._table))} AS l\n"
            f"LEFT JOIN {objects.qualified(SYNC, 'SYNC_FILES')} AS f "
            f"ON f.table_name = {literal(self._name)} AND f.file_name = l.file_name\n"
            f"LEFT JOIN {objects.qualified(SYNC, 'SYNC_RUNS')} AS r "
            "ON r.table_name = f.table_name AND r.seq = f.seq\n"
            f"LEFT JOIN {objects.qualified(SYNC, QUARANTINE)} AS q "
            "ON q.table_name = f.table_name AND q.file_name = l.file_name "
            "AND q.file_row = l.file_row\n"
            # By places: under DISTINCT only what is selected can order.
            f"WHERE {keys}\nORDER BY 5 DESC NULLS FIRST, 1 DESC, 2 DESC "
            f"LIMIT {_MOST_VERSIONS}"
        )
        return tuple(_version(row, held) for row in reversed(rows))


def _version(row: dict[str, Any], held: tuple[str, str] | None) -> Version:
    # The stamp stands in the file's name too, before its manifest arrives.
    stamp = row["stamp"] or row["file"].rsplit("/", 1)[-1].split("_")[0]
    fate: Fate = "superseded"
    if row["reason"] is not None:
        fate = "in quarantine"
    elif held == (stamp, row["file"]):
        fate = "in the target"
    elif row["merged_at"] is None:
        fate = "not merged yet"
    return Version(**row | {"stamp": stamp, "fate": fate, "line": int(row["line"])})


def _verdict(
    in_source: bool, in_target: bool, due: bool, alike: bool, fates: Sequence[Fate]
) -> tuple[bool, str]:
    """Return whether nobody needs to do anything, and why."""
    lost, merged = in_source and not in_target, "superseded" in fates
    rules: tuple[tuple[bool, bool, str], ...] = (
        (not in_source and not in_target, True, "neither side has it"),
        (in_source and in_target and alike, True, "equal on both sides"),
        ("not merged yet" in fates, True, "exported, and not merged yet"),
        (in_source and due, True, "the next run exports it"),
        (fates[-1:] == ["in quarantine"], False, "stands in quarantine"),
        (lost and merged, False, "was merged, and the target has lost it"),
        (lost and not fates, False, f"no file of the last {KEPT_DAYS} days held it"),
        (not in_source, False, "gone from Aurora; no reconcile has marked it yet"),
        (True, False, "its watermark did not move when it changed"),
    )
    return next((sound, text) for holds, sound, text in rules if holds)
