"""The work of one run while it holds the lease: choose, export, commit.

The manifest is the commit; the ledger follows it. Until then nothing that counts has
been changed, so that any error may end the run anywhere.
"""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from runtime.contract.records import ExportedFile, RunResult, fingerprint
from runtime.contract.specs import Table
from runtime.exporter import full, watermark
from runtime.exporter.chunks import Chunk, Plan
from runtime.exporter.exports import Exports
from runtime.exporter.lake import Lake
from runtime.exporter.ledger import Lease
from runtime.exporter.source_errors import TooLargeError
from runtime.exporter.watermark import Safe, Window

# How long a load waits for writers that are open when it begins.
SETTLE_SECONDS = 10.0


@dataclass(kw_only=True)
class Work:
    """The work of one run.

    Attributes:
        lake: Where manifests go.
        exports: Makes files.
        reconcile: Whether to compare keys now, due or not.
    """

    lake: Lake
    exports: Exports
    reconcile: bool = False

    @property
    def table(self) -> Table:
        """What to sync."""
        return self.exports.table

    @property
    def lease(self) -> Lease:
        """The right to change the table's ledger."""
        return self.exports.lease

    def go(self) -> RunResult:
        """Bring rows over; then, when that is due, the keys.

        A reconcile that the time does not suffice for goes on in the next run.
        """
        result = self._rows()
        if result.status == "done" and self._reconcile_due():
            return self._keys(result)
        return result

    def _rows(self) -> RunResult:
        """Choose what kind of run is due, and do it."""
        state, shape = self.lease.state, fingerprint(self.table)
        cursor = self.exports.source.cursor
        if state.load is not None:
            plan = Plan.read(state.load)
            if plan.contract == shape:
                return self._load(plan)
        if self.table.spec.is_full:
            return self._whole(shape)
        if state.watermark is None or state.contract != shape:
            safe = watermark.read_settled(
                cursor, self.table, state.candidate, SETTLE_SECONDS
            )
            # Under a new contract every row goes out again, and the watermark may mean
            # something else.
            load = Plan(id=self.exports.run, contract=shape, high=safe.high, chunks=())
            return self._load(load, safe)
        safe = watermark.read_safe(cursor, self.table, state.candidate)
        window = watermark.window(
            cursor, self.table, safe, state.watermark, state.fresh
        )
        return self._incremental(safe, window, shape)

    def _whole(self, shape: str) -> RunResult:
        """Load every row, unless the keys of the load before are still to be compared.

        Else a table whose keys take several runs would never come to their end.
        """
        if self.lease.state.reconcile is not None:
            done = Plan(id=self.exports.run, contract=shape, full=True)
            return self._result("done", done, high=self.lease.state.high)
        safe = full.read_now(self.exports.source.cursor)
        load = Plan(
            id=self.exports.run, contract=shape, high=safe.high, chunks=(), full=True
        )
        return self._load(load, safe)

    def _incremental(self, safe: Safe, window: Window, shape: str) -> RunResult:
        plan = Plan(
            id=self.exports.run,
            above=window.above,
            low=window.low,
            high=window.high,
            fresh=window.fresh,
            contract=shape,
        )
        try:
            file = self.exports.file(plan, 0, Chunk())
        except TooLargeError as error:
            self.exports.cut_smaller(plan, error)
            return self._result("more", plan)
        files = (file,) if file else ()
        seq, seen = None, self.exports.relation
        if files or window.moved or self._heartbeat_due():
            seq = self._commit(plan, window.high, files)
        return self._finish(
            plan,
            seq,
            files,
            held_by=safe.holder,
            watermark=window.high,
            fresh=window.fresh,
            high=safe.high,
            candidate=safe.candidate,
            snapshot=seen.snapshot if seen else None,
            load=None,
            contract=plan.contract,
        )

    def _load(self, plan: Plan, safe: Safe | None = None) -> RunResult:
        """Export the chunks that are still missing, as many as the time allows."""
        if plan.mode == "first_load":
            self.exports.notice()
        advanced = self.exports.advance(plan)
        if advanced is None:
            return self._result("more", plan)
        return self._commit_load(*advanced, safe)

    def _commit_load(
        self,
        plan: Plan,
        done: dict[int, ExportedFile | None],
        safe: Safe | None,
    ) -> RunResult:
        finished = len(done) == len(plan.chunks)
        new = {n: file for n, file in done.items() if n not in plan.committed}
        files = tuple(file for _, file in sorted(new.items()) if file is not None)
        high = plan.high if finished else None
        seq = self._commit(plan, high, files)
        committed = tuple(sorted({*plan.committed, *new}))
        rest = msgspec.structs.replace(plan, committed=committed)
        return self._finish(
            plan,
            seq,
            files,
            status="done" if finished else "more",
            held_by=safe.holder if safe else None,
            candidate=safe.candidate if safe else self.lease.state.candidate,
            # Its chunks show several.
            snapshot=None,
            watermark=high if finished else self.lease.state.watermark,
            fresh=plan.fresh if finished else None,
            high=plan.high,
            load=None if finished else rest.to_ledger(),
            # Not before the last chunk: until then old rows lack the new columns.
            contract=plan.contract if finished else self.lease.state.contract,
            # All that was there has just come over; of an earlier source more is left.
            **(
                {"reconciled_at": _now()}
                if finished
                and plan.mode == "first_load"
                and self.lease.state.generation == 1
                else {}
            ),
        )

    def _reconcile_due(self) -> bool:
        state, spec = self.lease.state, self.table.spec
        if spec.deletes != "reconcile":
            return False
        if spec.is_full:
            return True
        # The file may have taken long; keys can wait for the next run.
        if not self.exports.half_the_time_is_left():
            return False
        if self.reconcile or state.reconcile or state.reconciled_at is None:
            return True
        age = datetime.now(UTC) - datetime.fromisoformat(state.reconciled_at)
        return age >= spec.reconcile_interval

    def _keys(self, result: RunResult) -> RunResult:
        """Export all keys, and a seal that lists their files."""
        state, shape = self.lease.state, fingerprint(self.table)
        plan = Plan(id=self.exports.run, contract=shape, chunks=(), keys_only=True)
        if state.reconcile and state.reconcile["contract"] == shape:
            plan = Plan.read(state.reconcile)
        advanced = self.exports.advance(plan)
        if advanced is None or len(advanced[1]) < len(advanced[0].chunks):
            return msgspec.structs.replace(result, status="more")
        plan, done = advanced
        files = tuple(file for _, file in sorted(done.items()) if file is not None)
        seq = self._commit(plan, None, (*files, self.exports.seal(plan, files)))
        self.lease.save(seq=seq, reconcile=None, reconciled_at=_now())
        keys = sum(file.rows for file in files)
        return msgspec.structs.replace(result, reconcile_seq=seq, keys_exported=keys)

    def _commit(
        self, plan: Plan, high: str | None, files: tuple[ExportedFile, ...]
    ) -> int:
        manifest = self.exports.manifest(
            plan.mode, plan.contract, files, low=plan.low, high=high
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
        **changes: Any,
    ) -> RunResult:
        """Let the ledger follow the manifest, and say what was done."""
        result = self._result(
            status, plan, seq=seq, files=files, low=plan.low, high=high, held_by=held_by
        )
        now = _now()
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
            "at": now,
            "committed_at": now if seq else before.get("committed_at", now),
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
        return result

    def _result(self, status: Any, plan: Plan, **more: Any) -> RunResult:
        files: tuple[ExportedFile, ...] = more.pop("files", ())
        more |= asdict(self.exports.noticed) if self.exports.noticed else {}
        return RunResult(
            status=status,
            table=str(self.table.spec.source),
            run=self.exports.run,
            mode=plan.mode,
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
