"""How many rows wait in quarantine: whoever changes that notes it.

Only a table's own merges change it, and a rebuild. Each counts anew at the end of its
transaction and adds a note when the count is another, so that the status of all tables
is one look at few notes, and a table without such rows has none. A note is never
changed: tasks of other tables do not wait for this one.
"""

from runtime.contract.names import literal, quote_snowflake_column
from runtime.contract.snowflake_names import (
    LANDING,
    QUARANTINE,
    QUARANTINE_COUNTS,
    SYNC,
    SnowflakeObjects,
)
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for

# What has waited in quarantine for longer, nobody needs to be told again; the doctor
# still does. Snowflake does not know whether Aurora still has the row.
QUARANTINE_DAYS = 7
# UTC whatever the session's zone: a rebuild's notes stand in line with the merges'.
_NOW = "SYSDATE()"
_SINCE = f"DATEADD(DAY, -{QUARANTINE_DAYS}, {_NOW})"


def waiting_rows(objects: SnowflakeObjects, table: Table) -> str:
    """Render FROM and WHERE of rows in quarantine that no newer version has replaced.

    Args:
        objects: Where the sync lives.
        table: The table; `q` is the quarantine, `l` the landed row.
    """
    keys = " AND ".join(
        f"t.{quote_snowflake_column(c.target)} = {rule_for(c).cast(f'l.c{place}')}"
        for place, c in table.keys
    )
    return (
        f"FROM {objects.qualified(SYNC, QUARANTINE)} AS q "
        f"JOIN {objects.qualified(LANDING, objects.landing(table))} AS l "
        "ON l.file_name = q.file_name AND l.file_row = q.file_row "
        f"LEFT JOIN {objects.qualified(*table.spec.target)} AS t ON {keys} "
        f"WHERE q.table_name = {literal(table.contract.table)} "
        "AND COALESCE(t._sync_stamp, '') < q.stamp"
    )


def note_waiting(objects: SnowflakeObjects, table: Table) -> str:
    """Render the note of how many rows wait now; none when the last one says so.

    Args:
        objects: Where the sync lives.
        table: The table whose target or quarantine the transaction has changed.
    """
    name, notes = literal(table.contract.table), _notes(objects)
    return (
        f"INSERT INTO {notes}\n"
        "  (table_name, rows_waiting, newest_at, counted_at)\n"
        "  WITH waiting AS (\n"
        "    SELECT MAX(q.quarantined_at) AS newest_at, COUNT(DISTINCT\n"
        "      q.file_name || ' ' || q.file_row::VARCHAR) AS rows_waiting\n"
        f"    {waiting_rows(objects, table)}\n"
        f"      AND q.quarantined_at > {_SINCE}\n"
        "  ),\n"
        "  noted AS (\n"
        "    SELECT MAX_BY(newest_at, counted_at) AS last_newest,\n"
        "      COALESCE(MAX_BY(rows_waiting, counted_at), 0) AS last_waiting\n"
        f"    FROM {notes}\n"
        f"    WHERE table_name = {name}\n"
        "  )\n"
        f"  SELECT {name}, w.rows_waiting, w.newest_at, {_NOW}\n"
        "  FROM waiting AS w, noted AS n\n"
        "  WHERE w.rows_waiting <> n.last_waiting OR w.newest_at <> n.last_newest"
    )


def last_counts(objects: SnowflakeObjects) -> str:
    """Render the query of `table_name` and its `row_count`, for tables with a note.

    Nobody may have merged since the last row of a note became too old to be told.

    Args:
        objects: Where the sync lives.
    """
    return (
        "  SELECT table_name,\n"
        f"    IFF(MAX_BY(newest_at, counted_at) > {_SINCE},\n"
        "      MAX_BY(rows_waiting, counted_at), 0) AS row_count\n"
        f"  FROM {_notes(objects)}\n"
        "  GROUP BY table_name"
    )


def _notes(objects: SnowflakeObjects) -> str:
    return objects.qualified(SYNC, QUARANTINE_COUNTS)
