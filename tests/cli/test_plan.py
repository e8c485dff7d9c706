"""How a plan is told to people."""

from infra.cli.plan import lines
from infra.planning.model import Backfill, Plan, Refusal, ResourceChange, TablePlan
from runtime.ops.costs import backfill


def told(**fields: object) -> list[str]:
    return list(lines(Plan(stack="dev", **{"tables": (), **fields})))  # type: ignore


def test_nothing_changes_in_a_line():
    tables = (TablePlan(table="public.a", change="unchanged"),)
    assert told(tables=tables) == ["unchanged: 1 table", "nothing changes"]


def test_a_table_is_told_with_all_that_becomes_of_it():
    table = TablePlan(
        table="public.a",
        change="changed",
        settings=("schedule: hourly -> daily",),
        statements=("ALTER TABLE T ADD COLUMN C",),
        steps=("pipe P: Q is made first",),
        notes=("mind",),
        backfill=Backfill(
            reason="new column C",
            rows=2_000_000,
            bytes=2_000_000_000,
            cost=backfill(2_000_000, 2_000_000_000),
        ),
    )
    change = ResourceChange(
        action="update", type="a:b/c:Task", name="t", keys=("sqlStatement",)
    )
    assert told(tables=(table,), resources=(change,)) == [
        "public.a: changed",
        "  entry  schedule: hourly -> daily",
        "  runs  ALTER TABLE T ADD COLUMN C",
        "  then  pipe P: Q is made first",
        "  note  mind",
        "  rows  all come again (new column C): about 2,000,000 rows, 2.0 GB; "
        "0.042 credits, 0.17 to 0.23 dollars",
        "in this order, as the program's resources wait for each other:",
        "    1. update  Task t (sqlStatement)",
    ]


def test_a_stream_that_is_made_anew_is_followed_by_a_sweep():
    change = ResourceChange(action="update", type="a:b/c:StreamOnTable", name="s")
    assert told(resources=(change,))[1].endswith(
        "StreamOnTable s; it loses its place: run `aurora-sync sweep` afterwards"
    )


def test_what_is_not_known_is_said():
    table = TablePlan(
        table="public.a", change="new", backfill=Backfill(reason="first load")
    )
    assert told(tables=(table, table), unknown=("the rest",)) == [
        *["public.a: new", "  rows  first load; how many is unknown"] * 2,
        "not looked at: the rest",
    ]


def test_refusals_say_how_to_go_on():
    refusals = tuple(
        Refusal(kind="target", table=name, fact="f", remedy="r", allowed=allowed)
        for name, allowed in (("public.a", False), ("public.b", True))
    )
    table = TablePlan(table="public.a", change="changed", refusals=refusals)
    assert told(tables=(table,))[1:] == [
        "refused (target): public.a: f; r",
        "allowed (target): public.b: f; r",
        "1 change would lose data or fail: mend, or say --allow KIND[:TABLE]",
    ]


def test_several_tables_that_come_again_are_added_up():
    again = Backfill(reason="x", rows=1, bytes=1, cost=backfill(1, 1))
    table = TablePlan(table="public.a", change="changed", backfill=again)
    assert told(tables=(table, table))[-1] == (
        "rows that come again cost about 0.033 credits, 0.10 dollars"
    )
