"""What has been merged leaves the landing table, as old as its file may get in S3.

Until then `explain` finds all versions of a row there. Nothing else reads it: what is
loaded again comes from S3.
"""

from runtime.contract.names import literal
from runtime.contract.snowflake_names import (
    FILE_RECEIPTS,
    LANDING,
    QUARANTINE,
    SYNC,
    SnowflakeObjects,
)
from runtime.contract.specs import Table

# Long past the 14 days for which Snowpipe remembers what it has loaded.
KEPT_DAYS = 30


def clear_landing(objects: SnowflakeObjects, table: Table) -> str:
    """Render the removal of old lines that have a receipt.

    Lines in quarantine stay: they are what a person has to look at.

    Args:
        objects: Where the sync lives.
        table: The table.
    """
    name = literal(table.contract.table)
    landing = objects.qualified(LANDING, objects.landing(table))
    return (
        f"DELETE FROM {landing}\n"
        "USING (\n"
        "  SELECT l.file_name AS merged_file, l.file_row AS merged_row\n"
        f"  FROM {landing} AS l\n"
        f"  JOIN {objects.qualified(SYNC, FILE_RECEIPTS)} AS r\n"
        f"    ON r.table_name = {name} AND r.file_name = l.file_name\n"
        "    AND l.file_row BETWEEN r.first_row AND r.last_row\n"
        f"  LEFT JOIN {objects.qualified(SYNC, QUARANTINE)} AS q\n"
        f"    ON q.table_name = {name} AND q.file_name = l.file_name\n"
        "    AND q.file_row = l.file_row\n"
        f"  WHERE l.loaded_at < DATEADD(DAY, -{KEPT_DAYS}, SYSDATE())\n"
        "    AND q.file_name IS NULL\n"
        ") AS m\n"
        "WHERE file_name = m.merged_file AND file_row = m.merged_row"
    )
