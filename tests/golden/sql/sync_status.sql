WITH chain AS (
  SELECT table_name, seq, complete,
    IFF(generation = MAX(generation) OVER (PARTITION BY table_name), high, NULL)
      AS high,
    seq = ROW_NUMBER() OVER (PARTITION BY table_name ORDER BY seq) AS linked
  FROM SHOP_DEV.SYNC.SYNC_RUNS
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
LEFT JOIN sound AS s ON s.table_name = b.table_name
