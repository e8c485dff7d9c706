"""Which rows can be judged while both sides go on moving.

M is what the target has merged through, read first; V is a snapshot of Aurora taken
after. A row that V shows with a watermark up to M was committed before the runs that
M stands for took their snapshots, so the target has this very version, unless it has
a newer one. The stamp tells: versions at or below V's are no newer than what V shows.

What else a merged run exported, of rows above its low, it has shown as its own
snapshot had it: a version that was written before that one, when no transaction was
open in it, is due too. That is how rows count that were written seconds before a sync.
Who wrote a row says when it could first be seen only in a plain table (a partition may
be attached with rows from long ago), of a run with one snapshot, and while fewer
transactions have come since than 32 bits tell apart; of all else no row above M is due.

Any other source row above M is not due yet, and neither is one without watermark that
differs, for those come with a later run whatever M is. A target row that is stamped
after V and differs has changed since. Everything else must be equal.

While a load is under way M says nothing of the rows that the load still brings.

Of a table of mode full, rows are due that the last merged load could see. Where that
cannot be told from who wrote them, all are: what has changed since differs until the
next run.
"""

from contextlib import closing
from typing import Any

from msgspec import Struct
from psycopg2 import sql

from runtime.contract.aurora_sql import SNAPSHOT_STAMP, full_stamp
from runtime.contract.columns import INTEGERS
from runtime.contract.errors import SourceError
from runtime.contract.names import literal, quote_postgres, quote_snowflake_column
from runtime.contract.snowflake_names import SYNC
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.ops.checksum import selected, unmarked
from runtime.ops.source import told
from runtime.ops.warehouse import Progress, Warehouse

# A row's own mark of who wrote it has 32 bits; half of them tell before from after.
_TOLD_APART = 2**31


class Standing(Struct, frozen=True, kw_only=True):
    """What a table's rows count as, as SQL of each side.

    Attributes:
        through: M, as PostgreSQL prints it.
        source: `due`, `newer` (not due yet), `loose` (without watermark), `marked` (as
            deleted), or `excluded` (by `where` or `null_watermark`).
        target_group: `due` or `newer`, by the target's own watermark.
        target: `due`, `changed` (since V), or `gone` (marked as deleted since V).
        target_rows: Condition of the target's rows that have one of these.
    """

    through: str
    source: str
    target_group: str
    target: str
    target_rows: str


class _Merged(Struct, frozen=True, kw_only=True):
    """What the merged runs tell of their snapshots.

    Attributes:
        generation: First part of the stamps.
        low: Watermark that the last run with one quiet snapshot read above; empty for
            a first load.
        xmax: The first transaction that this run did not see; None without such a run.
    """

    generation: int
    low: str = ""
    xmax: int | None = None


def standing(
    table: Table, connection: Any, warehouse: Warehouse, progress: Progress
) -> Standing | None:
    """Take the snapshot V in a session, and say what rows count as by it.

    Args:
        table: The table.
        connection: A session made by `runtime.ops.source.connect`, without an open
            transaction; V is its transaction from now on.
        warehouse: Where the target is.
        progress: How far its merges are: M.

    Returns:
        None while a load is under way.

    Raises:
        SourceError: On a reader, whose snapshots may be older than M.
    """
    through = str(progress.merged_through)
    run = _merged(table, warehouse, progress.merged_seq)
    if run is None:
        return None
    # The lock first: a snapshot from before a TRUNCATE would show an empty table.
    with told(table.contract.table), closing(connection.cursor()) as cursor:
        cursor.execute(f"LOCK TABLE {table.spec.source.sql} IN ACCESS SHARE MODE")
        cursor.execute(
            f"SELECT {SNAPSHOT_STAMP}, pg_catalog.pg_is_in_recovery(), "
            f"c.relkind = 'r' AND NOT c.relhassubclass, {_exported(table, through)} "
            "FROM pg_catalog.pg_class AS c WHERE c.oid = "
            f"{sql.Literal(table.spec.source.sql).as_string(connection)}"
            "::pg_catalog.regclass"
        )
        stamp, reader, plain, merged = cursor.fetchone()
    if reader:
        raise SourceError(
            "is a reader, not the writer",
            subject="Aurora",
            remedy="compare with the cluster's writer endpoint",
        )
    late = _above(table, through)
    since = int(stamp.split("-")[0]) - run.xmax if run.xmax is not None else -1
    if plain and run.xmax is not None and 0 <= since < _TOLD_APART:
        low = _above(table, run.low) if run.low else "TRUE"
        late += f" AND NOT ({low} AND {_written_before(run.xmax)})"
    elif table.spec.is_full:
        late = "FALSE"
    newer = "FALSE"
    if not table.spec.is_full:
        target = quote_snowflake_column(table.watermark.target)
        newer = f"{target} > {rule_for(table.watermark).cast(literal(merged))}"
    after = literal(full_stamp(run.generation, stamp))
    return Standing(
        through=through,
        source=_source(table, late),
        target_group=f"CASE WHEN {newer} THEN 'newer' ELSE 'due' END",
        target=(
            "CASE WHEN _deleted_at IS NOT NULL THEN 'gone' "
            f"WHEN _sync_stamp > {after} THEN 'changed' ELSE 'due' END"
        ),
        target_rows=f"_deleted_at IS NULL OR _sync_stamp > {after}",
    )


