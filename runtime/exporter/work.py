"""The work of one run while it holds the lease: choose, export, commit.

The manifest is the commit; the ledger follows it. Until then nothing that counts has
been changed, so that any error may end the run anywhere.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from psycopg2 import sql

from runtime.contract.errors import SourceError
from runtime.contract.records import (
    ExportedFile,
    Mode,
    RunResult,
    fingerprint,
)
from runtime.exporter import full, identity, watermark
from runtime.exporter.chunks import Chunk, Plan
from runtime.exporter.commits import Commits, now
from runtime.exporter.plans import loads_anew
from runtime.exporter.watermark import Safe, Window

# How long a load waits for writers that are open when it begins.
SETTLE_SECONDS = 10.0
# By this condition PostgreSQL reads the partition alone.
_PARTITION = """
SELECT COALESCE(pg_catalog.pg_get_partition_constraintdef(%s), 'TRUE')
"""


@dataclass(kw_only=True)
class Work(Commits):
    """The work of one run.

    Attributes:
        reconcile: Whether to compare keys now, due or not.
        begins: Whether to begin what is due, beside bringing on what is under way.
    """

    reconcile: bool = False
    begins: bool = True

    def go(self, backfill: str | None = None) -> RunResult:
        """Bring rows over; then a backfill on; then, when that is due, the keys.

        Args:
            backfill: Condition of rows to export again; empty for all, None for none.
        """
        if backfill is not None:
            self._ask_for_backfill(backfill)
        state = self.lease.state
        if not (self.begins or state.load or state.backfill or state.reconcile):
            return self._nothing()
        result = self._rows() if self.begins or state.load else self._nothing()
        while result.status == "done" and self._backfill_due():
            filled = self._load(Plan.read(self.lease.state.backfill or {}))
            result = _joined(result, filled)
        if result.status == "done" and self._reconcile_due():
            return self._keys(result)
        return result

    def _backfill_due(self) -> bool:
        """Whether a backfill is under way; a new partition begins one, in its turn."""
        state, seen = self.lease.state, self.exports.relation
        if state.backfill is not None:
            return True
        if seen is None or state.watermark is None or self.table.spec.is_full:
            return False
        new = identity.new_parts(state.source, seen)
        if not new or not self.exports.half_the_time_is_left():
            return False
        cursor = self.exports.source.cursor
        cursor.execute(_PARTITION, (new[0],))
        [where] = cursor.fetchone()
        plan = self._plan("backfill", where=where, parts=(new[0],))
        self.lease.save(backfill=plan.to_ledger())
        return True

    def _rows(self) -> RunResult:
        """Choose what kind of run is due, and do it."""
        state, cursor = self.lease.state, self.exports.source.cursor
        if state.load is not None:
            return self._load(Plan.read(state.load))
        if self.table.spec.is_full:
            return self._whole()
        if state.watermark is None or loads_anew(state, self.table):
            safe = watermark.read_settled(
                cursor, self.table, state.candidate, SETTLE_SECONDS
            )
            return self._load(self._plan("first_load", high=safe.high), safe)
        safe = watermark.read_safe(cursor, self.table, state.candidate)
        window = watermark.window(
            cursor, self.table, safe, state.watermark, state.fresh
        )
        return self._incremental(safe, window)

    def _nothing(self) -> RunResult:
        mode: Mode = "full" if self.table.spec.is_full else "incremental"
        return self._result("done", self._plan(mode), high=self.lease.state.high)

    def _whole(self) -> RunResult:
        """Load every row, unless the keys of the load before are still to be compared.

        Else a table whose keys take several runs would never come to their end.
        """
        if self.lease.state.reconcile is not None:
            return self._nothing()
        safe = full.read_now(self.exports.source.cursor)
        return self._load(self._plan("full", high=safe.high), safe)

    def _incremental(self, safe: Safe, window: Window) -> RunResult:
        plan = self._plan(
            "incremental",
            chunks=(Chunk(),),
            above=window.above,
            low=window.low,
            high=window.high,
            fresh=window.fresh,
        )
        plan, done = self.loads.advance(plan)
        if len(plan.chunks) != 1:
            return self._result("more", plan, plan=plan.id)
        file = done[0]
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
        )

    def _plan(self, mode: Mode, **more: Any) -> Plan:
        after, contract = self.lease.state.seq, fingerprint(self.table)
        return Plan.begin(mode, after, contract, **more)

    def _ask_for_backfill(self, where: str) -> None:
        """Begin an operator's backfill.

        Raises:
            SourceError: When a load is under way, or Aurora refuses the condition.
        """
        state = self.lease.state
        if state.watermark is None or state.load or state.backfill:
            raise SourceError(
                "a load is under way, and a backfill would export its rows twice",
                subject=str(self.table.spec.source),
                remedy="wait for its end, which `aurora-sync status` expects; then ask "
                "again",
            )
        source = self.table.spec.source
        self.exports.source.cursor.execute(
            sql.SQL("EXPLAIN SELECT 1 FROM {} WHERE ({}\n)").format(
                sql.Identifier(source.schema, source.name), sql.SQL(where or "TRUE")
            )
        )
        plan = self._plan("backfill", where=where)
        self.lease.save(backfill=plan.to_ledger())

    def _load(self, plan: Plan, safe: Safe | None = None) -> RunResult:
        """Bring a load on, and commit the chunks that have been exported."""
        if plan.mode == "first_load":
            self.exports.notice()
        plan, done = self.loads.advance(plan)
        unfinished = not plan.chunks or len(done) < len(plan.chunks)
        if unfinished and done.keys() <= set(plan.committed):
            if safe is not None:
                self.lease.save(candidate=safe.candidate)
            return self._result("more", plan, plan=plan.id)
        return self._commit_load(plan, done, safe)

    def _commit_load(
        self,
        plan: Plan,
        done: dict[int, ExportedFile | None],
        safe: Safe | None,
    ) -> RunResult:
        finished = len(done) == len(plan.chunks)
        new = {n: file for n, file in done.items() if n not in plan.committed}
        files = tuple(file for _, file in sorted(new.items()) if file is not None)
        state, changes = self.lease.state, dict[str, Any]()
        if plan.mode != "backfill":
            # Its chunks show several snapshots.
            changes |= {"snapshot": None, "held_by": safe.holder if safe else None}
            changes["candidate"] = safe.candidate if safe else state.candidate
        if not finished:
            committed = tuple(sorted({*plan.committed, *new}))
            rest = msgspec.structs.replace(plan, committed=committed)
            changes[plan.place] = rest.to_ledger()
        else:
            changes |= self._completed(plan)
            source = identity.loaded(self.exports.state.source, plan)
            self.exports.state = msgspec.structs.replace(
                self.exports.state, source=source
            )
        high = plan.high if finished else None
        seq = self._commit(plan, high, files)
        return self._finish(
            plan,
            seq,
            files,
            status="done" if finished else "more",
            high=plan.high or state.high,
            more_of="" if finished else plan.id,
            **{"held_by": state.held_by, **changes},
        )

    def _completed(self, plan: Plan) -> dict[str, Any]:
        """Return what the end of a load changes in the ledger."""
        changes: dict[str, Any] = {plan.place: None}
        if plan.mode != "backfill":
            changes |= {"watermark": plan.high, "fresh": plan.fresh}
        if plan.mode != "incremental" and not plan.where:
            # Not before the last chunk: until then old rows lack the new columns.
            changes["contract"] = plan.contract
        if plan.mode == "first_load" and self.lease.state.generation == 1:
            # All that was there has just come over; of an earlier source more is left.
            changes["reconciled_at"] = now()
        return changes

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
        plan = self._plan("reconcile")
        if state.reconcile and state.reconcile["contract"] == shape:
            plan = Plan.read(state.reconcile)
        plan, done = self.loads.advance(plan)
        if not plan.chunks or len(done) < len(plan.chunks):
            return msgspec.structs.replace(result, status="more", plan=plan.id)
        files = tuple(file for _, file in sorted(done.items()) if file is not None)
        seq = self._commit(plan, None, (*files, self.exports.seal(plan, files)))
        self.lease.save(seq=seq, reconcile=None, reconciled_at=now())
        keys = sum(file.rows for file in files)
        return msgspec.structs.replace(result, reconcile_seq=seq, keys_exported=keys)


def _joined(rows: RunResult, filled: RunResult) -> RunResult:
    """Return the answer of a run that has brought a backfill on too."""
    return msgspec.structs.replace(
        rows,
        status=filled.status,
        plan=filled.plan,
        seq=filled.seq or rows.seq,
        files=(*rows.files, *filled.files),
        rows_exported=rows.rows_exported + filled.rows_exported,
        bytes=rows.bytes + filled.bytes,
        seconds=filled.seconds,
    )
