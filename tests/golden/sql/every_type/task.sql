BEGIN
BEGIN TRANSACTION;
INSERT INTO SHOP_DEV.SYNC.QUARANTINE
  (table_name, file_name, file_row, stamp, key_text, column_name,
   value_text, reason, quarantined_at)
  WITH raw AS (
    SELECT file_name, file_row, SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) AS stamp,
      SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
      c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21, c22, c23, c24, c25, c26, c27, c28, c29, c30, c31, c32, c33, c34, c35, c36, c37, c38, c39, c40, c41, c42, c43, c44, c45, c46, c47, c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, c2 AS v2, CASE WHEN LENGTH(c3) <= 29 AND RIGHT(c3, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c3, LENGTH(c3) - 3)) = 19, LEFT(c3, LENGTH(c3) - 3) || '.', LEFT(c3, LENGTH(c3) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v3, TRY_CAST(c4 AS NUMBER(5,0)) AS v4, TRY_CAST(c5 AS NUMBER(10,0)) AS v5, TRY_CAST(c6 AS NUMBER(19,0)) AS v6, TRY_CAST(c7 AS NUMBER(10,0)) AS v7, c8 AS v8, TRY_CAST(c9 AS NUMBER(12,2)) AS v9, TRY_CAST(c10 AS NUMBER(38,37)) AS v10, TRY_CAST(c11 AS NUMBER(38,0)) AS v11, c12 AS v12, c13 AS v13, c14 AS v14, TRY_CAST(c15 AS NUMBER(5,0)) AS v15, c16 AS v16, TRY_CAST(c17 AS NUMBER(4,4)) AS v17, c18 AS v18, TRY_CAST(c19 AS FLOAT) AS v19, TRY_CAST(c20 AS FLOAT) AS v20, TRY_CAST(c21 AS BOOLEAN) AS v21, TRY_TO_DATE(c22, 'YYYY-MM-DD') AS v22, CASE WHEN LENGTH(c23) <= 26 AND RIGHT(c23, 2) <> 'BC' THEN TRY_TO_TIMESTAMP_NTZ(RPAD(IFF(LENGTH(c23) = 19, c23 || '.', c23), 26, '0'), 'YYYY-MM-DD HH24:MI:SS.FF6') END AS v23, CASE WHEN LENGTH(c24) <= 26 AND RIGHT(c24, 2) <> 'BC' THEN TRY_TO_TIMESTAMP_NTZ(RPAD(IFF(LENGTH(c24) = 19, c24 || '.', c24), 26, '0'), 'YYYY-MM-DD HH24:MI:SS.FF6') END AS v24, CASE WHEN LENGTH(c25) <= 29 AND RIGHT(c25, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c25, LENGTH(c25) - 3)) = 19, LEFT(c25, LENGTH(c25) - 3) || '.', LEFT(c25, LENGTH(c25) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v25, CASE WHEN LENGTH(c26) <= 29 AND RIGHT(c26, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c26, LENGTH(c26) - 3)) = 19, LEFT(c26, LENGTH(c26) - 3) || '.', LEFT(c26, LENGTH(c26) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v26, TRY_CAST(c27 AS TIME(6)) AS v27, TRY_CAST(c28 AS TIME(6)) AS v28, c29 AS v29, c30 AS v30, c31 AS v31, c32 AS v32, c33 AS v33, c34 AS v34, c35 AS v35, c36 AS v36, c37 AS v37, c38 AS v38, TRY_TO_BINARY(c39, 'HEX') AS v39, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c40, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL AND REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(REPLACE(c40, '\\\\', ''), '~', ' '), '\\u', '~u'), '~u[dD][89abAB][0-9a-fA-F]{2}~u[dD][c-fC-F][0-9a-fA-F]{2}', ''), '~u(0000|[dD][89a-fA-F])') IS NULL THEN TRY_PARSE_JSON(c40) END AS v40, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c41, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c41) END AS v41, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c42, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c42) END AS v42, c43 AS v43, c44 AS v44, c45 AS v45, c46 AS v46, c47 AS v47, c48 AS v48, c49 AS v49, c50 AS v50, c51 AS v51, c52 AS v52, c53 AS v53, c54 AS v54, c55 AS v55, c56 AS v56, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c57, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c57) END AS v57, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c58, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c58) END AS v58
    FROM SHOP_DEV.LANDING.PUBLIC__EVERY_TYPE_STREAM
    WHERE LEFT(SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 3), 1) = 'c' AND SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) <= 58
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21, c22, c23, c24, c25, c26, c27, c28, c29, c30, c31, c32, c33, c34, c35, c36, c37, c38, c39, c40, c41, c42, c43, c44, c45, c46, c47, c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15, v16, v17, v18, v19, v20, v21, v22, v23, v24, v25, v26, v27, v28, v29, v30, v31, v32, v33, v34, v35, v36, v37, v38, v39, v40, v41, v42, v43, v44, v45, v46, v47, v48, v49, v50, v51, v52, v53, v54, v55, v56, v57, v58,
      0 AS nulled,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN c3 IS NOT NULL AND v3 IS NULL THEN 3
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c5 IS NOT NULL AND v5 IS NULL THEN 5
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      WHEN c9 IS NOT NULL AND v9 IS NULL THEN 9
      WHEN c10 IS NOT NULL AND v10 IS NULL THEN 10
      WHEN c11 IS NOT NULL AND v11 IS NULL THEN 11
      WHEN c15 IS NOT NULL AND v15 IS NULL THEN 15
      WHEN c17 IS NOT NULL AND v17 IS NULL THEN 17
      WHEN c19 IS NOT NULL AND v19 IS NULL THEN 19
      WHEN c20 IS NOT NULL AND v20 IS NULL THEN 20
      WHEN c21 IS NOT NULL AND v21 IS NULL THEN 21
      WHEN c22 IS NOT NULL AND v22 IS NULL THEN 22
      WHEN c23 IS NOT NULL AND v23 IS NULL THEN 23
      WHEN c24 IS NOT NULL AND v24 IS NULL THEN 24
      WHEN c25 IS NOT NULL AND v25 IS NULL THEN 25
      WHEN c26 IS NOT NULL AND v26 IS NULL THEN 26
      WHEN c27 IS NOT NULL AND v27 IS NULL THEN 27
      WHEN c28 IS NOT NULL AND v28 IS NULL THEN 28
      WHEN c39 IS NOT NULL AND v39 IS NULL THEN 39
      WHEN c40 IS NOT NULL AND v40 IS NULL THEN 40
      WHEN c41 IS NOT NULL AND v41 IS NULL THEN 41
      WHEN c42 IS NOT NULL AND v42 IS NULL THEN 42
      WHEN c57 IS NOT NULL AND v57 IS NULL THEN 57
      WHEN c58 IS NOT NULL AND v58 IS NULL THEN 58
      END AS misfit
    FROM raw
  )
  SELECT 'public.every_type', file_name, file_row, stamp,
    COALESCE(c1, ''),
    CASE misfit
      WHEN 1 THEN 'order_id'
      WHEN 3 THEN 'updated_at'
      WHEN 4 THEN 'smallint'
      WHEN 5 THEN 'integer'
      WHEN 6 THEN 'bigint'
      WHEN 7 THEN 'oid'
      WHEN 9 THEN 'numeric_12_2'
      WHEN 10 THEN 'numeric_38_37'
      WHEN 11 THEN 'numeric_38_0'
      WHEN 15 THEN 'numeric_3_2'
      WHEN 17 THEN 'numeric_2_4'
      WHEN 19 THEN 'real'
      WHEN 20 THEN 'double_precision'
      WHEN 21 THEN 'boolean'
      WHEN 22 THEN 'date'
      WHEN 23 THEN 'timestamp_without_time_zone'
      WHEN 24 THEN 'timestamp_3_without_time_zone'
      WHEN 25 THEN 'timestamp_with_time_zone'
      WHEN 26 THEN 'timestamp_0_with_time_zone'
      WHEN 27 THEN 'time_without_time_zone'
      WHEN 28 THEN 'time_3_without_time_zone'
      WHEN 39 THEN 'bytea'
      WHEN 40 THEN 'json'
      WHEN 41 THEN 'jsonb'
      WHEN 42 THEN 'public_hstore'
      WHEN 57 THEN 'array_integer'
      WHEN 58 THEN 'composite_public_pair'
    END,
    CASE misfit
      WHEN 1 THEN c1
      WHEN 3 THEN c3
      WHEN 4 THEN c4
      WHEN 5 THEN c5
      WHEN 6 THEN c6
      WHEN 7 THEN c7
      WHEN 9 THEN c9
      WHEN 10 THEN c10
      WHEN 11 THEN c11
      WHEN 15 THEN c15
      WHEN 17 THEN c17
      WHEN 19 THEN c19
      WHEN 20 THEN c20
      WHEN 21 THEN c21
      WHEN 22 THEN c22
      WHEN 23 THEN c23
      WHEN 24 THEN c24
      WHEN 25 THEN c25
      WHEN 26 THEN c26
      WHEN 27 THEN c27
      WHEN 28 THEN c28
      WHEN 39 THEN c39
      WHEN 40 THEN c40
      WHEN 41 THEN c41
      WHEN 42 THEN c42
      WHEN 57 THEN c57
      WHEN 58 THEN c58
    END,
    CASE misfit
      WHEN 1 THEN 'does not fit NUMBER(19,0)'
      WHEN 3 THEN 'does not fit TIMESTAMP_TZ(6)'
      WHEN 4 THEN 'does not fit NUMBER(5,0)'
      WHEN 5 THEN 'does not fit NUMBER(10,0)'
      WHEN 6 THEN 'does not fit NUMBER(19,0)'
      WHEN 7 THEN 'does not fit NUMBER(10,0)'
      WHEN 9 THEN 'does not fit NUMBER(12,2)'
      WHEN 10 THEN 'does not fit NUMBER(38,37)'
      WHEN 11 THEN 'does not fit NUMBER(38,0)'
      WHEN 15 THEN 'does not fit NUMBER(5,0)'
      WHEN 17 THEN 'does not fit NUMBER(4,4)'
      WHEN 19 THEN 'does not fit FLOAT'
      WHEN 20 THEN 'does not fit FLOAT'
      WHEN 21 THEN 'does not fit BOOLEAN'
      WHEN 22 THEN 'does not fit DATE'
      WHEN 23 THEN 'does not fit TIMESTAMP_NTZ(6)'
      WHEN 24 THEN 'does not fit TIMESTAMP_NTZ(6)'
      WHEN 25 THEN 'does not fit TIMESTAMP_TZ(6)'
      WHEN 26 THEN 'does not fit TIMESTAMP_TZ(6)'
      WHEN 27 THEN 'does not fit TIME(6)'
      WHEN 28 THEN 'does not fit TIME(6)'
      WHEN 39 THEN 'does not fit BINARY(67108864)'
      WHEN 40 THEN 'does not fit VARIANT'
      WHEN 41 THEN 'does not fit VARIANT'
      WHEN 42 THEN 'does not fit VARIANT'
      WHEN 57 THEN 'does not fit VARIANT'
      WHEN 58 THEN 'does not fit VARIANT'
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
      c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21, c22, c23, c24, c25, c26, c27, c28, c29, c30, c31, c32, c33, c34, c35, c36, c37, c38, c39, c40, c41, c42, c43, c44, c45, c46, c47, c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, c2 AS v2, CASE WHEN LENGTH(c3) <= 29 AND RIGHT(c3, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c3, LENGTH(c3) - 3)) = 19, LEFT(c3, LENGTH(c3) - 3) || '.', LEFT(c3, LENGTH(c3) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v3, TRY_CAST(c4 AS NUMBER(5,0)) AS v4, TRY_CAST(c5 AS NUMBER(10,0)) AS v5, TRY_CAST(c6 AS NUMBER(19,0)) AS v6, TRY_CAST(c7 AS NUMBER(10,0)) AS v7, c8 AS v8, TRY_CAST(c9 AS NUMBER(12,2)) AS v9, TRY_CAST(c10 AS NUMBER(38,37)) AS v10, TRY_CAST(c11 AS NUMBER(38,0)) AS v11, c12 AS v12, c13 AS v13, c14 AS v14, TRY_CAST(c15 AS NUMBER(5,0)) AS v15, c16 AS v16, TRY_CAST(c17 AS NUMBER(4,4)) AS v17, c18 AS v18, TRY_CAST(c19 AS FLOAT) AS v19, TRY_CAST(c20 AS FLOAT) AS v20, TRY_CAST(c21 AS BOOLEAN) AS v21, TRY_TO_DATE(c22, 'YYYY-MM-DD') AS v22, CASE WHEN LENGTH(c23) <= 26 AND RIGHT(c23, 2) <> 'BC' THEN TRY_TO_TIMESTAMP_NTZ(RPAD(IFF(LENGTH(c23) = 19, c23 || '.', c23), 26, '0'), 'YYYY-MM-DD HH24:MI:SS.FF6') END AS v23, CASE WHEN LENGTH(c24) <= 26 AND RIGHT(c24, 2) <> 'BC' THEN TRY_TO_TIMESTAMP_NTZ(RPAD(IFF(LENGTH(c24) = 19, c24 || '.', c24), 26, '0'), 'YYYY-MM-DD HH24:MI:SS.FF6') END AS v24, CASE WHEN LENGTH(c25) <= 29 AND RIGHT(c25, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c25, LENGTH(c25) - 3)) = 19, LEFT(c25, LENGTH(c25) - 3) || '.', LEFT(c25, LENGTH(c25) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v25, CASE WHEN LENGTH(c26) <= 29 AND RIGHT(c26, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c26, LENGTH(c26) - 3)) = 19, LEFT(c26, LENGTH(c26) - 3) || '.', LEFT(c26, LENGTH(c26) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v26, TRY_CAST(c27 AS TIME(6)) AS v27, TRY_CAST(c28 AS TIME(6)) AS v28, c29 AS v29, c30 AS v30, c31 AS v31, c32 AS v32, c33 AS v33, c34 AS v34, c35 AS v35, c36 AS v36, c37 AS v37, c38 AS v38, TRY_TO_BINARY(c39, 'HEX') AS v39, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c40, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL AND REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(REPLACE(c40, '\\\\', ''), '~', ' '), '\\u', '~u'), '~u[dD][89abAB][0-9a-fA-F]{2}~u[dD][c-fC-F][0-9a-fA-F]{2}', ''), '~u(0000|[dD][89a-fA-F])') IS NULL THEN TRY_PARSE_JSON(c40) END AS v40, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c41, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c41) END AS v41, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c42, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c42) END AS v42, c43 AS v43, c44 AS v44, c45 AS v45, c46 AS v46, c47 AS v47, c48 AS v48, c49 AS v49, c50 AS v50, c51 AS v51, c52 AS v52, c53 AS v53, c54 AS v54, c55 AS v55, c56 AS v56, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c57, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c57) END AS v57, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c58, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c58) END AS v58
    FROM SHOP_DEV.LANDING.PUBLIC__EVERY_TYPE_STREAM
    WHERE LEFT(SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 3), 1) = 'c' AND SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) <= 58
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21, c22, c23, c24, c25, c26, c27, c28, c29, c30, c31, c32, c33, c34, c35, c36, c37, c38, c39, c40, c41, c42, c43, c44, c45, c46, c47, c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15, v16, v17, v18, v19, v20, v21, v22, v23, v24, v25, v26, v27, v28, v29, v30, v31, v32, v33, v34, v35, v36, v37, v38, v39, v40, v41, v42, v43, v44, v45, v46, v47, v48, v49, v50, v51, v52, v53, v54, v55, v56, v57, v58,
      0 AS nulled,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN c3 IS NOT NULL AND v3 IS NULL THEN 3
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c5 IS NOT NULL AND v5 IS NULL THEN 5
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      WHEN c9 IS NOT NULL AND v9 IS NULL THEN 9
      WHEN c10 IS NOT NULL AND v10 IS NULL THEN 10
      WHEN c11 IS NOT NULL AND v11 IS NULL THEN 11
      WHEN c15 IS NOT NULL AND v15 IS NULL THEN 15
      WHEN c17 IS NOT NULL AND v17 IS NULL THEN 17
      WHEN c19 IS NOT NULL AND v19 IS NULL THEN 19
      WHEN c20 IS NOT NULL AND v20 IS NULL THEN 20
      WHEN c21 IS NOT NULL AND v21 IS NULL THEN 21
      WHEN c22 IS NOT NULL AND v22 IS NULL THEN 22
      WHEN c23 IS NOT NULL AND v23 IS NULL THEN 23
      WHEN c24 IS NOT NULL AND v24 IS NULL THEN 24
      WHEN c25 IS NOT NULL AND v25 IS NULL THEN 25
      WHEN c26 IS NOT NULL AND v26 IS NULL THEN 26
      WHEN c27 IS NOT NULL AND v27 IS NULL THEN 27
      WHEN c28 IS NOT NULL AND v28 IS NULL THEN 28
      WHEN c39 IS NOT NULL AND v39 IS NULL THEN 39
      WHEN c40 IS NOT NULL AND v40 IS NULL THEN 40
      WHEN c41 IS NOT NULL AND v41 IS NULL THEN 41
      WHEN c42 IS NOT NULL AND v42 IS NULL THEN 42
      WHEN c57 IS NOT NULL AND v57 IS NULL THEN 57
      WHEN c58 IS NOT NULL AND v58 IS NULL THEN 58
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
    LEFT JOIN SHOP_DEV.PUBLIC.EVERY_TYPE AS t
      ON t.order_id = r.v1
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
  SELECT 'public.every_type', s.file_name, s.first_row,
    s.last_row, IFF(s.first_row = n.first_row, n.applied, 0),
    IFF(s.first_row = n.first_row, n.nulled, 0)::NUMBER(19,0),
    CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6)
  FROM spans AS s
  JOIN counted AS n ON n.file_name = s.file_name;
