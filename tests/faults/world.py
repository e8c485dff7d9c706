"""A small table, its writers, its runs, its events and its merges; and what must hold.

The oracle is its own: it reads both sides and compares key by key.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import msgspec
import psycopg2
from boto3.dynamodb.conditions import Attr

from infra.local import postgres
from runtime.contract.aurora_sql import admin_statements
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
from tests.faults.warehouse import EngineError, Warehouse

KEYS = range(1, 13)
OLD = """CREATE TABLE public.orders (
  order_id BIGINT PRIMARY KEY, version BIGINT NOT NULL, status TEXT,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW())"""
NEW_COLUMN = "ALTER TABLE public.orders ADD note TEXT DEFAULT 'as it was'"
EXACT: dict[str, Any] = {"lookback": "PT0S", "margin": "PT0S", "max_delete_fraction": 1}
_BEHIND = {
    "table rewritten": "ALTER TABLE orders ALTER status TYPE TEXT USING status || ''",
    "table truncated": "TRUNCATE orders",
    "column added": "ALTER TABLE orders ADD IF NOT EXISTS more TEXT "
    "DEFAULT clock_timestamp()::TEXT",
}
_MOST_ROUNDS = 8
# What is counted beside faults, and what consists of others that are.
_NO_FAULT = ("all", "swept", "whole")


@dataclass(kw_only=True)
class Writer:
    """A transaction that is open."""

    cursor: Any
    keys: set[int] = field(default_factory=set)
    prepared: str = ""


class World:
    """One scenario after the other on the same parts.

    Args:
        scene: Database and emulated AWS.
        hits: Counts the faults that happened.
    """

    def __init__(self, scene: Scene, hits: Counter[tuple[str, str]]) -> None:
        self.scene, self.hits = scene, hits
        self.old = scene.table(OLD, **EXACT)
        scene.sql(NEW_COLUMN)
        self.new = Table(
            spec=self.old.spec, contract=scene.contract("public.orders", base_width=4)
        )
        self.warehouse = Warehouse(scene.stack, scene.around.s3, BUCKET, self.new)
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
        self.table, self.log = self.old, list[str]()
        self.writers: list[Writer] = []
        self.waiting: list[str] = []
        self.lost: set[str] = set()
        self.known: set[str] = set()
        self._seen: dict[int, tuple[int, bool]] = {}
        self._through = ""
        self._version = 0
        self._nested = False
        self.messages: list[Message] = []
        self.here.messages()
        self.scene.sql("DROP TABLE IF EXISTS public.orders")
        self.scene.sql(OLD)
        self.scene.sql("; ".join(admin_statements([self.old.spec])))
        self.warehouse.begin(name)
        for key in range(1, rows + 1):
            self._change(self.scene.sql, "insert", key)

    # Writers.

    def free_keys(self) -> list[int]:
        """Return the keys that no open transaction holds."""
        held = {key for writer in self.writers for key in writer.keys}
        return [key for key in KEYS if key not in held]

    def write(self, kind: str, key: int) -> None:
        """Change one row, at once."""
        self._say(f"{kind} {key}")
        self._change(self.scene.sql, kind, key)

    def open(self) -> Writer:
        """Begin a transaction, which may write later."""
        self._say("begin a transaction")
        writer = Writer(cursor=self.scene.session("BEGIN; SELECT NOW()"))
        self.writers.append(writer)
        return writer

    def write_in(self, writer: Writer, kind: str, key: int) -> None:
        """Change one row, to be seen when the transaction commits."""
        self._say(f"{kind} {key} in transaction {self.writers.index(writer)}")
        writer.keys.add(key)
        self._change(writer.cursor.execute, kind, key)

    def prepare(self, writer: Writer) -> None:
        """Prepare a transaction: its session is free, its writes wait."""
        self._say(f"prepare transaction {self.writers.index(writer)}")
        writer.prepared = f"{self.here.name}-{self._version}-{id(writer)}"
        writer.cursor.execute("PREPARE TRANSACTION %s", (writer.prepared,))

    def close(self, writer: Writer, verb: str) -> None:
        """COMMIT or ROLLBACK a transaction."""
        self._say(f"{verb} transaction {self.writers.index(writer)}")
        self.writers.remove(writer)
        if writer.prepared:
            writer.cursor.execute(f"{verb} PREPARED %s", (writer.prepared,))
        else:
            writer.cursor.execute(verb)
        writer.cursor.connection.close()

    def _change(self, run: Callable[..., Any], kind: str, key: int) -> None:
        self._version += 1
        values = (key, self._version, f"{kind} {self._version}")
        if kind in ("delete", "replace"):
            run("DELETE FROM public.orders WHERE order_id = %s" % key)
        if kind == "update":
            run(
                "UPDATE public.orders SET version = %d, status = '%s', "
                "updated_at = NOW() WHERE order_id = %d" % (*values[1:], key)
            )
        if kind in ("insert", "replace"):
            run(
                "INSERT INTO public.orders (order_id, version, status) "
                "VALUES (%d, %d, '%s') ON CONFLICT (order_id) DO UPDATE SET version = "
                "excluded.version, status = excluded.status, updated_at = NOW()"
                % values
            )

    def add_column(self) -> None:
        """Add a column at the source and deploy its contract."""
        self._commit_all()
        if self.table is self.old:
            self._say("add a column and deploy its contract")
            self.scene.sql(NEW_COLUMN)
            self.table = self.new

    def deploy(self) -> None:
        """Deploy the new column's contract."""
        self._say("deploy the new column's contract")
        self.table = self.new

    # Runs.

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

    # Events and merges.

    def deliver(self, how: str, chance: random.Random) -> None:
        """Let events arrive: all, shuffled, some, newest first, or a fault for one."""
        self._say(f"deliver {how}: {len(self.waiting)} waiting")
        now, self.waiting = self.waiting, []
        arrived = bool(now)
        if how == "shuffled":
            chance.shuffle(now)
        if how == "newest first":
            now.reverse()
        if how == "some":
            chance.shuffle(now)
            half = len(now) // 2
            now, self.waiting = now[:half], now[half:]
        able = [key for key in now if how != "one half" or key.startswith("exports")]
        special = chance.choice(able) if able else ""
        self.hits["events", how] += bool(special or (arrived and how == "some"))
        for key in now:
            if key == special and how == "one lost":
                self.lost.add(key)
            elif key == special and how == "one half":
                self.warehouse.arrive(key, rows=chance.randint(1, 3))
                self.lost.add(key)
            else:
                self.warehouse.arrive(key)
            if key == special and how == "one twice":
                self.warehouse.arrive(key)
            if how == "newest first":
                self.merge()
                self.observe()

    def sweep(self) -> None:
        """Load by exact name what never came, or not whole."""
        for key in sorted(self.lost):
            self.warehouse.arrive(key)
        self._say(f"sweep {len(self.lost)} files")
        self.hits["events", "swept"] += bool(self.lost)
        self.lost.clear()

    def sweep_by_name(self, fault: str = "") -> int:
        """Load what the sweep's view names, as the sweep does: in order, one by one.

        Args:
            fault: `refused`: the first of its statements fails, the others go on;
                `killed before` or `killed after` it: nothing else is done.

        Returns:
            How often the fault happened.
        """
        overdue = self.warehouse.overdue()
        self._say(f"the sweep finds {len(overdue)} files" + f", {fault}" * bool(fault))
        for number, key in enumerate(overdue):
            if number == 0 and fault == "refused":
                continue
            if fault == "killed before":
                break
            self.warehouse.arrive(key)
            self.lost.discard(key)
            if fault == "killed after":
                break
        self.hits["sweep", fault or "whole"] += bool(overdue)
        return int(bool(overdue and fault))

    def merge(self, fail_after: int | None = None) -> None:
        """Run the task if it is triggered; it may fail after some statements."""
        if not self.warehouse.has_data:
            return
        self._say("merge" + (f" fails after {fail_after}" * (fail_after is not None)))
        try:
            self.warehouse.merge(fail_after)
        except EngineError:
            self.hits["merge", f"fails after {fail_after}"] += 1

    # What must hold.

    def observe(self) -> None:
        """Check what holds at every moment."""
        rows = self.warehouse.rows()
        now = {row[0]: (row[1], row[4]) for row in rows}
        assert len(now) == len(rows), "a key stands twice in the target"
        for key, (version, gone) in self._seen.items():
            later, still_gone = now[key]
            assert later >= version, f"key {key} went back from {version} to {later}"
            assert not gone or still_gone or later > version, f"{key} rose again"
        self._seen = now
        through = self.warehouse.merged_through() or ""
        assert through >= self._through, f"merged_through {self._through} -> {through}"
        self._through = through
        if through:
            for key, version in self.scene.sql(
                "SELECT order_id, version FROM orders WHERE updated_at <= %s", through
            ):
                assert now.get(key) == (version, False), (
                    f"merged through {through}, but key {key} version {version} "
                    f"is {now.get(key)}"
                )

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

    def _differences(self) -> list[str]:
        source = {
            row[0]: row[1:]
            for row in self.scene.sql(
                "SELECT order_id, version, status, %s FROM orders"
                % ("note" if self.table is self.new else "NULL")
            )
        }
        rows = self.warehouse.rows()
        target = {row[0]: row[1:4] for row in rows if not row[4]}
        return [
            f"key {key}: source {source.get(key)}, target {target.get(key)}"
            for key in sorted({*source, *target})
            if source.get(key) != target.get(key)
        ]

    def _commit_all(self) -> None:
        for writer in tuple(self.writers):
            self.close(writer, "COMMIT")

    def _say(self, line: str) -> None:
        self.log.append(line)
