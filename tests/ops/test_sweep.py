"""What the operator's sweep mends belongs to the role that the tasks run as."""

from typing import Any

import pytest

from runtime.contract.errors import WarehouseError
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.ops.sweep import sweep
from runtime.ops.warehouse import Warehouse
from tests.factories import make_table

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="dev")
BACK = 'USE ROLE "Ops Team"'


class Account(Warehouse):
    """A warehouse without a server: one stream, as SHOW tells it, of one owner."""

    def __init__(self, stream: dict[str, Any] | None, *, refuses: str = "") -> None:
        super().__init__(connection=None, objects=OBJECTS)  # type: ignore[arg-type]
        self.role, self.made_by = "Ops Team", ""
        self.said: list[str] = []
        self._stream, self._refuses = stream, refuses

    def ask(self, statement: str, timeout: int = 0) -> list[dict[str, Any]]:
        self.said.append(statement)
        if self._refuses and statement.startswith(self._refuses):
            raise WarehouseError("Snowflake refuses", subject="x", remedy="y")
        if statement.startswith("USE ROLE "):
            self.role = statement.removeprefix("USE ROLE ").strip('"')
        if statement.startswith("CREATE OR REPLACE STREAM"):
            self.made_by = self.role
        if statement.startswith("SELECT CURRENT_ROLE()"):
            return [{"name": self.role}]
        if statement.startswith("SELECT SYSTEM$PIPE_STATUS"):
            return [{"status": '{"executionState": "RUNNING"}'}]
        if statement.startswith("SHOW STREAMS"):
            return [self._stream] if self._stream else []
        if statement.startswith("SHOW TASKS"):
            return [{"name": OBJECTS.task(make_table()), "state": "started"}]
        return []


def shown(stale: str) -> dict[str, Any]:
    return {"name": OBJECTS.stream(make_table()), "stale": stale}


@pytest.mark.parametrize("stream", [None, shown("true")])
def test_a_stream_made_anew_belongs_to_the_role_of_its_task(stream):
    """A task has its owner's rights only; the operator's stream is closed to it."""
    account = Account(stream)
    assert sweep([make_table()], account, lambda *_: None) == 0
    assert (account.made_by, account.role) == (OBJECTS.loader, "Ops Team")
    # What follows runs in the operator's role, which the warehouse is granted to.
    assert account.said.index(BACK) < len(account.said) - 1


def test_the_operators_role_returns_when_the_stream_is_refused():
    account = Account(shown("true"), refuses="CREATE OR REPLACE STREAM")
    with pytest.raises(WarehouseError):
        sweep([make_table()], account, lambda *_: None)
    assert account.said[-1] == BACK


def test_a_good_stream_is_left_alone():
    account = Account(shown("false"))
    sweep([make_table()], account, lambda *_: None)
    assert account.made_by == ""
