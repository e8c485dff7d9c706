"""Another source stops the table until somebody accepts it as a new generation."""

import pytest

from runtime.contract.errors import SourceError
from runtime.exporter.run import run_table
from tests.exporter.conftest import ORDERS, Scene

EXACT = {"lookback": "PT0S", "margin": "PT0S"}


@pytest.fixture
def orders(scene):
    table = scene.table(ORDERS, **EXACT)
    fill(scene, 1, 3)
    scene.run(table)
    return table


def fill(scene: Scene, first: int, last: int) -> None:
    scene.sql(
        f"INSERT INTO orders SELECT n, 's' FROM generate_series({first}, {last}) AS n"
    )


def create_again(scene: Scene) -> None:
    scene.sql("DROP TABLE orders")
    scene.table(ORDERS)
    fill(scene, 2, 4)


def test_a_table_that_was_created_again_is_refused(scene, orders):
    before = scene.state(orders)
    create_again(scene)
    for _ in range(2):
        with pytest.raises(SourceError, match="another table than the one") as refused:
            scene.run(orders)
        assert "`aurora-sync accept-source public.orders`" in refused.value.remedy
    after = scene.state(orders)
    assert (after.seq, after.watermark) == (before.seq, before.watermark)
    assert "another table" in after.refusal["message"]


def test_a_database_that_has_gone_back_is_refused(scene, orders):
    """Its next transaction id is one that was seen before."""
    known = scene.state(orders).source | {"xmax": "9" * 20}
    scene.ledger(orders).note(source=known)
    with pytest.raises(SourceError, match="earlier state of the database"):
        scene.run(orders)


def test_keys_of_another_table_are_refused_too(scene, orders):
    scene.ledger(orders).note(source={"oid": 1, "xmax": "0"})
    with pytest.raises(SourceError, match="another table"):
        scene.run(orders, reconcile=True)


def test_an_accepted_source_is_loaded_under_higher_stamps(scene, orders):
    create_again(scene)
    with pytest.raises(SourceError):
        scene.run(orders)
    result = run_table(orders, scene.around, 60, accept_source=True)
    assert (result.mode, result.rows_exported) == ("first_load", 3)
    old, new, _ = scene.manifests(orders)
    assert (old.generation, new.generation) == (1, 2)
    assert max(f.stamp for f in old.files) < min(f.stamp for f in new.files)
    state = scene.state(orders)
    assert (state.generation, state.refusal) == (2, None)
    assert scene.run(orders).mode == "incremental"


def test_what_the_new_source_lacks_is_looked_for_at_once(scene, orders):
    create_again(scene)
    result = run_table(orders, scene.around, 60, accept_source=True)
    assert result.keys_exported == 3
    assert scene.run(orders).reconcile_seq is None


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE orders",
        "VACUUM FULL orders",
        "ALTER TABLE orders ALTER status TYPE text",
    ],
)
def test_a_rewritten_table_is_still_itself(scene, orders, change):
    scene.sql(change)
    fill(scene, 7, 8)
    assert scene.run(orders).status == "done"
