"""State as views: what was exported, loaded and merged, without any AWS access.

Receipts join the files that manifests promise with the lines that the merge task has
seen of them: spans that overlap, of a file that came twice, count once.
`merged_through` is the high of the last link of the unbroken chain of complete
manifests: a missing or unfinished manifest stops it.

An element of JSON whose name is a reserved word stands in quotes.
Source: https://docs.snowflake.com/en/user-guide/querying-semistructured
"""

from runtime.contract.snowflake_names import (
    FILE_RECEIPTS,
    MANIFESTS,
    QUARANTINE,
    SYNC,
    SnowflakeObjects,
)


def views(objects: SnowflakeObjects) -> dict[str, str]:
    """Return the SELECT of each view of the SYNC schema, in order of dependence."""
    return {
        "SYNC_FILES": _files(objects),
        "SYNC_RUNS": _runs(objects),
        "SYNC_STATUS": _status(objects),
    }


def _files(objects: SnowflakeObjects) -> str:
    return f"""WITH promised AS (
  SELECT m.body:"table"::VARCHAR AS table_name, m.body:seq::NUMBER(19,0) AS seq,
    f.value:key::VARCHAR AS file_name, f.value:"rows"::NUMBER(19,0) AS rows_exported,
    f.value:bytes::NUMBER(19,0) AS bytes, f.value:stamp::VARCHAR AS stamp
  FROM {objects.qualified(SYNC, MANIFESTS)} AS m,
    LATERAL FLATTEN(INPUT => m.body:files) AS f
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY m.file_name, f.value:key::VARCHAR ORDER BY m.loaded_at) = 1
),
spans AS (
  SELECT file_name, first_row, last_row, rows_applied, values_nulled, merged_at,
    COALESCE(MAX(last_row) OVER (PARTITION BY file_name ORDER BY first_row, last_row
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS reached
  FROM {objects.qualified(SYNC, FILE_RECEIPTS)}
),
merged AS (
  SELECT file_name,
    SUM(GREATEST(0, last_row - GREATEST(first_row - 1, reached)))::NUMBER(19,0)
      AS rows_loaded,
    SUM(rows_applied)::NUMBER(19,0) AS rows_applied,
    SUM(values_nulled)::NUMBER(19,0) AS values_nulled, MAX(merged_at) AS merged_at
  FROM spans
  GROUP BY file_name
),
quarantined AS (
  SELECT file_name, COUNT(DISTINCT file_row)::NUMBER(19,0) AS rows_quarantined
  FROM {objects.qualified(SYNC, QUARANTINE)}
  GROUP BY file_name
)
SELECT p.table_name, p.seq, p.file_name, p.stamp, p.rows_exported, p.bytes,
  COALESCE(m.rows_loaded, 0) AS rows_loaded,
  COALESCE(m.rows_applied, 0) AS rows_applied,
  GREATEST(0, COALESCE(m.rows_loaded, 0) - COALESCE(m.rows_applied, 0)
    - COALESCE(q.rows_quarantined, 0)) AS rows_superseded,
  COALESCE(q.rows_quarantined, 0) AS rows_quarantined,
  COALESCE(m.values_nulled, 0) AS values_nulled,
  m.merged_at, COALESCE(m.rows_loaded, 0) = p.rows_exported AS complete
FROM promised AS p
LEFT JOIN merged AS m ON m.file_name = p.file_name
LEFT JOIN quarantined AS q ON q.file_name = p.file_name"""


def _runs(objects: SnowflakeObjects) -> str:
    return f"""WITH manifests AS (
  SELECT body:"table"::VARCHAR AS table_name, body:seq::NUMBER(19,0) AS seq,
    body:run::VARCHAR AS run, body:mode::VARCHAR AS mode,
    body:generation::NUMBER(19,0) AS generation, body:low::VARCHAR AS low,
    body:high::VARCHAR AS high, body:committed_at::VARCHAR AS committed_at,
    file_name AS manifest
  FROM {objects.qualified(SYNC, MANIFESTS)}
  QUALIFY ROW_NUMBER() OVER (PARTITION BY file_name ORDER BY loaded_at) = 1
),
receipts AS (
  SELECT table_name, seq, COUNT(file_name) AS files,
    SUM(rows_exported)::NUMBER(19,0) AS rows_exported,
    SUM(bytes)::NUMBER(19,0) AS bytes,
    SUM(rows_loaded)::NUMBER(19,0) AS rows_loaded,
    SUM(rows_applied)::NUMBER(19,0) AS rows_applied,
    SUM(rows_superseded)::NUMBER(19,0) AS rows_superseded,
    SUM(rows_quarantined)::NUMBER(19,0) AS rows_quarantined,
    SUM(values_nulled)::NUMBER(19,0) AS values_nulled,
    COUNT_IF(NOT complete) AS files_open, MAX(merged_at) AS merged_at
  FROM {objects.qualified(SYNC, 'SYNC_FILES')}
  GROUP BY table_name, seq
)
SELECT m.table_name, m.seq, m.run, m.mode, m.generation, m.low, m.high,
  m.committed_at, m.manifest,
  COALESCE(r.files, 0) AS files, COALESCE(r.rows_exported, 0) AS rows_exported,
  COALESCE(r.bytes, 0) AS bytes, COALESCE(r.rows_loaded, 0) AS rows_loaded,
  COALESCE(r.rows_applied, 0) AS rows_applied,
  COALESCE(r.rows_superseded, 0) AS rows_superseded,
  COALESCE(r.rows_quarantined, 0) AS rows_quarantined,
  COALESCE(r.values_nulled, 0) AS values_nulled,
  r.merged_at, COALESCE(r.files_open, 0) = 0 AS complete
FROM manifests AS m
LEFT JOIN receipts AS r ON r.table_name = m.table_name AND r.seq = m.seq"""


def _status(objects: SnowflakeObjects) -> str:
    return f"""WITH chain AS (
  SELECT table_name, seq, complete,
    IFF(generation = MAX(generation) OVER (PARTITION BY table_name), high, NULL)
      AS high,
    seq = ROW_NUMBER() OVER (PARTITION BY table_name ORDER BY seq) AS linked
  FROM {objects.qualified(SYNC, 'SYNC_RUNS')}
),
broken AS (
  SELECT table_name, MIN(CASE WHEN NOT (complete AND linked) THEN seq END) AS first_bad,
    MAX(seq) AS last_seq
  FROM chain
  GROUP BY table_name
),
sound AS (
  SELECT c.table_name, MAX(c.seq) AS merged_seq,
    MAX_BY(c.high, CASE WHEN c.high IS NOT NULL THEN c.seq END) AS merged_through
  FROM chain AS c
  JOIN broken AS b ON b.table_name = c.table_name
  WHERE b.first_bad IS NULL OR c.seq < b.first_bad
  GROUP BY c.table_name
)
SELECT b.table_name, b.last_seq, COALESCE(s.merged_seq, 0) AS merged_seq,
  s.merged_through, b.first_bad
FROM broken AS b
LEFT JOIN sound AS s ON s.table_name = b.table_name"""
