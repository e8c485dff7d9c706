"""One run of one table: the protocol, from lease to manifest.

    lease -> follow manifests the ledger missed -> leased database user
          -> commit-safe high, in its own transaction
          -> export transactions (lock, check, snapshot, file), one per chunk
          -> manifest (the commit) -> ledger -> release

A crash at any line leaves either nothing that counts (files without a manifest) or a
manifest that the next run's first step follows.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from ulid import ULID

from runtime.contract.errors import FencedError, LedgerError, SyncError
from runtime.contract.names import LakeKeys
from runtime.contract.records import RunResult
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.exporter import generations, identity
from runtime.exporter.chunks import Plan
from runtime.exporter.credentials import AwsKeys, leased_user
from runtime.exporter.exports import Exports
from runtime.exporter.lake import Lake
from runtime.exporter.ledger import Lease, Ledger
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
    """

    settings: ExporterSettings
    ledger_table: Any
    s3: Any
    aws_keys: Callable[[], AwsKeys]


def run_table(
    table: Table,
    around: Surroundings,
    seconds: float,
    reconcile: bool = False,
    accept_source: bool = False,
    repair: Sequence[Sequence[str]] = (),
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

    Returns:
        What was exported and committed.

    Raises:
        SyncError: When the run failed; nothing that counts has been changed.
    """
    settings, run = around.settings, str(ULID())
    keys = LakeKeys(stack=settings.stack, table=table.spec.source)
    ledger = Ledger(around.ledger_table, settings.stack, table.spec.source)
    lake = Lake(around.s3, settings.bucket, settings.kms_key_arn, keys)
    started = time.monotonic()
    with ledger.lease(run) as lease:
        try:
            _follow(lease, ledger, lake)
            if accept_source:
                generations.begin(lease)
            identity.check_place(table, settings, lease.state.source)
            with leased_user(settings, around.aws_keys) as user:
                name = f"aurora-sync {settings.stack} {table.spec.source} {run}"
                with (
                    closing(Source(settings, user, started + seconds, name)) as source,
                    told(str(table.spec.source)),
                ):
                    exports = Exports(
                        table=table,
                        settings=settings,
                        run=run,
                        lease=lease,
                        source=source,
                        started=started,
                        seconds=seconds,
                    )
                    if repair:
                        return send_again(exports, lake, repair)
                    return Work(lake=lake, exports=exports, reconcile=reconcile).go()
        except FencedError:
            # A newer run is at work, and says what is the matter.
            raise
        except SyncError as error:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            # A ledger that cannot be written must not hide what went wrong first.
            with suppress(LedgerError):
                ledger.note(refusal={**error.as_dict(), "run": run, "at": at})
            raise


def _follow(lease: Lease, ledger: Ledger, lake: Lake) -> None:
    """Let the ledger follow manifests that a run committed before it died."""
    for manifest in lake.after(lease.state.seq):
        if not generations.follow(lease, manifest):
            continue
        changes: dict[str, Any] = {"seq": manifest.seq}
        if manifest.mode == "reconcile":
            changes |= {"reconcile": None, "reconciled_at": manifest.committed_at}
            lease.save(**changes)
            continue
        if manifest.mode == "repair":
            lease.save(**changes)
            continue
        changes |= {"fresh": None, "snapshot": None}
        if manifest.high is not None:
            changes |= {"watermark": manifest.high, "load": None}
            changes["contract"] = manifest.contract
            if manifest.mode == "first_load" and manifest.generation == 1:
                changes["reconciled_at"] = manifest.committed_at
        elif lease.state.load is not None:
            plan = Plan.read(lease.state.load)
            keys = {file.key for file in manifest.files}
            done = ledger.chunks(plan.notes)
            found = {n for n, file in done.items() if file and file.key in keys}
            committed = tuple(sorted(found | set(plan.committed)))
            plan = msgspec.structs.replace(plan, committed=committed)
            changes["load"] = plan.to_ledger()
        lease.save(**changes)
