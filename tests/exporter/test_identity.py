"""Another source stops the table until somebody accepts it as a new generation."""

from dataclasses import replace

import msgspec
import pytest

from runtime.contract.errors import SourceError
from runtime.contract.specs import Table
from runtime.exporter import generations
from runtime.exporter.run import run_table
from tests.exporter.conftest import EXACT, ORDERS, Scene
from tests.factories import make_spec


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


NOBODY = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("setting", "words"),
    [("aurora_cluster_id", "another cluster"), ("aurora_database", "another database")],
)
def test_another_cluster_or_database_is_refused_before_anybody_is_asked(
    scene, orders, setting, words
):
    """A clone that has gone further than its original shows nothing else."""
    scene.run(orders, aurora_cluster_id="cluster-A")
    before = scene.state(orders)
    with pytest.raises(SourceError, match=words) as refused:
        scene.run(orders, vault_addr=NOBODY, **{setting: "cluster-B"})
    assert "`aurora-sync accept-source public.orders`" in refused.value.remedy
    after = scene.state(orders)
    assert (after.seq, after.source) == (before.seq, before.source)
    assert words in after.refusal["message"]
    # Where it is again what it was, it goes on by itself.
    assert scene.run(orders, aurora_cluster_id="cluster-A").mode == "incremental"
    assert scene.state(orders).refusal is None


def test_a_cluster_whose_id_was_not_known_is_no_other_one(scene, orders):
    assert scene.state(orders).source["cluster"] == ""
    assert scene.run(orders, aurora_cluster_id="cluster-A").mode == "incremental"


def test_an_accepted_cluster_is_loaded_under_higher_stamps(scene, orders):
    scene.run(orders, aurora_cluster_id="cluster-A")
    settings = msgspec.structs.replace(
        scene.around.settings, aurora_cluster_id="cluster-B"
    )
    around = replace(scene.around, settings=settings)
    result = run_table(orders, around, 60, accept_source=True)
    assert (result.mode, result.rows_exported) == ("first_load", 3)
    assert scene.state(orders).source["cluster"] == "cluster-B"
    assert run_table(orders, around, 60).mode == "incremental"


def test_another_key_is_refused_until_it_is_accepted(scene):
    """By the new one, two rows of the target may be the same, or none."""
    ddl = ORDERS.replace("status TEXT NOT NULL", "status TEXT NOT NULL UNIQUE")
    table = scene.table(ddl, **EXACT)
    scene.sql("INSERT INTO orders SELECT n, 's' || n FROM generate_series(1, 3) AS n")
    scene.run(table)
    other = Table(
        spec=make_spec(primary_key="status", **EXACT), contract=table.contract
    )
    with pytest.raises(SourceError, match="has another key") as refused:
        scene.run(other)
    assert "empty the target table (PUBLIC.ORDERS)" in refused.value.remedy
    assert run_table(other, scene.around, 60, accept_source=True).rows_exported == 3
    assert scene.run(other).mode == "incremental"


def test_a_ledger_that_was_lost_comes_back_in_its_generation(scene, orders):
    """Under the first one's stamps whatever comes now would be ignored."""
    create_again(scene)
    run_table(orders, scene.around, 60, accept_source=True)
    known = scene.state(orders)
    key = {"pk": scene.item(orders)["pk"], "sk": "STATE"}
    scene.around.ledger_table.delete_item(Key=key)
    assert scene.run(orders).mode == "incremental"
    state = scene.state(orders)
    assert (state.generation, state.seq) == (2, known.seq + 1)
    assert state.source["oid"] == known.source["oid"]
    fill(scene, 8, 8)
    scene.run(orders)
    assert scene.manifests(orders)[-1].files[0].stamp.startswith("000002-")


def test_a_run_of_an_earlier_generation_says_nothing_of_the_accepted_source(
    scene, orders
):
    """It was overtaken by `accept-source`, and commits all the same."""
    (last,) = scene.manifests(orders)
    with scene.ledger(orders).lease("accepts") as lease:
        generations.begin(lease)
    late = {"seq": last.seq + 1, "run": "late", "high": "2999-01-01 00:00:00+00"}
    scene.lake(orders).commit(msgspec.structs.replace(last, files=(), **late))
    create_again(scene)
    result = scene.run(orders)
    assert (result.mode, result.rows_exported) == ("first_load", 3)
    assert scene.state(orders).watermark < "2999"


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
