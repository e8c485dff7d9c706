"""One run at a time changes a ledger; whoever lost the lease changes nothing."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from runtime.contract.errors import FencedError, LeaseHeldError, LedgerError
from runtime.contract.records import ExportedFile, Finished, LedgerState
from runtime.exporter.ledger import LEASE_SECONDS, Ledger
from tests.exporter.conftest import Scene
from tests.factories import make_table

TABLE = make_table()
FILE = Finished(file=ExportedFile(key="k", rows=1, bytes=2, stamp="s", columns=3))


@pytest.fixture
def ledger(scene):
    return scene.ledger(TABLE)


def test_the_first_lease_finds_an_empty_state(ledger):
    with ledger.lease("run-1") as lease:
        assert lease.token == 1
        assert lease.state == LedgerState(
            lease_run="run-1", lease_token=1, lease_until=lease.state.lease_until
        )
        assert 0 < lease.state.lease_until - time.time() <= LEASE_SECONDS


def test_a_lease_is_longer_than_a_function_may_run():
    assert LEASE_SECONDS > 300


def test_while_it_is_held_nobody_else_gets_the_lease(scene, ledger):
    with ledger.lease("run-1"):
        with pytest.raises(LeaseHeldError) as caught, ledger.lease("run-2"):
            pass
    assert "run run-1" in str(caught.value)
    assert 0 < caught.value.seconds_left <= LEASE_SECONDS
    assert scene.item(TABLE)["lease_token"] == 1


def test_how_often_it_was_found_held_is_counted_until_a_run_gets_it(ledger):
    with ledger.lease("run-1"):
        times = []
        for number in range(3):
            with pytest.raises(LeaseHeldError) as caught:
                with ledger.lease(f"other-{number}"):
                    pass
            times.append(caught.value.times)
    assert times == [1, 2, 3]
    with ledger.lease("run-5"):
        with pytest.raises(LeaseHeldError) as caught, ledger.lease("run-6"):
            pass
    assert caught.value.times == 1


def test_a_released_lease_is_free_at_once(scene, ledger):
    with ledger.lease("run-1"):
        pass
    item = scene.item(TABLE)
    assert "lease_until" not in item
    assert "lease_run" not in item
    with ledger.lease("run-2") as lease:
        assert lease.token == 2


def test_a_failed_run_releases_its_lease(ledger):
    with pytest.raises(ZeroDivisionError), ledger.lease("run-1"):
        raise ZeroDivisionError
    with ledger.lease("run-2"):
        pass


def test_an_expired_lease_can_be_taken_over(scene, ledger):
    with ledger.lease("run-1"):
        scene.expire(TABLE)
        with ledger.lease("run-2") as lease:
            assert lease.token == 2


def test_who_lost_the_lease_can_save_nothing(scene, ledger):
    with ledger.lease("zombie") as zombie:
        zombie.save(watermark="2026-01-01")
        scene.expire(TABLE)
        with ledger.lease("run-2") as lease:
            with pytest.raises(FencedError, match="newer run took over"):
                zombie.save(watermark="1970-01-01")
            lease.save(seq=7)
        with pytest.raises(FencedError):
            zombie.save(watermark="1970-01-01")
    state = scene.state(TABLE)
    assert state.watermark == "2026-01-01"
    assert state.seq == 7


def test_who_lost_the_lease_does_not_release_the_new_one(scene, ledger):
    context = ledger.lease("zombie")
    context.__enter__()
    scene.expire(TABLE)
    with ledger.lease("run-2"):
        context.__exit__(None, None, None)
        assert scene.item(TABLE)["lease_run"] == "run-2"


def test_of_many_who_ask_at_once_one_gets_the_lease(scene):
    barrier = Barrier(16)

    def race(number: int) -> int | None:
        barrier.wait()
        try:
            with scene.ledger(TABLE).lease(f"run-{number}") as lease:
                barrier.wait(timeout=30)
                return lease.token
        except LeaseHeldError:
            barrier.wait(timeout=30)
            return None

    with ThreadPoolExecutor(16) as pool:
        tokens = list(pool.map(race, range(16)))
    assert sorted(token for token in tokens if token) == [1]
    assert scene.item(TABLE)["busy"] == 15


class Retrying:
    """A ledger table whose answers get lost once: the client sends again."""

    def __init__(self, table) -> None:
        self._table = table
        self.name = table.name

    def update_item(self, **request):
        self._table.update_item(**request)
        return self._table.update_item(**request)


def test_a_lease_whose_answer_got_lost_is_ours_all_the_same(scene):
    """The client sends again, and finds what it has written itself."""
    table = Retrying(scene.around.ledger_table)
    with Ledger(table, scene.name, TABLE.spec.source).lease("run-1") as lease:
        lease.save(seq=3)
    assert scene.state(TABLE).seq == 3


def test_what_is_saved_is_read_back_by_the_next_run(ledger):
    saved = {
        "seq": 12,
        "watermark": "2026-11-23 03:29:03.207741+00",
        "held_by": {"pid": 5, "age_seconds": 1.5, "user": "[odd]"},
        "load": {"id": "p", "chunks": [{"lo": None}], "committed": [1, 2]},
        "drift": ("note", "total"),
        "fresh": None,
    }
    with ledger.lease("run-1") as lease:
        assert lease.save(**saved) is lease.state
    with ledger.lease("run-2") as lease:
        found = lease.state
    assert {name: getattr(found, name) for name in saved} == saved


def test_none_takes_a_field_away(scene, ledger):
    with ledger.lease("run-1") as lease:
        lease.save(load={"id": "p"}, fresh="x")
        lease.save(load=None, fresh=None)
    assert not {"load", "fresh"} & set(scene.item(TABLE))


def test_a_note_needs_no_lease_and_changes_nothing_else(scene, ledger):
    with ledger.lease("run-1") as lease:
        lease.save(watermark="w", seq=4)
        scene.ledger(TABLE).note(refusal={"code": "drift", "message": "gone"})
    state = scene.state(TABLE)
    assert state.refusal == {"code": "drift", "message": "gone"}
    assert (state.watermark, state.seq) == ("w", 4)


def test_tables_and_deployments_have_ledgers_of_their_own(scene, ledger):
    other = make_table(table_name="public.orders_archive")
    with ledger.lease("a"), scene.ledger(other).lease("b"):
        stack = Ledger(scene.around.ledger_table, "prod", TABLE.spec.source)
        with stack.lease("c") as lease:
            assert lease.token == 1
    scene.around.ledger_table.delete_item(
        Key={"pk": "prod#public.orders", "sk": "STATE"}
    )


# --- chunks


def test_a_chunk_is_finished_once_and_the_first_counts(ledger):
    ledger.finish_chunk("plan", 3, FILE)
    ledger.finish_chunk("plan", 3, Finished(problem="too_large"))
    ledger.finish_chunk("plan", 1, Finished())
    assert ledger.chunks("plan") == {3: FILE, 1: Finished()}
    assert ledger.is_finished("plan", 1)
    assert not ledger.is_finished("plan", 2)


def test_plans_do_not_see_one_anothers_chunks(ledger):
    ledger.finish_chunk("plan", 1, FILE)
    ledger.finish_chunk("plan2", 2, FILE)
    assert ledger.chunks("plan") == {1: FILE}
    assert ledger.chunks("other") == {}


def test_thousands_of_chunks_come_in_several_pages(scene, ledger):
    """DynamoDB answers at most 1 MB at once."""
    long = ExportedFile(key="k" * 900, rows=1, bytes=2, stamp="s", columns=3)
    ledger.finish_chunk("plan", 0, Finished(file=long))
    with scene.around.ledger_table.batch_writer() as batch:
        first = scene.around.ledger_table.get_item(
            Key={"pk": f"{scene.name}#public.orders", "sk": "CHUNK#plan#000000"}
        )["Item"]
        for number in range(1, 1300):
            batch.put_item(Item=first | {"sk": f"CHUNK#plan#{number:06d}"})
    assert set(ledger.chunks("plan")) == set(range(1300))


# --- DynamoDB's own errors


def broken(scene: Scene, error: Exception):
    class Table:
        name = "ledger"

        def update_item(self, **request):
            raise error

        query = update_item

    return Ledger(Table(), scene.name, TABLE.spec.source)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "m"}}, "UpdateItem")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (refusal("AccessDeniedException"), "refuses UpdateItem (AccessDenied"),
        (EndpointConnectionError(endpoint_url="http://x"), "does not answer"),
    ],
)
def test_what_dynamodb_refuses_is_told_with_the_ledgers_name(scene, error, told):
    ledger = broken(scene, error)
    for attempt in (
        lambda: ledger.note(refusal=None),
        lambda: ledger.chunks("plan"),
        lambda: ledger.finish_chunk("plan", 1, Finished()),
    ):
        with pytest.raises(LedgerError) as caught:
            attempt()
        assert told in str(caught.value)
        assert caught.value.subject == f"ledger ledger ({scene.name}#public.orders)"
        assert caught.value.retryable
        assert not isinstance(caught.value, FencedError)


def test_a_lease_that_cannot_be_released_ends_by_itself(scene, ledger):
    class Failing(Retrying):
        def update_item(self, **request):
            if "REMOVE" in request["UpdateExpression"] and scene.state(TABLE).seq:
                raise refusal("InternalServerError")
            return self._table.update_item(**request)

    table = Failing(scene.around.ledger_table)
    with Ledger(table, scene.name, TABLE.spec.source).lease("run-1") as lease:
        lease.save(seq=1)
    assert scene.item(TABLE)["lease_run"] == "run-1"
