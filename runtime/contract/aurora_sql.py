"""SQL for Aurora that both its readers share, and what an administrator runs there.

The exporter's leased users are members of one role without login that holds every
right; nothing in it can write. Vault's own user may only make and drop such members.
"""

from collections.abc import Iterable

from runtime.contract.masks import hash_statements
from runtime.contract.names import postgres_literal, quote_postgres
from runtime.contract.specs import TableSpec

EXPORTER_ROLE = "aurora_sync_exporter"
# It brings aws_commons along.
# Source: Amazon Aurora User Guide, postgresql-s3-export.html
EXTENSION = "CREATE EXTENSION IF NOT EXISTS aws_s3 CASCADE"
_PASSWORD = "'aurora_sync.password'"

# The stamp of a transaction's snapshot: it totally orders what snapshots show.
SNAPSHOT_STAMP = """(
  SELECT pg_catalog.lpad(pg_catalog.pg_snapshot_xmax(s)::pg_catalog.text, 20, '0')
    || '-' || pg_catalog.lpad((1000000000 - (SELECT pg_catalog.count(x)
      FROM pg_catalog.pg_snapshot_xip(s) AS x))::pg_catalog.text, 10, '0')
  FROM pg_catalog.pg_current_snapshot() AS s)"""


def full_stamp(generation: int, stamp: str) -> str:
    """Return a snapshot's stamp as files and rows carry it."""
    return f"{generation:06d}-{stamp}"


def admin_statements(specs: Iterable[TableSpec]) -> tuple[str, ...]:
    """Return the statements that give the exporter its rights.

    Without pg_read_all_stats PostgreSQL hides other users' transaction starts and
    the watermark could not be bounded safely.
    Source: https://www.postgresql.org/docs/current/predefined-roles.html

    Args:
        specs: The tables that may be read; they must exist.
    """
    role = quote_postgres(EXPORTER_ROLE)
    specs = tuple(specs)
    sources = sorted({spec.source for spec in specs}, key=str)
    numbered = sorted(
        (spec.source.sql, str(spec.watermark_col))
        for spec in specs
        if spec.id_lookback is not None
    )
    hashing = any("hash" in spec.masks.values() for spec in specs)
    return (
        f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; "
        "EXCEPTION WHEN DUPLICATE_OBJECT THEN NULL; END $$",
        f"GRANT pg_read_all_stats TO {role}",
        f"GRANT USAGE ON SCHEMA aws_s3, aws_commons TO {role}",
        "GRANT EXECUTE ON FUNCTION aws_s3.query_export_to_s3("
        f"text, aws_commons._s3_uri_1, text, text) TO {role}",
        "GRANT EXECUTE ON FUNCTION aws_commons.create_s3_uri("
        f"text, text, text) TO {role}",
        *(_sequence_grant(table, column) for table, column in numbered),
        *(hash_statements(EXPORTER_ROLE) if hashing else ()),
        *(
            f"GRANT USAGE ON SCHEMA {quote_postgres(schema)} TO {role}"
            for schema in sorted({source.schema for source in sources})
        ),
        *(f"GRANT SELECT ON TABLE {source.sql} TO {role}" for source in sources),
    )


def _sequence_grant(table: str, column: str) -> str:
    """Let the role read the position of the sequence that numbers a column.

    Args:
        table: The table, quoted.
        column: The column.
    """
    named = ", ".join(postgres_literal(name) for name in (table, column))
    return (
        "DO $$ BEGIN EXECUTE COALESCE('GRANT SELECT ON SEQUENCE ' || "
        f"pg_catalog.pg_get_serial_sequence({named}) || "
        f"' TO {quote_postgres(EXPORTER_ROLE)}', 'SELECT 1'); END $$"
    )


def vault_admin_statements(user: str, password_sql: str) -> tuple[str, ...]:
    """Return the statements that let Vault make members of the exporter's role.

    The password is set with the role and never again: Vault rotates it. It travels as
    a setting of the session, so that no statement that is logged as DDL carries it.

    Args:
        user: Name of Vault's own database user.
        password_sql: Its first password as a quoted SQL literal, quoted by the
            caller's driver; empty where the user exists.
    """
    admin, role = quote_postgres(user), quote_postgres(EXPORTER_ROLE)
    name = postgres_literal(user)
    return (
        f"SELECT pg_catalog.set_config({_PASSWORD}, {password_sql}, FALSE) <> '' "
        "AS password_given",
        "DO $$ BEGIN IF NOT EXISTS "
        f"(SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN "
        f"IF pg_catalog.current_setting({_PASSWORD}) = '' THEN "
        "RAISE EXCEPTION 'no password for the new role %', "
        f"{name} USING HINT = 'log in to Vault as one who may read it, then run this "
        "again'; END IF; "
        "EXECUTE pg_catalog.format('CREATE ROLE %I PASSWORD %L', "
        f"{name}, pg_catalog.current_setting({_PASSWORD})); "
        "END IF; END $$",
        f"ALTER ROLE {admin} WITH LOGIN CREATEROLE",
        f"GRANT {role} TO {admin} WITH ADMIN OPTION",
    )


def setup_statements(
    specs: Iterable[TableSpec], vault_user: str | None, password_sql: str
) -> tuple[str, ...]:
    """Return all that an administrator runs on Aurora, once and for new tables.

    Args:
        specs: The tables that may be read; they must exist.
        vault_user: Name of Vault's own database user; None when Vault's connection
            exists, and with it a user that somebody else has made.
        password_sql: That user's first password, quoted by the caller.
    """
    vault = vault_admin_statements(vault_user, password_sql) if vault_user else ()
    return (EXTENSION, *admin_statements(specs), *vault)
