"""What ends a run: the manifest, the ledger that follows it, and the answer."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from runtime.contract.records import ExportedFile, RunResult
from runtime.contract.specs import Table
from runtime.exporter.chunks import Plan
from runtime.exporter.exports import Exports
from runtime.exporter.lake import Lake
from runtime.exporter.ledger import Lease
from runtime.exporter.loads import Loads


@dataclass(kw_only=True)
class Commits:
    """What runs commit with.

    Attributes:
        lake: Where manifests go.
        loads: Makes files, or sees to it that they come.
    """

    lake: Lake
    loads: Loads

    @property
    def exports(self) -> Exports:
        """What makes files."""
        return self.loads.exports

    @property
    def table(self) -> Table:
        """What to sync."""
        return self.exports.table

    @property
    def lease(self) -> Lease:
        """The right to change the table's ledger."""
        return self.loads.lease

    def _commit(
        self, plan: Plan, high: str | None, files: tuple[ExportedFile, ...]
    ) -> int:
        manifest = self.exports.manifest(
            self.lease.state.seq + 1,
            plan.mode,
            plan.contract,
            files,
            low=plan.low,
            high=high,
        )
        self.lake.commit(manifest)
        return manifest.seq

    def _finish(
        self,
        plan: Plan,
        seq: int | None,
        files: tuple[ExportedFile, ...],
        *,
        status: str = "done",
        high: str | None,
        held_by: dict[str, Any] | None,
        more_of: str = "",
        **changes: Any,
    ) -> RunResult:
        """Let the ledger follow the manifest, and say what was done."""
        result = self._result(
            status,
            plan,
            seq=seq,
            files=files,
            low=plan.low,
            high=high,
            held_by=held_by,
            plan=more_of,
        )
        at = now()
        before = self.lease.state.last_run or {}
        last_run = {
            "run": self.exports.run,
            "mode": plan.mode,
            "seq": seq,
            "rows_exported": result.rows_exported,
            "files": len(files),
            "bytes": result.bytes,
            "null_rows": result.null_rows,
            "late_rows": result.late_rows,
            "lateness": result.lateness,
            "lookback_used": result.lookback_used,
            "seconds": result.seconds,
            "at": at,
            "committed_at": at if seq else before.get("committed_at", at),
        }
        self.lease.save(
            seq=seq or self.lease.state.seq,
            high=high,
            held_by=held_by,
            last_run=last_run,
            refusal=None,
            source=self.exports.identity,
            drift=(
                self.exports.relation.drift
                if self.exports.relation
                else self.lease.state.drift
            ),
            **changes,
        )
        # Keys may follow in the same run, and go by what is known now.
        self.exports.state = self.lease.state
        return result

    def _result(self, status: Any, of: Plan, **more: Any) -> RunResult:
        files: tuple[ExportedFile, ...] = more.pop("files", ())
        more |= asdict(self.exports.noticed) if self.exports.noticed else {}
        return RunResult(
            status=status,
            table=str(self.table.spec.source),
            run=self.exports.run,
            mode=of.mode,
            files=files,
            rows_exported=sum(file.rows for file in files),
            bytes=sum(file.bytes for file in files),
            seconds=round(time.monotonic() - self.exports.started, 3),
            drift=self.exports.relation.drift if self.exports.relation else (),
            **more,
        )

    def _heartbeat_due(self) -> bool:
        last = (self.lease.state.last_run or {}).get("committed_at")
        if last is None:
            return True
        silence = datetime.now(UTC) - datetime.fromisoformat(last)
        return silence.total_seconds() > self.exports.settings.heartbeat_seconds


def now() -> str:
    """Return the time as the ledger keeps it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
