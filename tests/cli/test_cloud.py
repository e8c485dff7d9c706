"""The way to a stack in the cloud, as far as it needs no parts."""

from pathlib import Path
from typing import Any

import psycopg2
import pytest
import snowflake.connector

from infra.cli.cloud import CloudTarget
from infra.stack import StackSettings
from runtime.contract.errors import SourceUnavailableError
from runtime.ops.invoke import FunctionError


class Session:
    database = "ANALYTICS"

    def close(self) -> None:
        """Nothing to do."""


def test_a_session_does_not_depend_on_what_the_account_has_set(monkeypatch):
    """An approval in the account's time would stand before the decision it is about."""
    given: dict[str, Any] = {}

    def connect(**options: Any) -> Session:
        given.update(options)
        return Session()

    monkeypatch.setattr(snowflake.connector, "connect", connect)
    with CloudTarget("dev", Path("none")).warehouse() as warehouse:
        assert warehouse.objects.database == "ANALYTICS"
    assert given["session_parameters"] == {
        "TIMEZONE": "UTC",
        "TIMESTAMP_INPUT_FORMAT": "AUTO",
        "TIME_INPUT_FORMAT": "AUTO",
    }


class Undeployed(CloudTarget):
    """A stack whose function AWS does not know."""

    @property
    def _settings(self) -> Any:
        raise FunctionError("cannot be found", subject="function")


def test_before_the_first_deployment_aurora_is_where_the_settings_say(monkeypatch):
    """Contracts are needed for the first deployment, and Aurora for contracts."""
    asked: list[str] = []

    def connect(dsn: str, **options: Any) -> None:
        asked.append(dsn)
        raise psycopg2.OperationalError("nobody is there")

    monkeypatch.setattr(psycopg2, "connect", connect)
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    with pytest.raises(SourceUnavailableError):
        Undeployed("dev", Path("none")).aurora()
    wanted = StackSettings.from_file("dev").aurora
    assert sorted(asked[0].split()) == [
        f"dbname={wanted.database}",
        f"port={wanted.port}",
        "sslmode=verify-full",
    ]


def test_a_stack_that_nobody_knows_is_told_as_such():
    with pytest.raises(FunctionError):
        Undeployed("nope", Path("none")).aurora()
