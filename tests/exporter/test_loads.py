"""Chunks are exported by whoever takes their messages: twice, late, or for nothing."""

import pytest

from runtime.contract.errors import SourceError
from runtime.contract.records import fingerprint
from runtime.exporter import loads
from tests.exporter.conftest import ORDERS, Scene

EXACT = {"lookback": "PT0S", "margin": "PT0S"}
KEYS = sorted(str(number) for number in range(1, 401))
SMALL = {"chunk_bytes": 16_384}


@pytest.fixture
def orders(scene):
    table = scene.table(ORDERS, **EXACT)
    scene.sql(
        "INSERT INTO orders SELECT n, repeat('x', 100), '2020-01-01' "
        "FROM generate_series(1, 400) AS n"
    )
    return table


def objects(scene: Scene, table) -> int:
    keys = scene.keys(table).exports
    found = scene.around.s3.list_objects_v2(
        Bucket=scene.around.settings.bucket, Prefix=keys
    )
    return len(found.get("Contents", []))


def test_a_message_that_comes_twice_exports_its_chunk_once(scene, orders):
    scene.run(orders, **SMALL)
    first, *rest = scene.messages()
    scene.work(orders, first, first)
    assert objects(scene, orders) == 1
    scene.work(orders, *rest, *rest)
    (link,) = [each for each in scene.manifests(orders) if each.files]
    assert scene.exported(link) == KEYS
    assert objects(scene, orders) == len(link.files)


def test_a_worker_that_dies_before_its_note_leaves_a_file_that_does_not_count(
    scene, orders, monkeypatch
):
    scene.run(orders, **SMALL)
    messages = scene.messages()
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("runtime.exporter.ledger.Ledger.finish_chunk", lambda *_: 1 / 0)
        scene.work(orders, messages[0])
    scene.work(orders, *messages)
    (link,) = scene.manifests(orders)
    assert scene.exported(link) == KEYS
    assert objects(scene, orders) == len(link.files) + 1


def test_a_message_of_a_plan_that_is_gone_does_nothing(scene, orders):
    scene.run(orders, **SMALL)
    old = scene.messages()
    scene.ledger(orders).note(load=None)
    assert scene.work(orders, *old) == []
    assert objects(scene, orders) == 0


def test_a_chunk_that_another_worker_is_at_is_left_to_it(scene, orders):
    plan = scene.run(orders, **SMALL).plan
    first, *_ = scene.messages()
    lock = f"{scene.name}#public.orders#{plan}#{first.chunk}"
    scene.session(f"SELECT pg_advisory_lock(hashtextextended('{lock}', 0))")
    assert scene.work(orders, first) == []
    assert objects(scene, orders) == 0
    assert scene.state(orders).refusal is None


def test_when_the_lease_is_held_at_the_last_chunk_a_message_looks_again(
    scene, orders, monkeypatch
):
    monkeypatch.setattr("runtime.exporter.worker._LATER_SECONDS", 0)
    scene.run(orders, **SMALL)
    messages = scene.messages()
    with scene.ledger(orders).lease("other"):
        assert scene.work(orders, *messages) == []
    assert scene.item(orders).get("busy", 0) == 0
    (later,) = scene.messages()
    assert later.chunk is None
    (result,) = scene.work(orders, later)
    assert (result.status, result.rows_exported) == ("done", 400)


def test_chunks_without_a_result_are_sent_again_after_an_hour_not_before(
    scene, orders, monkeypatch
):
    scene.run(orders, **SMALL)
    lost = scene.messages()
    scene.run(orders)
    assert scene.messages() == []
    monkeypatch.setattr(loads, "RESEND_SECONDS", 0)
    scene.run(orders)
    assert scene.messages() == lost


def test_a_load_waits_while_aurora_is_under_strain_and_goes_on_by_itself(
    scene, orders, monkeypatch
):
    monkeypatch.setattr(loads, "BRAKE_SECONDS", 0)
    monkeypatch.setattr(scene.around.queue, "send", _at_once(scene.around.queue))
    scene.run(orders, **SMALL)
    first, *_ = scene.messages()
    assert scene.work(orders, first, brake_connections_percent=0) == []
    assert objects(scene, orders) == 0
    assert "connections are in use" in scene.state(orders).waits_for
    # One message alone is under way, however many chunks wait.
    (look,) = scene.messages()
    assert look.chunk is None
    (answer,) = scene.work(orders, look)
    assert answer.status == "more"
    assert scene.state(orders).waits_for == ""
    assert first in (again := scene.messages())
    (result,) = scene.work(orders, *again)
    assert result.status == "done"


def _at_once(queue):
    send = type(queue).send
    return lambda messages, delay=0: send(queue, messages)


def test_increments_are_never_braked(scene, orders):
    scene.load(orders)
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id = 1")
    result = scene.run(orders, brake_connections_percent=0)
    assert (result.status, result.rows_exported) == ("done", 1)


# --- backfills


def test_a_backfill_exports_rows_again_and_leaves_the_watermark(scene, orders):
    scene.load(orders)
    before = scene.state(orders).watermark
    result = scene.run(orders, backfill="order_id <= 7 -- the first", chunk_bytes=10**9)
    link = scene.manifests(orders)[-1]
    assert (link.mode, link.high, result.status) == ("backfill", None, "done")
    assert scene.exported(link) == KEYS[:0] + sorted(map(str, range(1, 8)))
    assert scene.state(orders).backfill is None
    assert scene.state(orders).watermark >= before


def test_increments_go_on_beside_a_backfill(scene, orders):
    scene.load(orders)
    assert scene.run(orders, backfill="", **SMALL).status == "more"
    messages = scene.messages()
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id = 1")
    assert "1" in scene.exported(*scene.manifests(orders)) and scene.run(orders).seq
    assert scene.exported(scene.manifests(orders)[-1]) == ["1"]
    before = len(scene.manifests(orders))
    scene.work(orders, *messages)
    filled = [m for m in scene.manifests(orders)[before:] if m.mode == "backfill"]
    assert scene.exported(*filled) == KEYS


def test_a_condition_that_aurora_refuses_begins_no_backfill(scene, orders):
    scene.load(orders)
    with pytest.raises(SourceError):
        scene.run(orders, backfill="no_such_column = 1")
    assert scene.state(orders).backfill is None


def test_the_new_contract_is_noted_with_the_last_chunk_of_its_backfill(scene, orders):
    scene.load(orders)
    scene.sql("ALTER TABLE orders ADD note TEXT DEFAULT 'n'")
    wide = scene.table(**EXACT)
    scene.run(wide, **SMALL)
    one, *rest = scene.messages()
    scene.work(wide, one)
    scene.run(wide)
    assert scene.state(wide).contract == fingerprint(orders)
    scene.work(wide, *rest)
    assert scene.state(wide).contract == fingerprint(wide)
