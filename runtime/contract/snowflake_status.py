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
from runtime.contract.names import literal, quote_snowflake_column
from runtime.contract.snowflake_names import (
    LANDING,
    QUARANTINE,
    SYNC,
    SnowflakeObjects,
    status_folder,
)
from runtime.contract.snowflake_sweep import SYNC_OVERDUE
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for

SYNC_STATE = "SYNC_STATE"
STATUS_FILE = "tables.json"
# What has waited in quarantine for longer, nobody needs to be told again; the doctor
# still does. Snowflake does not know whether Aurora still has the row.
QUARANTINE_DAYS = 7
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
    known = tuple(tables)
    places = ",\n    ".join(f"({literal(table.contract.table)})" for table in known)
    waiting = "\n  UNION ALL\n".join(_quarantined(objects, table) for table in known)
    nothing = "  SELECT NULL AS table_name, 0 AS row_count"
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
{waiting or nothing}
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


def _quarantined(objects: SnowflakeObjects, table: Table) -> str:
    return (
        f"  SELECT {literal(table.contract.table)} AS table_name,\n"
        "    COUNT(DISTINCT q.file_name || ' ' || q.file_row::VARCHAR) AS row_count\n"
        f"  {waiting_rows(objects, table)}\n"
        f"    AND q.quarantined_at > DATEADD(DAY, -{QUARANTINE_DAYS}, SYSDATE())"
    )


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
