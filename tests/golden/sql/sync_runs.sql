WITH manifests AS (
  SELECT body:"table"::VARCHAR AS table_name, body:seq::NUMBER(19,0) AS seq,
    body:run::VARCHAR AS run, body:mode::VARCHAR AS mode,
    body:generation::NUMBER(19,0) AS generation, body:low::VARCHAR AS low,
    body:high::VARCHAR AS high, body:committed_at::VARCHAR AS committed_at,
    file_name AS manifest
  FROM SHOP_DEV.SYNC.MANIFESTS
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
  FROM SHOP_DEV.SYNC.SYNC_FILES
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
LEFT JOIN receipts AS r ON r.table_name = m.table_name AND r.seq = m.seq
