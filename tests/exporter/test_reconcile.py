"""A reconcile exports every key, in one or many runs, and one seal that lists them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from runtime.contract.records import Manifest
from runtime.contract.specs import Table
from tests.exporter.conftest import BUCKET, EXACT, ORDERS, Scene
from tests.exporter.test_run_killed import Case, Life, survive

WIDE = """
CREATE TABLE public.orders (
  status TEXT NOT NULL,
  order_id BIGINT NOT NULL,
  note TEXT,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  PRIMARY KEY (order_id, status)
)
"""


@pytest.fixture
def orders(scene):
    return scene.table(ORDERS, **EXACT)


def fill(scene: Scene, rows: int = 300) -> None:
    scene.sql(
        "INSERT INTO orders (order_id, status) SELECT n, repeat('x', 90) "
        f"FROM generate_series(1, {rows}) AS n"
    )


def sealed(scene: Scene, manifest: Manifest) -> dict:
    """Return what the seal of a reconcile's manifest says."""
    assert (manifest.mode, manifest.high) == ("reconcile", None)
    body = scene.around.s3.get_object(Bucket=BUCKET, Key=manifest.files[-1].key)
    text = body["Body"].read().decode()
    return json.loads(text.strip().strip('"').replace('""', '"'))


def keys_of(scene: Scene, manifest: Manifest) -> list[str]:
    files = msgspec.structs.replace(manifest, files=manifest.files[:-1])
    return sorted(scene.exported(files), key=int)


def check(scene: Scene, table: Table, rows: int) -> None:
    """The last manifest is a complete reconcile, and nothing else has moved."""
    links = scene.manifests(table)
    assert [link.seq for link in links] == list(range(1, len(links) + 1))
    seal, files = sealed(scene, links[-1]), links[-1].files[:-1]
    assert seal["files"] == [{"key": file.key, "rows": file.rows} for file in files]
    assert all(seal["stamp"] <= file.stamp for file in links[-1].files)
    assert keys_of(scene, links[-1]) == [str(n) for n in range(1, rows + 1)]
    state = scene.state(table)
    assert (state.seq, state.reconcile, state.lease_run) == (len(links), None, "")
    assert state.watermark == [link.high for link in links if link.high][-1]


def test_a_seal_tells_how_many_rows_are_not_exported_yet(scene, orders):
    fill(scene, 5)
    scene.run(orders, reconcile=True)
    assert sealed(scene, scene.manifests(orders)[-1])["newer"] == 0
    scene.sql(
        "INSERT INTO orders VALUES (6, 'x', NOW() + INTERVAL '1 hour'), (7, 'y', NULL)"
    )
    scene.run(orders, reconcile=True)
    assert sealed(scene, scene.manifests(orders)[-1])["newer"] == 1


def test_all_keys_go_out_and_then_their_seal(scene, orders):
    fill(scene, 5)
    first = scene.run(orders)
    result = scene.run(orders, reconcile=True)
    assert (result.status, result.keys_exported) == ("done", 5)
    assert result.reconcile_seq == scene.state(orders).seq
    assert (result.mode, result.rows_exported, result.low) == (
        "incremental",
        0,
        first.high,
    )
    check(scene, orders, 5)


def test_a_key_file_holds_the_key_alone_at_its_places(scene):
    table = scene.table(WIDE, **EXACT, primary_key=["order_id", "status"])
    scene.sql("INSERT INTO orders VALUES ('new', 7, 'secret')")
    scene.run(table)
    scene.run(table, reconcile=True)
    manifest = scene.manifests(table)[-1]
    file = manifest.files[0]
    assert file.columns == 2 and "_2_k000000.csv" in file.key
    files = msgspec.structs.replace(manifest, files=(file,))
    assert scene.rows(files) == [["new", "7"]]


def test_rows_come_before_keys_in_the_same_run(scene, orders):
    fill(scene, 3)
    scene.run(orders)
    scene.sql("INSERT INTO orders VALUES (4, 's')")
    result = scene.run(orders, reconcile=True)
    rows, keys = scene.manifests(orders)[-2:]
    assert (rows.seq, keys.seq) == (result.seq, result.reconcile_seq)
    assert scene.exported(rows) == ["4"]
    assert keys_of(scene, keys) == ["1", "2", "3", "4"]


