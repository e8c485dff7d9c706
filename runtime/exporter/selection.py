"""Which rows a run exports, and which ones deserve a word.

Rows whose watermark is NULL or infinite are found by the transaction that wrote them
instead: a run takes those that the snapshot of the run before may not have shown.
xmin has 32 bits; its distance to the next transaction is exact for every row that is
new, and at worst makes a row look new that is 4 billion transactions old.

A row that became visible since then though its watermark lies at or below the ledger's
is late. It goes out as long as it lies within the lookback. What is older is by
definition not selected (an attached partition, an import past a disabled trigger):
reconcile and `verify` find it.
"""

from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from runtime.contract.errors import SourceError
from runtime.contract.specs import Table
from runtime.exporter import units

_NEXT = (
    "(SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"
    "::pg_catalog.text::pg_catalog.int8)"
)
_AGE = f"(({_NEXT} - xmin::pg_catalog.text::pg_catalog.int8) & 4294967295)"


def newer_than(table: Table, above: str, since: str | None) -> sql.Composable:
    """Render the condition that selects an incremental run's rows.

    There is no upper bound: what lies above the high comes again next time,
    harmlessly.

    Args:
        table: The table.
        above: Rows with a watermark above it.
        since: Snapshot of the run before; None selects every row without watermark.
    """
    column = sql.Identifier(table.watermark.name)
    newer = sql.SQL("{} > {}::{}").format(
        column, sql.Literal(above), sql.SQL(units.kind(table))
    )
    if units.kind(table) != "bigint":
        newer = sql.SQL("{} AND {} < 'infinity'").format(newer, column)
    if table.spec.null_watermark != "include":
        return sql.SQL("({} AND {})").format(_filter(table), newer)
    odd = _odd(table)
    if since is not None:
        # By the oldest transaction that was open then: a snapshot does not name those
        # of savepoints.
        odd = sql.SQL(
            f"{{}} AND {_AGE} <= {_NEXT} - pg_catalog.pg_snapshot_xmin("
            "{}::pg_catalog.pg_snapshot)::pg_catalog.text::pg_catalog.int8"
        ).format(odd, sql.Literal(since))
    return sql.SQL("({} AND ({} OR {}))").format(_filter(table), newer, odd)


def finite(table: Table) -> sql.Composable:
    """Render the condition of every row, but what filter and policy exclude."""
    if table.spec.null_watermark == "include":
        return _filter(table)
    return sql.SQL("{} AND ({}) IS NOT TRUE").format(_filter(table), _odd(table))


def _filter(table: Table) -> sql.Composable:
    """Render the config's condition of the rows to sync; it may end in a comment."""
    where = table.contract.where
    return sql.SQL("({}\n)").format(sql.SQL(where)) if where else sql.SQL("TRUE")


def _odd(table: Table) -> sql.Composable:
    """Render the condition of rows whose watermark is NULL or infinite."""
    column = sql.Identifier(table.watermark.name)
    odd = sql.SQL("{} IS NULL").format(column)
    if units.kind(table) == "bigint":
        return odd
    return sql.SQL("({} OR {} IN ('infinity', '-infinity'))").format(odd, column)


@dataclass(frozen=True, kw_only=True)
class Noticed:
    """What a run sees beside the rows it exports.

    Attributes:
        null_rows: Rows whose watermark is NULL or infinite, as far as the policy
            counts them.
        late_rows: Rows that became visible since the run before, at or below the
            ledger's watermark.
        lateness: How far the lowest of them lies below, in seconds; of ids, in ids.
        lookback_used: The same as a share of the lookback, 0 to 1. Rows over it would
            have been missed.
    """

    null_rows: int
    late_rows: int = 0
    lateness: float = 0.0
    lookback_used: float = 0.0


def notice(
    cursor: Any, table: Table, watermark: str | None = None, since: str | None = None
) -> Noticed:
    """Count rows without watermark and apply their policy; count late rows.

    Args:
        cursor: Cursor in the transaction of the export.
        table: The table.
        watermark: The ledger's watermark; None in a load.
        since: Snapshot of the run before; None when late rows cannot be told.

    Raises:
        SourceError: When more rows have no watermark than the policy allows.
    """
    policy, most = table.spec.null_watermark, table.spec.max_null_rows
    limit = 0 if policy == "fail" else most
    source = sql.Identifier(table.spec.source.schema, table.spec.source.name)
    late: sql.Composable = sql.SQL("SELECT 0 AS many, 0::pg_catalog.float8 AS lateness")
    if watermark is not None and since is not None:
        late = _late(table, watermark, since)
    cursor.execute(
        sql.SQL("""
            SELECT (SELECT pg_catalog.count(1) FROM
                (SELECT 1 FROM {source} WHERE {filter} AND {odd} LIMIT {limit}) AS few),
              late.many, COALESCE(late.lateness, 0)
            FROM ({late}) AS late
            """).format(
            source=source,
            filter=_filter(table),
            odd=_odd(table),
            limit=sql.Literal(limit + 1),
            late=late,
        )
    )
    found, many, lateness = cursor.fetchone()
    if found > limit and policy != "exclude":
        raise SourceError(
            f"rows whose {table.watermark.name} is NULL or infinite",
            subject=table.spec.table_name,
            got=f"more than {limit}",
            allowed=f"at most {limit} (null_watermark {policy})",
            remedy="give them a watermark, raise max_null_rows, or exclude them",
        )
    whole = table.spec.id_lookback or table.spec.lookback.total_seconds()
    return Noticed(
        null_rows=found,
        late_rows=many,
        lateness=round(lateness, 6),
        lookback_used=round(lateness / whole, 3) if whole else 0.0,
    )


def _late(table: Table, watermark: str, since: str) -> sql.Composable:
    """Render the query of rows that came late, as far as the lookback reaches.

    What was written under a savepoint of a transaction that was open then counts as
    seen: pg_visible_in_snapshot cannot tell.
    Source: https://www.postgresql.org/docs/current/functions-info.html
    """
    column, kind = sql.Identifier(table.watermark.name), sql.SQL(units.kind(table))
    mark = sql.SQL("{}::{}").format(sql.Literal(watermark), kind)
    return sql.SQL(f"""
        SELECT pg_catalog.count(1) AS many, {{distance}} AS lateness
        FROM (SELECT {{column}} AS value FROM {{source}}
          WHERE {{filter}} AND {{column}} > ({{mark}} - {{lookback}})::{{kind}}
            AND {{column}} <= {{mark}}
            AND NOT pg_catalog.pg_visible_in_snapshot(
              ({_NEXT} - {_AGE})::pg_catalog.text::pg_catalog.xid8,
              {{since}}::pg_catalog.pg_snapshot)) AS found
        """).format(
        distance=units.distance(table, mark, "pg_catalog.min(value)"),
        column=column,
        filter=_filter(table),
        source=sql.Identifier(table.spec.source.schema, table.spec.source.name),
        mark=mark,
        lookback=sql.Literal(table.spec.reach),
        kind=kind,
        since=sql.Literal(since),
    )
