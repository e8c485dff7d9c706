DECLARE
  overdue CURSOR FOR
    SELECT w.table_name, w.file_name, w.statement
    FROM (
      SELECT table_name, file_name, statement
      FROM SHOP_DEV.SYNC.SYNC_OVERDUE
      WHERE due_at <= SYSDATE()
      ORDER BY seq, file_name
      LIMIT 200
    ) AS w
    UNION ALL
    SELECT NULL, NULL, 'INSERT INTO SHOP_DEV.SYNC.SWEEPS (table_name, file_name, problem, swept_at) SELECT NULL, NULL, NULL, SYSDATE() FROM SHOP_DEV.LANDING.MANIFESTS_STREAM WHERE 0 = 1'
    FROM (
      SELECT COUNT_IF(since > DATEADD(DAY, -1, SYSDATE())) AS fresh FROM SHOP_DEV.SYNC.SYNC_OVERDUE
    ) AS n
    WHERE n.fresh = 0;
  swept_table VARCHAR;
  swept_file VARCHAR;
  command VARCHAR;
  problem VARCHAR;
BEGIN
  FOR each IN overdue DO
    swept_table := each.table_name;
    swept_file := each.file_name;
    command := each.statement;
    problem := NULL;
    BEGIN
      EXECUTE IMMEDIATE command;
    EXCEPTION
      WHEN OTHER THEN
        problem := sqlerrm;
    END;
    INSERT INTO SHOP_DEV.SYNC.SWEEPS (table_name, file_name, problem, swept_at)
      SELECT :swept_table, :swept_file, :problem, SYSDATE();
  END FOR;
END