def test_the_chunks_of_rows_are_not_taken_for_those_of_keys_in_the_same_run(scene):
    orders = scene.table(ORDERS, mode="full")
    fill(scene)
    scene.load(orders, chunk_bytes=8_192)
    *_, rows, keys = scene.manifests(orders)
    assert len(rows.files) > 1
    assert keys_of(scene, keys) == [str(n) for n in range(1, 301)]
    assert {file.columns for file in keys.files} == {1}
    assert not {file.key for file in rows.files} & {file.key for file in keys.files}


def test_an_empty_table_has_a_seal_and_no_keys(scene, orders):
    scene.run(orders)
    scene.run(orders, reconcile=True)
    assert sealed(scene, scene.manifests(orders)[-1])["files"] == []


def test_it_is_due_once_per_interval_counted_from_the_first_load(scene, orders):
    fill(scene, 3)
    scene.run(orders)
    assert scene.run(orders).reconcile_seq is None
    before = datetime.now(UTC) - timedelta(days=1, minutes=1)
    scene.ledger(orders).note(reconciled_at=before.isoformat())
    assert scene.run(orders).keys_exported == 3
    assert scene.run(orders).reconcile_seq is None


@pytest.mark.parametrize(
    "deletes", [{"deletes": "ignore"}, {"deletes": "soft_column", "deleted_col": "x"}]
)
def test_other_ways_with_deletes_compare_no_keys(scene, deletes):
    table = scene.table(ORDERS.replace("status", "x BOOLEAN, status"), **EXACT)
    table = Table(
        spec=msgspec.structs.replace(table.spec, **deletes), contract=table.contract
    )
    fill(scene, 3)
    scene.run(table)
    assert scene.run(table, reconcile=True).reconcile_seq is None


def test_a_load_that_is_not_done_has_no_keys_yet(scene, orders):
    fill(scene)
    result = scene.run(orders, reconcile=True, chunk_bytes=16_384)
    assert (result.status, result.reconcile_seq) == ("more", None)


def test_many_keys_go_through_the_queue_into_one_manifest(scene, orders):
    fill(scene)
    scene.load(orders)
    first, *_, last = scene.load(orders, reconcile=True, chunk_bytes=8_192)
    assert (first.status, last.reconcile_seq) == ("more", scene.state(orders).seq)
    check(scene, orders, 300)
    links = [link for link in scene.manifests(orders) if link.mode == "reconcile"]
    assert len(links) == 1
    assert len(links[0].files) > 3


def test_keys_wait_when_the_rows_have_taken_long(scene, orders):
    fill(scene)
    scene.run(orders)
    assert scene.run(orders, seconds=0.001, reconcile=True).reconcile_seq is None


def test_a_changed_contract_begins_the_keys_anew(scene, orders):
    fill(scene)
    scene.run(orders)
    state = scene.state(orders)
    stale = {"id": "old", "contract": "other", "chunks": [{}]}
    scene.ledger(orders).note(reconcile=stale)
    assert scene.run(orders).keys_exported == 300
    assert scene.state(orders).watermark >= state.watermark


def test_whatever_step_was_its_last_the_keys_are_complete_afterwards(
    scene, monkeypatch
):
    table, deaths = scene.table(ORDERS, **EXACT), 0
    fill(scene, 60)
    for last_step in range(1, 100):
        name = f"{scene.name}-{last_step}"
        settings = msgspec.structs.replace(scene.around.settings, stack=name)
        here = replace(
            scene, name=name, around=replace(scene.around, settings=settings)
        )
        here.load(table)
        case = Case(table, {"chunk_bytes": 8_192}, reconcile=True)
        killed = survive(case, here, Life(last_step), monkeypatch)
        check(here, table, 60)
        if not killed:
            break
        deaths += 1
    else:
        pytest.fail("it never came to its end")
    assert deaths >= 6
