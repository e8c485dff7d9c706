"""`where` selects rows in every kind of run, whatever the condition's own shape."""

import pytest

from runtime.contract.specs import Table
from tests.exporter.conftest import EXACT, ORDERS, Scene
from tests.factories import treated

HOSTILE = [
    "status <> 'draft'",
    "status <> 'draft' OR FALSE",
    "status <> 'draft' -- no drafts",
    "status /* ) */ <> 'dr' || 'aft'",
    "status NOT LIKE 'd%t'",
    "status <> '{}' AND status <> 'draft'",
]


def orders(scene: Scene, where: str, **keys: object) -> Table:
    table = scene.table(ORDERS, where=where, **(EXACT | keys))
    return Table(spec=table.spec, contract=treated(table.contract, table.spec))


def fill(scene: Scene) -> None:
    scene.sql(
        "INSERT INTO orders SELECT n, CASE n % 2 WHEN 0 THEN 'draft' ELSE 'new' END, "
        "'2024-01-01'::TIMESTAMPTZ + n * INTERVAL '1 s' FROM generate_series(1, 6) AS n"
    )


@pytest.mark.parametrize("where", HOSTILE)
def test_a_load_and_what_follows_hold_only_the_rows_of_the_filter(scene, where):
    table = orders(scene, where)
    fill(scene)
    scene.load(table)
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id IN (1, 2)")
    scene.sql("INSERT INTO orders VALUES (7, 'new', NULL), (8, 'draft', NULL)")
    scene.load(table)
    first, second = scene.manifests(table)[:2]
    assert scene.exported(first) == ["1", "3", "5"]
    assert scene.exported(second) == ["1", "7"]


def test_keys_are_compared_under_the_filter(scene):
    """A row that has left it is gone, as far as the target is concerned."""
    table = orders(scene, HOSTILE[0])
    fill(scene)
    scene.load(table)
    scene.sql("UPDATE orders SET status = 'draft' WHERE order_id = 1")
    scene.load(table, reconcile=True)
    keys = scene.manifests(table)[-1]
    assert keys.mode == "reconcile"
    listed = [row[0] for row in scene.rows(keys) if row[0].isdigit()]
    assert sorted(listed) == ["3", "5"]


def test_a_backfill_and_a_repair_stay_within_the_filter(scene):
    table = orders(scene, HOSTILE[0])
    fill(scene)
    scene.load(table)
    scene.load(table, backfill="order_id < 4")
    assert scene.exported(scene.manifests(table)[-1]) == ["1", "3"]


def test_rows_outside_the_filter_do_not_count_as_rows_without_watermark(scene):
    table = orders(scene, HOSTILE[0], null_watermark="fail")
    fill(scene)
    scene.sql("INSERT INTO orders VALUES (8, 'draft', NULL)")
    (result,) = scene.load(table)
    assert result.null_rows == 0


def test_another_filter_exports_the_table_anew(scene):
    table = orders(scene, HOSTILE[0])
    fill(scene)
    scene.load(table)
    other = orders_again(scene, "status = 'draft'")
    scene.load(other)
    assert scene.exported(scene.manifests(table)[-1]) == ["2", "4", "6"]


def orders_again(scene: Scene, where: str) -> Table:
    table = scene.table(None, where=where, **EXACT)
    return Table(spec=table.spec, contract=treated(table.contract, table.spec))
