-- The interface of Aurora's extensions aws_commons and aws_s3, for the local stack.
-- Signatures and meaning follow the Aurora user guide, "Exporting data from an Aurora
-- PostgreSQL DB cluster to Amazon S3". The rows travel through COPY ... TO PROGRAM to
-- a sidecar that uploads them in the role associated with the cluster.
--
-- Two phases: a cancelled query and a killed backend both look like the end of the
-- file to the program, so that an upload counts only once it is committed.

CREATE SCHEMA IF NOT EXISTS aws_commons;
CREATE SCHEMA IF NOT EXISTS aws_s3;

DO $$ BEGIN
  CREATE TYPE aws_commons._s3_uri_1 AS (bucket TEXT, file_path TEXT, region TEXT);
EXCEPTION WHEN DUPLICATE_OBJECT THEN NULL; END $$;

-- In the cloud the extension is installed before the role; here the role needs one
-- right more than there, because a program stands in for the extension's own code.
DO $$ BEGIN CREATE ROLE aurora_sync_exporter NOLOGIN;
EXCEPTION WHEN DUPLICATE_OBJECT THEN NULL; END $$;
GRANT pg_execute_server_program TO aurora_sync_exporter;

CREATE OR REPLACE FUNCTION aws_commons.create_s3_uri(
  s3_bucket TEXT, s3_key TEXT, aws_region TEXT)
RETURNS aws_commons._s3_uri_1 LANGUAGE sql IMMUTABLE AS $$
  SELECT ROW(s3_bucket, s3_key, aws_region)::aws_commons._s3_uri_1
$$;

-- Reads the sidecar's answer; names are made by the function below, as UUIDs.
CREATE OR REPLACE FUNCTION aws_s3._answer(upload UUID)
RETURNS JSON LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT pg_catalog.pg_read_file(%(answers)s || '/' || upload::TEXT, TRUE)::JSON
$$;

CREATE OR REPLACE FUNCTION aws_s3.query_export_to_s3(
  query TEXT, s3_info aws_commons._s3_uri_1,
  options TEXT DEFAULT NULL, kms_key TEXT DEFAULT NULL,
  OUT rows_uploaded BIGINT, OUT files_uploaded BIGINT, OUT bytes_uploaded BIGINT)
LANGUAGE plpgsql AS $function$
DECLARE
  upload CONSTANT UUID := pg_catalog.gen_random_uuid();
  -- Hexadecimal digits mean nothing to the shell, whatever the key holds.
  target CONSTANT TEXT := pg_catalog.encode(pg_catalog.convert_to(
    pg_catalog.json_build_object('bucket', s3_info.bucket, 'key', s3_info.file_path,
      'region', s3_info.region, 'kms_key', kms_key)::TEXT, 'UTF8'), 'hex');
  curl CONSTANT TEXT := pg_catalog.format(
    'curl -sS --fail-with-body -H "Authorization: Bearer %%s" -H Expect: '
    '--connect-timeout 5 -o %%s/%%s ', %(token)s, %(answers)s, upload);
  forget CONSTANT TEXT := pg_catalog.format('COPY (SELECT 1) TO PROGRAM %%L',
    pg_catalog.format('cat >/dev/null; rm -f %%s/%%s', %(answers)s, upload));
  answer JSON;
BEGIN
  BEGIN
    EXECUTE pg_catalog.format('COPY (%%s) TO PROGRAM %%L%%s', query,
      pg_catalog.format('%%s --speed-limit 1 --speed-time 300 -T - %%s/upload/%%s/%%s',
        curl, %(sidecar)s, upload, target),
      ' WITH (' || NULLIF(options, '') || ')');
    GET DIAGNOSTICS rows_uploaded = ROW_COUNT;
    EXECUTE pg_catalog.format('COPY (SELECT 1) TO PROGRAM %%L',
      pg_catalog.format('cat >/dev/null; %%s --max-time 300 -X POST %%s/commit/%%s',
        curl, %(sidecar)s, upload));
  EXCEPTION WHEN EXTERNAL_ROUTINE_EXCEPTION OR SYSTEM_ERROR THEN
    answer := aws_s3._answer(upload);
    EXECUTE forget;
    RAISE EXCEPTION '%%', COALESCE(answer ->> 'error', 'could not upload to Amazon S3')
      USING ERRCODE = 'XX000',
        DETAIL = COALESCE(answer ->> 'detail',
          'Amazon S3 client returned ''Unable to connect to endpoint''.'),
        HINT = COALESCE(answer ->> 'hint', '');
  END;
  answer := aws_s3._answer(upload);
  EXECUTE forget;
  files_uploaded := (answer ->> 'files')::BIGINT;
  bytes_uploaded := (answer ->> 'bytes')::BIGINT;
END
$function$;

CREATE OR REPLACE FUNCTION aws_s3.query_export_to_s3(
  query TEXT, bucket TEXT, file_path TEXT, region TEXT DEFAULT NULL,
  options TEXT DEFAULT NULL, kms_key TEXT DEFAULT NULL,
  OUT rows_uploaded BIGINT, OUT files_uploaded BIGINT, OUT bytes_uploaded BIGINT)
LANGUAGE sql AS $$
  SELECT e.rows_uploaded, e.files_uploaded, e.bytes_uploaded
  FROM aws_s3.query_export_to_s3(query,
    aws_commons.create_s3_uri(bucket, file_path, region), options, kms_key) AS e
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA aws_s3, aws_commons FROM PUBLIC;
GRANT EXECUTE ON FUNCTION aws_s3._answer(UUID) TO aurora_sync_exporter;
