WITH places AS (
  SELECT p.table_name, p.landing
  FROM (VALUES
    ('public.customers', 'PUBLIC__CUSTOMERS'),
    ('public.orders', 'PUBLIC__ORDERS'),
    ('public.order_items', 'PUBLIC__ORDER_ITEMS')) AS p (table_name, landing)
),
links AS (
  SELECT table_name, seq, manifest, CONVERT_TIMEZONE('UTC', committed_at::TIMESTAMP_TZ)::TIMESTAMP_NTZ(6) AS since,
    COALESCE(LAG(seq) OVER (PARTITION BY table_name ORDER BY seq), 0) AS seq_before
  FROM SHOP_DEV.SYNC.SYNC_RUNS
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
    SPLIT_PART(SPLIT_PART(f.file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
    LEFT(SPLIT_PART(SPLIT_PART(f.file_name, '/', -1), '_', 3), 1) = 'c' AS has_rows,
    MIN(f.seq) OVER (PARTITION BY f.table_name) AS first_seq,
    SUM(f.bytes) OVER (PARTITION BY f.table_name) AS table_bytes
  FROM SHOP_DEV.SYNC.SYNC_FILES AS f
  JOIN links AS l ON l.table_name = f.table_name AND l.seq = f.seq
  WHERE NOT f.complete
),
waiting AS (
  SELECT f.table_name, f.seq, f.file_name, f.since, f.table_bytes,
    'COPY INTO SHOP_DEV.LANDING.' || p.landing || ' (file_name, file_row, loaded_at, c' || ARRAY_TO_STRING(ARRAY_GENERATE_RANGE(1, (f.width + 1)::INTEGER), ', c') || ') FROM (SELECT METADATA$FILENAME, METADATA$FILE_ROW_NUMBER, METADATA$START_SCAN_TIME, t.$' || ARRAY_TO_STRING(ARRAY_GENERATE_RANGE(1, (f.width + 1)::INTEGER), ', t.$') || ' FROM @SHOP_DEV.LANDING.EXPORTS/ t) ' || 'FILES = (''' || SUBSTR(f.file_name, 13) || ''') FILE_FORMAT = (TYPE = CSV COMPRESSION = NONE RECORD_DELIMITER = ''\\n'' FIELD_DELIMITER = '','' FIELD_OPTIONALLY_ENCLOSED_BY = ''"'' ESCAPE = NONE ESCAPE_UNENCLOSED_FIELD = NONE NULL_IF = () EMPTY_FIELD_AS_NULL = TRUE TRIM_SPACE = FALSE MULTI_LINE = TRUE SKIP_HEADER = 0 SKIP_BLANK_LINES = FALSE SKIP_BYTE_ORDER_MARK = FALSE REPLACE_INVALID_CHARACTERS = FALSE ERROR_ON_COLUMN_COUNT_MISMATCH = FALSE ENCODING = ''UTF8'') ON_ERROR = ABORT_STATEMENT FORCE = TRUE' AS statement
  FROM open_files AS f
  JOIN places AS p ON p.table_name = f.table_name
  LEFT JOIN first_gaps AS g ON g.table_name = f.table_name
  WHERE f.has_rows OR (f.seq = f.first_seq AND f.seq < COALESCE(g.seq, f.seq + 1))
  UNION ALL
  SELECT g.table_name, g.seq, g.file_name, g.since, 0 AS table_bytes,
    'COPY INTO SHOP_DEV.SYNC.MANIFESTS (file_name, loaded_at, body) FROM (SELECT METADATA$FILENAME, METADATA$START_SCAN_TIME, t.$1' || ' FROM @SHOP_DEV.LANDING.MANIFESTS/ t) ' || 'FILES = (''' || SUBSTR(g.file_name, 15) || ''') FILE_FORMAT = (TYPE = JSON COMPRESSION = NONE) ON_ERROR = ABORT_STATEMENT FORCE = TRUE' AS statement
  FROM gaps AS g
  JOIN places AS p ON p.table_name = g.table_name
),
tries AS (
  SELECT file_name, COUNT(1) AS times, MAX(swept_at) AS swept_at,
    MAX_BY(problem, swept_at) AS problem
  FROM SHOP_DEV.SYNC.SWEEPS
  GROUP BY file_name
)
SELECT w.table_name, w.seq, w.file_name, w.since,
  COALESCE(t.times, 0) AS times, t.problem,
  DATEADD(SECOND, (900 * POWER(2, LEAST(COALESCE(t.times, 0), 9)) + w.table_bytes / 16000000)::NUMBER(19,0),
    GREATEST(w.since, COALESCE(t.swept_at, w.since))) AS due_at,
  w.statement
FROM waiting AS w
LEFT JOIN tries AS t ON t.file_name = w.file_name
