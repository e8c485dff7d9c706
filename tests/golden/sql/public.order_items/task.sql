BEGIN
BEGIN TRANSACTION;
INSERT INTO SHOP_DEV.SYNC.QUARANTINE
  (table_name, file_name, file_row, stamp, key_text, column_name,
   value_text, reason, quarantined_at)
  WITH raw AS (
    SELECT file_name, file_row, SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) AS stamp,
      SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
      c1, c2, c3, c4, c5, c6, c7,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, TRY_CAST(c2 AS NUMBER(10,0)) AS v2, c3 AS v3, TRY_CAST(c4 AS NUMBER(10,0)) AS v4, TRY_CAST(c5 AS NUMBER(10,2)) AS v5, TRY_CAST(c6 AS BOOLEAN) AS v6, TRY_TO_TIMESTAMP_NTZ(c7, 'YYYY-MM-DD HH24:MI:SS.FF6') AS v7
    FROM SHOP_DEV.LANDING.PUBLIC__ORDER_ITEMS_STREAM
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, v1, v2, v3, v4, v5, v6, v7,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN v2 IS NULL THEN 2
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c5 IS NOT NULL AND v5 IS NULL THEN 5
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      END AS misfit
    FROM raw
  )
  SELECT 'public.order_items', file_name, file_row, stamp,
    COALESCE(c1, '') || ',' || COALESCE(c2, ''),
    CASE misfit
      WHEN 1 THEN 'order_id'
      WHEN 2 THEN 'line_no'
      WHEN 3 THEN 'sku'
      WHEN 4 THEN 'quantity'
      WHEN 5 THEN 'unit_price'
      WHEN 6 THEN 'gift_wrap'
      WHEN 7 THEN 'updated_at'
    END,
    CASE misfit
      WHEN 1 THEN c1
      WHEN 2 THEN c2
      WHEN 3 THEN c3
      WHEN 4 THEN c4
      WHEN 5 THEN c5
      WHEN 6 THEN c6
      WHEN 7 THEN c7
    END,
    CASE misfit
      WHEN 1 THEN 'does not fit NUMBER(19,0)'
      WHEN 2 THEN 'does not fit NUMBER(10,0)'
      WHEN 3 THEN 'does not fit VARCHAR(40)'
      WHEN 4 THEN 'does not fit NUMBER(10,0)'
      WHEN 5 THEN 'does not fit NUMBER(10,2)'
      WHEN 6 THEN 'does not fit BOOLEAN'
      WHEN 7 THEN 'does not fit TIMESTAMP_NTZ(6)'
    END,
    CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6)
  FROM typed
  WHERE misfit IS NOT NULL;
INSERT INTO SHOP_DEV.SYNC.FILE_RECEIPTS
  (table_name, file_name, rows_loaded, rows_applied, rows_superseded,
   rows_quarantined, merged_at)
  WITH raw AS (
    SELECT file_name, file_row, SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) AS stamp,
      SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
      c1, c2, c3, c4, c5, c6, c7,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, TRY_CAST(c2 AS NUMBER(10,0)) AS v2, c3 AS v3, TRY_CAST(c4 AS NUMBER(10,0)) AS v4, TRY_CAST(c5 AS NUMBER(10,2)) AS v5, TRY_CAST(c6 AS BOOLEAN) AS v6, TRY_TO_TIMESTAMP_NTZ(c7, 'YYYY-MM-DD HH24:MI:SS.FF6') AS v7
    FROM SHOP_DEV.LANDING.PUBLIC__ORDER_ITEMS_STREAM
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, v1, v2, v3, v4, v5, v6, v7,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN v2 IS NULL THEN 2
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c5 IS NOT NULL AND v5 IS NULL THEN 5
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      END AS misfit
    FROM raw
  ),
  ranked AS (
    SELECT file_name, file_row, stamp, misfit, v1, v2,
      ROW_NUMBER() OVER (PARTITION BY misfit IS NULL, v1, v2 ORDER BY stamp DESC NULLS LAST, file_name, file_row) AS place
    FROM typed
  ),
  judged AS (
    SELECT r.file_name, r.file_row, r.misfit,
      r.misfit IS NULL AND r.place = 1
        AND r.stamp > COALESCE(t._sync_stamp, '') AS wins
    FROM ranked AS r
    LEFT JOIN SHOP_DEV.PUBLIC.ORDER_LINES AS t
      ON t.order_id = r.v1 AND t.line_no = r.v2
  ),
  counted AS (
    SELECT file_name, COUNT(DISTINCT file_row) AS loaded,
      COUNT(DISTINCT CASE WHEN wins THEN file_row END) AS applied,
      COUNT(DISTINCT CASE WHEN misfit IS NOT NULL THEN file_row END)
        AS quarantined
    FROM judged
    GROUP BY file_name
  )
  SELECT 'public.order_items', file_name, loaded, applied,
    loaded - applied - quarantined, quarantined, CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6)
  FROM counted;
MERGE INTO SHOP_DEV.PUBLIC.ORDER_LINES AS t
USING (
  WITH raw AS (
    SELECT file_name, file_row, SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) AS stamp,
      SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
      c1, c2, c3, c4, c5, c6, c7,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, TRY_CAST(c2 AS NUMBER(10,0)) AS v2, c3 AS v3, TRY_CAST(c4 AS NUMBER(10,0)) AS v4, TRY_CAST(c5 AS NUMBER(10,2)) AS v5, TRY_CAST(c6 AS BOOLEAN) AS v6, TRY_TO_TIMESTAMP_NTZ(c7, 'YYYY-MM-DD HH24:MI:SS.FF6') AS v7
    FROM SHOP_DEV.LANDING.PUBLIC__ORDER_ITEMS_STREAM
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, v1, v2, v3, v4, v5, v6, v7,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN v2 IS NULL THEN 2
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c5 IS NOT NULL AND v5 IS NULL THEN 5
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      END AS misfit
    FROM raw
  )
  SELECT file_name, stamp, width, v1, v2, v3, v4, v5, v6, v7
  FROM typed
  WHERE misfit IS NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY misfit IS NULL, v1, v2 ORDER BY stamp DESC NULLS LAST, file_name, file_row) = 1
) AS s
ON t.order_id = s.v1 AND t.line_no = s.v2
WHEN MATCHED AND s.stamp > COALESCE(t._sync_stamp, '') THEN UPDATE SET
  sku = s.v3,
  quantity = s.v4,
  unit_price = s.v5,
  gift_wrap = s.v6,
  updated_at = s.v7,
  _sync_stamp = s.stamp,
  _sync_file = s.file_name,
  _sync_at = CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6),
  _deleted_at = NULL
WHEN NOT MATCHED THEN INSERT
  (order_id, line_no, sku, quantity, unit_price, gift_wrap, updated_at, _sync_stamp, _sync_file, _sync_at, _deleted_at)
  VALUES (s.v1, s.v2, s.v3, s.v4, s.v5, s.v6, s.v7, s.stamp, s.file_name, CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6), NULL);
COMMIT;
EXCEPTION
  WHEN OTHER THEN
    ROLLBACK;
    RAISE;
END
