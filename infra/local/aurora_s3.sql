-- The schemas aws_s3 and aws_commons of Aurora, with its signatures, on PostgreSQL.
-- Source of the signatures:
-- https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/postgresql-s3-export-functions.html
-- What Aurora keeps inside stands in the schema aurora_local: the rows of a query go
-- through a named pipe to the sidecar (aurora_uploader.py), which is called by curl
-- before and after. Objects appear by the second call alone: seen from the pipe, a
-- backend that dies has written its last row.

CREATE SCHEMA IF NOT EXISTS AWS_COMMONS;
CREATE SCHEMA IF NOT EXISTS AWS_S3;
CREATE SCHEMA IF NOT EXISTS AURORA_LOCAL;

DO $$
BEGIN
  CREATE TYPE AWS_COMMONS._S3_URI_1 AS (bucket text, file_path text, region text);
EXCEPTION WHEN DUPLICATE_OBJECT THEN NULL;
END
$$;

CREATE OR REPLACE FUNCTION AWS_COMMONS.CREATE_S3_URI(
  bucket text, file_path text, region text DEFAULT NULL
) RETURNS AWS_COMMONS._S3_URI_1
LANGUAGE sql IMMUTABLE
AS $$ SELECT ROW(bucket, file_path, region)::AWS_COMMONS._S3_URI_1 $$;

-- The sidecar's answer to a call; NULL when there was none. The one thing that needs
-- the owner's rights; the names of calls cannot be guessed.
CREATE OR REPLACE FUNCTION AURORA_LOCAL.ANSWER(call text) RETURNS json
LANGUAGE sql SECURITY DEFINER SET search_path = PG_CATALOG
AS $$
  SELECT PG_READ_FILE('../answers/' || call, 0, 65536, TRUE)::json
  WHERE call ~ '^[0-9a-f]{32}[.](begin|commit)$'
$$;

