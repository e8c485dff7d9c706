"""The sweep: what was exported and is not merged in time is loaded again, by name.

One mechanism heals a lost or doubled event, a pipe that was paused or made anew, half a
file, a stream that was made anew or went stale after rows had landed, and a right that
was missing for a while. Rows that come twice are harmless: receipts count lines, and
stamps order versions.

FORCE loads a file whatever was loaded before, and a file that is missing or damaged
fails its own statement only.
Source: https://docs.snowflake.com/en/sql-reference/sql/copy-into-table
"""

from collections.abc import Iterable

from runtime.contract.dialect import DIALECT, MANIFEST_FORMAT
from runtime.contract.names import literal, quote_snowflake
from runtime.contract.snowflake_deletes import kind_part, name_part
from runtime.contract.snowflake_names import (
    LANDING,
    MANIFESTS,
    SWEEPS,
    SYNC,
    SnowflakeObjects,
)
from runtime.contract.specs import Table

SYNC_OVERDUE = "SYNC_OVERDUE"
LATE_MINUTES = 15
# A merge of much data takes longer; a second of patience for this many bytes.
_BYTES_A_SECOND = 16_000_000
# What does not help is tried less and less often, at most every five days.
_MOST_DOUBLINGS = 9
_FILES_AT_ONCE = 200
_NOW = "SYSDATE()"
# Variables of Snowflake Scripting; no column has such a name.
_SHAPE = """DECLARE
  overdue CURSOR FOR
{query};
  swept_table VARCHAR;
  swept_file VARCHAR;
  command VARCHAR;
  problem VARCHAR;
BEGIN
  FOR each IN overdue DO
    swept_table := each.table_name;
    swept_file := each.file_name;
    command := each.statement;
    problem := NULL;
    BEGIN
      EXECUTE IMMEDIATE command;
    EXCEPTION
      WHEN OTHER THEN
        problem := sqlerrm;
    END;
    {note};
  END FOR;
END"""


def overdue_view(objects: SnowflakeObjects, tables: Iterable[Table]) -> str:
    """Render the view of all that waits, with the statement that loads it again.

    Keys and seals wait until nothing older is missing: a row that came after the seal
    which should have marked it would live.

    Args:
        objects: Where the sync lives.
        tables: The tables whose landing tables stand.
    """
    places = ",\n    ".join(
        f"({literal(table.contract.table)}, "
        f"{literal(quote_snowflake(objects.landing(table)))})"
        for table in tables
    )
    patience = f"{60 * LATE_MINUTES} * POWER(2, LEAST(COALESCE(t.times, 0), "
    patience += f"{_MOST_DOUBLINGS})) + w.table_bytes / {_BYTES_A_SECOND}"
    return f"""WITH places AS (
  SELECT p.table_name, p.landing
  FROM (VALUES
    {places or "(NULL, NULL)"}) AS p (table_name, landing)
),
links AS (
  SELECT table_name, seq, manifest, {_utc('committed_at')} AS since,
    COALESCE(LAG(seq) OVER (PARTITION BY table_name ORDER BY seq), 0) AS seq_before
  FROM {objects.qualified(SYNC, 'SYNC_RUNS')}
),
gaps AS (
  SELECT l.table_name, g.value::NUMBER(19,0) AS seq, l.since,
    REGEXP_REPLACE(l.manifest, '[^/]+$', '')
      || LPAD(g.value::VARCHAR, 10, '0') || '.json' AS file_name
  FROM links AS l,
    LATERAL FLATTEN(INPUT => ARRAY_GENERATE_RANGE(
      (l.seq_before + 1)::INTEGER, l.seq::INTEGER)) AS g
),
first_gaps AS (
  SELECT table_name, MIN(seq) AS seq
  FROM gaps
  GROUP BY table_name
),
open_files AS (
  SELECT f.table_name, f.seq, f.file_name, l.since,
    {name_part(2, 'f.file_name')}::NUMBER(5,0) AS width,
    {kind_part('f.file_name')} = 'c' AS has_rows,
    MIN(f.seq) OVER (PARTITION BY f.table_name) AS first_seq,
    SUM(f.bytes) OVER (PARTITION BY f.table_name) AS table_bytes
  FROM {objects.qualified(SYNC, 'SYNC_FILES')} AS f
  JOIN links AS l ON l.table_name = f.table_name AND l.seq = f.seq
  WHERE NOT f.complete
),
waiting AS (
  SELECT f.table_name, f.seq, f.file_name, f.since, f.table_bytes,
    {_file_copy(objects)} AS statement
  FROM open_files AS f
  JOIN places AS p ON p.table_name = f.table_name
  LEFT JOIN first_gaps AS g ON g.table_name = f.table_name
  WHERE f.has_rows OR (f.seq = f.first_seq AND f.seq < COALESCE(g.seq, f.seq + 1))
  UNION ALL
  SELECT g.table_name, g.seq, g.file_name, g.since, 0 AS table_bytes,
    {_manifest_copy(objects)} AS statement
  FROM gaps AS g
  JOIN places AS p ON p.table_name = g.table_name
),
tries AS (
  SELECT file_name, COUNT(1) AS times, MAX(swept_at) AS swept_at,
    MAX_BY(problem, swept_at) AS problem
  FROM {objects.qualified(SYNC, SWEEPS)}
  GROUP BY file_name
)
SELECT w.table_name, w.seq, w.file_name, w.since,
  COALESCE(t.times, 0) AS times, t.problem,
  DATEADD(SECOND, ({patience})::NUMBER(19,0),
    GREATEST(w.since, COALESCE(t.swept_at, w.since))) AS due_at,
  w.statement
FROM waiting AS w
LEFT JOIN tries AS t ON t.file_name = w.file_name"""


