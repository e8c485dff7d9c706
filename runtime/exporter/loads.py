"""Loads of several chunks: cut and sent under the lease, exported by who receives them.

    run (lease) -> plan in the ledger -> one message per chunk
    worker      -> one transaction, one file -> noted once in the ledger
    run (lease) -> what is noted goes into manifests; what is not is sent again

Only the lease's holder changes a plan. A load waits while Aurora is under strain: then
no chunk is in the queue, and one delayed message looks again.
"""

import time
from dataclasses import dataclass
from typing import Any

import msgspec
from ulid import ULID

from runtime.contract.records import ExportedFile
from runtime.exporter.chunks import MOST_CHUNKS, Plan
from runtime.exporter.exports import Exports, RewrittenError
from runtime.exporter.ledger import Lease, Ledger
from runtime.exporter.load_queue import LoadQueue, Message
from runtime.exporter.source_errors import TooLargeError

# A message that has led to nothing for so long is lost: among the dead letters, or
# never sent.
RESEND_SECONDS = 3600
# While a load waits, Aurora is asked again so often.
BRAKE_SECONDS = 60

_STRAIN = """
SELECT COALESCE(pg_catalog.max(EXTRACT(EPOCH FROM
    pg_catalog.clock_timestamp() - xact_start)) FILTER (WHERE datname =
      pg_catalog.current_database() AND backend_type <> 'autovacuum worker'
      AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)), 0)::pg_catalog.int8,
  100 * pg_catalog.count(1) FILTER (WHERE backend_type = 'client backend')
    / pg_catalog.current_setting('max_connections')::pg_catalog.int8
FROM pg_catalog.pg_stat_activity
"""


def strain(exports: Exports) -> str:
    """Say why a load should not go on now; empty when it may.

    A snapshot that somebody holds for long keeps dead rows from being removed, and
    the load's own would add to it; connections are what applications need first.
    """
    settings, cursor = exports.settings, exports.source.cursor
    cursor.execute(_STRAIN)
    oldest, used = cursor.fetchone()
    if oldest > settings.brake_horizon_seconds:
        return (
            f"a transaction has been open for {oldest} s, "
            f"longer than {settings.brake_horizon_seconds} s"
        )
    if used > settings.brake_connections_percent:
        return (
            f"{used} % of Aurora's connections are in use, "
            f"more than {settings.brake_connections_percent} %"
        )
    return ""


@dataclass(kw_only=True)
class Loads:
    """Brings plans on, under the lease.

    Attributes:
        exports: Makes files.
        lease: The right to change the table's ledger.
        queue: Where chunks go.
    """

    exports: Exports
    lease: Lease
    queue: LoadQueue

    def advance(self, plan: Plan) -> tuple[Plan, dict[int, ExportedFile | None]]:
        """Cut a plan if need be, and see to it that its missing chunks come.

        Returns:
            The plan, and its finished chunks: number to file, None when empty. The
            plan has no chunks while it is to be cut.

        Raises:
            TooLargeError: When the table cannot be cut any smaller.
        """
        waited = self.lease.state.waits_until if plan.braked else 0
        if plan.braked and self._waits(plan):
            return plan, self._finished(plan)[0]
        if waited:
            # Whoever received a chunk meanwhile has let it go.
            plan = msgspec.structs.replace(plan, queued_at=0)
        if not plan.chunks:
            plan = self._cut(plan)
        if len(plan.chunks) == 1:
            try:
                return plan, {0: self.exports.file(plan, 0)}
            except TooLargeError:
                return self._smaller(plan), {}
        done, problems = self._finished(plan)
        if RewrittenError.code in problems:
            plan, done = self._cut(plan), {}
        elif problems:
            return self._smaller(plan), {}
        plan = self._sent(plan, done)
        if waited:
            self.lease.ledger.go_on(waited)
        return plan, done

    def _finished(self, plan: Plan) -> tuple[dict[int, ExportedFile | None], set[str]]:
        if len(plan.chunks) < 2:
            return {}, set()
        found = self.lease.ledger.chunks(plan.id)
        done = {n: each.file for n, each in found.items() if not each.problem}
        return done, {each.problem for each in found.values() if each.problem}

    def _cut(self, plan: Plan) -> Plan:
        """Cut the table for a new start of the plan; one chunk needs no ledger."""
        fresh: dict[str, Any] = {"id": str(ULID()), "committed": ()}
        plan = self.exports.cut(
            msgspec.structs.replace(plan, queued_at=0, **(fresh if plan.chunks else {}))
        )
        if len(plan.chunks) > 1:
            self.lease.save(**{plan.place: plan.to_ledger()})
        return plan

    def _smaller(self, plan: Plan) -> Plan:
        """Let the next run cut anew what has a chunk that is too large.

        Not this one: an export that fails takes its connection with it.
        """
        table = str(self.exports.table.spec.source)
        if plan.pieces >= MOST_CHUNKS:
            raise TooLargeError(
                "does not fit, and cannot be cut any smaller",
                subject=table,
                got=f"{len(plan.chunks)} chunks",
                remedy="make a unique key of it whose first column has many values",
            )
        plan = msgspec.structs.replace(
            plan,
            id=str(ULID()),
            chunks=(),
            pieces=max(8, 4 * len(plan.chunks), 4 * plan.pieces),
            committed=(),
            queued_at=0,
        )
        self.lease.save(**{plan.place: plan.to_ledger()})
        self.queue.send([Message(table=table, run=self.exports.run)])
        return plan

    def _sent(self, plan: Plan, done: dict[int, ExportedFile | None]) -> Plan:
        """Send what is missing, unless its messages are still under way."""
        now, missing = int(time.time()), set(range(len(plan.chunks))) - set(done)
        if not missing or now < plan.queued_at + RESEND_SECONDS:
            return plan
        table = str(self.exports.table.spec.source)
        self.queue.send(
            [
                Message(
                    table=table,
                    plan=plan.id,
                    chunk=n,
                    contract=plan.contract,
                    run=self.exports.run,
                )
                for n in sorted(missing)
            ]
        )
        plan = msgspec.structs.replace(plan, queued_at=now)
        self.lease.save(**{plan.place: plan.to_ledger()})
        return plan

    def _waits(self, plan: Plan) -> bool:
        """Whether a load waits now; if so, a message is on its way to look again."""
        waits = self.lease.state.waits_until > time.time()
        if not waits and (reason := strain(self.exports)):
            hold_back(self.lease.ledger, self.queue, self.exports, reason)
            waits = True
        if waits and not plan.chunks:
            # Who looks again finds what waits, and begins nothing else.
            self.lease.save(**{plan.place: plan.to_ledger()})
        return waits


def hold_back(ledger: Ledger, queue: LoadQueue, by: Exports, reason: str) -> None:
    """Let a table's loads wait; whoever says so first sends who looks again."""
    if ledger.hold_back(reason, BRAKE_SECONDS):
        again = Message(table=str(by.table.spec.source), run=by.run)
        queue.send([again], BRAKE_SECONDS + 1)
