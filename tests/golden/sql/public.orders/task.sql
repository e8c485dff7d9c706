BEGIN
BEGIN TRANSACTION;
INSERT INTO SHOP_DEV.SYNC.QUARANTINE
  (table_name, file_name, file_row, stamp, key_text, column_name,
   value_text, reason, quarantined_at)
  WITH raw AS (
    SELECT file_name, file_row, SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) AS stamp,
      SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
      c1, c2, c3, c4, c5, c6, c7,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, TRY_CAST(c2 AS NUMBER(19,0)) AS v2, c3 AS v3, TRY_CAST(c4 AS NUMBER(12,2)) AS v4, c5 AS v5, CASE WHEN LENGTH(c6) <= 29 AND RIGHT(c6, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c6, LENGTH(c6) - 3)) = 19, LEFT(c6, LENGTH(c6) - 3) || '.', LEFT(c6, LENGTH(c6) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v6, CASE WHEN LENGTH(c7) <= 29 AND RIGHT(c7, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c7, LENGTH(c7) - 3)) = 19, LEFT(c7, LENGTH(c7) - 3) || '.', LEFT(c7, LENGTH(c7) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v7
    FROM SHOP_DEV.LANDING.PUBLIC__ORDERS_STREAM
    WHERE LEFT(SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 3), 1) = 'c' AND SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) <= 7
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, v1, v2, v3, v4, v5, v6, v7,
      0 AS nulled,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN c2 IS NOT NULL AND v2 IS NULL THEN 2
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      END AS misfit
    FROM raw
  )
  SELECT 'public.orders', file_name, file_row, stamp,
    COALESCE(c1, ''),
    CASE misfit
      WHEN 1 THEN 'order_id'
      WHEN 2 THEN 'customer_id'
      WHEN 4 THEN 'total'
      WHEN 6 THEN 'placed_at'
      WHEN 7 THEN 'updated_at'
    END,
    CASE misfit
      WHEN 1 THEN c1
      WHEN 2 THEN c2
      WHEN 4 THEN c4
      WHEN 6 THEN c6
      WHEN 7 THEN c7
    END,
    CASE misfit
      WHEN 1 THEN 'does not fit NUMBER(19,0)'
      WHEN 2 THEN 'does not fit NUMBER(19,0)'
      WHEN 4 THEN 'does not fit NUMBER(12,2)'
      WHEN 6 THEN 'does not fit TIMESTAMP_TZ(6)'
      WHEN 7 THEN 'does not fit TIMESTAMP_TZ(6)'
    END,
    CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6)
  FROM typed
  WHERE misfit IS NOT NULL;
