-- The schemas aws_s3 and aws_commons of Aurora, with its signatures, on PostgreSQL.
-- Source of the signatures:
-- https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/postgresql-s3-export-functions.html
-- What Aurora keeps inside stands in the schema aurora_local: the rows of a query go
-- through curl to the sidecar (aurora_uploader.py), and become objects in a second
-- call. One call could not do: a backend that dies looks to curl like the last row.

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
  WHERE call ~ '^[0-9a-f]{32}[.](stage|commit)$'
$$;

-- Text for the shell and the address at once: hexadecimal digits mean nothing to both.
CREATE OR REPLACE FUNCTION AURORA_LOCAL.HEX(value text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$ SELECT ENCODE(CONVERT_TO(COALESCE(value, ''), 'UTF8'), 'hex') $$;

-- One call: the query's rows are its body. Made of constants, hexadecimal digits and,
-- outside of what the shell sees, the query and its options.
CREATE OR REPLACE FUNCTION AURORA_LOCAL.CALL_SIDECAR(
  query text, options text, call text, method text, parameters text,
  OUT rows_sent bigint, OUT answer json
)
LANGUAGE plpgsql
AS $$
DECLARE
  program CONSTANT text := FORMAT(
    'exec curl -q -K ../curl.conf -o ../answers/%s %s ''http://aurora-s3/%s?%s''',
    call, method, call, parameters
  );
BEGIN
  BEGIN
    EXECUTE FORMAT(E'COPY (%s\n) TO PROGRAM %L %s', query, program, options);
    GET DIAGNOSTICS rows_sent = ROW_COUNT;
    answer := AURORA_LOCAL.ANSWER(call);
  EXCEPTION WHEN EXTERNAL_ROUTINE_EXCEPTION THEN
    IF SQLERRM NOT LIKE 'program "exec curl%' THEN
      RAISE;
    END IF;
    answer := COALESCE(
      AURORA_LOCAL.ANSWER(call), '{"error": "Unable to connect to endpoint"}'
    );
  END;
  IF answer ->> 'no_credentials' IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'system_error',
      MESSAGE = 'credentials stored with the database cluster can''t be accessed',
      DETAIL = answer ->> 'no_credentials',
      HINT = 'Has the IAM role Amazon Resource Name (ARN) been associated with the '
        'feature-name "s3Export"?';
  ELSIF answer ->> 'bytes' IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'system_error',
      MESSAGE = 'could not upload to Amazon S3',
      DETAIL = FORMAT('Amazon S3 client returned ''%s''.', answer ->> 'error');
  END IF;
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
  SELECT sent.rows_sent INTO rows_uploaded
  FROM AURORA_LOCAL.CALL_SIDECAR(
    query,
    CASE WHEN options ~ '\S' THEN FORMAT('WITH (%s)', options) ELSE '' END,
    export || '.stage',
    '-T -',
    FORMAT(
      'bucket=%s&key=%s&region=%s&kms_key=%s',
      AURORA_LOCAL.HEX(bucket), AURORA_LOCAL.HEX(file_path),
      AURORA_LOCAL.HEX(region), AURORA_LOCAL.HEX(kms_key)
    )
  ) AS sent;
  SELECT done.answer INTO answer
  FROM AURORA_LOCAL.CALL_SIDECAR(
    'SELECT WHERE FALSE', '', export || '.commit', '-X POST --max-time 300', ''
  ) AS done;
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

-- The price of COPY TO PROGRAM, paid locally only; all other rights of this role come
-- from the administrator's statements, as on Aurora.
DO $$
BEGIN
  CREATE ROLE AURORA_SYNC_EXPORTER NOLOGIN;
EXCEPTION WHEN DUPLICATE_OBJECT THEN NULL;
END
$$;
GRANT PG_EXECUTE_SERVER_PROGRAM TO AURORA_SYNC_EXPORTER;
