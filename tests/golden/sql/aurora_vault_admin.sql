SELECT pg_catalog.set_config('aurora_sync.password', '<password>', FALSE) <> '' AS password_given;
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'vault') THEN IF pg_catalog.current_setting('aurora_sync.password') = '' THEN RAISE EXCEPTION 'no password for the new role %', 'vault' USING HINT = 'log in to Vault as one who may read it, then run this again'; END IF; EXECUTE pg_catalog.format('CREATE ROLE %I PASSWORD %L', 'vault', pg_catalog.current_setting('aurora_sync.password')); END IF; END $$;
ALTER ROLE "vault" WITH LOGIN CREATEROLE;
GRANT "aurora_sync_exporter" TO "vault" WITH ADMIN OPTION;