INSERT INTO SHOP_DEV.SYNC.FILE_RECEIPTS
  (table_name, file_name, first_row, last_row, rows_applied,
   values_nulled, merged_at)
  WITH raw AS (
    SELECT file_name, file_row, SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) AS stamp,
      SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
      c1, c2, c3, c4, c5, c6, c7,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, TRY_CAST(c2 AS NUMBER(19,0)) AS v2, c3 AS v3, TRY_CAST(c4 AS NUMBER(12,2)) AS v4, c5 AS v5, CASE WHEN LENGTH(c6) <= 29 AND RIGHT(c6, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c6, LENGTH(c6) - 3)) = 19, LEFT(c6, LENGTH(c6) - 3) || '.', LEFT(c6, LENGTH(c6) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v6, CASE WHEN LENGTH(c7) <= 29 AND RIGHT(c7, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c7, LENGTH(c7) - 3)) = 19, LEFT(c7, LENGTH(c7) - 3) || '.', LEFT(c7, LENGTH(c7) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v7
    FROM SHOP_DEV.LANDING.PUBLIC__ORDERS_STREAM
    WHERE LEFT(SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 3), 1) = 'c' AND SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) <= 7
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, v1, v2, v3, v4, v5, v6, v7,
      0 AS nulled,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN c2 IS NOT NULL AND v2 IS NULL THEN 2
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      END AS misfit
    FROM raw
  ),
  ranked AS (
    SELECT file_name, file_row, stamp, misfit, nulled, v1,
      ROW_NUMBER() OVER (PARTITION BY misfit IS NULL, v1 ORDER BY stamp DESC NULLS LAST, file_name, file_row) AS place
    FROM typed
  ),
  judged AS (
    SELECT r.file_name, r.file_row, r.misfit IS NULL AND r.place = 1
      AND r.stamp > COALESCE(t._sync_stamp, '') AS wins, r.nulled
    FROM ranked AS r
    LEFT JOIN SHOP_DEV.PUBLIC.ORDERS AS t
      ON t.order_id = r.v1
    UNION ALL
    SELECT file_name, file_row, FALSE AS wins, 0 AS nulled
    FROM SHOP_DEV.LANDING.PUBLIC__ORDERS_STREAM
    WHERE NOT LEFT(SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 3), 1) = 'c'
  ),
  counted AS (
    SELECT file_name, COUNT(DISTINCT file_row) AS loaded,
      MIN(file_row) AS first_row, MAX(file_row) AS last_row,
      COUNT_IF(wins) AS applied, SUM(IFF(wins, nulled, 0)) AS nulled
    FROM judged
    GROUP BY file_name
  ),
  scattered AS (
    SELECT DISTINCT j.file_name, j.file_row
    FROM judged AS j
    JOIN counted AS n ON n.file_name = j.file_name
    WHERE n.loaded < n.last_row - n.first_row + 1
  ),
  spans AS (
    SELECT file_name, first_row, last_row
    FROM counted
    WHERE loaded = last_row - first_row + 1
    UNION ALL
    SELECT file_name, MIN(file_row) AS first_row, MAX(file_row) AS last_row
    FROM (
      SELECT file_name, file_row, file_row - ROW_NUMBER() OVER (
        PARTITION BY file_name ORDER BY file_row) AS span
      FROM scattered
    ) AS s
    GROUP BY file_name, span
  )
  SELECT 'public.orders', s.file_name, s.first_row,
    s.last_row, IFF(s.first_row = n.first_row, n.applied, 0),
    IFF(s.first_row = n.first_row, n.nulled, 0)::NUMBER(19,0),
    CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6)
  FROM spans AS s
  JOIN counted AS n ON n.file_name = s.file_name;
MERGE INTO SHOP_DEV.PUBLIC.ORDERS AS t
USING (
  WITH raw AS (
    SELECT file_name, file_row, SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) AS stamp,
      SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
      c1, c2, c3, c4, c5, c6, c7,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, TRY_CAST(c2 AS NUMBER(19,0)) AS v2, c3 AS v3, TRY_CAST(c4 AS NUMBER(12,2)) AS v4, c5 AS v5, CASE WHEN LENGTH(c6) <= 29 AND RIGHT(c6, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c6, LENGTH(c6) - 3)) = 19, LEFT(c6, LENGTH(c6) - 3) || '.', LEFT(c6, LENGTH(c6) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v6, CASE WHEN LENGTH(c7) <= 29 AND RIGHT(c7, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c7, LENGTH(c7) - 3)) = 19, LEFT(c7, LENGTH(c7) - 3) || '.', LEFT(c7, LENGTH(c7) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v7
    FROM SHOP_DEV.LANDING.PUBLIC__ORDERS_STREAM
    WHERE LEFT(SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 3), 1) = 'c' AND SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) <= 7
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, v1, v2, v3, v4, v5, v6, v7,
      0 AS nulled,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN c2 IS NOT NULL AND v2 IS NULL THEN 2
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      END AS misfit
    FROM raw
  )
  SELECT file_name, stamp, width, v1, v2, v3, v4, v5, v6, v7
  FROM typed
  WHERE misfit IS NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY misfit IS NULL, v1 ORDER BY stamp DESC NULLS LAST, file_name, file_row) = 1
) AS s
ON t.order_id = s.v1
WHEN MATCHED AND s.stamp > COALESCE(t._sync_stamp, '') THEN UPDATE SET
  customer_id = s.v2,
  status = s.v3,
  total = s.v4,
  note = s.v5,
  placed_at = s.v6,
  updated_at = s.v7,
  _sync_stamp = s.stamp,
  _sync_file = s.file_name,
  _sync_at = CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6),
  _deleted_at = NULL
