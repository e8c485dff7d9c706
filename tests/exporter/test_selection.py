"""Rows without a watermark and rows that come late are found by who wrote them."""

from collections import Counter

import psycopg2
import psycopg2.extensions
import pytest

from runtime.contract.errors import SourceError
from tests.exporter.conftest import EXACT, ORDERS, Scene

BACK = {"lookback": "PT10M", "margin": "PT0S"}
NOT_NULL = ORDERS.replace("TIMESTAMPTZ", "TIMESTAMPTZ NOT NULL")
INFINITE = ["'infinity'", "'-infinity'"]


def insert_odd(scene: Scene) -> None:
    scene.sql(
        "INSERT INTO orders VALUES (1, 's', NULL), (2, 's', 'infinity'), "
        "(3, 's', '-infinity'), (4, 's', NOW())"
    )


def last(scene: Scene, table) -> list[str]:
    return scene.exported(scene.manifests(table)[-1])


# --- rows without a watermark


@pytest.mark.parametrize(
    ("policy", "loaded", "changed"),
    [("include", ["1", "2", "3", "4"], ["2", "4", "5"]), ("exclude", ["4"], ["4"])],
)
def test_rows_without_watermark_follow_the_policy_in_loads_and_after(
    scene, policy, loaded, changed
):
    table = scene.table(ORDERS, **EXACT, null_watermark=policy)
    insert_odd(scene)
    assert scene.run(table).null_rows == 3
    assert last(scene, table) == loaded
    scene.run(table)
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id = 4")
    scene.sql("UPDATE orders SET status = 't' WHERE order_id = 2")
    scene.sql("INSERT INTO orders VALUES (5, 's', NULL)")
    assert scene.run(table).null_rows == 4
    assert last(scene, table) == changed


@pytest.mark.parametrize("value", ["NULL", *INFINITE])
def test_rows_without_watermark_do_not_go_out_again_with_every_run(scene, value):
    table = scene.table(ORDERS, **EXACT)
    scene.sql(f"INSERT INTO orders VALUES (1, 's', {value})")
    # The first after a load knows no snapshot yet.
    assert [scene.run(table).rows_exported for _ in range(4)] == [1, 1, 0, 0]
    assert scene.run(table).null_rows == 1


def test_a_row_without_watermark_that_commits_late_arrives(scene):
    table = scene.table(ORDERS, **EXACT)
    scene.run(table)
    writer = scene.session("BEGIN", "INSERT INTO orders VALUES (1, 's', NULL)")
    # Of a later transaction, which the snapshots of the next runs show as ended.
    scene.sql("INSERT INTO orders VALUES (2, 's')")
    scene.run(table)
    scene.run(table)
    writer.execute("COMMIT")
    scene.run(table)
    assert "1" in last(scene, table)


def test_a_row_without_watermark_written_under_a_savepoint_arrives(scene):
    """A snapshot does not name such a transaction; to it, this one is long over."""
    table = scene.table(ORDERS, **EXACT)
    scene.run(table)
    writer = scene.session("BEGIN", "INSERT INTO orders VALUES (1, 's')", "SAVEPOINT a")
    writer.execute("INSERT INTO orders VALUES (2, 's', NULL)")
    scene.sql("INSERT INTO orders VALUES (3, 's')")
    scene.run(table)
    writer.execute("COMMIT")
    scene.run(table)
    assert "2" in last(scene, table)


def test_a_view_does_not_tell_who_wrote_so_that_all_go_with_every_run(scene):
    scene.sql(ORDERS.replace("orders", "kept"))
    scene.sql("CREATE VIEW orders AS SELECT * FROM kept")
    scene.sql("INSERT INTO kept VALUES (1, 's', NULL)")
    table = scene.table(**EXACT)
    assert [scene.run(table).rows_exported for _ in range(3)] == [1, 1, 1]
    assert scene.state(table).snapshot is None


@pytest.mark.parametrize("value", ["NULL", *INFINITE])
def test_rows_without_watermark_fail_the_run_where_the_policy_says_so(scene, value):
    table = scene.table(ORDERS, **EXACT, null_watermark="fail")
    scene.run(table)
    scene.sql(f"INSERT INTO orders VALUES (1, 's', {value})")
    with pytest.raises(SourceError, match="NULL or infinite") as caught:
        scene.run(table)
    assert caught.value.allowed == "at most 0 (null_watermark fail)"
    assert scene.state(table).refusal["message"] == str(caught.value)


