"""Chunks are exported by whoever takes their messages: twice, late, or for nothing."""

from contextlib import contextmanager

import msgspec
import pytest

from runtime.contract.errors import SourceError
from runtime.contract.records import fingerprint
from runtime.exporter.load_queue import Message
from runtime.exporter import credentials, loads, worker
from runtime.exporter import run as run_module
from tests.exporter.conftest import EXACT, ORDERS, Scene, fill_many
from tests.exporter.test_source import facts

KEYS = sorted(str(number) for number in range(1, 401))
SMALL = {"chunk_bytes": 16_384}


@pytest.fixture
def orders(scene):
    table = scene.table(ORDERS, **EXACT)
    fill_many(scene)
    return table


def objects(scene: Scene, table) -> int:
    """Count the files that have rows."""
    keys = scene.keys(table).exports
    found = scene.around.s3.list_objects_v2(
        Bucket=scene.around.settings.bucket, Prefix=keys
    )
    return sum(each["Size"] > 0 for each in found.get("Contents", []))


def promised(scene: Scene, table) -> int:
    """Count the files that stand in manifests."""
    return sum(len(link.files) for link in scene.manifests(table))


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
    plan = scene.state(orders).load
    for other in ({**plan, "id": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}, None):
        scene.ledger(orders).note(load=other)
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
    again = scene.run(orders)
    assert scene.messages() == [sent_by(again.run, each) for each in lost]


def sent_by(run: str, message: Message) -> Message:
    """Return a message as another run sends it."""
    return msgspec.structs.replace(message, run=run)


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
    again = scene.messages()
    assert sent_by(answer.run, first) in again
    (result,) = scene.work(orders, *again)
    assert result.status == "done"


def test_a_load_waits_for_a_transaction_that_is_open_for_long(scene, orders):
    scene.session("BEGIN; SELECT pg_current_xact_id()")
    scene.sql("SELECT pg_sleep(1.1)")
    assert scene.run(orders, brake_horizon_seconds=0, **SMALL).status == "more"
    assert "transaction has been open for 1 s" in scene.state(orders).waits_for
    assert scene.messages() == []


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


def test_a_backfill_in_the_run_of_an_increment_takes_no_file_s_place(scene, orders):
    scene.load(orders)
    scene.sql("ALTER TABLE orders ADD note TEXT DEFAULT 'n'")
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id = 1")
    result = scene.run(scene.table(**EXACT), chunk_bytes=10**9)
    assert [file.rows for file in result.files] == [1, 400]
    increment, backfill = scene.manifests(orders)[-2:]
    assert scene.exported(increment) == ["1"]
    assert scene.exported(backfill) == KEYS


# --- what replaces a plan


@pytest.fixture
def late(scene, orders, monkeypatch):
    """Let a worker of the old contract be late: a run of the new one comes between."""
    scene.load(orders)
    scene.sql("ALTER TABLE orders ADD note TEXT DEFAULT 'n'")
    before = run_module.exporting

    def let(replace):
        @contextmanager
        def late(*arguments):
            monkeypatch.setattr(worker, "exporting", before)
            replace()
            with before(*arguments) as exports:
                yield exports

        monkeypatch.setattr(worker, "exporting", late)

    return let


def test_a_late_worker_exports_nothing_under_a_contract_that_was_replaced(
    scene, orders, late
):
    scene.run(orders, backfill="", **SMALL)
    first, *_ = scene.messages()
    wide = scene.table(**EXACT)
    late(lambda: scene.run(wide, chunk_bytes=10**9))
    assert scene.work(orders, first) == []
    # What it would have exported lacks the new column, and would have been newer.
    assert objects(scene, orders) == promised(scene, orders)
    assert scene.state(orders).refusal is None


def test_a_load_that_replaces_another_contract_s_is_known_before_it_exports(
    scene, orders, late
):
    scene.run(orders, backfill="", **SMALL)
    first, *_ = scene.messages()
    scene.sql("ALTER TABLE orders ADD moved_at TIMESTAMPTZ DEFAULT '2020-01-01'")
    other = scene.table(watermark_col="moved_at", **EXACT)
    late(lambda: scene.run(other, chunk_bytes=10**9))
    assert scene.work(orders, first) == []
    assert objects(scene, orders) == promised(scene, orders)


def test_a_contract_that_is_rolled_back_within_a_load_begins_with_a_load_too(
    scene, orders
):
    scene.load(orders)
    scene.sql("ALTER TABLE orders ADD moved_at TIMESTAMPTZ DEFAULT '2020-01-01'")
    scene.run(scene.table(watermark_col="moved_at", **EXACT), **SMALL)
    again = scene.load(orders)
    assert [each.mode for each in again][0] == "first_load"
    assert scene.exported(scene.manifests(orders)[-1]) == KEYS


def test_a_lost_ledger_does_not_hide_that_rows_lack_a_column(scene, orders):
    scene.load(orders)
    scene.sql("ALTER TABLE orders ADD note TEXT DEFAULT 'n'")
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id = 1")
    scene.run(scene.table(**EXACT), **SMALL)
    scene.messages()
    scene.lose_ledger(orders)
    # Of the wide contract nothing but an increment has come: rows of both stand there.
    result = scene.run(orders, chunk_bytes=10**9)
    assert result.rows_exported >= 400
    assert scene.manifests(orders)[-1].mode == "backfill"


# --- a message brings on what is under way, and begins nothing


def test_a_look_at_a_table_with_nothing_under_way_exports_nothing(scene):
    table = scene.table(ORDERS, mode="full")
    scene.sql("INSERT INTO orders VALUES (1, 's', NOW())")
    scene.run(table)
    before = scene.state(table)
    (answer,) = scene.work(table, Message(table="public.orders"))
    assert (answer.status, answer.rows_exported, answer.seq) == ("done", 0, None)
    assert scene.state(table).seq == before.seq


def test_a_load_that_waits_from_its_beginning_goes_on_by_itself(
    scene, orders, monkeypatch
):
    monkeypatch.setattr(loads, "BRAKE_SECONDS", 0)
    monkeypatch.setattr(scene.around.queue, "send", _at_once(scene.around.queue))
    assert scene.run(orders, brake_connections_percent=0, **SMALL).status == "more"
    (look,) = scene.messages()
    (answer,) = scene.work(orders, look, **SMALL)
    assert answer.status == "more"
    (result,) = scene.work(orders)
    assert (result.status, result.rows_exported) == ("done", 400)


@pytest.mark.parametrize("watermark", ["updated_at", "moved_at"])
def test_a_contract_s_plan_stands_in_the_ledger_before_the_run_s_first_transaction(
    scene, orders, monkeypatch, watermark
):
    scene.load(orders)
    scene.sql("UPDATE orders SET updated_at = NOW()")
    with facts(scene, aws_s3_part_bytes=20_000):
        # Too large for one file: cut by whoever takes the message that follows.
        scene.run(orders)
        scene.work(orders)
    assert scene.state(orders).load is not None
    scene.sql("ALTER TABLE orders ADD moved_at TIMESTAMPTZ DEFAULT '2020-01-01'")
    other = scene.table(watermark_col=watermark, **EXACT)
    seen = []

    def leased_user(*given):
        seen.append(scene.state(other))
        return credentials.leased_user(*given)

    monkeypatch.setattr(run_module, "leased_user", leased_user)
    scene.run(other, chunk_bytes=10**9)
    # Making that user is the transaction that puts its stamps above a late worker's.
    (state,) = seen
    assert state.load is None
    if watermark == "updated_at":
        assert state.backfill["contract"] == fingerprint(other)
    else:
        assert (state.contract, state.backfill) == (None, None)
