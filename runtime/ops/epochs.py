"""Integers as watermarks: which are times, by their values, and which are ids."""

from typing import Any

from psycopg2 import sql

from runtime.contract.names import SourceName, quote_postgres

_SOME_ROWS = 1000
# From 2000 to 2100 in each unit: no two of these meet.
_FIRST, _LAST = 946_684_800, 4_102_444_800
_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}
_NUMBERED = """
SELECT a.attname
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = pg_catalog.pg_get_serial_sequence(
    %(table)s, a.attname)::pg_catalog.regclass
WHERE a.attrelid = %(table)s::pg_catalog.regclass AND a.attnum > 0
  AND NOT a.attisdropped AND s.seqcache = 1 AND s.seqincrement > 0 AND NOT s.seqcycle
ORDER BY a.attnum
LIMIT 1
"""


def unit_of(cursor: Any, source: SourceName, column: str) -> str | None:
    """Return the unit in which a column's values are times between 2000 and 2100.

    Args:
        cursor: Cursor on the database.
        source: The table.
        column: A column of integers.

    Returns:
        `s`, `ms` or `us`; None when its first rows are no such times, or missing.
    """
    cursor.execute(
        sql.SQL("""
            SELECT pg_catalog.min(few.value), pg_catalog.max(few.value)
            FROM (SELECT {column} AS value FROM {table} WHERE {column} <> 0
              LIMIT {rows}) AS few
            """).format(
            column=sql.Identifier(column),
            table=sql.Identifier(source.schema, source.name),
            rows=sql.Literal(_SOME_ROWS),
        )
    )
    least, most = cursor.fetchone()
    for unit, per_second in _UNITS.items():
        first, last = _FIRST * per_second, _LAST * per_second
        if least is not None and first <= least <= most <= last:
            return unit
    return None


def numbered_by_a_sequence(cursor: Any, source: SourceName) -> str | None:
    """Return a column whose sequence hands out ids in order.

    Args:
        cursor: Cursor on the database.
        source: The table.
    """
    cursor.execute(_NUMBERED, {"table": source.sql})
    found = cursor.fetchone()
    return None if found is None else str(found[0])


def appended(source: SourceName, column: str, key: str) -> str:
    """Return how to sync a table by its ids."""
    name, by = quote_postgres(column), f"--watermark {column} --id-lookback 1000"
    return (
        f"if rows are only ever appended, ids of {name} are cheaper: "
        f"`aurora-sync table add {source} --key {key} {by}`"
    )
