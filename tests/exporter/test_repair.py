"""Rows that are exported again by their keys: those, and nothing else."""

import pytest

from runtime.contract.errors import ConfigError, SourceError
from runtime.contract.records import LedgerState, RunResult
from runtime.contract.specs import Table
from runtime.exporter.run import run_table
from tests.exporter.conftest import ORDERS, Scene

# What must not end a literal, a row of a list, or a placeholder.
ODD = ["plain", "it's", 'a "b"', "back\\slash", "%s %", "ä, (b)", "", "x'); SELECT 1"]
WIDE = """
CREATE TABLE public.wide (
  code TEXT NOT NULL, day DATE NOT NULL, note TEXT,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), PRIMARY KEY (day, code)
)
"""


def repair(scene: Scene, table: Table, *keys: tuple[str, ...]) -> RunResult:
    return run_table(table, scene.around, 60, repair=keys)


def kept(state: LedgerState) -> tuple[object, ...]:
    """What says which rows the next run reads."""
    return (state.watermark, state.high, state.fresh, state.snapshot, state.load)


@pytest.fixture
def orders(scene):
    table = scene.table(ORDERS)
    scene.sql(
        "INSERT INTO orders SELECT g, 'new', NOW() - INTERVAL '1 day' "
        "FROM generate_series(1, 50) AS g"
    )
    scene.run(table)
    # The next has a snapshot that the ledger keeps.
    scene.run(table)
    return table


def test_only_the_rows_of_the_keys_go_out(scene, orders):
    result = repair(scene, orders, ("7",), ("42",), ("42",))
    last = scene.manifests(orders)[-1]
    assert sorted(scene.exported(last)) == ["42", "7"]
    assert (result.mode, result.rows_exported, result.seq) == ("repair", 2, last.seq)


def test_what_the_next_run_reads_stays_as_it_was(scene, orders):
    before = scene.state(orders)
    repair(scene, orders, ("7",))
    after, last = scene.state(orders), scene.manifests(orders)[-1]
    assert kept(after) == kept(before)
    assert (last.mode, last.low, last.high) == ("repair", None, None)
    assert (after.seq, after.lease_run) == (before.seq + 1, "")


def test_a_repair_that_died_before_the_ledger_moves_nothing_either(scene, orders):
    repair(scene, orders, ("7",))
    state = scene.state(orders)
    scene.ledger(orders).note(seq=state.seq - 1)
    repair(scene, orders, ("8",))
    assert [each.seq for each in scene.manifests(orders)] == [1, 2, 3, 4]
    assert scene.state(orders).seq == state.seq + 1
    assert kept(scene.state(orders)) == kept(state)


def test_a_file_carries_the_stamp_of_its_snapshot(scene, orders):
    first = scene.manifests(orders)[0].files[0]
    scene.sql("UPDATE orders SET status = 'silent' WHERE order_id = 7")
    repair(scene, orders, ("7",))
    assert scene.manifests(orders)[-1].files[0].stamp > first.stamp


def test_keys_of_several_columns_with_any_text_in_them(scene):
    table = scene.table(WIDE, table_name="public.wide", primary_key=["day", "code"])
    for code in ODD:
        scene.sql("INSERT INTO wide VALUES (%s, '2026-01-01')", code)
        scene.sql("INSERT INTO wide VALUES (%s, '2026-01-02')", code)
    scene.run(table)
    repair(scene, table, *(("2026-01-02", code) for code in ODD))
    [file] = scene.manifests(table)[-1].files
    assert file.rows == len(ODD)


def test_a_key_without_a_row_exports_nothing(scene, orders):
    links = len(scene.manifests(orders))
    result = repair(scene, orders, ("4711",))
    assert (result.status, result.seq, result.rows_exported) == ("done", None, 0)
    assert len(scene.manifests(orders)) == links


@pytest.mark.parametrize(
    ("key", "error"), [(("1", "2"), ConfigError), (("1) OR (TRUE",), SourceError)]
)
def test_a_key_of_another_form_is_refused(scene, orders, key, error):
    links = len(scene.manifests(orders))
    with pytest.raises(error):
        repair(scene, orders, key)
    assert len(scene.manifests(orders)) == links


def test_rows_that_the_policy_leaves_behind_are_not_repaired(scene):
    table = scene.table(ORDERS, null_watermark="exclude")
    scene.sql("INSERT INTO orders VALUES (1, 'a', NULL), (2, 'b', NOW())")
    scene.run(table)
    result = repair(scene, table, ("1",), ("2",))
    assert result.rows_exported == 1
