"""One scenario after the other: runs between a source and a target, and their end."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import msgspec
import psycopg2
from boto3.dynamodb.conditions import Attr

from infra.local import postgres
from runtime.contract.errors import SyncError
from runtime.contract.records import RunResult
from runtime.contract.specs import Table
from runtime.exporter import loads
from runtime.exporter import run as run_module
from runtime.exporter.load_queue import LoadQueue, Message
from runtime.exporter.run import Surroundings
from runtime.exporter.worker import take
from tests.exporter.conftest import BUCKET, Scene
from tests.faults.faulty import (
    DEPLOYED,
    OUTLIVED,
    Fault,
    FaultyLake,
    FaultyLedger,
    FaultySqs,
    Killed,
    Life,
    faulty_credentials,
    faulty_source,
)
from tests.faults.server import RESTARTED, restart_during
from tests.faults.target_side import TargetSide

_BEHIND = {
    "table rewritten": "ALTER TABLE orders ALTER status TYPE TEXT USING status || ''",
    "table truncated": "TRUNCATE orders",
    "column added": "ALTER TABLE orders ADD IF NOT EXISTS more TEXT "
    "DEFAULT clock_timestamp()::TEXT",
}
_MOST_ROUNDS = 8
# What is counted beside faults, and what consists of others that are.
_NO_FAULT = ("all", "swept", "whole")


class World(TargetSide):
    """The exporter's runs, and what others do between two of its calls.

    Args:
        scene: Database and emulated AWS.
        hits: Counts the faults that happened.
    """

    def __init__(self, scene: Scene, hits: Counter[tuple[str, str]]) -> None:
        super().__init__(scene, hits)
        self._number = 0

    @property
    def faults(self) -> int:
        """How many faults have happened, in all scenarios."""
        return sum(n for (_, kind), n in self.hits.items() if kind not in _NO_FAULT)

    def begin(self, *, chunk_bytes: int = 10**6, rows: int = 6) -> None:
        """Begin a scenario: an empty deployment and a table with a few rows."""
        self._number += 1
        name = f"{self.scene.name}x{self._number}"
        settings = msgspec.structs.replace(
            self.scene.around.settings, stack=name, chunk_bytes=chunk_bytes
        )
        around = replace(self.scene.around, settings=settings)
        self.here = replace(self.scene, name=name, around=around)
        self.known: set[str] = set()
        self.messages: list[Message] = []
        self._nested = False
        self.here.messages()
        self.begin_target()
        self.begin_source(rows)

    def sync(
        self,
        fault: Fault | None = None,
        reconcile: bool = False,
        seconds: float = 60,
        queue: str = "all",
    ) -> RunResult | None:
        """Invoke the exporter once, and let it take the messages of its queue.

        Returns:
            The last answer; None when an invocation failed or was killed.
        """
        life = Life(
            fault=fault,
            hits=self.hits,
            between={
                "overtaken": self._overtake,
                "met by a rival": self._meet,
                "written meanwhile": self._write_meanwhile,
                DEPLOYED: self._deploy_meanwhile,
                OUTLIVED: self._outlive,
                RESTARTED: self._restart,
                **{kind: self._behind(sql) for kind, sql in _BEHIND.items()},
            },
            end_session=lambda pid: self._end_session(pid),
        )
        around = replace(
            self.here.around,
            s3=FaultyLake(self.here.around.s3, life),
            ledger_table=FaultyLedger(self.here.around.ledger_table, life),
            queue=self._queue(life),
        )
        table = self.table
        outcome = "killed"
        try:
            with patch.multiple(
                run_module,
                Source=faulty_source(life),
                leased_user=faulty_credentials(
                    life,
                    self.here.user,
                    lambda: self.scene.sql("SELECT pg_current_xact_id()"),
                ),
            ):
                result = run_module.run_table(table, around, seconds, reconcile)
                result = self._take(table, around, seconds, queue) or result
            outcome = f"{result.status}, {result.rows_exported} rows, seq {result.seq}"
            return result
        except Killed:
            return None
        except SyncError as error:
            outcome = f"{type(error).__name__}: {error.fact}"
            return None
        finally:
            told = " (not reached)" if fault and life.fault else ""
            self._say(
                ("  " if self._nested else "")
                + f"sync{' with reconcile' * reconcile}"
                + (f", {fault}{told}" if fault else "")
                + (f", messages: {queue}" if queue != "all" else "")
                + f" -> {outcome}"
            )
            self._collect()

    def _queue(self, life: Life) -> LoadQueue:
        queue = self.here.around.queue
        return LoadQueue(FaultySqs(queue._client, life), queue._url)

    def _take(
        self, table: Table, around: Surroundings, seconds: float, queue: str
    ) -> RunResult | None:
        """Take the queue's messages; one that was not taken to its end comes again.

        Returns:
            The last answer of a run that they led to.
        """
        answer = None
        self._receive(queue)
        while self.messages:
            message = self.messages[0]
            answer = take(table, around, seconds, message) or answer
            # Another may have taken it meanwhile.
            if message in self.messages:
                self.messages.remove(message)
            self._receive()
        return answer

    def _receive(self, how: str = "all") -> None:
        found = self.here.messages()
        self.hits["queue", how] += bool(found)
        if how == "newest first":
            found.reverse()
        if how == "one lost":
            found = found[1:]
        if how == "all twice":
            found *= 2
        self.messages += found

    def clock_jumps(self) -> None:
        """Let the lease have ended."""
        if self.here.item(self.table).get("lease_until"):
            self._say("the lease ends")
            over = {"lease_until": int(time.time()) - 1}
            self.here.ledger(self.table).write(over, Attr("pk").exists())

    def _overtake(self, work: Callable[[], Any]) -> Any:
        """Let the lease end and another run do its work; then wake up and go on."""
        self.clock_jumps()
        self._nest()
        return work()

    def _meet(self, work: Callable[[], Any]) -> Any:
        self._nest()
        return work()

    def _nest(self) -> None:
        self._nested = True
        for key in self.free_keys()[:1]:
            self.write("update", key)
        self.sync()
        self._nested = False

    def _write_meanwhile(self, work: Callable[[], Any]) -> Any:
        for key, kind in zip(self.free_keys(), ("update", "delete", "replace")):
            self.write(kind, key)
        return work()

    def _deploy_meanwhile(self, work: Callable[[], Any]) -> Any:
        self.deploy()
        self._nest()
        return work()

    def _outlive(self, work: Callable[[], Any]) -> Any:
        """Let the lease end, a new contract be deployed and another run fill it."""
        self.deploy()
        return self._overtake(work)

    def _behind(self, statement: str) -> Callable[[Callable[[], Any]], Any]:
        """Return what lets LOCK wait for a statement that commits meanwhile."""

        def wait(work: Callable[[], Any]) -> Any:
            # The contract's own column is the one before.
            self.add_column()
            cursor = self.scene.session("BEGIN", statement)
            waits = (
                "SELECT COUNT(1) FROM pg_locks WHERE NOT granted "
                "AND relation = 'public.orders'::regclass"
            )

            def release() -> None:
                other = self.scene.connect()
                with other.cursor() as look:
                    for _ in range(400):
                        look.execute(waits)
                        if look.fetchone()[0]:
                            break
                        time.sleep(0.01)
                cursor.execute("COMMIT")
                cursor.connection.close()
                other.close()

            thread = threading.Thread(target=release)
            thread.start()
            try:
                return work()
            finally:
                thread.join()

        return wait

    def _restart(self, work: Callable[[], Any]) -> Any:
        try:
            return restart_during(self.scene.stack, work)
        finally:
            admin = psycopg2.connect(postgres.aurora_dsn(self.scene.stack))
            admin.autocommit = True
            self.scene.admin = self.here.admin = admin

    def _end_session(self, pid: int) -> None:
        self.scene.sql("SELECT pg_terminate_backend(%s, 5000)", pid)

    def _collect(self) -> None:
        """Note the objects that are new: each is an event."""
        for kind in ("exports", "manifests"):
            found = self.here.around.s3.list_objects_v2(
                Bucket=BUCKET, Prefix=f"{kind}/{self.here.name}/"
            )
            keys = [item["Key"] for item in found.get("Contents", ())]
            self.waiting += [key for key in keys if key not in self.known]
            self.known.update(keys)

    def settle(self) -> None:
        """Let faults end, sync until quiet, and compare both sides."""
        self._say("settle")
        # No new contract here: its back-fill would heal whatever was lost.
        self._commit_all()
        for _ in range(_MOST_ROUNDS):
            self.clock_jumps()
            with patch.object(loads, "RESEND_SECONDS", 0):
                result = self.sync(reconcile=True)
            self.lost.update(self.waiting)
            self.waiting.clear()
            self.sweep()
            self.merge()
            self.observe()
            if result and result.status == "done" and not self._differences():
                break
        assert not self._differences(), self._differences()
        assert not self.warehouse.open_files(), self.warehouse.open_files()
        state = self.here.state(self.table)
        seq, merged, _, bad = self.warehouse.chain() or (0, 0, "", None)
        assert (seq, merged, bad) == (state.seq, state.seq, None)
        plans = (state.load, state.backfill, state.reconcile)
        assert (plans, state.lease_run) == ((None, None, None), "")