MERGE INTO SHOP_DEV.PUBLIC.EVERY_TYPE AS t
USING (
  WITH raw AS (
    SELECT file_name, file_row, SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 1) AS stamp,
      SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) AS width,
      c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21, c22, c23, c24, c25, c26, c27, c28, c29, c30, c31, c32, c33, c34, c35, c36, c37, c38, c39, c40, c41, c42, c43, c44, c45, c46, c47, c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58,
      TRY_CAST(c1 AS NUMBER(19,0)) AS v1, c2 AS v2, CASE WHEN LENGTH(c3) <= 29 AND RIGHT(c3, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c3, LENGTH(c3) - 3)) = 19, LEFT(c3, LENGTH(c3) - 3) || '.', LEFT(c3, LENGTH(c3) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v3, TRY_CAST(c4 AS NUMBER(5,0)) AS v4, TRY_CAST(c5 AS NUMBER(10,0)) AS v5, TRY_CAST(c6 AS NUMBER(19,0)) AS v6, TRY_CAST(c7 AS NUMBER(10,0)) AS v7, c8 AS v8, TRY_CAST(c9 AS NUMBER(12,2)) AS v9, TRY_CAST(c10 AS NUMBER(38,37)) AS v10, TRY_CAST(c11 AS NUMBER(38,0)) AS v11, c12 AS v12, c13 AS v13, c14 AS v14, TRY_CAST(c15 AS NUMBER(5,0)) AS v15, c16 AS v16, TRY_CAST(c17 AS NUMBER(4,4)) AS v17, c18 AS v18, TRY_CAST(c19 AS FLOAT) AS v19, TRY_CAST(c20 AS FLOAT) AS v20, TRY_CAST(c21 AS BOOLEAN) AS v21, TRY_TO_DATE(c22, 'YYYY-MM-DD') AS v22, CASE WHEN LENGTH(c23) <= 26 AND RIGHT(c23, 2) <> 'BC' THEN TRY_TO_TIMESTAMP_NTZ(RPAD(IFF(LENGTH(c23) = 19, c23 || '.', c23), 26, '0'), 'YYYY-MM-DD HH24:MI:SS.FF6') END AS v23, CASE WHEN LENGTH(c24) <= 26 AND RIGHT(c24, 2) <> 'BC' THEN TRY_TO_TIMESTAMP_NTZ(RPAD(IFF(LENGTH(c24) = 19, c24 || '.', c24), 26, '0'), 'YYYY-MM-DD HH24:MI:SS.FF6') END AS v24, CASE WHEN LENGTH(c25) <= 29 AND RIGHT(c25, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c25, LENGTH(c25) - 3)) = 19, LEFT(c25, LENGTH(c25) - 3) || '.', LEFT(c25, LENGTH(c25) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v25, CASE WHEN LENGTH(c26) <= 29 AND RIGHT(c26, 3) = '+00' THEN TRY_CAST(RPAD(IFF(LENGTH(LEFT(c26, LENGTH(c26) - 3)) = 19, LEFT(c26, LENGTH(c26) - 3) || '.', LEFT(c26, LENGTH(c26) - 3)), 26, '0') || '+00:00' AS TIMESTAMP_TZ(6)) END AS v26, TRY_CAST(c27 AS TIME(6)) AS v27, TRY_CAST(c28 AS TIME(6)) AS v28, c29 AS v29, c30 AS v30, c31 AS v31, c32 AS v32, c33 AS v33, c34 AS v34, c35 AS v35, c36 AS v36, c37 AS v37, c38 AS v38, TRY_TO_BINARY(c39, 'HEX') AS v39, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c40, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL AND REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(REPLACE(c40, '\\\\', ''), '~', ' '), '\\u', '~u'), '~u[dD][89abAB][0-9a-fA-F]{2}~u[dD][c-fC-F][0-9a-fA-F]{2}', ''), '~u(0000|[dD][89a-fA-F])') IS NULL THEN TRY_PARSE_JSON(c40) END AS v40, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c41, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c41) END AS v41, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c42, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c42) END AS v42, c43 AS v43, c44 AS v44, c45 AS v45, c46 AS v46, c47 AS v47, c48 AS v48, c49 AS v49, c50 AS v50, c51 AS v51, c52 AS v52, c53 AS v53, c54 AS v54, c55 AS v55, c56 AS v56, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c57, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c57) END AS v57, CASE WHEN REGEXP_SUBSTR(REGEXP_REPLACE(REPLACE(REPLACE(c58, '\\\\', ''), '\\"', ''), '"[^"]*"', ''), '[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]|[0-9]{18}[eE]|(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}|[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})') IS NULL THEN TRY_PARSE_JSON(c58) END AS v58
    FROM SHOP_DEV.LANDING.PUBLIC__EVERY_TYPE_STREAM
    WHERE LEFT(SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 3), 1) = 'c' AND SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0) <= 58
  ),
  typed AS (
    SELECT file_name, file_row, stamp, width, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21, c22, c23, c24, c25, c26, c27, c28, c29, c30, c31, c32, c33, c34, c35, c36, c37, c38, c39, c40, c41, c42, c43, c44, c45, c46, c47, c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15, v16, v17, v18, v19, v20, v21, v22, v23, v24, v25, v26, v27, v28, v29, v30, v31, v32, v33, v34, v35, v36, v37, v38, v39, v40, v41, v42, v43, v44, v45, v46, v47, v48, v49, v50, v51, v52, v53, v54, v55, v56, v57, v58,
      0 AS nulled,
      CASE
      WHEN v1 IS NULL THEN 1
      WHEN c3 IS NOT NULL AND v3 IS NULL THEN 3
      WHEN c4 IS NOT NULL AND v4 IS NULL THEN 4
      WHEN c5 IS NOT NULL AND v5 IS NULL THEN 5
      WHEN c6 IS NOT NULL AND v6 IS NULL THEN 6
      WHEN c7 IS NOT NULL AND v7 IS NULL THEN 7
      WHEN c9 IS NOT NULL AND v9 IS NULL THEN 9
      WHEN c10 IS NOT NULL AND v10 IS NULL THEN 10
      WHEN c11 IS NOT NULL AND v11 IS NULL THEN 11
      WHEN c15 IS NOT NULL AND v15 IS NULL THEN 15
      WHEN c17 IS NOT NULL AND v17 IS NULL THEN 17
      WHEN c19 IS NOT NULL AND v19 IS NULL THEN 19
      WHEN c20 IS NOT NULL AND v20 IS NULL THEN 20
      WHEN c21 IS NOT NULL AND v21 IS NULL THEN 21
      WHEN c22 IS NOT NULL AND v22 IS NULL THEN 22
      WHEN c23 IS NOT NULL AND v23 IS NULL THEN 23
      WHEN c24 IS NOT NULL AND v24 IS NULL THEN 24
      WHEN c25 IS NOT NULL AND v25 IS NULL THEN 25
      WHEN c26 IS NOT NULL AND v26 IS NULL THEN 26
      WHEN c27 IS NOT NULL AND v27 IS NULL THEN 27
      WHEN c28 IS NOT NULL AND v28 IS NULL THEN 28
      WHEN c39 IS NOT NULL AND v39 IS NULL THEN 39
      WHEN c40 IS NOT NULL AND v40 IS NULL THEN 40
      WHEN c41 IS NOT NULL AND v41 IS NULL THEN 41
      WHEN c42 IS NOT NULL AND v42 IS NULL THEN 42
      WHEN c57 IS NOT NULL AND v57 IS NULL THEN 57
      WHEN c58 IS NOT NULL AND v58 IS NULL THEN 58
      END AS misfit
    FROM raw
  )
  SELECT file_name, stamp, width, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15, v16, v17, v18, v19, v20, v21, v22, v23, v24, v25, v26, v27, v28, v29, v30, v31, v32, v33, v34, v35, v36, v37, v38, v39, v40, v41, v42, v43, v44, v45, v46, v47, v48, v49, v50, v51, v52, v53, v54, v55, v56, v57, v58
  FROM typed
  WHERE misfit IS NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY misfit IS NULL, v1 ORDER BY stamp DESC NULLS LAST, file_name, file_row) = 1
) AS s
ON t.order_id = s.v1
WHEN MATCHED AND s.stamp > COALESCE(t._sync_stamp, '') THEN UPDATE SET
  status = s.v2,
  updated_at = s.v3,
  smallint = s.v4,
  integer = s.v5,
  bigint = s.v6,
  oid = s.v7,
  numeric = s.v8,
  numeric_12_2 = s.v9,
  numeric_38_37 = s.v10,
  numeric_38_0 = s.v11,
  numeric_39_0 = s.v12,
  numeric_38_38 = s.v13,
  numeric_1000_500 = s.v14,
  numeric_3_2 = s.v15,
  numeric_37_2 = s.v16,
  numeric_2_4 = s.v17,
  money = s.v18,
  real = s.v19,
  double_precision = s.v20,
  boolean = s.v21,
  date = s.v22,
  timestamp_without_time_zone = s.v23,
  timestamp_3_without_time_zone = s.v24,
  timestamp_with_time_zone = s.v25,
  timestamp_0_with_time_zone = s.v26,
  time_without_time_zone = s.v27,
  time_3_without_time_zone = s.v28,
  time_with_time_zone = s.v29,
  "INTERVAL" = s.v30,
  text = s.v31,
  character_varying = s.v32,
  character_varying_20 = s.v33,
  character_5 = s.v34,
  bpchar = s.v35,
  name = s.v36,
  char = s.v37,
  uuid = s.v38,
  bytea = s.v39,
  json = s.v40,
  jsonb = s.v41,
  public_hstore = s.v42,
  public_citext = s.v43,
  ext_ltree = s.v44,
  inet = s.v45,
  cidr = s.v46,
  macaddr8 = s.v47,
  bit_3 = s.v48,
  bit_varying_8 = s.v49,
  bit_varying = s.v50,
  xml = s.v51,
  tsvector = s.v52,
  pg_lsn = s.v53,
  point = s.v54,
  enum_public_mood = s.v55,
  range_int4range = s.v56,
  array_integer = s.v57,
  composite_public_pair = s.v58,
  _sync_stamp = s.stamp,
  _sync_file = s.file_name,
  _sync_at = CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6),
  _deleted_at = NULL
