"""The commit-safe high watermark and the window of one run, computed in PostgreSQL.

A row becomes visible at commit but carries the clock of its transaction's start (or
of a statement in it). The high may therefore never pass the oldest start of any open
transaction of this database; MAX(column) would lose what commits later. Sessions and
prepared transactions are read in that order, in a transaction of their own: what is
prepared between the two is seen by one of them. The order is one of data: the
sub-select of what is prepared waits for a value made of the sessions.

Who hides its state counts from the start of its session. Only those that can write
nothing are left out: autovacuum workers, streams of replication, and leased users of
the exporter's own role. A person may be a member of that role too, and well write:
only who has an end, no other role and no right to administer this one is leased.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg2 import sql

from runtime.contract.aurora_sql import EXPORTER_ROLE
from runtime.contract.errors import SourceError
from runtime.contract.specs import Table
from runtime.exporter import sequences, units
from runtime.exporter.sequences import Candidate

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
    AND NOT (a.backend_type = 'walsender' AND a.query ILIKE 'START_REPLICATION %')
    AND (a.state IS NOT NULL OR a.backend_type = 'client backend'
      OR a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
    AND NOT EXISTS (
      SELECT 1 FROM pg_catalog.pg_auth_members AS m
      JOIN pg_catalog.pg_roles AS leased ON leased.oid = m.member
      WHERE m.member = a.usesysid
        AND leased.rolvaliduntil IS NOT NULL AND NOT leased.rolsuper
      HAVING pg_catalog.bool_and(NOT m.admin_option
        AND m.roleid = pg_catalog.to_regrole({exporter})))
),
oldest AS (
  SELECT pid, usename, application_name, state, since FROM sessions
  WHERE since IS NOT NULL ORDER BY since LIMIT 1
),
clock AS MATERIALIZED (
  SELECT pg_catalog.statement_timestamp() AS now,
    LEAST(pg_catalog.statement_timestamp(), (SELECT since FROM oldest))
      - {margin} AS safe
)
SELECT pg_catalog.pg_is_in_recovery() AS reader,
  pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
  {high}::pg_catalog.text AS high,
  {recent}::pg_catalog.text AS recent,
  (SELECT pg_catalog.json_build_object('pid', pid, 'user', usename,
     'application', application_name, 'state', state,
     'since', since, 'age_seconds',
     pg_catalog.round(EXTRACT(EPOCH FROM now - since)::pg_catalog.numeric, 1))
   FROM oldest WHERE now - since > {notable}) AS holder,
  (SELECT pg_catalog.json_build_object('prepared', p.gid, 'user', p.owner,
      'since', p.prepared, 'age_seconds', pg_catalog.round(EXTRACT(
        EPOCH FROM pg_catalog.clock_timestamp() - p.prepared)::pg_catalog.numeric, 1))
    FROM pg_catalog.pg_prepared_xacts AS p
    WHERE p.database = pg_catalog.current_database() AND clock.safe IS NOT NULL
    ORDER BY p.prepared LIMIT 1) AS prepared,
  {read} AS read
FROM clock
""")


@dataclass(frozen=True, kw_only=True)
class Safe:
    """What is safe on the source at one moment, as text of the watermark's type.

    Attributes:
        high: Everything at or below it has been committed; None while a prepared
            transaction hides when it began.
        recent: The same without regard to open transactions: where exports that are
            held back may go on from.
        holder: Who keeps `high` back, when notable, and whether that is longer than
            `max_holdback`.
        candidate: Of ids: the position that waits to become safe.
    """

    high: str | None
    recent: str
    holder: dict[str, Any] | None
    candidate: Candidate | None = None


def read_safe(cursor: Any, table: Table, candidate: Candidate | None = None) -> Safe:
    """Read the commit-safe high on the writer.

    Args:
        cursor: Cursor of an autocommit connection: pg_stat_activity is cached for
            the length of a transaction, so this one must be its own.
        table: The table whose watermark is meant.
        candidate: Of ids: the position that waits to become safe.

    Raises:
        SourceError: On a reader, without the right to see other sessions, or when
            ids are not those of a fit sequence.
    """
    of_ids = table.spec.id_lookback is not None
    before: sql.Composable = sql.SQL("")
    read: sql.Composable = sql.SQL("NULL::pg_catalog.jsonb")
    if of_ids:
        before, read = sequences.read_position(table), sequences.READ
        high = sequences.safe_high(candidate)
        recent: sql.Composable = sql.SQL("NULL")
    else:
        high, recent = (
            units.of_instant(table, sql.Identifier("clock", moment))
            for moment in ("safe", "now")
        )
    # Strictly before the oldest start: who began then still writes that time.
    margin = table.spec.margin + (timedelta(0) if of_ids else units.step(table))
    cursor.execute(
        before
        + _SESSIONS.format(
            high=high,
            recent=recent,
            read=read,
            exporter=sql.Literal(f'"{EXPORTER_ROLE}"'),
            margin=sql.Literal(margin),
            notable=sql.Literal(NOTABLE_HOLD),
        )
    )
    reader, sees_all, found, now, holder, prepared, position = cursor.fetchone()
    if reader:
        raise on_a_reader()
    if not sees_all:
        raise SourceError(
            "the exporter's role cannot see other sessions, so no watermark is safe",
            subject="Aurora",
            remedy=f'run GRANT pg_read_all_stats TO "{EXPORTER_ROLE}"',
        )
    if prepared is not None:
        found, holder = None, prepared
    if holder is not None:
        longest = table.spec.max_holdback.total_seconds()
        holder["too_long"] = holder["age_seconds"] > longest
    if of_ids:
        now = sequences.check(table, position)
        candidate = sequences.waiting(position, found, candidate)
    return Safe(high=found, recent=now, holder=holder, candidate=candidate)


def on_a_reader() -> SourceError:
    """Return the refusal of a reader: it shows neither who writes nor all rows."""
    return SourceError(
        "is a reader, not the writer",
        subject="Aurora",
        remedy="use the cluster's writer endpoint",
    )


def read_settled(
    cursor: Any, table: Table, candidate: Candidate | None, seconds: float
) -> Safe:
    """Read what is safe for a load, which has no watermark to go on from.

    Of a busy table some writer is always open, so that ids need a moment to settle.

    Args:
        cursor: As of `read_safe`.
        table: The table.
        candidate: As of `read_safe`.
        seconds: How long to try; who is open may stay so for longer.
    """
    until = time.monotonic() + seconds
    safe = read_safe(cursor, table, candidate)
    while safe.candidate and safe.high is None and time.monotonic() < until:
        time.sleep(0.1)
        safe = read_safe(cursor, table, safe.candidate)
    return safe


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
    kind = sql.SQL(units.kind(table))
    cursor.execute(
        sql.SQL("""
            SELECT GREATEST(high, watermark)::pg_catalog.text,
              COALESCE(high > watermark, FALSE),
              low::pg_catalog.text, (low - {lookback})::{kind}::pg_catalog.text
            FROM (SELECT %(high)s::{kind} AS high, %(watermark)s::{kind} AS watermark,
              CASE WHEN %(high)s::{kind} > %(watermark)s::{kind}
                THEN %(watermark)s::{kind}
                ELSE GREATEST(%(watermark)s::{kind}, %(fresh)s::{kind}) END AS low
            ) AS w
            """).format(kind=kind, lookback=sql.Literal(table.spec.reach)),
        {
            "high": safe.high,
            "watermark": watermark,
            "fresh": fresh,
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
