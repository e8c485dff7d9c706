"""Running tables and following them, with a function and a Snowflake on strings."""

import io
import json
import threading
import time
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from runtime.contract.errors import LedgerError, WarehouseError
from runtime.contract.records import LedgerState
from runtime.ops import invoke, sync
from runtime.ops.invoke import Exporter
from runtime.ops.ledger import LedgerReader
from runtime.ops.sync import Syncing
from runtime.ops.warehouse import MergedRun, Progress, Warehouse
from tests.factories import make_table

HOLDER = {"pid": 7, "user": "app", "age_seconds": 3.0}


def answer(status: str = "done", **more: Any) -> dict[str, Any]:
    return {"status": status, "table": "public.orders"} | more


def exported(seq: int | None, rows: int = 5, **more: Any) -> dict[str, Any]:
    file = {"key": f"k{seq}", "rows": rows, "bytes": 10, "stamp": "s", "columns": 3}
    files = [file] if rows else []
    numbers = {"rows_exported": rows, "bytes": 10 * len(files), "seconds": 1.0}
    return answer(**({"seq": seq, "files": files} | numbers | more))


def failed(code: str, message: str = "why") -> dict[str, Any]:
    return answer("failed", error={"code": code, "message": message})


class Function:
    """A Lambda client that gives prepared answers, per table, in order."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.at_once = self.most = 0
        self.lock = threading.Lock()
        self.takes = 0.0

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> Any:
        assert (FunctionName, InvocationType) == ("exporter", "RequestResponse")
        event = json.loads(Payload)
        assert event["report_errors"] is True
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(self.takes)
        with self.lock:
            self.at_once -= 1
            given = self.answers[event["table"].partition(".")[2]].pop(0)
        if isinstance(given, Exception):
            raise given
        if isinstance(given, bytes):
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(given)}
        return {"Payload": io.BytesIO(json.dumps(given).encode())}


class Ledger(LedgerReader):
    """A ledger with one state for every table."""

    def __init__(self, *states: LedgerState) -> None:
        self.given = list(states)

    def states(self, sources):
        state = self.given.pop(0) if len(self.given) > 1 else self.given[0]
        return dict.fromkeys(sources, state)

    def chunks(self, source, plan):
        return []


class Snowflake(Warehouse):
    """A warehouse whose merges go on by one manifest at each question."""

    def __init__(self, merged: int = 0, stuck_at: int = 99, trouble: str | None = None):
        self.merged, self.stuck_at, self.reason = merged, stuck_at, trouble
        self.asked = 0

    def progress(self, names) -> dict[str, Progress]:
        self.asked += 1
        progress = {
            name: Progress(
                table_name=name,
                last_seq=9,
                merged_seq=self.merged,
                merged_through=f"through {self.merged}",
                first_bad=None,
            )
            for name in names
        }
        self.merged = min(self.merged + 1, self.stuck_at)
        return progress

    def runs(self, table, first: int, last: int) -> list[MergedRun]:
        return [
            MergedRun(
                table_name="public.orders",
                seq=seq,
                mode="incremental",
                files=1,
                rows_exported=5,
                bytes=10,
                rows_loaded=5,
                rows_applied=3,
                rows_superseded=1,
                values_nulled=0,
                rows_quarantined=1,
                complete=True,
            )
            for seq in range(first, last + 1)
        ]

    def trouble(self, table) -> str | None:
        return self.reason


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(sync, "_FIRST_POLL", 0.01)
    monkeypatch.setattr(sync, "_LONGEST_POLL", 0.02)
    monkeypatch.setattr(sync, "_STALL_SECONDS", 0.05)
    monkeypatch.setattr(sync, "_TROUBLE_SECONDS", 0.1)
    monkeypatch.setattr(invoke, "_LEASE_POLL_SECONDS", 0.01)
    monkeypatch.setattr(invoke, "_LOAD_POLL_SECONDS", 0.01)


def run(
    *answers: Any,
    warehouse: Any = None,
    states: tuple[LedgerState, ...] = (LedgerState(seq=3),),
    timeout: float = 5,
):
    """Sync one table; return its outcome and what was told."""
    ledger, told = Ledger(*states), []
    exporter = Exporter(Function(orders=list(answers)), "exporter", ledger)
    syncing = Syncing(
        exporter, ledger, warehouse, timeout, lambda table, text: told.append(text)
    )
    (outcome,) = syncing.run([make_table()])
    return outcome, told


def test_without_wait_the_export_is_all():
    outcome, _ = run(exported(4, low="a", high="b", held_by=HOLDER, drift=["new"]))
    assert msgspec.json.decode(msgspec.json.encode(outcome)) == {
        "table": "public.orders",
        "status": "exported",
        "mode": "incremental",
        "seq": 4,
        "low": "a",
        "high": "b",
        "held_by": HOLDER,
        "drift": ["new"],
        "rows_exported": 5,
        "rows_loaded": 0,
        "rows_applied": 0,
        "rows_superseded": 0,
        "values_nulled": 0,
        "rows_quarantined": 0,
        "files": 1,
        "bytes": 10,
        "keys_exported": None,
        "seconds": 1.0,
        "merged_through": None,
        "error": None,
    }


def test_with_wait_it_follows_to_the_manifest_it_wrote():
    outcome, told = run(exported(4), warehouse=Snowflake(merged=2))
    assert (outcome.status, outcome.merged_through) == ("merged", "through 4")
    assert (outcome.rows_loaded, outcome.rows_applied) == (5, 3)
    assert told == ["exporting", "exported 5 rows, merging", "merged"]


def test_a_load_in_chunks_is_followed_in_the_ledger_and_invoked_once():
    plan = {"id": "p", "mode": "first_load", "after": 0, "chunks": [{}, {}]}
    outcome, told = run(
        exported(None, rows=0, status="more", mode="first_load", plan="p"),
        warehouse=Snowflake(),
        states=(LedgerState(load=plan), LedgerState(seq=3)),
    )
    assert (outcome.mode, outcome.seq, outcome.status) == ("first_load", 3, "merged")
    # Of manifests 1 to 3.
    assert outcome.rows_loaded == 15
    assert "loading: 0 of 2 chunks, 0 rows" in told


def test_a_run_with_nothing_new_still_waits_for_what_went_before():
    outcome, _ = run(exported(None, rows=0), warehouse=Snowflake(merged=1))
    assert (outcome.status, outcome.merged_through) == ("merged", "through 3")
    assert outcome.rows_loaded == 0


def test_a_run_with_nothing_new_asks_snowflake_once():
    warehouse = Snowflake(merged=3)
    outcome, _ = run(exported(None, rows=0), warehouse=warehouse)
    assert (outcome.status, warehouse.asked) == ("merged", 1)


def test_a_refusal_is_told_as_the_function_told_it():
    outcome, _ = run(failed("drift", "column is gone"), warehouse=Snowflake())
    assert outcome.status == "failed"
    assert outcome.error == {"code": "drift", "message": "column is gone"}


@pytest.mark.parametrize(
    "death",
    [
        b'{"errorMessage": "Task timed out after 300.00 seconds"}',
        b"no json",
        ReadTimeoutError(endpoint_url="x"),
    ],
)
def test_a_function_that_dies_is_a_failure_and_never_invoked_again(death):
    outcome, _ = run(death, warehouse=Snowflake())
    assert outcome.status == "failed"
    assert outcome.error["code"] == "function"


class TestLease:
    """Another run of the table is under way."""

    def held(self, seconds: float) -> LedgerState:
        return LedgerState(seq=3, lease_run="r", lease_until=int(time.time() + seconds))

    def test_without_wait_it_is_told_who_runs(self):
        outcome, _ = run(failed("lease_held"), states=(self.held(100),))
        assert outcome.error["code"] == "lease_held"
        assert "got 'run r, at most" in outcome.error["message"]
        assert "--wait" in outcome.error["message"]

    @pytest.mark.parametrize("end", [LedgerState(seq=3), "expired"])
    def test_with_wait_its_release_or_expiry_is_waited_for(self, end):
        last = self.held(-1) if end == "expired" else end
        outcome, told = run(
            failed("lease_held"),
            exported(4),
            warehouse=Snowflake(merged=4),
            states=(self.held(100), self.held(100), last),
        )
        assert outcome.status == "merged"
        assert told[:3] == ["exporting", "waiting for another run to end", "exporting"]

    def test_the_waiting_ends_with_the_time_out(self):
        outcome, _ = run(
            failed("lease_held"),
            warehouse=Snowflake(),
            states=(self.held(100),),
            timeout=0.2,
        )
        assert outcome.status == "failed"


class TestStuck:
    """What was exported does not arrive."""

    def test_a_reason_that_stays_ends_the_waiting(self):
        warehouse = Snowflake(stuck_at=3, trouble="pipe P is PAUSED")
        started = time.monotonic()
        outcome, told = run(exported(4), warehouse=warehouse, timeout=30)
        assert time.monotonic() - started < 10
        assert "pipe P is PAUSED" in outcome.error["message"]
        assert "not merging: pipe P is PAUSED" in told
        assert outcome.rows_exported == 5

    def test_a_reason_that_passes_does_not(self):
        class Passing(Snowflake):
            def trouble(self, table):
                self.stuck_at = 99
                return "task failed"

        outcome, told = run(exported(4), warehouse=Passing(stuck_at=3))
        assert outcome.status == "merged"
        assert "not merging: task failed" in told

    def test_without_a_reason_the_time_out_says_how_far_it_came(self):
        outcome, _ = run(exported(4), warehouse=Snowflake(stuck_at=3), timeout=0.5)
        assert "not merged within 0.5 s" in outcome.error["message"]
        assert "manifest 3 of 4" in outcome.error["message"]

    def test_an_export_that_does_not_end_is_given_up(self):
        function = Function(orders=[exported(4)])
        function.takes = 2.0
        ledger = Ledger(LedgerState())
        syncing = Syncing(Exporter(function, "exporter", ledger), ledger, None, 0.2)
        (outcome,) = syncing.run([make_table()])
        assert outcome.error is not None
        assert "has not ended within 0.2 s" in outcome.error["message"]


def test_one_table_that_fails_does_not_stop_the_others():
    tables = [make_table(table_name=f"public.t{n}") for n in range(9)]
    answers = {f"t{n}": [exported(4)] for n in range(9)} | {"t3": [failed("drift")]}
    function, ledger = Function(**answers), Ledger(LedgerState())
    function.takes = 0.05
    exporter = Exporter(function, "exporter", ledger)
    outcomes = Syncing(exporter, ledger, Snowflake(merged=9), 10).run(tables)
    assert [each.table for each in outcomes] == [f"public.t{n}" for n in range(9)]
    assert [each.status for each in outcomes].count("merged") == 8
    assert outcomes[3].status == "failed"
    assert function.most == sync.AT_ONCE


def test_a_snowflake_that_cannot_be_asked_is_an_error_of_the_command():
    class Down(Snowflake):
        def progress(self, names):
            raise WarehouseError("Snowflake refuses")

    with pytest.raises(WarehouseError):
        run(exported(4), warehouse=Down())


def test_a_mistake_in_a_thread_is_not_swallowed():
    with pytest.raises(IndexError):
        run()


class TestLedgerReader:
    """Many states in few requests."""

    def test_keys_that_dynamodb_did_not_get_to_are_asked_again(self):
        asked: list[int] = []

        class Client:
            def batch_get_item(self, RequestItems):
                keys = RequestItems["ledger"]["Keys"]
                asked.append(len(keys))
                now, later = keys[:60], keys[60:]
                items = [key | {"seq": {"N": "7"}} for key in now]
                rest = {"ledger": {"Keys": later}} if later else {}
                return {"Responses": {"ledger": items}, "UnprocessedKeys": rest}

        sources = [
            make_table(table_name=f"public.t{n}").spec.source for n in range(150)
        ]
        states = LedgerReader(Client(), "ledger", "dev").states(sources)
        assert asked == [100, 40, 50]
        assert set(states) == set(sources)
        assert states[sources[149]].seq == 7

    def test_a_refusal_is_told(self):
        class Client:
            def batch_get_item(self, RequestItems):
                raise ReadTimeoutError(endpoint_url="x")

        with pytest.raises(LedgerError, match="does not show the ledger"):
            LedgerReader(Client(), "l", "dev").states([make_table().spec.source])
