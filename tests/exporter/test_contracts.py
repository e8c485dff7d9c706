"""Contracts that change, and change back, while rows go on changing."""

import pytest

from runtime.contract.errors import DriftError
from tests.exporter.conftest import EXACT, ORDERS, Scene, fill_many

# A load takes several runs.
SLOWLY = {"chunk_bytes": 32_768}


@pytest.fixture
def orders(scene):
    table = scene.table(ORDERS, **EXACT)
    fill_many(scene)
    return table


def newest(scene: Scene, table, key: str) -> list[str]:
    """Return the newest version of a row that has been exported, by its stamp."""
    files = [file for link in scene.manifests(table) for file in link.files]
    found: list[str] = []
    for file in sorted(files, key=lambda each: each.stamp):
        body = scene.around.s3.get_object(Bucket="lake-of-tests", Key=file.key)["Body"]
        rows = [line.split(",") for line in body.read().decode().splitlines()]
        found = next((row for row in rows if row[0] == key), found)
    return found


def test_a_contract_that_is_rolled_back_and_forth_loses_no_change(scene, orders):
    """What goes out under the old one lacks the new column, and must come again."""
    scene.run(orders)
    scene.sql("ALTER TABLE orders ADD note TEXT DEFAULT 'before'")
    wide = scene.table(**EXACT)
    scene.load(wide)
    scene.sql("UPDATE orders SET note = 'after', updated_at = NOW() WHERE order_id = 7")
    scene.run(orders, **SLOWLY)
    scene.load(wide)
    assert newest(scene, wide, "7")[3:] == ["after"]


def test_another_watermark_column_begins_with_a_load(scene, orders):
    """How far the old one was says nothing of the new one."""
    scene.run(orders)
    scene.sql(
        "ALTER TABLE orders ADD moved_at TIMESTAMPTZ NOT NULL DEFAULT '2019-01-01'"
    )
    other = scene.table(watermark_col="moved_at", **EXACT)
    assert [each.mode for each in scene.load(other)][0] == "first_load"
    scene.sql("UPDATE orders SET moved_at = NOW() WHERE order_id = 7")
    result = scene.run(other)
    assert (result.mode, result.rows_exported) == ("incremental", 1)


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("RENAME status TO state", "RENAME state TO status"),
        ("ALTER status TYPE VARCHAR(200)", "ALTER status TYPE TEXT"),
        ("DROP CONSTRAINT orders_pkey", "ADD PRIMARY KEY (order_id)"),
    ],
)
def test_drift_is_noted_once_and_goes_by_itself_when_it_is_mended(
    scene, orders, change, back
):
    scene.run(orders)
    before = scene.state(orders)
    scene.sql(f"ALTER TABLE orders {change}")
    for _ in range(2):
        with pytest.raises(DriftError):
            scene.run(orders)
    during = scene.state(orders)
    assert during.refusal["code"] == "drift"
    assert "`aurora-sync contract refresh public.orders`" in during.refusal["remedy"]
    assert (during.seq, during.watermark) == (before.seq, before.watermark)
    scene.sql(f"ALTER TABLE orders {back}")
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id = 7")
    assert scene.run(orders).rows_exported == 1
    assert scene.state(orders).refusal is None


def test_null_where_it_was_not_allowed_is_no_drift(scene, orders):
    scene.run(orders)
    scene.sql("ALTER TABLE orders ALTER status DROP NOT NULL")
    scene.sql("INSERT INTO orders VALUES (500, NULL, NOW())")
    assert scene.run(orders).rows_exported == 1
    assert newest(scene, orders, "500")[1] == ""
