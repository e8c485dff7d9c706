"""The work of one run while it holds the lease: choose, export, commit.

The manifest is the commit; the ledger follows it. Until then nothing that counts has
been changed, so that any error may end the run anywhere.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from psycopg2 import sql

from runtime.contract.errors import SourceUnavailableError
from runtime.contract.names import LakeKeys
from runtime.contract.records import (
    ExportedFile,
    Manifest,
    RunResult,
    fingerprint,
    ledger_key,
)
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.exporter import chunks, watermark
from runtime.exporter.chunks import Chunk, Plan
from runtime.exporter.lake import Lake
from runtime.exporter.ledger import Lease
from runtime.exporter.source import Relation, Source
from runtime.exporter.source_errors import TooLargeError
from runtime.exporter.watermark import Safe, Window


@dataclass(kw_only=True)
class Work:
    """The work of one run, with everything at hand."""

    table: Table
    settings: ExporterSettings
    run: str
    keys: LakeKeys
    lease: Lease
    lake: Lake
    source: Source
    started: float
    seconds: float
    relation: Relation | None = None

    @property
    def identity(self) -> dict[str, Any] | None:
        """Identity of the source relation, as this run or the last one saw it."""
        seen = self.relation
        return {"oid": seen.oid} if seen else self.lease.state.source

    def go(self) -> RunResult:
        """Choose what kind of run is due, and do it."""
        state, shape = self.lease.state, fingerprint(self.table)
        if state.load is not None:
            plan = Plan.read(state.load)
            if plan.contract == shape:
                return self._load(plan)
        safe = watermark.read_safe(self.source.cursor, self.table)
        if state.watermark is None or state.contract != shape:
            # Under a new contract every row goes out again, and the watermark may mean
            # something else.
            load = Plan(id=self.run, contract=shape, high=safe.high, chunks=())
            return self._load(load, safe.holder)
        window = watermark.window(
            self.source.cursor, self.table, safe, state.watermark, state.fresh
        )
        return self._incremental(safe, window, shape)

    def _incremental(self, safe: Safe, window: Window, shape: str) -> RunResult:
        watermark.check_without_watermark(self.source.cursor, self.table)
        plan = Plan(
            id=self.run,
            above=window.above,
            low=window.low,
            high=window.high,
            fresh=window.fresh,
            contract=shape,
        )
        try:
            file = self._export(plan, 0, Chunk())
        except TooLargeError as error:
            return self._cut_smaller(plan, error)
        files = (file,) if file else ()
        seq = None
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
            load=None,
            contract=plan.contract,
        )

    def _load(self, plan: Plan, holder: dict[str, Any] | None = None) -> RunResult:
        """Export the chunks that are still missing, as many as the time allows."""
        if plan.above is None:
            watermark.check_without_watermark(self.source.cursor, self.table)
        if not plan.chunks:
            plan = self._cut(plan)
        ledger, several = self.lease.ledger, len(plan.chunks) > 1
        done = ledger.chunks(plan.id) if several else {}
        longest, fresh = 0.0, 0
        for number, chunk in enumerate(plan.chunks):
            if number in done:
                continue
            begun = time.monotonic()
            if fresh and begun + longest > self.started + self.seconds:
                break
            try:
                done[number] = self._export(plan, number, chunk)
            except TooLargeError as error:
                if fresh:
                    break
                return self._cut_smaller(plan, error)
            if several:
                ledger.finish_chunk(plan.id, number, done[number])
            longest = max(longest, time.monotonic() - begun)
            fresh += 1
        return self._commit_load(plan, done, holder)

    def _commit_load(
        self,
        plan: Plan,
        done: dict[int, ExportedFile | None],
        holder: dict[str, Any] | None,
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
            held_by=holder,
            watermark=high if finished else self.lease.state.watermark,
            fresh=plan.fresh if finished else None,
            high=plan.high,
            load=None if finished else rest.to_ledger(),
            # Not before the last chunk: until then old rows lack the new columns.
            contract=plan.contract if finished else self.lease.state.contract,
        )

    def _cut(self, plan: Plan) -> Plan:
        """Cut the table into the plan's chunks; a single one needs no ledger entry."""
        ranges = chunks.cut(
            self.source.cursor,
            self.table,
            chunk_bytes=self.settings.chunk_bytes,
            at_least=plan.pieces,
        )
        plan = msgspec.structs.replace(plan, chunks=ranges)
        if ranges[0].kind == "ctid":
            # Ranges of blocks hold only for the file that they were cut from.
            with self.source.snapshot(self.table, self._lock()) as relation:
                file = relation.relfilenode
            plan = msgspec.structs.replace(plan, relfilenode=file)
        if len(ranges) > 1:
            self.lease.save(load=plan.to_ledger())
        return plan

    def _cut_smaller(self, plan: Plan, error: TooLargeError) -> RunResult:
        """Not one chunk fitted: the next invocation goes on with smaller ones.

        Raises:
            TooLargeError: When the table cannot be cut any smaller.
        """
        if plan.pieces >= chunks.MOST_CHUNKS:
            raise error
        pieces = max(8, 4 * len(plan.chunks), 4 * plan.pieces)
        smaller = msgspec.structs.replace(
            plan, id=self.run, chunks=(), pieces=pieces, committed=()
        )
        self.lease.save(load=smaller.to_ledger())
        return self._result("more", plan)

    def _export(self, plan: Plan, number: int, chunk: Chunk) -> ExportedFile | None:
        """One export transaction: lock, catalog check, snapshot, file."""
        rows = (
            watermark.finite(self.table)
            if plan.above is None
            else watermark.newer_than(self.table, plan.above)
        )
        with self.source.snapshot(self.table, self._lock()) as relation:
            self.relation = relation
            if chunk.kind == "ctid" and relation.relfilenode != plan.relfilenode:
                self.lease.save(load=None)
                raise SourceUnavailableError(
                    "the table was rewritten during its load",
                    subject=str(self.table.spec.source),
                    remedy="the next run starts the load anew",
                )
            stamp = f"{self.lease.state.generation:06d}-{relation.stamp}"
            return self.source.export(
                self.table,
                sql.SQL("({}) AND ({})").format(chunk.condition(self.table), rows),
                self.keys.export_key(
                    self.run, stamp, self.table.contract.width, f"c{number:06d}"
                ),
                stamp,
            )

    def _commit(
        self, plan: Plan, high: str | None, files: tuple[ExportedFile, ...]
    ) -> int:
        state = self.lease.state
        manifest = Manifest(
            table=str(self.table.spec.source),
            seq=state.seq + 1,
            run=self.run,
            mode=plan.mode,
            generation=state.generation,
            low=plan.low,
            high=high,
            contract=plan.contract,
            source=self.identity or {},
            files=files,
            committed_at=datetime.now(UTC).isoformat(),
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
        now = datetime.now(UTC).isoformat(timespec="seconds")
        before = self.lease.state.last_run or {}
        last_run = {
            "run": self.run,
            "mode": plan.mode,
            "seq": seq,
            "rows_exported": result.rows_exported,
            "files": len(files),
            "bytes": result.bytes,
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
            source=self.identity,
            drift=self.relation.drift if self.relation else self.lease.state.drift,
            **changes,
        )
        return result

    def _result(self, status: Any, plan: Plan, **more: Any) -> RunResult:
        files: tuple[ExportedFile, ...] = more.pop("files", ())
        return RunResult(
            status=status,
            table=str(self.table.spec.source),
            run=self.run,
            mode=plan.mode,
            files=files,
            rows_exported=sum(file.rows for file in files),
            bytes=sum(file.bytes for file in files),
            seconds=round(time.monotonic() - self.started, 3),
            drift=self.relation.drift if self.relation else (),
            **more,
        )

    def _heartbeat_due(self) -> bool:
        last = (self.lease.state.last_run or {}).get("committed_at")
        if last is None:
            return True
        silence = datetime.now(UTC) - datetime.fromisoformat(last)
        return silence.total_seconds() > self.settings.heartbeat_seconds

    def _lock(self) -> str:
        return ledger_key(self.settings.stack, self.table.spec.source)