WHEN NOT MATCHED THEN INSERT
  (order_id, customer_id, status, total, note, placed_at, updated_at, _sync_stamp, _sync_file, _sync_at, _deleted_at)
  VALUES (s.v1, s.v2, s.v3, s.v4, s.v5, s.v6, s.v7, s.stamp, s.file_name, CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6), NULL);
INSERT INTO SHOP_DEV.LANDING.PUBLIC__ORDERS_KEYS (file_name, file_row, c1)
  SELECT file_name, file_row, c1
  FROM SHOP_DEV.LANDING.PUBLIC__ORDERS_STREAM
  WHERE NOT LEFT(SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 3), 1) = 'c';
INSERT INTO SHOP_DEV.SYNC.RECONCILES
  (table_name, seal, stamp, key_count, row_count, gone_count, decision,
   decided_at, missing_count)
  WITH decided AS (
    SELECT seal, COUNT_IF(decision = 'approved') AS approvals,
      COUNT_IF(decision = 'applied') AS applications
    FROM SHOP_DEV.SYNC.RECONCILES
    WHERE table_name = 'public.orders'
    GROUP BY seal
  ),
  seals AS (
    SELECT k.file_name AS seal, PARSE_JSON(MIN(k.c1)) AS body
    FROM SHOP_DEV.LANDING.PUBLIC__ORDERS_KEYS AS k
    LEFT JOIN decided AS d ON d.seal = k.file_name
    WHERE LEFT(SPLIT_PART(SPLIT_PART(k.file_name, '/', -1), '_', 3), 1) = 's' AND (d.seal IS NULL OR (d.approvals > 0 AND d.applications = 0))
    GROUP BY k.file_name
  ),
  promised AS (
    SELECT s.seal, f.value:key::VARCHAR AS file_name,
      f.value:"rows"::NUMBER(19,0) AS file_rows
    FROM seals AS s, LATERAL FLATTEN(INPUT => s.body:files) AS f
  ),
  present AS (
    SELECT DISTINCT p.seal, p.file_name, k.file_row, TRY_CAST(k.c1 AS NUMBER(19,0)) AS v1
    FROM promised AS p
    JOIN SHOP_DEV.LANDING.PUBLIC__ORDERS_KEYS AS k ON k.file_name = p.file_name
  ),
  arrived AS (
    SELECT p.seal, p.file_name, p.file_rows, COUNT(k.file_row) AS found
    FROM promised AS p
    LEFT JOIN present AS k
      ON k.seal = p.seal AND k.file_name = p.file_name
    GROUP BY p.seal, p.file_name, p.file_rows
  ),
  complete AS (
    SELECT s.seal, s.body:stamp::VARCHAR AS stamp,
      COALESCE(s.body:newer::NUMBER(19,0), 0) AS newer,
      COALESCE(SUM(a.found), 0) AS key_count
    FROM seals AS s
    LEFT JOIN arrived AS a ON a.seal = s.seal
    GROUP BY 1, 2, 3
    HAVING COUNT_IF(a.found <> a.file_rows) = 0
  ),
  newest AS (
    SELECT seal, stamp, newer, key_count
    FROM complete
    QUALIFY ROW_NUMBER() OVER (ORDER BY stamp DESC, seal DESC) = 1
  ),
  living AS (
    SELECT DISTINCT v1 FROM present AS k
    JOIN newest AS n ON n.seal = k.seal
  ),
  gone AS (
    SELECT COUNT(1) AS gone_count
    FROM SHOP_DEV.PUBLIC.ORDERS AS t
    JOIN newest AS n ON COALESCE(t._sync_stamp, '') < n.stamp
    LEFT JOIN living AS k ON k.v1 = t.order_id
    WHERE t._deleted_at IS NULL AND k.v1 IS NULL
  ),
  missing AS (
    SELECT COUNT(1) AS missing_count
    FROM living AS k
    LEFT JOIN SHOP_DEV.PUBLIC.ORDERS AS t
      ON k.v1 = t.order_id AND t._deleted_at IS NULL
    WHERE t.order_id IS NULL
  ),
  unfit AS (
    SELECT COUNT(DISTINCT key_text) AS unfit_count
    FROM SHOP_DEV.SYNC.QUARANTINE
    WHERE table_name = 'public.orders'
  ),
  rows_now AS (
    SELECT COUNT(1) AS row_count
    FROM SHOP_DEV.PUBLIC.ORDERS
    WHERE _deleted_at IS NULL
  ),
  before AS (
    SELECT MAX_BY(key_count, stamp) AS key_count,
      MAX(CASE WHEN decision = 'approved' THEN seal END) AS approved
    FROM SHOP_DEV.SYNC.RECONCILES
    WHERE table_name = 'public.orders'
  )
  SELECT 'public.orders', n.seal, n.stamp, n.key_count, r.row_count, g.gone_count,
    CASE
      WHEN g.gone_count = 0 OR b.approved = n.seal THEN 'applied'
      WHEN g.gone_count > r.row_count * 0.1
        THEN 'braked'
      WHEN n.key_count = 0 AND COALESCE(b.key_count, 1) > 0
        THEN 'unconfirmed'
      ELSE 'applied'
    END, CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6),
    GREATEST(0, m.missing_count - n.newer - u.unfit_count)
  FROM newest AS n, gone AS g, missing AS m, unfit AS u, rows_now AS r,
    before AS b;
