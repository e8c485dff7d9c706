"""One run of one table: the protocol, from lease to manifest.

    lease -> follow manifests the ledger missed -> let go of other contracts' plans
          -> leased database user
          -> commit-safe high, in its own transaction
          -> export transaction (lock, check, snapshot, file), or chunks to the queue
          -> manifest (the commit) -> ledger -> release

A crash at any line leaves either nothing that counts (files without a manifest) or a
manifest that the next run's first step follows.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ulid import ULID

from runtime.contract.errors import FencedError, LedgerError, SyncError
from runtime.contract.names import LakeKeys
from runtime.contract.records import LedgerState, RunResult, ledger_key
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.exporter import generations, identity, plans
from runtime.exporter.credentials import AwsKeys, leased_user
from runtime.exporter.exports import Exports
from runtime.exporter.follow import follow
from runtime.exporter.lake import Lake
from runtime.exporter.ledger import Ledger
from runtime.exporter.load_queue import LoadQueue
from runtime.exporter.loads import Loads
from runtime.exporter.repair import send_again
from runtime.exporter.source import Source
from runtime.exporter.source_errors import told
from runtime.exporter.work import Work


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a run needs from outside.

    Attributes:
        settings: The exporter's settings.
        ledger_table: DynamoDB table resource of the ledger.
        s3: S3 client.
        aws_keys: Gives the function's own credentials.
        queue: Where chunks of loads go.
    """

    settings: ExporterSettings
    ledger_table: Any
    s3: Any
    aws_keys: Callable[[], AwsKeys]
    queue: LoadQueue

    def ledger(self, table: Table) -> Ledger:
        """Return a table's ledger."""
        return Ledger(self.ledger_table, self.settings.stack, table.spec.source)


@contextmanager
def exporting(
    table: Table,
    around: Surroundings,
    run: str,
    state: LedgerState,
    seconds: float,
    part: str = "",
    fence: Callable[[], None] = lambda: None,
) -> Iterator[Exports]:
    """Hold a leased user's connection to Aurora, and what exports files over it.

    Args:
        table: What to export.
        around: Settings and clients.
        run: Identity of the attempt.
        state: What the ledger knows of the source.
        seconds: Time to plan for.
        part: Which part of the table, that no other exports at the same time.
        fence: See `Exports`.
    """
    settings, started = around.settings, time.monotonic()
    identity.check_place(table, settings, state.source)
    name = f"aurora-sync {settings.stack} {table.spec.source} {run}"
    with (
        leased_user(settings, around.aws_keys) as user,
        closing(Source(settings, user, started + seconds, name)) as source,
        source.admitted(),
        told(str(table.spec.source)),
    ):
        yield Exports(
            table=table,
            settings=settings,
            run=run,
            lock=ledger_key(settings.stack, table.spec.source) + part,
            state=state,
            source=source,
            started=started,
            seconds=seconds,
            fence=fence,
        )


def run_table(
    table: Table,
    around: Surroundings,
    seconds: float,
    reconcile: bool = False,
    accept_source: bool = False,
    repair: Sequence[Sequence[str]] = (),
    backfill: str | None = None,
    counted: bool = True,
    begins: bool = True,
    run: str = "",
) -> RunResult:
    """Sync one table once.

    Args:
        table: What to sync.
        around: Settings and clients.
        seconds: Time to plan for; everything must have ended by then.
        reconcile: Whether to compare keys now, due or not.
        accept_source: Whether to begin a new generation: the table is another one,
            or another database, and that is meant.
        repair: Keys whose rows are exported again, and nothing else.
        backfill: Condition of rows to export again; empty for all, None for no wish.
        counted: Whether a lease that is held counts: see `Ledger.lease`.
        begins: Whether to begin what is due, beside bringing on what is under way.
        run: Identity of the attempt, a ULID; by default a new one.

    Returns:
        What was exported and committed.

    Raises:
        SyncError: When the run failed; nothing that counts has been changed.
    """
    settings, run = around.settings, run or str(ULID())
    keys = LakeKeys(stack=settings.stack, table=table.spec.source)
    ledger = around.ledger(table)
    lake = Lake(around.s3, settings.bucket, settings.kms_key_arn, keys)
    with ledger.lease(run, counted) as lease, noting(ledger, run):
        follow(lease, lake)
        if accept_source:
            generations.begin(lease)
        plans.renew(lease, table)
        with exporting(table, around, run, lease.state, seconds) as exports:
            if repair:
                return send_again(exports, lease, lake, repair)
            loads = Loads(exports=exports, lease=lease, queue=around.queue)
            work = Work(lake=lake, loads=loads, reconcile=reconcile, begins=begins)
            return work.go(backfill)


@contextmanager
def noting(ledger: Ledger, run: str) -> Iterator[None]:
    """Note in the ledger why an attempt failed, for `status`."""
    try:
        yield
    except FencedError:
        # A newer run is at work, and says what is the matter.
        raise
    except SyncError as error:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        # A ledger that cannot be written must not hide what went wrong first.
        with suppress(LedgerError):
            ledger.note(refusal={**error.as_dict(), "run": run, "at": at})
        raise
