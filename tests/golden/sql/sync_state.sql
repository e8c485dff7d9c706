WITH places AS (
  SELECT p.table_name
  FROM (VALUES
    ('public.customers'),
    ('public.orders'),
    ('public.order_items')) AS p (table_name)
  WHERE p.table_name IS NOT NULL
),
merged AS (
  SELECT s.table_name,
    MAX_BY(r.committed_at, CASE WHEN r.high IS NOT NULL THEN r.seq END) AS merged_at,
    MAX_BY(r.committed_at, r.seq) AS chain_at
  FROM SHOP_DEV.SYNC.SYNC_STATUS AS s
  JOIN SHOP_DEV.SYNC.SYNC_RUNS AS r
    ON r.table_name = s.table_name AND r.seq <= s.merged_seq
  GROUP BY s.table_name
),
quarantined AS (
  SELECT table_name,
    IFF(MAX_BY(newest_at, counted_at) > DATEADD(DAY, -7, SYSDATE()),
      MAX_BY(rows_waiting, counted_at), 0) AS row_count
  FROM SHOP_DEV.SYNC.QUARANTINE_COUNTS
  GROUP BY table_name
),
overdue AS (
  SELECT table_name, COUNT(1) AS file_count
  FROM SHOP_DEV.SYNC.SYNC_OVERDUE
  WHERE times > 0 OR due_at <= SYSDATE()
  GROUP BY table_name
)
SELECT p.table_name, s.last_seq, s.merged_seq, s.merged_through,
  IFF(s.merged_through IS NULL, NULL, m.merged_at) AS merged_at, m.chain_at,
  COALESCE(q.row_count, 0)::NUMBER(19,0) AS rows_quarantined,
  COALESCE(o.file_count, 0)::NUMBER(19,0) AS files_overdue
FROM places AS p
LEFT JOIN SHOP_DEV.SYNC.SYNC_STATUS AS s ON s.table_name = p.table_name
LEFT JOIN merged AS m ON m.table_name = p.table_name
LEFT JOIN quarantined AS q ON q.table_name = p.table_name
LEFT JOIN overdue AS o ON o.table_name = p.table_name
