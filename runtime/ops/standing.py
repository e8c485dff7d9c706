"""Which rows can be judged while both sides go on moving.

M is what the target has merged through, read first; V is a snapshot of Aurora taken
after. A row that V shows with a watermark up to M was committed before the runs that
M stands for took their snapshots, so the target has this very version, unless it has
a newer one. The stamp tells: versions at or below V's are no newer than what V shows.

What else a merged run exported, of rows above its low, it has shown as its own
snapshot had it: a version that was written before that one, when no transaction was
open in it, is due too. That is how rows count that were written seconds before a sync.

Any other source row above M is not due yet, and neither is one without watermark that
differs, for those come with a later run whatever M is. A target row that is stamped
after V and differs has changed since. Everything else must be equal.
"""

from contextlib import closing
from typing import Any

from msgspec import Struct
from psycopg2 import sql

from runtime.contract.aurora_sql import SNAPSHOT_STAMP, full_stamp
from runtime.contract.errors import SourceError
from runtime.contract.names import literal, quote_postgres, quote_snowflake_column
from runtime.contract.snowflake_names import SYNC
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.ops.checksum import has_watermark, unmarked
from runtime.ops.source import told
from runtime.ops.warehouse import Progress, Warehouse


class Standing(Struct, frozen=True, kw_only=True):
    """What a table's rows count as, as SQL of each side.

    Attributes:
        through: M, as PostgreSQL prints it.
        source: `due`, `newer` (not due yet), `loose` (without watermark), `marked` (as
            deleted), or `excluded` (by `null_watermark`).
        target_group: `due` or `newer`, by the target's own watermark.
        target: `due`, `changed` (since V), or `gone` (marked as deleted since V).
        target_rows: Condition of the target's rows that have one of these.
    """

    through: str
    source: str
    target_group: str
    target: str
    target_rows: str


def standing(
    table: Table, connection: Any, warehouse: Warehouse, progress: Progress
) -> Standing:
    """Take the snapshot V in a session, and say what rows count as by it.

    Args:
        table: The table.
        connection: A session made by `runtime.ops.source.connect`, without an open
            transaction; V is its transaction from now on.
        warehouse: Where the target is.
        progress: How far its merges are: M.

    Raises:
        SourceError: On a reader, whose snapshots may be older than M.
    """
    kind, through = table.watermark.plain_type, str(progress.merged_through)

    def value(text: str) -> str:
        return f"{sql.Literal(text).as_string(connection)}::{kind}"

    generation, run = _last_run(table, warehouse, progress.merged_seq)
    # The lock first: a snapshot from before a TRUNCATE would show an empty table.
    with told(table.contract.table), closing(connection.cursor()) as cursor:
        cursor.execute(f"LOCK TABLE {table.spec.source.sql} IN ACCESS SHARE MODE")
        cursor.execute(
            f"SELECT {SNAPSHOT_STAMP}, pg_catalog.pg_is_in_recovery(), "
            "c.relkind IN ('r', 'p'), "
            f"pg_catalog.concat({rule_for(table.watermark).export(value(through))}) "
            "FROM pg_catalog.pg_class AS c WHERE c.oid = "
            f"{sql.Literal(table.spec.source.sql).as_string(connection)}"
            "::pg_catalog.regclass"
        )
        stamp, reader, has_xmin, merged = cursor.fetchone()
    if reader:
        raise SourceError(
            "is a reader, not the writer",
            subject="Aurora",
            remedy="compare with the cluster's writer endpoint",
        )
    # A day goes on: rows of the last one may still come.
    above = ">=" if kind == "date" else ">"
    watermark = quote_postgres(table.spec.watermark_col)
    late = f"{watermark} {above} {value(through)}"
    if run is not None and has_xmin:
        low = f"{watermark} > {value(run['low'])}" if run["low"] else "TRUE"
        late += f" AND NOT ({low} AND {_written_before(run['stamp'])})"
    target = quote_snowflake_column(table.watermark.target)
    newer = f"{target} {above} {rule_for(table.watermark).cast(literal(merged))}"
    after = literal(full_stamp(generation, stamp))
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


def _last_run(
    table: Table, warehouse: Warehouse, merged: int
) -> tuple[int, dict[str, Any] | None]:
    """Return the generation, and the last merged run of one file with its stamp.

    Not one of several chunks, each of which has a snapshot of its own; and one in
    whose snapshot no transaction was open.
    """
    name = literal(table.contract.table)
    runs, files = (
        warehouse.objects.qualified(SYNC, each) for each in ("SYNC_RUNS", "SYNC_FILES")
    )
    [newest] = warehouse.ask(
        f"SELECT MAX(generation) AS generation FROM {runs} WHERE table_name = {name}"
    )
    generation = int(newest["generation"])
    found = warehouse.ask(
        "WITH runs AS (SELECT seq, low, high, files, "
        "LAG(COALESCE(high, '')) OVER (ORDER BY seq) AS previous "
        f"FROM {runs} WHERE table_name = {name} AND seq <= {merged} "
        f"AND generation = {generation} AND mode IN ('incremental', 'first_load')) "
        f"SELECT f.stamp, r.low FROM runs AS r JOIN {files} AS f "
        f"ON f.table_name = {name} AND f.seq = r.seq WHERE r.high IS NOT NULL "
        "AND COALESCE(r.previous, 'none') <> '' AND r.files = 1 "
        "AND f.stamp LIKE '%-1000000000' ORDER BY r.seq DESC LIMIT 1"
    )
    return generation, found[0] if found else None


def _written_before(stamp: str) -> str:
    """Return the condition of rows that a snapshot without open transactions shows.

    xmin has 32 bits; of rows that are older than half of them it may say no.
    """
    ahead = f"({int(stamp.split('-')[1])} - xmin::pg_catalog.text::pg_catalog.int8)"
    return f"({ahead} & 4294967295) BETWEEN 1 AND 2147483647"


def _source(table: Table, late: str) -> str:
    watermark = quote_postgres(table.spec.watermark_col)
    loose = f"{watermark} IS NULL"
    if table.watermark.plain_type.startswith(("timestamp", "date")):
        loose += f" OR {watermark} = '-infinity'"
    return (
        f"CASE WHEN {has_watermark(table)} IS NOT TRUE THEN 'excluded' "
        f"WHEN {late} THEN 'newer' "
        f"WHEN ({unmarked(table)}) IS NOT TRUE THEN "
        f"CASE WHEN {loose} THEN 'newer' ELSE 'marked' END "
        f"WHEN {loose} THEN 'loose' ELSE 'due' END"
    )