WHEN NOT MATCHED THEN INSERT
  (order_id, status, updated_at, smallint, integer, bigint, oid, numeric, numeric_12_2, numeric_38_37, numeric_38_0, numeric_39_0, numeric_38_38, numeric_1000_500, numeric_3_2, numeric_37_2, numeric_2_4, money, real, double_precision, boolean, date, timestamp_without_time_zone, timestamp_3_without_time_zone, timestamp_with_time_zone, timestamp_0_with_time_zone, time_without_time_zone, time_3_without_time_zone, time_with_time_zone, "INTERVAL", text, character_varying, character_varying_20, character_5, bpchar, name, char, uuid, bytea, json, jsonb, public_hstore, public_citext, ext_ltree, inet, cidr, macaddr8, bit_3, bit_varying_8, bit_varying, xml, tsvector, pg_lsn, point, enum_public_mood, range_int4range, array_integer, composite_public_pair, _sync_stamp, _sync_file, _sync_at, _deleted_at)
  VALUES (s.v1, s.v2, s.v3, s.v4, s.v5, s.v6, s.v7, s.v8, s.v9, s.v10, s.v11, s.v12, s.v13, s.v14, s.v15, s.v16, s.v17, s.v18, s.v19, s.v20, s.v21, s.v22, s.v23, s.v24, s.v25, s.v26, s.v27, s.v28, s.v29, s.v30, s.v31, s.v32, s.v33, s.v34, s.v35, s.v36, s.v37, s.v38, s.v39, s.v40, s.v41, s.v42, s.v43, s.v44, s.v45, s.v46, s.v47, s.v48, s.v49, s.v50, s.v51, s.v52, s.v53, s.v54, s.v55, s.v56, s.v57, s.v58, s.stamp, s.file_name, CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6), NULL);