def _utc(column: str) -> str:
    return f"CONVERT_TIMEZONE('UTC', {column}::TIMESTAMP_TZ)::TIMESTAMP_NTZ(6)"


def _file_copy(objects: SnowflakeObjects) -> str:
    """An expression: the pipe's statement for `f`, as wide as the file is."""
    places = "ARRAY_GENERATE_RANGE(1, (f.width + 1)::INTEGER)"
    schema = f"{quote_snowflake(objects.database)}.{quote_snowflake(LANDING)}"
    return " || ".join(
        (
            literal(f"COPY INTO {schema}."),
            "p.landing",
            "' (file_name, file_row, loaded_at, c'",
            f"ARRAY_TO_STRING({places}, ', c')",
            literal(
                ") FROM (SELECT METADATA$FILENAME, METADATA$FILE_ROW_NUMBER, "
                "METADATA$START_SCAN_TIME, t.$"
            ),
            f"ARRAY_TO_STRING({places}, ', t.$')",
            _from_stage(objects, objects.exports_stage),
            _file(f"exports/{objects.stack}/", "f.file_name", DIALECT.copy_format),
        )
    )


def _manifest_copy(objects: SnowflakeObjects) -> str:
    landing = objects.qualified(SYNC, MANIFESTS)
    return " || ".join(
        (
            literal(
                f"COPY INTO {landing} (file_name, loaded_at, body) FROM ("
                "SELECT METADATA$FILENAME, METADATA$START_SCAN_TIME, t.$1"
            ),
            _from_stage(objects, objects.manifests_stage),
            _file(f"manifests/{objects.stack}/", "g.file_name", MANIFEST_FORMAT),
        )
    )


def _from_stage(objects: SnowflakeObjects, stage: str) -> str:
    return literal(f" FROM @{objects.qualified(LANDING, stage)}/ t) ")


def _file(folder: str, name: str, file_format: str) -> str:
    options = f"FILE_FORMAT = ({file_format}) ON_ERROR = ABORT_STATEMENT FORCE = TRUE"
    opened, closed = literal("FILES = ('"), literal(f"') {options}")
    return f"{opened} || SUBSTR({name}, {len(folder) + 1}) || {closed}"


def sweep_condition(objects: SnowflakeObjects) -> str:
    """Render the condition that triggers the sweep: a manifest has come."""
    return f"SYSTEM$STREAM_HAS_DATA({literal(_stream(objects))})"


def sweep_block(objects: SnowflakeObjects) -> str:
    """Render the body of the sweep's task.

    The stream of manifests is consumed once nothing of the last day waits; until then
    it goes on triggering the task, at its minimum interval. What waits longer rides
    with the next manifest of any table. DML consumes a whole stream, whatever its
    filter.
    Source: https://docs.snowflake.com/en/user-guide/streams-intro
    """
    view = objects.qualified(SYNC, SYNC_OVERDUE)
    sweeps = objects.qualified(SYNC, SWEEPS)
    columns = "table_name, file_name, problem, swept_at"
    consume = (
        f"INSERT INTO {sweeps} ({columns}) SELECT NULL, NULL, NULL, {_NOW} "
        f"FROM {_stream(objects)} WHERE 0 = 1"
    )
    query = f"""    SELECT w.table_name, w.file_name, w.statement
    FROM (
      SELECT table_name, file_name, statement
      FROM {view}
      WHERE due_at <= {_NOW}
      ORDER BY seq, file_name
      LIMIT {_FILES_AT_ONCE}
    ) AS w
    UNION ALL
    SELECT NULL, NULL, {literal(consume)}
    FROM (
      SELECT COUNT_IF(since > DATEADD(DAY, -1, {_NOW})) AS fresh FROM {view}
    ) AS n
    WHERE n.fresh = 0"""
    note = f"INSERT INTO {sweeps} ({columns})\n"
    note += f"      SELECT :swept_table, :swept_file, :problem, {_NOW}"
    return _SHAPE.format(query=query, note=note)


def _stream(objects: SnowflakeObjects) -> str:
    return objects.qualified(LANDING, objects.sweep_stream)
