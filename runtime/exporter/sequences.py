"""Ids of a sequence as a watermark, for tables that rows are only appended to.

Ids are handed out in order and committed in any. Whoever has drawn an id up to the
sequence's position is committed, or its transaction is still open. So the position
becomes safe as soon as every transaction that was open when it was read has ended;
until then it waits in the ledger as a candidate, for a run that reads from the
watermark before. MAX(id) would not do: one row with an id of its own would end all.
"""

from typing import Any

from psycopg2 import sql

from runtime.contract.aurora_sql import EXPORTER_ROLE
from runtime.contract.errors import SourceError
from runtime.contract.names import quote_postgres
from runtime.contract.specs import Table

Candidate = dict[str, Any]

# Two statements, sent in one message with the one that reads the sessions: they run
# in this order. A transaction that began after the clock was read drew no id up to
# the position.
_POSITION = sql.SQL("""
SELECT pg_catalog.set_config('aurora_sync.sequence', (
  SELECT pg_catalog.json_build_object('name', owned.name, 'cache', s.seqcache,
    'cycle', s.seqcycle OR s.seqincrement < 0, 'value',
    CASE WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT') THEN COALESCE(
      pg_catalog.pg_sequence_last_value(s.seqrelid), s.seqstart - 1) END
    )::pg_catalog.text
  FROM (SELECT pg_catalog.pg_get_serial_sequence({table}, {column}) AS name) AS owned
  LEFT JOIN pg_catalog.pg_sequence AS s
    ON s.seqrelid = owned.name::pg_catalog.regclass), FALSE);
SELECT pg_catalog.set_config('aurora_sync.read_at',
  pg_catalog.clock_timestamp()::pg_catalog.text, FALSE);
""")
_HIGH = sql.SQL("""
CASE
  WHEN COALESCE((SELECT since FROM oldest) > pg_catalog.current_setting(
    'aurora_sync.read_at')::pg_catalog.timestamptz, TRUE)
  THEN (pg_catalog.current_setting('aurora_sync.sequence')::pg_catalog.json
    ->> 'value')::pg_catalog.int8
  WHEN COALESCE((SELECT since FROM oldest) > {at}::pg_catalog.timestamptz, TRUE)
  THEN {value}::pg_catalog.int8
END
""")
# What was read, for Python.
READ = sql.SQL("""
(pg_catalog.current_setting('aurora_sync.sequence')::pg_catalog.jsonb
  || pg_catalog.jsonb_build_object(
    'at', pg_catalog.current_setting('aurora_sync.read_at')))
""")


def read_position(table: Table) -> sql.Composable:
    """Render the statements that read the sequence's position, then the clock."""
    return _POSITION.format(
        table=sql.Literal(table.spec.source.sql),
        column=sql.Literal(table.watermark.name),
    )


def safe_high(candidate: Candidate | None) -> sql.Composable:
    """Render the highest safe id: the position, the candidate, or NULL.

    Args:
        candidate: Position of an earlier run, `value` and `at`.
    """
    waiting = candidate or {"value": None, "at": "infinity"}
    return _HIGH.format(
        at=sql.Literal(waiting["at"]), value=sql.Literal(waiting["value"])
    )


def check(table: Table, read: dict[str, Any]) -> str:
    """Return the position that was read.

    Raises:
        SourceError: When no sequence, or not such a one, numbers the column.
    """
    subject, name = f"{table.spec.source}.{table.watermark.name}", read["name"]
    if name is None:
        raise SourceError(
            "no sequence belongs to the watermark column",
            subject=subject,
            allowed="an identity or serial column",
            remedy="run ALTER SEQUENCE ... OWNED BY this column",
        )
    if read["cache"] > 1 or read["cycle"]:
        raise SourceError(
            f"{name} does not hand out ids in order",
            subject=subject,
            got=f"CACHE {read['cache']}{', or not ascending' * read['cycle']}",
            allowed="CACHE 1, ascending, NO CYCLE",
            remedy=f"run ALTER SEQUENCE {name} CACHE 1 and let its sessions reconnect",
        )
    if read["value"] is None:
        role = quote_postgres(EXPORTER_ROLE)
        raise SourceError(
            "the exporter's role may not read the sequence of the watermark",
            subject=subject,
            got=name,
            remedy=f"run GRANT SELECT ON SEQUENCE {name} TO {role}",
        )
    return str(read["value"])


def waiting(
    read: dict[str, Any], high: str | None, before: Candidate | None
) -> Candidate | None:
    """Return which candidate waits now; none when the position itself is safe."""
    if high == str(read["value"]):
        return None
    if before is not None and high is None:
        return before
    return {"value": read["value"], "at": read["at"]}
