"""A table as deployed beside the same table as it would be."""

from typing import Any

import msgspec
import pytest

from infra.planning.model import TablePlan
from infra.planning.tables import compare
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.snowflake_pipes import pipe_name
from runtime.contract.specs import Table
from runtime.ops.continued import continued
from tests.factories import ORDERS, make_column, make_table

OBJECTS = SnowflakeObjects(database="DB", warehouse="", stack="dev")
LANDING = "DB.LANDING.PUBLIC__ORDERS"
NOTE = make_column(4, "note", "text", nullable=True)
EXTRA = make_column(5, "extra", "integer", nullable=True)


def planned(old: Table | None, new: Table | None) -> TablePlan:
    [found] = compare([old] if old else [], [new] if new else [], OBJECTS)
    return found


def kinds(old: Table, new: Table) -> list[str]:
    return [each.kind for each in planned(old, new).refusals]


def refreshed(table: Table, *columns: Any, **keys: Any) -> Table:
    """Return what `contract refresh` makes of a table that has these columns now."""
    wanted = make_table(columns, **keys)
    contract = continued(table.contract, wanted.contract.columns, wanted.spec)
    contract = msgspec.structs.replace(contract, where=wanted.spec.where)
    return Table(spec=wanted.spec, contract=contract)


def test_the_same_table_does_not_change():
    assert planned(make_table(), make_table()) == TablePlan(
        table="public.orders", change="unchanged"
    )


def test_tables_are_told_by_name_whatever_becomes_of_them():
    names = ["public.a", "public.b", "public.c"]
    a, b, c = (make_table(table_name=name) for name in names)
    found = compare([b, a], [c, b], OBJECTS)
    assert [(each.table, each.change) for each in found] == [
        ("public.a", "removed"),
        ("public.b", "unchanged"),
        ("public.c", "new"),
    ]


def test_a_new_table_is_made_and_loaded():
    found = planned(None, make_table())
    assert found.statements == (
        f"CREATE TABLE {LANDING}",
        f"CREATE TABLE {LANDING}_KEYS",
        "CREATE TABLE DB.PUBLIC.ORDERS",
    )
    assert found.backfill is not None and found.backfill.reason == "first load"
    assert found.refusals == ()


def test_a_removed_table_says_what_stops_and_how_to_drop_it():
    found = planned(make_table(deletes="ignore"), None)
    assert found.statements == (f"DROP TABLE {LANDING}",)
    assert [step.partition(" ")[0] for step in found.steps] == [
        *("schedule", "pipe", "stream", "task")
    ]
    [drop] = found.notes
    assert "DROP TABLE DB.PUBLIC.ORDERS" in drop
    assert "exports/dev/public.orders/ and manifests/dev/public.orders/" in drop
    assert (found.backfill, found.refusals) == (None, ())


def test_a_new_column_is_added_a_pipe_stands_before_the_older_one_goes():
    old = make_table((*ORDERS, NOTE))
    new = refreshed(old, *ORDERS, NOTE, EXTRA)
    found = planned(old, new)
    assert found.statements == (
        f"ALTER TABLE {LANDING} ADD COLUMN C5 VARCHAR(134217728)",
        "ALTER TABLE DB.PUBLIC.ORDERS ADD COLUMN EXTRA NUMBER(10,0)",
    )
    pipe, task = found.steps
    one, other = pipe_name(OBJECTS, old), pipe_name(OBJECTS, new)
    assert pipe.startswith(f"pipe DB.LANDING.{one}: DB.LANDING.{other} is made first")
    assert task == f"task {LANDING}_MERGE: altered in place; its stream keeps its place"
    assert found.backfill is not None
    assert found.backfill.reason == "new column EXTRA"
    assert found.refusals == ()


def test_a_column_that_grows_is_altered_in_its_place():
    def table(size: int) -> Table:
        text = f"character varying({size})"
        return make_table((*ORDERS, make_column(4, "note", text)))

    found = planned(table(9), table(20))
    assert found.statements == (
        "ALTER TABLE DB.PUBLIC.ORDERS ALTER COLUMN NOTE SET DATA TYPE VARCHAR(20)",
    )
    assert not [step for step in found.steps if step.startswith("pipe")]
    assert found.backfill is not None
    assert found.backfill.reason == "column NOTE changes"
    assert found.refusals == ()


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"schedule": "daily"}, "schedule: hourly -> daily"),
        ({"lookback": "PT1H"}, "lookback: PT300S -> PT3600S"),
        ({"max_delete_fraction": 0.5}, "max_delete_fraction: 0.1 -> 0.5"),
        ({"warehouse": "BIG"}, "warehouse: none -> BIG"),
    ],
)
def test_a_key_of_the_entry_changes_no_data(keys, told):
    found = planned(make_table(), make_table(**keys))
    assert (found.change, found.settings) == ("changed", (told,))
    assert (found.statements, found.backfill, found.refusals) == ((), None, ())


def test_another_schedule_and_another_interval_are_steps():
    found = planned(make_table(), make_table(schedule="daily", merge_interval="PT5M"))
    assert found.steps == (
        f"task {LANDING}_MERGE: altered in place; its stream keeps its place",
        "schedule rate(1 hour): becomes rate(1 day)",
    )


