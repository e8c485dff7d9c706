"""What an operator's command asks Snowflake, and makes of the answers."""

from typing import Any

import duckdb
import pytest
from sqlglot import exp, parse_one

from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.ops.warehouse import Warehouse
from tests.factories import make_table

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="dev")
NOON = "2026-01-01 12:0"


class History(Warehouse):
    """A warehouse without a server that knows a task's runs.

    Args:
        runs: State and time of completion of each.
    """

    def __init__(self, *runs: tuple[str, str | None]) -> None:
        super().__init__(connection=None, objects=OBJECTS)  # type: ignore[arg-type]
        self._history = runs

    def ask(self, statement: str, timeout: int = 0) -> list[dict[str, Any]]:
        asked = parse_one(statement, dialect="snowflake")
        function = asked.find(exp.TableFromRows)
        assert function is not None and "TASK_HISTORY" in function.sql()
        function.replace(exp.to_table("history"))
        with duckdb.connect() as database:
            database.execute(
                "CREATE TABLE history (database_name TEXT, schema_name TEXT, "
                "state TEXT, error_message TEXT, completed_time TIMESTAMP)"
            )
            for state, at in self._history:
                database.execute(
                    "INSERT INTO history VALUES ('ANALYTICS', 'LANDING', ?, ?, ?)",
                    [state, f"{state} text", at],
                )
            found = database.execute(asked.sql("duckdb")).fetchall()
        return [{"state": state, "error_message": text} for state, text in found]


@pytest.mark.parametrize(
    ("runs", "fails"),
    [
        ([], False),
        ([("FAILED", NOON + "1"), ("SUCCEEDED", NOON + "2")], False),
        ([("SUCCEEDED", NOON + "1"), ("FAILED", NOON + "2")], True),
        # A look at the stream after the merge: nothing has come since.
        ([("SUCCEEDED", NOON + "1"), ("SKIPPED", NOON + "2")], False),
        ([("FAILED", NOON + "1"), ("SKIPPED", NOON + "2")], True),
        ([("SUCCEEDED", NOON + "1"), ("EXECUTING", None)], False),
    ],
)
def test_a_task_fails_when_the_last_run_that_did_something_failed(runs, fails):
    trouble = History(*runs).task_failure(make_table())
    assert bool(trouble) is fails
    assert not fails or trouble.endswith("failed: FAILED text")
