DO $$ BEGIN CREATE ROLE "aurora_sync_exporter" NOLOGIN; EXCEPTION WHEN DUPLICATE_OBJECT THEN NULL; END $$;
GRANT pg_read_all_stats TO "aurora_sync_exporter";
GRANT USAGE ON SCHEMA aws_s3, aws_commons TO "aurora_sync_exporter";
GRANT EXECUTE ON FUNCTION aws_s3.query_export_to_s3(text, aws_commons._s3_uri_1, text, text) TO "aurora_sync_exporter";
GRANT EXECUTE ON FUNCTION aws_commons.create_s3_uri(text, text, text) TO "aurora_sync_exporter";
GRANT USAGE ON SCHEMA "public" TO "aurora_sync_exporter";
GRANT SELECT ON TABLE "public"."customers" TO "aurora_sync_exporter";
GRANT SELECT ON TABLE "public"."order_items" TO "aurora_sync_exporter";
GRANT SELECT ON TABLE "public"."orders" TO "aurora_sync_exporter";
