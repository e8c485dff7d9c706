"""What somebody changed in Snowflake by hand."""

from typing import Any

from infra.planning.standing import changed_by_hand
from runtime.contract.snowflake_names import (
    LANDING,
    SnowflakeObjects,
    landing_columns,
    target_columns,
)
from runtime.contract.snowflake_pipes import pipe_name
from runtime.ops.warehouse import Warehouse
from tests.factories import make_table

OBJECTS = SnowflakeObjects(database="DB", warehouse="", stack="dev")
TABLE = make_table()
PIPE = pipe_name(OBJECTS, TABLE)


class Account(Warehouse):
    """Snowflake with what was deployed, but for some columns and pipes."""

    def __init__(self, less: str = "", more: str = "", pipes: Any = (PIPE,)) -> None:
        super().__init__(connection=None, objects=OBJECTS)  # type: ignore[arg-type]
        self._pipes = pipes
        self._columns = {
            (LANDING, OBJECTS.landing(TABLE)): [c.name for c in landing_columns(TABLE)],
            TABLE.spec.target: [c.name for c in target_columns(TABLE)],
        }
        target = self._columns[TABLE.spec.target]
        target[:] = [name for name in (*target, *filter(None, [more])) if name != less]
        if less == "*":
            del self._columns[TABLE.spec.target]

    def ask(self, statement: str, timeout: int = 0) -> list[dict[str, Any]]:
        if statement.startswith("SHOW PIPES"):
            return [{"name": name} for name in self._pipes]
        return [
            {"table_schema": schema, "table_name": table, "column_name": name}
            for (schema, table), names in self._columns.items()
            for name in names
        ]


def notes(*account: Any, **more: Any) -> tuple[str, ...]:
    return changed_by_hand([TABLE], Account(*account, **more))["public.orders"]


def test_what_stands_as_it_was_deployed_is_not_worth_a_word():
    assert notes() == ()


def test_columns_that_are_missing_or_more_are_named():
    assert notes("STATUS") == ("DB.PUBLIC.ORDERS lacks STATUS: changed by hand",)
    [more] = notes(more="OWN")
    assert more == "DB.PUBLIC.ORDERS also has OWN: made by hand, and stays"


def test_a_target_that_is_gone_is_told_before_it_is_made_empty():
    assert notes("*") == (
        "DB.PUBLIC.ORDERS is not there: the deployment makes it, empty",
    )


def test_pipes_that_are_missing_or_left_over_are_named():
    [missing] = notes(pipes=())
    assert missing == f"pipe DB.LANDING.{PIPE} is not there: files wait"
    older = OBJECTS.pipes(TABLE) + "_0123ABCD"
    [left] = notes(pipes=(PIPE, older, "OTHER_PIPE_0123ABCD"))
    assert left == f"pipe DB.LANDING.{older} is an older one, and goes"


def test_without_tables_nobody_is_asked():
    assert changed_by_hand([], None) == {}  # type: ignore[arg-type]