def _value(table: Table, text: str) -> str:
    whole = table.watermark.plain_type in INTEGERS
    return f"{literal(text)}::{'bigint' if whole else table.watermark.plain_type}"


def _above(table: Table, text: str) -> str:
    """Return the condition of rows above a watermark; without one that is all."""
    if table.spec.is_full:
        return "TRUE"
    return f"{quote_postgres(table.watermark.name)} > {_value(table, text)}"


def _exported(table: Table, through: str) -> str:
    """Return the SQL of M as an export prints it."""
    if table.spec.is_full:
        return "NULL"
    return (
        f"pg_catalog.concat({rule_for(table.watermark).export(_value(table, through))})"
    )


def _merged(table: Table, warehouse: Warehouse, seq: int) -> _Merged | None:
    """Return what merged runs tell; None while a load is under way.

    The run with one quiet snapshot: no transaction was open in it, and it wrote its
    only file itself, as its only chunk. Chunks of a load have a snapshot each, and in
    what way one of them is empty nobody knows.

    Args:
        table: The table.
        warehouse: Where the target is.
        seq: The last run of the unbroken chain of complete ones.
    """
    name = literal(table.contract.table)
    runs, files = (
        warehouse.objects.qualified(SYNC, each) for each in ("SYNC_RUNS", "SYNC_FILES")
    )
    loads = warehouse.ask(
        f"SELECT seq, high, generation FROM {runs} WHERE table_name = {name} "
        "AND mode IN ('first_load', 'full') ORDER BY seq DESC LIMIT 1"
    )
    if not loads or loads[0]["high"] is None or loads[0]["seq"] > seq:
        return None
    generation = int(loads[0]["generation"])
    modes = "'full'" if table.spec.is_full else "'incremental', 'first_load', 'full'"
    found = warehouse.ask(
        "WITH runs AS (SELECT seq, run, low, high, files, "
        "LAG(COALESCE(high, '')) OVER (ORDER BY seq) AS previous "
        f"FROM {runs} WHERE table_name = {name} AND seq <= {seq} "
        f"AND generation = {generation} AND mode IN ({modes})) "
        f"SELECT f.stamp, r.low FROM runs AS r JOIN {files} AS f "
        f"ON f.table_name = {name} AND f.seq = r.seq WHERE r.high IS NOT NULL "
        "AND COALESCE(r.previous, 'none') <> '' AND r.files = 1 "
        "AND f.file_name LIKE '%/' || r.run || '/%' "
        "AND f.file_name LIKE '%c000000.csv' "
        "AND f.stamp LIKE '%-1000000000' ORDER BY r.seq DESC LIMIT 1"
    )
    if not found:
        return _Merged(generation=generation)
    return _Merged(
        generation=generation,
        low=found[0]["low"] or "",
        xmax=int(found[0]["stamp"].split("-")[1]),
    )


def _written_before(xmax: int) -> str:
    """Return the condition of rows that a snapshot without open transactions shows.

    Of rows older than half of what 32 bits tell apart it may say no.

    Args:
        xmax: The first transaction that the snapshot does not see.
    """
    ahead = f"({xmax} - xmin::pg_catalog.text::pg_catalog.int8)"
    return f"({ahead} & 4294967295) BETWEEN 1 AND {_TOLD_APART - 1}"


def _source(table: Table, late: str) -> str:
    excluded = f"({selected(table)}) IS NOT TRUE"
    if table.spec.is_full:
        marked = f"({unmarked(table)}) IS NOT TRUE"
        return (
            f"CASE WHEN {excluded} THEN 'excluded' WHEN {late} THEN 'newer' "
            f"WHEN {marked} THEN 'marked' ELSE 'due' END"
        )
    watermark = quote_postgres(table.watermark.name)
    loose = f"{watermark} IS NULL"
    if table.watermark.plain_type.startswith(("timestamp", "date")):
        loose += f" OR {watermark} = '-infinity'"
    return (
        f"CASE WHEN {excluded} THEN 'excluded' "
        f"WHEN {late} THEN 'newer' "
        f"WHEN ({unmarked(table)}) IS NOT TRUE THEN "
        f"CASE WHEN {loose} THEN 'newer' ELSE 'marked' END "
        f"WHEN {loose} THEN 'loose' ELSE 'due' END"
    )
