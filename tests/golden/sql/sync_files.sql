WITH promised AS (
  SELECT m.body:table::VARCHAR AS table_name, m.body:seq::NUMBER(19,0) AS seq,
    f.value:key::VARCHAR AS file_name, f.value:rows::NUMBER(19,0) AS rows_exported,
    f.value:bytes::NUMBER(19,0) AS bytes, f.value:stamp::VARCHAR AS stamp
  FROM SHOP_DEV.SYNC.MANIFESTS AS m,
    LATERAL FLATTEN(INPUT => m.body:files) AS f
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY f.value:key::VARCHAR ORDER BY m.loaded_at) = 1
),
merged AS (
  SELECT file_name, SUM(rows_loaded)::NUMBER(19,0) AS rows_loaded,
    SUM(rows_applied)::NUMBER(19,0) AS rows_applied,
    SUM(rows_superseded)::NUMBER(19,0) AS rows_superseded,
    SUM(rows_quarantined)::NUMBER(19,0) AS rows_quarantined,
    MAX(merged_at) AS merged_at
  FROM SHOP_DEV.SYNC.FILE_RECEIPTS
  GROUP BY file_name
)
SELECT p.table_name, p.seq, p.file_name, p.stamp, p.rows_exported, p.bytes,
  COALESCE(m.rows_loaded, 0) AS rows_loaded,
  COALESCE(m.rows_applied, 0) AS rows_applied,
  COALESCE(m.rows_superseded, 0) AS rows_superseded,
  COALESCE(m.rows_quarantined, 0) AS rows_quarantined,
  m.merged_at, COALESCE(m.rows_loaded, 0) = p.rows_exported AS complete
FROM promised AS p
LEFT JOIN merged AS m ON m.file_name = p.file_name
