"""Tables that are read whole: no column tells which rows have changed.

Each run loads every row and then compares every key. What the snapshot of a load shows
has been committed before it, so that no open transaction needs to be waited for.
"""

from typing import Any

from runtime.exporter.watermark import Safe, on_a_reader

_NOW = """
SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.statement_timestamp()::pg_catalog.text
"""


def read_now(cursor: Any) -> Safe:
    """Return the time up to which a load that begins now is complete.

    Args:
        cursor: Cursor of an autocommit connection.

    Raises:
        SourceError: On a reader, whose snapshots may be older than that.
    """
    cursor.execute(_NOW)
    reader, now = cursor.fetchone()
    if reader:
        raise on_a_reader()
    return Safe(high=now, recent=now, holder=None)
