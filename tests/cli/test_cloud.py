"""The way to a stack in the cloud, as far as it needs no parts."""

from pathlib import Path
from typing import Any

import snowflake.connector

from infra.cli.cloud import CloudTarget


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