-- Text for the shell and the address at once: hexadecimal digits mean nothing to both.
CREATE OR REPLACE FUNCTION AURORA_LOCAL.HEX(value text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$ SELECT ENCODE(CONVERT_TO(COALESCE(value, ''), 'UTF8'), 'hex') $$;

-- One call: constants and hexadecimal digits are all that the shell sees of it.
CREATE OR REPLACE FUNCTION AURORA_LOCAL.CALL_SIDECAR(call text, parameters text)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
  answer json;
BEGIN
  BEGIN
    EXECUTE FORMAT(
      'COPY (SELECT WHERE FALSE) TO PROGRAM %L',
      FORMAT(
        'exec curl -q -K ../curl.conf -o ../answers/%s -X POST ''http://aurora-s3/%s?%s''',
        call, call, parameters
      )
    );
  EXCEPTION WHEN EXTERNAL_ROUTINE_EXCEPTION THEN
    NULL; -- curl has failed; with an answer unless nobody was there.
  END;
  answer := COALESCE(
    AURORA_LOCAL.ANSWER(call), '{"error": "Unable to connect to endpoint"}'
  );
  IF answer ->> 'no_credentials' IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'system_error',
      MESSAGE = 'credentials stored with the database cluster can''t be accessed',
      DETAIL = answer ->> 'no_credentials',
      HINT = 'Has the IAM role Amazon Resource Name (ARN) been associated with the '
        'feature-name "s3Export"?';
  ELSIF answer ->> 'error' IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'system_error',
      MESSAGE = 'could not upload to Amazon S3',
      DETAIL = FORMAT('Amazon S3 client returned ''%s''.', answer ->> 'error');
  END IF;
  RETURN answer;
END
$$;

CREATE OR REPLACE FUNCTION AURORA_LOCAL.EXPORT(
  query text, bucket text, file_path text, region text, options text, kms_key text,
  OUT rows_uploaded bigint, OUT files_uploaded bigint, OUT bytes_uploaded bigint
)
LANGUAGE plpgsql
AS $$
DECLARE
  export CONSTANT text := REPLACE(GEN_RANDOM_UUID()::text, '-', '');
  -- Words, numbers, quoted texts or lists of names; no way out of the parentheses.
  option_value CONSTANT text := '([\w.+-]+|\*|\([\w\s,]*\)|''([^'']|'''')*'''
    || '|E''([^''\\]|\\[^''])*''|\$\$[^$]*\$\$)';
  probe refcursor;
  answer json;
BEGIN
  IF query IS NULL OR bucket IS NULL OR file_path IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
      MESSAGE = 'query, bucket and file_path must not be null';
  END IF;
  IF options !~ FORMAT('^(\s*\w+(\s+%s)?\s*(,|$))*\s*$', option_value) THEN
    RAISE EXCEPTION USING ERRCODE = 'syntax_error',
      MESSAGE = 'options are not those of COPY', DETAIL = options;
  END IF;
  -- Refuses what is not one whole query, and so could end the COPY around it.
  OPEN probe FOR EXECUTE query;
  CLOSE probe;
  answer := AURORA_LOCAL.CALL_SIDECAR(
    export || '.begin',
    FORMAT(
      'bucket=%s&key=%s&region=%s&kms_key=%s',
      AURORA_LOCAL.HEX(bucket), AURORA_LOCAL.HEX(file_path),
      AURORA_LOCAL.HEX(region), AURORA_LOCAL.HEX(kms_key)
    )
  );
  BEGIN
    EXECUTE FORMAT(
      E'COPY (%s\n) TO %L %s', query, answer ->> 'pipe',
      CASE WHEN options ~ '\S' THEN FORMAT('WITH (%s)', options) ELSE '' END
    );
    GET DIAGNOSTICS rows_uploaded = ROW_COUNT;
  EXCEPTION WHEN INTERNAL_ERROR THEN
    -- The sidecar has closed the pipe; it tells why when it is asked.
    IF SQLERRM LIKE 'could not write to COPY file%'
      OR SQLERRM LIKE 'could not close file%'
    THEN
      PERFORM AURORA_LOCAL.CALL_SIDECAR(export || '.commit', '');
    END IF;
    RAISE;
  END;
  answer := AURORA_LOCAL.CALL_SIDECAR(export || '.commit', '');
  files_uploaded := answer ->> 'files';
  bytes_uploaded := answer ->> 'bytes';
END
$$;

CREATE OR REPLACE FUNCTION AWS_S3.QUERY_EXPORT_TO_S3(
  query text, bucket text, file_path text, region text DEFAULT NULL,
  options text DEFAULT NULL, kms_key text DEFAULT NULL,
  OUT rows_uploaded bigint, OUT files_uploaded bigint, OUT bytes_uploaded bigint
)
LANGUAGE sql
AS $$
  SELECT done.rows_uploaded, done.files_uploaded, done.bytes_uploaded
  FROM AURORA_LOCAL.EXPORT(query, bucket, file_path, region, options, kms_key) AS done
$$;

CREATE OR REPLACE FUNCTION AWS_S3.QUERY_EXPORT_TO_S3(
  query text, s3_info AWS_COMMONS._S3_URI_1,
  options text DEFAULT NULL, kms_key text DEFAULT NULL,
  OUT rows_uploaded bigint, OUT files_uploaded bigint, OUT bytes_uploaded bigint
)
LANGUAGE sql
AS $$
  SELECT done.rows_uploaded, done.files_uploaded, done.bytes_uploaded
  FROM AURORA_LOCAL.EXPORT(
    query, (s3_info).bucket, (s3_info).file_path, (s3_info).region, options, kms_key
  ) AS done
$$;

-- As on Aurora: nobody may use the extension unasked.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA AWS_S3, AWS_COMMONS FROM PUBLIC;
REVOKE ALL ON SCHEMA AWS_S3, AWS_COMMONS FROM PUBLIC;
GRANT USAGE ON SCHEMA AURORA_LOCAL TO PUBLIC;

-- The price of curl and the pipe, paid locally only; all other rights of this role come
-- from the administrator's statements, as on Aurora.
DO $$
BEGIN
  CREATE ROLE AURORA_SYNC_EXPORTER NOLOGIN;
EXCEPTION WHEN DUPLICATE_OBJECT THEN NULL;
END
$$;
GRANT PG_EXECUTE_SERVER_PROGRAM, PG_WRITE_SERVER_FILES TO AURORA_SYNC_EXPORTER;
