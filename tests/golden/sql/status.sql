COPY INTO @SHOP_DEV.LANDING.STATUS/tables.json
FROM (
  SELECT OBJECT_CONSTRUCT(
    'written_at', TO_VARCHAR(SYSDATE(), 'YYYY-MM-DD HH24:MI:SS.FF6'),
    'tables', ARRAY_AGG(OBJECT_CONSTRUCT(
      'table', table_name,
      'last_seq', last_seq,
      'merged_seq', merged_seq,
      'merged_through', merged_through,
      'merged_at', merged_at,
      'chain_at', chain_at,
      'rows_quarantined', rows_quarantined,
      'files_overdue', files_overdue
    ))
  )
  FROM SHOP_DEV.SYNC.SYNC_STATE
)
FILE_FORMAT = (TYPE = JSON COMPRESSION = NONE)
OVERWRITE = TRUE
SINGLE = TRUE
