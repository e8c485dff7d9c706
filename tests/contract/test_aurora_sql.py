"""The administrator's statements give the exporter what it needs and nothing else."""

import re

from sqlglot import parse_one

from runtime.contract.aurora_sql import (
    EXPORTER_ROLE,
    admin_statements,
    vault_admin_statements,
)
from tests.factories import make_spec

SPECS = [
    make_spec(),
    make_spec(table_name='Sales."order.lines"'),
    make_spec(table_name='public."a""b;--"'),
]


def test_every_table_is_granted_to_the_exporters_role():
    statements = admin_statements(SPECS)
    for spec in SPECS:
        assert f'GRANT SELECT ON TABLE {spec.source.sql} TO "{EXPORTER_ROLE}"' in (
            statements
        )
    for schema in ("public", "Sales"):
        assert f'GRANT USAGE ON SCHEMA "{schema}" TO "{EXPORTER_ROLE}"' in statements


def test_the_specs_may_come_from_anywhere():
    assert admin_statements(iter(SPECS)) == admin_statements(SPECS)
    assert admin_statements(reversed(SPECS)) == admin_statements(SPECS)


def test_nothing_that_could_write_is_granted():
    granted = " ".join(admin_statements(SPECS)).upper()
    assert not re.search(
        r"\b(INSERT|UPDATE|DELETE|TRUNCATE|OWNER|SUPERUSER)\b", granted
    )
    assert " ALL" not in granted
    assert "GRANT PG_READ_ALL_STATS" in granted


def test_vaults_user_may_make_members_and_reads_nothing():
    *_, login, grant = vault_admin_statements('va"ult', "'it''s'")
    assert login == 'ALTER ROLE "va""ult" WITH LOGIN CREATEROLE'
    assert grant == f'GRANT "{EXPORTER_ROLE}" TO "va""ult" WITH ADMIN OPTION'


def test_one_statement_alone_has_the_password_and_it_is_no_ddl():
    """`log_statement = ddl` would put it into the server's log."""
    [only] = [each for each in vault_admin_statements("v", "'pw'") if "'pw'" in each]
    assert only.startswith("SELECT pg_catalog.set_config(")


def test_grants_are_postgresql():
    for statement in admin_statements(SPECS):
        if statement.startswith("GRANT SELECT"):
            parse_one(statement, dialect="postgres")
