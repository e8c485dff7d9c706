"""The operator's session: read-only, and printing as the export prints."""

from contextlib import closing

import psycopg2
import pytest

from infra.local import postgres
from runtime.contract.dialect import SESSION
from runtime.contract.errors import ConfigError, SourceError, SourceUnavailableError
from runtime.ops.source import connect, told


def test_the_session_prints_as_the_export_does_and_cannot_write(stack):
    with closing(connect(postgres.aurora_dsn(stack))) as session:
        with session.cursor() as cursor:
            for name, value in SESSION.items():
                cursor.execute(f"SHOW {name}")
                assert cursor.fetchone()[0].lower() == value.lower()
            with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
                cursor.execute("CREATE TABLE public.t (id INT)")


def test_an_address_in_a_wrong_form_is_the_callers_mistake():
    with pytest.raises(ConfigError, match="address has a wrong form"):
        connect("postgresql://[")


def test_nobody_listening_is_an_outage():
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        connect("postgresql://user@127.0.0.1:1/none")


def test_a_refusal_keeps_the_servers_reason(stack):
    with closing(connect(postgres.aurora_dsn(stack))) as session:
        with pytest.raises(SourceError, match="division by zero") as caught:
            with told("table t"), session.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
    assert caught.value.got == "SQLSTATE 22012"