@pytest.mark.parametrize(
    ("ddl", "values"),
    [(ORDERS, ["NULL", "NULL", "'infinity'"]), (NOT_NULL, [*INFINITE, "'infinity'"])],
)
def test_more_rows_without_watermark_than_the_cap_fail_the_run(scene, ddl, values):
    table = scene.table(ddl, **EXACT, max_null_rows=2)
    scene.sql("INSERT INTO orders VALUES (1, 's', {}), (2, 's', {})".format(*values))
    assert scene.run(table).rows_exported == 2
    scene.sql(f"INSERT INTO orders VALUES (3, 's', {values[2]})")
    with pytest.raises(SourceError, match="got 'more than 2'"):
        scene.run(table)
    assert len(scene.manifests(table)) == 1


def test_rows_dated_far_off_neither_stop_nor_poison_a_run(scene):
    table = scene.table(ORDERS, **EXACT)
    insert_odd(scene)
    scene.sql("INSERT INTO orders VALUES (9, 's', '2099-01-01')")
    scene.run(table)
    scene.sql("INSERT INTO orders VALUES (5, 's')")
    assert scene.run(table).high < "2099"
    assert "5" in last(scene, table)


# --- rows that come late


def insert_late(scene: Scene, number: int, minutes: int) -> None:
    scene.sql(
        "INSERT INTO orders VALUES (%s, 's', NOW() - make_interval(mins => %s))",
        number,
        minutes,
    )


def test_rows_that_come_below_the_watermark_are_counted_once_with_their_lateness(scene):
    table = scene.table(ORDERS, **BACK)
    insert_late(scene, 1, 3)
    assert [scene.run(table).late_rows for _ in range(3)] == [0, 0, 0]
    insert_late(scene, 2, 4)
    insert_late(scene, 3, 8)
    insert_late(scene, 4, 0)
    result = scene.run(table)
    assert result.late_rows == 2
    assert 470 < result.lateness < 480
    kept = scene.state(table).last_run
    assert (kept["late_rows"], kept["lateness"]) == (2, result.lateness)
    assert scene.run(table).late_rows == 0


def test_a_row_that_commits_late_but_lies_above_the_watermark_is_not_late(scene):
    table = scene.table(ORDERS, **BACK)
    scene.run(table)
    scene.run(table)
    writer = scene.session("BEGIN", "INSERT INTO orders VALUES (1, 's')")
    scene.run(table)
    writer.execute("COMMIT")
    result = scene.run(table)
    assert (result.rows_exported, result.late_rows) == (1, 0)


def test_a_row_older_than_the_lookback_is_for_reconcile_to_find(scene):
    table = scene.table(ORDERS, **BACK)
    scene.run(table)
    scene.run(table)
    insert_late(scene, 1, 11)
    result = scene.run(table)
    assert (result.rows_exported, result.late_rows) == (0, 0)


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP"])
def test_lateness_is_in_seconds_whatever_the_type(scene, kind):
    keys = {"lookback": "P3D", "margin": "PT0S", "watermark_timezone": "UTC"}
    table = scene.table(ORDERS.replace("TIMESTAMPTZ", kind), **keys)
    scene.run(table)
    scene.run(table)
    insert_late(scene, 1, 2 * 1440)
    result = scene.run(table)
    assert result.late_rows == 1
    assert 86_400 <= result.lateness < 172_800 + 60


# --- at no further cost


def test_a_run_with_nothing_to_do_takes_six_round_trips_also_where_null_is_allowed(
    scene, monkeypatch
):
    asked: Counter = Counter()

    class Counting(psycopg2.extensions.cursor):
        def execute(self, *args):
            asked["execute"] += 1
            return super().execute(*args)

    connect = psycopg2.connect
    monkeypatch.setattr(
        "runtime.exporter.connecting.psycopg2.connect",
        lambda **options: connect(cursor_factory=Counting, **options),
    )
    table = scene.table(ORDERS, deletes="ignore")
    scene.run(table)
    scene.run(table)
    asked.clear()
    assert scene.run(table).rows_exported == 0
    assert asked["execute"] <= 6
