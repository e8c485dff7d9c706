"""What Snowflake tells AWS: one small file of how far each table is.

AWS holds no Snowflake credential, so that its alarms could not ask. A task without a
warehouse writes the file every few minutes, the checker reads it beside the ledger.
The file has the times of commits, not their ages: those go on growing when nobody
writes it any more.

An unload of JSON has one column, here one object of all tables. SINGLE gives the file
its very name, OVERWRITE replaces the last one.
Source: https://docs.snowflake.com/en/sql-reference/sql/copy-into-location
"""

from collections.abc import Iterable

from msgspec import Struct

from runtime.contract.dialect import MANIFEST_FORMAT
from runtime.contract.names import literal
from runtime.contract.snowflake_names import (
    LANDING,
    SYNC,
    SnowflakeObjects,
    status_folder,
)
from runtime.contract.snowflake_sweep import SYNC_OVERDUE
from runtime.contract.snowflake_waiting import last_counts
from runtime.contract.specs import Table

SYNC_STATE = "SYNC_STATE"
STATUS_FILE = "tables.json"
_MOMENT = "YYYY-MM-DD HH24:MI:SS.FF6"


class TableProgress(Struct, frozen=True, kw_only=True):
    """How far one table is, as Snowflake sees it.

    Attributes:
        table: Source table.
        last_seq: Number of the newest manifest that has arrived; None before the first.
        merged_seq: Last link of the unbroken chain of complete manifests.
        merged_through: Watermark up to which the target is complete.
        merged_at: When the manifest of that watermark was committed, ISO time.
        chain_at: When the last link of the chain was committed, whatever its mode.
        rows_quarantined: Rows of the last days that no newer version has replaced.
        files_overdue: Files and manifests that the sweep has loaded again, or should.
    """

    table: str
    last_seq: int | None = None
    merged_seq: int | None = None
    merged_through: str | None = None
    merged_at: str | None = None
    chain_at: str | None = None
    rows_quarantined: int = 0
    files_overdue: int = 0


class WrittenStatus(Struct, frozen=True, kw_only=True):
    """The file.

    Attributes:
        written_at: When Snowflake wrote it, UTC without a zone.
        tables: All tables that were deployed.
    """

    written_at: str
    tables: tuple[TableProgress, ...] = ()


def status_key(stack: str) -> str:
    """Return the file's key in the bucket."""
    return status_folder(stack) + STATUS_FILE


def state_view(objects: SnowflakeObjects, tables: Iterable[Table]) -> str:
    """Render the view of how far each deployed table is.

    Args:
        objects: Where the sync lives.
        tables: The tables whose landing and target tables stand.
    """
    places = ",\n    ".join(f"({literal(table.contract.table)})" for table in tables)
    return f"""WITH places AS (
  SELECT p.table_name
  FROM (VALUES
    {places or "(NULL)"}) AS p (table_name)
  WHERE p.table_name IS NOT NULL
),
merged AS (
  SELECT s.table_name,
    MAX_BY(r.committed_at, CASE WHEN r.high IS NOT NULL THEN r.seq END) AS merged_at,
    MAX_BY(r.committed_at, r.seq) AS chain_at
  FROM {objects.qualified(SYNC, 'SYNC_STATUS')} AS s
  JOIN {objects.qualified(SYNC, 'SYNC_RUNS')} AS r
    ON r.table_name = s.table_name AND r.seq <= s.merged_seq
  GROUP BY s.table_name
),
quarantined AS (
{last_counts(objects)}
),
overdue AS (
  SELECT table_name, COUNT(1) AS file_count
  FROM {objects.qualified(SYNC, SYNC_OVERDUE)}
  WHERE times > 0 OR due_at <= SYSDATE()
  GROUP BY table_name
)
SELECT p.table_name, s.last_seq, s.merged_seq, s.merged_through,
  IFF(s.merged_through IS NULL, NULL, m.merged_at) AS merged_at, m.chain_at,
  COALESCE(q.row_count, 0)::NUMBER(19,0) AS rows_quarantined,
  COALESCE(o.file_count, 0)::NUMBER(19,0) AS files_overdue
FROM places AS p
LEFT JOIN {objects.qualified(SYNC, 'SYNC_STATUS')} AS s ON s.table_name = p.table_name
LEFT JOIN merged AS m ON m.table_name = p.table_name
LEFT JOIN quarantined AS q ON q.table_name = p.table_name
LEFT JOIN overdue AS o ON o.table_name = p.table_name"""


def status_statement(objects: SnowflakeObjects) -> str:
    """Render the unload of the view: the body of the status task."""
    stage = objects.qualified(LANDING, objects.status_stage)
    names = [field for field in TableProgress.__struct_fields__ if field != "table"]
    pairs = ",\n      ".join(f"{literal(name)}, {name}" for name in names)
    return f"""COPY INTO @{stage}/{STATUS_FILE}
FROM (
  SELECT OBJECT_CONSTRUCT(
    'written_at', TO_VARCHAR(SYSDATE(), {literal(_MOMENT)}),
    'tables', ARRAY_AGG(OBJECT_CONSTRUCT(
      'table', table_name,
      {pairs}
    ))
  )
  FROM {objects.qualified(SYNC, SYNC_STATE)}
)
FILE_FORMAT = ({MANIFEST_FORMAT})
OVERWRITE = TRUE
SINGLE = TRUE"""
