"""What a message of the load queue is for: one chunk, or a look at the whole table.

A worker holds no lease. It believes the ledger alone: a plan that is gone, a chunk that
is finished, a load that waits: each ends it without a word.
"""

import time

from ulid import ULID

from runtime.contract.errors import FencedError, LeaseHeldError
from runtime.contract.records import Finished, LedgerState, RunResult, fingerprint
from runtime.contract.specs import Table
from runtime.exporter.chunks import Plan
from runtime.exporter.exports import Exports, RewrittenError
from runtime.exporter.load_queue import Message
from runtime.exporter.loads import hold_back, strain
from runtime.exporter.run import Surroundings, exporting, noting, run_table
from runtime.exporter.source_errors import TooLargeError

# So many finished chunks are worth a manifest, so that Snowflake need not wait.
_COMMIT_EVERY = 50
_LATER_SECONDS = 20


def take(
    table: Table,
    around: Surroundings,
    seconds: float,
    message: Message,
    run: str = "",
) -> RunResult | None:
    """Do what a message asks for.

    Args:
        table: The table that it names.
        around: Settings and clients.
        seconds: Time to plan for.
        message: The message.
        run: Identity of the attempt at its chunk, a ULID; by default a new one. What
            commits it is a run of its own.

    Returns:
        What a run has answered; None when none was needed.

    Raises:
        SyncError: When it failed, and the message should come again.
    """
    deadline = time.monotonic() + seconds
    run = run or str(ULID())
    if message.chunk is not None and not _export(table, around, seconds, message, run):
        return None
    try:
        left = deadline - time.monotonic()
        return run_table(table, around, left, counted=False, begins=False)
    except LeaseHeldError:
        # Who holds it may not have seen what has just been finished.
        later = Message(table=message.table, run=run)
        around.queue.send([later], _LATER_SECONDS)
        return None


def _export(
    table: Table, around: Surroundings, seconds: float, message: Message, run: str
) -> bool:
    """Export a chunk if that is still wanted; tell whether a run is due now."""
    ledger, number = around.ledger(table), message.chunk or 0
    state, shape = ledger.state(), fingerprint(table)
    plan = _plan(state, message, shape)

    def fence() -> None:
        """Look for the plan once more: what replaces it is exported after that."""
        if _plan(ledger.state(), message, shape) is None:
            raise FencedError(
                "the load is no longer wanted",
                subject=str(table.spec.source),
                remedy="nothing is lost; a newer one goes on",
            )

    if plan is None or (plan.braked and state.waits_until > time.time()):
        return False
    if not ledger.is_finished(plan.id, number):
        part = f"#{plan.id}#{number}"
        with noting(ledger, run):
            with exporting(table, around, run, state, seconds, part, fence) as exports:
                result = _result(exports, plan, number)
            if isinstance(result, str):
                hold_back(ledger, around.queue, exports, result)
                return False
            if result is None:
                return False
            ledger.finish_chunk(plan.id, number, result)
    done = ledger.chunks(plan.id)
    return (
        len(done) == len(plan.chunks)
        or len(done) % _COMMIT_EVERY == 0
        or any(each.problem for each in done.values())
    )


def _result(exports: Exports, plan: Plan, number: int) -> Finished | str | None:
    """Export; return a reason to wait, or None when it is another's by now."""
    if plan.braked and (reason := strain(exports)):
        return reason
    try:
        return Finished(file=exports.file(plan, number))
    except (LeaseHeldError, FencedError):
        return None
    except (TooLargeError, RewrittenError) as error:
        return Finished(problem=error.code)


def _plan(state: LedgerState, message: Message, shape: str) -> Plan | None:
    """Return the plan that a message is about; None when it is gone or void."""
    if message.contract != shape:
        return None
    for raw in (state.load, state.backfill, state.reconcile):
        if raw is not None and raw["id"] == message.plan:
            return Plan.read(raw)
    return None
