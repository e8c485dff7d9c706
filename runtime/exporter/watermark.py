"""The commit-safe high watermark and the window of one run, computed in PostgreSQL.

A row becomes visible at commit but carries the clock of its transaction's start (or
of a statement in it). The high may therefore never pass the oldest start of any open
transaction of this database; MAX(column) would lose what commits later. Sessions and
prepared transactions are read in that order, in a transaction of their own: what is
prepared between the two is seen by one of them.

Who hides its state counts from the start of its session. Only those that can write
nothing are left out: autovacuum workers, streams of replication, and leased users of
the exporter's own role. A person may be a member of that role too, and well write:
only who has an end, no other role and no right to administer this one is leased.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg2 import sql

from runtime.contract.aurora_sql import EXPORTER_ROLE
from runtime.contract.errors import SourceError
from runtime.contract.specs import Table

# A holder younger than this is ordinary traffic and not worth a line in `status`.
NOTABLE_HOLD = timedelta(seconds=1)

_SESSIONS = sql.SQL("""
WITH sessions AS MATERIALIZED (
  SELECT a.pid, a.usename, a.application_name, a.state,
    CASE WHEN a.state IS NULL OR a.state = 'disabled' THEN a.backend_start
      ELSE LEAST(a.xact_start, CASE WHEN a.state <> 'idle' THEN a.query_start END)
    END AS since
  FROM pg_catalog.pg_stat_activity AS a
  WHERE a.datname = pg_catalog.current_database()
    AND a.pid <> pg_catalog.pg_backend_pid()
    AND a.backend_type <> 'autovacuum worker'
    AND NOT (a.backend_type = 'walsender' AND a.query ILIKE 'START_REPLICATION %%')
    AND (a.state IS NOT NULL OR a.backend_type = 'client backend'
      OR a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
    AND NOT EXISTS (
      SELECT 1 FROM pg_catalog.pg_auth_members AS m
      JOIN pg_catalog.pg_roles AS leased ON leased.oid = m.member
      WHERE m.member = a.usesysid
        AND leased.rolvaliduntil IS NOT NULL AND NOT leased.rolsuper
      HAVING pg_catalog.bool_and(NOT m.admin_option
        AND m.roleid = pg_catalog.to_regrole(%(exporter)s)))
),
oldest AS (
  SELECT pid, usename, application_name, state, since FROM sessions
  WHERE since IS NOT NULL ORDER BY since LIMIT 1
),
clock AS (
  SELECT pg_catalog.statement_timestamp() AS now,
    LEAST(pg_catalog.statement_timestamp(), (SELECT since FROM oldest))
      - %(margin)s AS safe
)
SELECT pg_catalog.pg_is_in_recovery() AS reader,
  pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
  {high}::pg_catalog.text AS high,
  {recent}::pg_catalog.text AS recent,
  (SELECT pg_catalog.json_build_object('pid', pid, 'user', usename,
     'application', application_name, 'state', state,
     'since', since, 'age_seconds',
     pg_catalog.round(EXTRACT(EPOCH FROM now - since)::pg_catalog.numeric, 1))
   FROM oldest WHERE now - since > %(notable)s) AS holder
FROM clock
""")

_PREPARED = """
SELECT pg_catalog.json_build_object('prepared', gid, 'user', owner,
    'since', prepared, 'age_seconds', pg_catalog.round(
      EXTRACT(EPOCH FROM pg_catalog.clock_timestamp() - prepared)
        ::pg_catalog.numeric, 1))
FROM pg_catalog.pg_prepared_xacts
WHERE database = pg_catalog.current_database()
ORDER BY prepared LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Safe:
    """What is safe on the source at one moment, as text of the watermark's type.

    Attributes:
        high: Everything at or below it has been committed; None while a prepared
            transaction hides when it began.
        recent: The same without regard to open transactions: where exports that are
            held back may go on from.
        holder: Who keeps `high` back, when notable.
    """

    high: str | None
    recent: str
    holder: dict[str, Any] | None


def read_safe(cursor: Any, table: Table) -> Safe:
    """Read the commit-safe high on the writer.

    Args:
        cursor: Cursor of an autocommit connection: pg_stat_activity is cached for
            the length of a transaction, so this one must be its own.
        table: The table whose watermark is meant.

    Raises:
        SourceError: On a reader, or without the right to see other sessions.
    """
    high, recent = (_as_watermark(table, moment) for moment in ("safe", "now"))
    cursor.execute(
        _SESSIONS.format(high=high, recent=recent),
        {
            "exporter": f'"{EXPORTER_ROLE}"',
            # Strictly before the oldest start: who began then still writes that time.
            "margin": table.spec.margin + _resolution(table),
            "notable": NOTABLE_HOLD,
        },
    )
    reader, sees_all, safe_high, now, holder = cursor.fetchone()
    if reader:
        raise SourceError(
            "is a reader, not the writer",
            subject="Aurora",
            remedy="use the cluster's writer endpoint",
        )
    if not sees_all:
        raise SourceError(
            "the exporter's role cannot see other sessions, so no watermark is safe",
            subject="Aurora",
            remedy=f'run GRANT pg_read_all_stats TO "{EXPORTER_ROLE}"',
        )
    cursor.execute(_PREPARED)
    prepared = cursor.fetchone()
    if prepared is not None:
        return Safe(high=None, recent=now, holder=prepared[0])
    return Safe(high=safe_high, recent=now, holder=holder)


def _resolution(table: Table) -> timedelta:
    """Return the least step of a timestamp column; values are rounded to it."""
    digits = re.search(r"\((\d)\)", table.watermark.base_type)
    return timedelta(seconds=10.0 ** -int(digits[1] if digits else 6))


def _as_watermark(table: Table, moment: str) -> sql.Composable:
    """Convert an instant to the watermark's type, in the zone of its writers."""
    instant, kind = sql.Identifier("clock", moment), table.watermark.plain_type
    if kind == "timestamp with time zone":
        return instant
    local = sql.SQL("({} AT TIME ZONE {})").format(
        instant, sql.Literal(table.spec.watermark_timezone)
    )
    # Today is unfinished: the date may be selected again, but nothing above it.
    return sql.SQL("{}::pg_catalog.date").format(local) if kind == "date" else local


@dataclass(frozen=True, kw_only=True)
class Window:
    """What one incremental run reads and where the ledger goes from there.

    Attributes:
        low: Watermark the run starts from, before lookback.
        above: Rows above this are read; low minus lookback.
        high: The ledger's watermark after the run; never below the one before.
        moved: Whether that is further than before.
        fresh: Where the next run goes on from while the watermark is held back.
    """

    low: str
    above: str
    high: str
    moved: bool
    fresh: str | None


def window(
    cursor: Any, table: Table, safe: Safe, watermark: str, fresh: str | None
) -> Window:
    """Compute the window of an incremental run on typed values.

    While the watermark is held back, runs go on from `fresh`; when it moves again
    everything above the old watermark goes out once more, because what committed
    late lies between.

    Args:
        cursor: Cursor on the source.
        table: The table.
        safe: What `read_safe` found.
        watermark: The ledger's watermark.
        fresh: The ledger's fresh marker, if held back before.
    """
    kind = sql.SQL(table.watermark.plain_type)
    cursor.execute(
        sql.SQL("""
            SELECT GREATEST(high, watermark)::pg_catalog.text,
              COALESCE(high > watermark, FALSE),
              low::pg_catalog.text, (low - %(lookback)s)::{kind}::pg_catalog.text
            FROM (SELECT %(high)s::{kind} AS high, %(watermark)s::{kind} AS watermark,
              CASE WHEN %(high)s::{kind} > %(watermark)s::{kind}
                THEN %(watermark)s::{kind}
                ELSE GREATEST(%(watermark)s::{kind}, %(fresh)s::{kind}) END AS low
            ) AS w
            """).format(kind=kind),
        {
            "high": safe.high,
            "watermark": watermark,
            "fresh": fresh,
            "lookback": table.spec.lookback,
        },
    )
    high, moved, low, above = cursor.fetchone()
    return Window(
        low=low,
        above=above,
        high=high,
        moved=moved,
        fresh=None if moved else safe.recent,
    )


def newer_than(table: Table, above: str) -> sql.Composable:
    """Render the condition that selects an incremental run's rows.

    There is no upper bound: what lies above the high comes again next time,
    harmlessly. Dates compare inclusively, because a day goes on.
    """
    column = sql.Identifier(table.spec.watermark_col)
    kind = table.watermark.plain_type
    newer = sql.SQL("{} {} {}::{}").format(
        column,
        sql.SQL(">=" if kind == "date" else ">"),
        sql.Literal(above),
        sql.SQL(kind),
    )
    if table.spec.null_watermark == "include":
        return sql.SQL("({} OR {} IS NULL OR {} = '-infinity')").format(
            newer, column, column
        )
    return sql.SQL("({} AND {})").format(newer, finite(table))


def finite(table: Table) -> sql.Composable:
    """Render the condition of every row, but what the policy excludes."""
    if table.spec.null_watermark == "include":
        return sql.SQL("TRUE")
    return sql.SQL("pg_catalog.isfinite({})").format(
        sql.Identifier(table.spec.watermark_col)
    )


def check_without_watermark(cursor: Any, table: Table) -> None:
    """Count rows whose watermark is NULL or infinite, and apply the policy.

    Raises:
        SourceError: When there are more than the policy allows.
    """
    policy, most = table.spec.null_watermark, table.spec.max_null_rows
    if policy == "exclude" or (policy == "include" and not table.watermark.nullable):
        return
    limit = 0 if policy == "fail" else most
    column = sql.Identifier(table.spec.watermark_col)
    cursor.execute(
        sql.SQL(
            "SELECT pg_catalog.count(1) FROM (SELECT 1 FROM {} "
            "WHERE {} IS NULL OR {} IN ('infinity', '-infinity') LIMIT {}) AS few"
        ).format(
            sql.Identifier(table.spec.source.schema, table.spec.source.name),
            column,
            column,
            sql.Literal(limit + 1),
        )
    )
    (found,) = cursor.fetchone()
    if found > limit:
        raise SourceError(
            f"rows whose {table.spec.watermark_col} is NULL or infinite",
            subject=table.spec.table_name,
            got=f"more than {limit}",
            allowed=f"at most {limit} (null_watermark {policy})",
            remedy="give them a watermark, raise max_null_rows, or exclude them",
        )