MERGE INTO SHOP_DEV.PUBLIC.ORDERS AS t
USING (
  WITH decided AS (
    SELECT seal, COUNT_IF(decision = 'approved') AS approvals,
      COUNT_IF(decision = 'applied') AS applications
    FROM SHOP_DEV.SYNC.RECONCILES
    WHERE table_name = 'public.orders'
    GROUP BY seal
  ),
  seals AS (
    SELECT k.file_name AS seal, PARSE_JSON(MIN(k.c1)) AS body
    FROM SHOP_DEV.LANDING.PUBLIC__ORDERS_KEYS AS k
    LEFT JOIN decided AS d ON d.seal = k.file_name
    WHERE LEFT(SPLIT_PART(SPLIT_PART(k.file_name, '/', -1), '_', 3), 1) = 's' AND d.applications > 0
    GROUP BY k.file_name
  ),
  promised AS (
    SELECT s.seal, f.value:key::VARCHAR AS file_name,
      f.value:"rows"::NUMBER(19,0) AS file_rows
    FROM seals AS s, LATERAL FLATTEN(INPUT => s.body:files) AS f
  ),
  present AS (
    SELECT DISTINCT p.seal, p.file_name, k.file_row, TRY_CAST(k.c1 AS NUMBER(19,0)) AS v1
    FROM promised AS p
    JOIN SHOP_DEV.LANDING.PUBLIC__ORDERS_KEYS AS k ON k.file_name = p.file_name
  ),
  arrived AS (
    SELECT p.seal, p.file_name, p.file_rows, COUNT(k.file_row) AS found
    FROM promised AS p
    LEFT JOIN present AS k
      ON k.seal = p.seal AND k.file_name = p.file_name
    GROUP BY p.seal, p.file_name, p.file_rows
  ),
  complete AS (
    SELECT s.seal, s.body:stamp::VARCHAR AS stamp,
      COALESCE(s.body:newer::NUMBER(19,0), 0) AS newer,
      COALESCE(SUM(a.found), 0) AS key_count
    FROM seals AS s
    LEFT JOIN arrived AS a ON a.seal = s.seal
    GROUP BY 1, 2, 3
    HAVING COUNT_IF(a.found <> a.file_rows) = 0
  ),
  newest AS (
    SELECT seal, stamp, newer, key_count
    FROM complete
    QUALIFY ROW_NUMBER() OVER (ORDER BY stamp DESC, seal DESC) = 1
  ),
  living AS (
    SELECT DISTINCT v1 FROM present AS k
    JOIN newest AS n ON n.seal = k.seal
  )
    SELECT t.order_id AS v1, n.stamp, n.seal
    FROM SHOP_DEV.PUBLIC.ORDERS AS t
    JOIN newest AS n ON COALESCE(t._sync_stamp, '') < n.stamp
    LEFT JOIN living AS k ON k.v1 = t.order_id
    WHERE t._deleted_at IS NULL AND k.v1 IS NULL
) AS s
ON t.order_id = s.v1
WHEN MATCHED THEN UPDATE SET
  _sync_stamp = s.stamp,
  _sync_file = s.seal,
  _sync_at = CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6),
  _deleted_at = CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6);