def test_a_column_that_goes_takes_its_values_along():
    old = make_table((*ORDERS, NOTE))
    found = planned(old, refreshed(old, *ORDERS))
    assert found.statements == ("ALTER TABLE DB.PUBLIC.ORDERS DROP COLUMN NOTE",)
    assert [each.kind for each in found.refusals] == ["drop-column"]
    assert "second `contract refresh`" in found.notes[0]


@pytest.mark.parametrize(
    "keys", [{"masks": {"note": "hash"}}, {"rename": {"note": "Remark"}}]
)
def test_a_mask_or_another_name_takes_a_column_away_for_one_deployment(keys):
    old = make_table((*ORDERS, NOTE))
    found = planned(old, refreshed(old, *ORDERS, NOTE, **keys))
    assert [each.kind for each in found.refusals] == ["drop-column"]
    assert found.backfill is not None


def test_two_refreshes_without_a_deployment_are_refused():
    """Values of the clear column would stand in the masked one."""
    old = make_table((*ORDERS, NOTE))
    masked = {"masks": {"note": "hash"}}
    once = refreshed(old, *ORDERS, NOTE, **masked)
    twice = refreshed(once, *ORDERS, NOTE, **masked)
    assert kinds(old, twice) == ["column-returns"]
    assert kinds(once, twice) == []


def test_a_contract_that_was_made_anew_is_refused():
    old = make_table((*ORDERS, NOTE))
    moved = make_table((NOTE, *make_table().contract.columns))
    assert kinds(old, moved) == ["file-layout"]
    assert kinds(old, make_table()) == ["file-layout"]
    wider = make_table((*ORDERS, NOTE), base_width=3)
    assert kinds(old, wider) == ["file-layout"]


def test_a_dropped_place_does_not_come_back():
    gone = msgspec.structs.replace(NOTE, dropped=True)
    old, new = make_table((*ORDERS, gone)), make_table((*ORDERS, NOTE))
    assert kinds(old, new) == ["file-layout"]


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ("character varying(20)", "character varying(9)", True),
        ("integer", "text", True),
        ("json", "text", True),
        ("integer", "bigint", False),
        ("text", "character varying", False),
    ],
)
def test_a_type_may_only_grow_in_its_place(before, after, refused):
    one, other = (
        make_table((*ORDERS, make_column(4, "note", kind))) for kind in (before, after)
    )
    assert kinds(one, other) == ["column-type"] * refused


def test_a_mask_that_was_written_into_the_contract_by_hand_is_refused():
    old = make_table((*ORDERS, NOTE))
    new = make_table((*ORDERS, NOTE), masks={"note": "hash"})
    assert kinds(old, new) == ["column-type"]


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"target_schema": "other"}, "target"),
        ({"primary_key": "status"}, "primary-key"),
        ({"primary_key": ["order_id", "status"]}, "primary-key"),
        ({"mode": "full", "watermark_col": None}, "mode"),
        ({"watermark_col": "created_at"}, "watermark"),
        ({"watermark_timezone": "UTC"}, "watermark"),
    ],
)
def test_what_would_leave_rows_behind_is_refused(keys, kind):
    columns = (*ORDERS, ("created_at", "timestamp with time zone"))
    assert kinds(make_table(columns), make_table(columns, **keys)) == [kind]


def test_another_name_in_the_same_schema_takes_the_rows_along():
    old, new = make_table((*ORDERS, NOTE)), make_table(target_table="other")
    found = planned(old, new)
    assert found.statements[1:] == (
        "ALTER TABLE DB.PUBLIC.ORDERS RENAME TO DB.PUBLIC.OTHER",
        "ALTER TABLE DB.PUBLIC.OTHER DROP COLUMN NOTE",
    )
    found = planned(make_table(), new)
    assert found.refusals == ()
    assert found.statements == (
        "ALTER TABLE DB.PUBLIC.ORDERS RENAME TO DB.PUBLIC.OTHER",
    )
    assert "views and queries of ORDERS have to follow" in found.notes[0]


@pytest.mark.parametrize(
    ("deletes", "told"),
    [("reconcile", "leave with the next reconcile"), ("ignore", "stay in the target")],
)
def test_another_where_exports_all_rows_and_says_what_becomes_of_others(deletes, told):
    old = make_table(deletes=deletes)
    new = make_table(deletes=deletes, where="status <> 'test'")
    found = planned(old, new)
    assert found.backfill is not None and found.backfill.reason == "another where"
    assert told in found.notes[0]


def test_without_reconcile_the_keys_table_goes():
    found = planned(make_table(), make_table(deletes="ignore"))
    assert found.statements == (f"DROP TABLE {LANDING}_KEYS",)
    back = planned(make_table(deletes="ignore"), make_table())
    assert back.statements == (f"CREATE TABLE {LANDING}_KEYS",)


def test_clustering_is_told_by_the_targets_columns():
    found = planned(make_table(), make_table(clustering=["status"]))
    assert "clustering (none): becomes (status)" in found.steps