INSERT INTO SHOP_DEV.SYNC.QUARANTINE_COUNTS
  (table_name, rows_waiting, newest_at, counted_at)
  WITH waiting AS (
    SELECT MAX(q.quarantined_at) AS newest_at, COUNT(DISTINCT
      q.file_name || ' ' || q.file_row::VARCHAR) AS rows_waiting
    FROM SHOP_DEV.SYNC.QUARANTINE AS q JOIN SHOP_DEV.LANDING.PUBLIC__EVERY_TYPE AS l ON l.file_name = q.file_name AND l.file_row = q.file_row LEFT JOIN SHOP_DEV.PUBLIC.EVERY_TYPE AS t ON t.order_id = TRY_CAST(l.c1 AS NUMBER(19,0)) WHERE q.table_name = 'public.every_type' AND COALESCE(t._sync_stamp, '') < q.stamp
      AND q.quarantined_at > DATEADD(DAY, -7, SYSDATE())
  ),
  noted AS (
    SELECT MAX_BY(newest_at, counted_at) AS last_newest,
      COALESCE(MAX_BY(rows_waiting, counted_at), 0) AS last_waiting
    FROM SHOP_DEV.SYNC.QUARANTINE_COUNTS
    WHERE table_name = 'public.every_type'
  )
  SELECT 'public.every_type', w.rows_waiting, w.newest_at, SYSDATE()
  FROM waiting AS w, noted AS n
  WHERE w.rows_waiting <> n.last_waiting OR w.newest_at <> n.last_newest;
DELETE FROM SHOP_DEV.LANDING.PUBLIC__EVERY_TYPE
USING (
  SELECT l.file_name AS merged_file, l.file_row AS merged_row
  FROM SHOP_DEV.LANDING.PUBLIC__EVERY_TYPE AS l
  JOIN SHOP_DEV.SYNC.FILE_RECEIPTS AS r
    ON r.table_name = 'public.every_type' AND r.file_name = l.file_name
    AND l.file_row BETWEEN r.first_row AND r.last_row
  LEFT JOIN SHOP_DEV.SYNC.QUARANTINE AS q
    ON q.table_name = 'public.every_type' AND q.file_name = l.file_name
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