DELETE FROM SHOP_DEV.LANDING.PUBLIC__ORDERS_KEYS
WHERE SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) < (SELECT MAX(stamp) FROM SHOP_DEV.SYNC.RECONCILES
  WHERE table_name = 'public.orders')
  OR SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) <= (SELECT MAX(SPLIT_PART(SPLIT_PART(seal, '/', -1), '_', 1)) FROM SHOP_DEV.SYNC.RECONCILES
  WHERE table_name = 'public.orders'
    AND decision IN ('applied', 'unconfirmed'));
INSERT INTO SHOP_DEV.SYNC.QUARANTINE_COUNTS
  (table_name, rows_waiting, newest_at, counted_at)
  WITH waiting AS (
    SELECT MAX(q.quarantined_at) AS newest_at, COUNT(DISTINCT
      q.file_name || ' ' || q.file_row::VARCHAR) AS rows_waiting
    FROM SHOP_DEV.SYNC.QUARANTINE AS q JOIN SHOP_DEV.LANDING.PUBLIC__ORDERS AS l ON l.file_name = q.file_name AND l.file_row = q.file_row LEFT JOIN SHOP_DEV.PUBLIC.ORDERS AS t ON t.order_id = TRY_CAST(l.c1 AS NUMBER(19,0)) WHERE q.table_name = 'public.orders' AND COALESCE(t._sync_stamp, '') < q.stamp
      AND q.quarantined_at > DATEADD(DAY, -7, SYSDATE())
  ),
  noted AS (
    SELECT MAX_BY(newest_at, counted_at) AS last_newest,
      COALESCE(MAX_BY(rows_waiting, counted_at), 0) AS last_waiting
    FROM SHOP_DEV.SYNC.QUARANTINE_COUNTS
    WHERE table_name = 'public.orders'
  )
  SELECT 'public.orders', w.rows_waiting, w.newest_at, SYSDATE()
  FROM waiting AS w, noted AS n
  WHERE w.rows_waiting <> n.last_waiting OR w.newest_at <> n.last_newest;
DELETE FROM SHOP_DEV.LANDING.PUBLIC__ORDERS
USING (
  SELECT l.file_name AS merged_file, l.file_row AS merged_row
  FROM SHOP_DEV.LANDING.PUBLIC__ORDERS AS l
  JOIN SHOP_DEV.SYNC.FILE_RECEIPTS AS r
    ON r.table_name = 'public.orders' AND r.file_name = l.file_name
    AND l.file_row BETWEEN r.first_row AND r.last_row
  LEFT JOIN SHOP_DEV.SYNC.QUARANTINE AS q
    ON q.table_name = 'public.orders' AND q.file_name = l.file_name
    AND q.file_row = l.file_row
  WHERE l.loaded_at < DATEADD(DAY, -30, SYSDATE())
    AND q.file_name IS NULL
) AS m
WHERE file_name = m.merged_file AND file_row = m.merged_row;
COMMIT;
EXCEPTION
  WHEN OTHER THEN
    ROLLBACK;
    RAISE;
END
