WITH promised AS (
  SELECT m.body:"table"::VARCHAR AS table_name, m.body:seq::NUMBER(19,0) AS seq,
    f.value:key::VARCHAR AS file_name, f.value:"rows"::NUMBER(19,0) AS rows_exported,
    f.value:bytes::NUMBER(19,0) AS bytes, f.value:stamp::VARCHAR AS stamp
  FROM SHOP_DEV.SYNC.MANIFESTS AS m,
    LATERAL FLATTEN(INPUT => m.body:files) AS f
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY m.file_name, f.value:key::VARCHAR ORDER BY m.loaded_at) = 1
),
spans AS (
  SELECT file_name, first_row, last_row, rows_applied, values_nulled, merged_at,
    COALESCE(MAX(last_row) OVER (PARTITION BY file_name ORDER BY first_row, last_row
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS reached
  FROM SHOP_DEV.SYNC.FILE_RECEIPTS
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
  FROM SHOP_DEV.SYNC.QUARANTINE
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
LEFT JOIN quarantined AS q ON q.file_name = p.file_name
