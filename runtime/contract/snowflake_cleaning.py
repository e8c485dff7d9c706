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
    return (
        f"DELETE FROM {objects.qualified(LANDING, objects.landing(table))}\n"
        "USING (\n"
        "  SELECT file_name AS merged_file, first_row, last_row\n"
        f"  FROM {objects.qualified(SYNC, FILE_RECEIPTS)}\n"
        f"  WHERE table_name = {name}\n"
        ") AS m\n"
        "WHERE file_name = m.merged_file\n"
        "  AND file_row BETWEEN m.first_row AND m.last_row\n"
        f"  AND loaded_at < DATEADD(DAY, -{KEPT_DAYS}, SYSDATE())\n"
        "  AND (file_name, file_row) NOT IN (\n"
        "    SELECT q.file_name, q.file_row\n"
        f"    FROM {objects.qualified(SYNC, QUARANTINE)} AS q\n"
        f"    WHERE q.table_name = {name}\n"
        "  )"
    )
