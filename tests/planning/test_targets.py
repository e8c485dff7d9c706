"""What becomes of targets: they stay, go, are taken over, or stand in the way."""

from typing import Any

import pytest

from infra.planning.model import Action, ResourceChange, TablePlan
from infra.planning.tables import compare
from infra.planning.targets import Targets
from runtime.contract.snowflake_names import SnowflakeObjects, target_columns
from runtime.contract.specs import Table
from tests.factories import make_table

OBJECTS = SnowflakeObjects(database="DB", warehouse="", stack="dev")
PLACE = ("PUBLIC", "ORDERS")
OWN = {column.name for column in target_columns(make_table())}


def told(old: Table | None, new: Table | None, **known: Any) -> TablePlan:
    [plan] = compare([old] if old else [], [new] if new else [], OBJECTS)
    fields: dict[str, Any] = {
        "changes": None,
        "columns": {PLACE: OWN},
        "unknown": None,
        "adopted": (),
    }
    targets = Targets(objects=OBJECTS, **fields | known)
    return targets.told(plan, old, new)


def change(action: Action) -> tuple[ResourceChange, ...]:
    kind = "snowflake:index/table:Table"
    return (
        ResourceChange(action=action, type=kind, name="table-public.orders-target"),
    )


def kinds(plan: TablePlan) -> list[str]:
    return [each.kind for each in plan.refusals]


def test_a_target_that_stays_is_told_with_the_way_back():
    found = told(make_table(), None, changes=change("leave"))
    assert found.notes[0].startswith("stays: DB.PUBLIC.ORDERS with its rows")
    assert "`aurora-sync adopt public.orders`" in found.notes[0]
    found = told(make_table(), None)
    assert found.notes[0].startswith("stays (if it was deployed with protection): ")


def test_a_target_without_protection_is_dropped():
    found = told(make_table(), None, changes=change("delete"))
    assert found.statements[-1] == "DROP TABLE DB.PUBLIC.ORDERS"
    assert not any(note.startswith("stays") for note in found.notes)


@pytest.mark.parametrize("changes", [None, change("create")])
def test_a_target_that_stands_outside_the_state_has_to_be_adopted(changes):
    found = told(None, make_table(), changes=changes)
    assert kinds(found) == ["adopt"]
    assert "`aurora-sync adopt public.orders`" in found.refusals[0].remedy


@pytest.mark.parametrize(
    "known",
    [
        {"columns": {}},
        # Snowflake did not answer, which the plan says elsewhere.
        {"columns": None},
        # A deployment was cut off after it had made the target.
        {"changes": change("update")},
        {"unknown": lambda place: False},
    ],
)
def test_any_other_new_table_is_made(known):
    assert kinds(told(None, make_table(), **known)) == []


def test_a_local_stack_knows_what_it_has_left_behind():
    found = told(None, make_table(), unknown=lambda place: place == PLACE)
    assert kinds(found) == ["adopt"]


@pytest.mark.parametrize(
    "known", [{"adopted": ["public.orders"]}, {"changes": change("import")}]
)
def test_a_target_that_is_taken_over_is_altered_and_not_made(known):
    there = {*OWN, "BY_HAND"} - {"STATUS"}
    found = told(None, make_table(), columns={PLACE: there}, **known)
    assert found.statements[-2:] == (
        "ALTER TABLE DB.PUBLIC.ORDERS DROP COLUMN BY_HAND",
        "ALTER TABLE DB.PUBLIC.ORDERS ADD COLUMN STATUS VARCHAR(134217728)",
    )
    assert "CREATE TABLE DB.PUBLIC.ORDERS" not in found.statements
    assert kinds(found) == ["drop-column"]
    assert "masking policies" in found.notes[0]


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ({("PUBLIC", "OTHER")}, "DB.PUBLIC.ORDERS is not there"),
        ({PLACE, ("PUBLIC", "OTHER")}, "DB.PUBLIC.OTHER is there already"),
        ({PLACE}, None),
    ],
)
def test_a_renaming_that_would_fail_is_refused(there, why):
    columns = {place: OWN for place in there}
    found = told(make_table(), make_table(target_table="other"), columns=columns)
    assert kinds(found) == ["target"] * (why is not None)
    assert why is None or why in found.refusals[0].fact
