"""`sync`: run tables now, several at once, and follow them until they are merged.

Exports run in threads of their own, a few at a time; Snowflake is asked by the
calling thread alone, one question for all tables.
"""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import Struct

from runtime.contract.errors import SyncError, WarehouseError
from runtime.contract.records import RunResult
from runtime.contract.specs import Table
from runtime.ops.invoke import Exporter, FunctionError
from runtime.ops.ledger import LedgerReader
from runtime.ops.warehouse import COUNTED, Progress, Warehouse

AT_ONCE = 4
# Snowflake is asked often at first, then less and less.
_FIRST_POLL, _LONGEST_POLL, _POLL_GROWTH = 0.3, 5.0, 1.4
# Without any progress for so long we ask why; a reason that stays is final.
_STALL_SECONDS = 5.0
_TROUBLE_SECONDS = 15.0

Tell = Callable[[str, str], None]


class SyncOutcome(Struct, frozen=True, kw_only=True):
    """What became of one table.

    Attributes:
        table: Source table.
        status: `merged` (all that was exported is in the target), `exported` (nobody
            waited for the merge), `failed`.
        mode: What kind of run.
        seq: Last manifest that was committed; None when nothing was due.
        low: Watermark the run read above.
        high: Commit-safe high.
        held_by: Who holds the watermark back.
        drift: Columns at the source that the contract lacks.
        keys_exported: Keys that were compared; None when they were not.
        merged_through: Watermark up to which the target is complete.
        error: Why it failed.
    """

    table: str
    status: Literal["merged", "exported", "failed"]
    mode: str | None = None
    seq: int | None = None
    low: str | None = None
    high: str | None = None
    held_by: dict[str, Any] | None = None
    drift: tuple[str, ...] = ()
    rows_exported: int = 0
    rows_loaded: int = 0
    rows_applied: int = 0
    rows_superseded: int = 0
    rows_quarantined: int = 0
    values_nulled: int = 0
    files: int = 0
    bytes: int = 0
    keys_exported: int | None = None
    seconds: float = 0.0
    merged_through: str | None = None
    error: dict[str, Any] | None = None


@dataclass(kw_only=True)
class _Merge:
    """A table whose exports are on their way through Snowflake."""

    table: Table
    results: tuple[RunResult, ...]
    wanted: int
    seen: Progress | None = None
    moved_at: float = field(default_factory=time.monotonic)
    asked_at: float = 0.0
    trouble: str | None = None
    trouble_at: float = 0.0

    @property
    def name(self) -> str:
        return self.table.contract.table


class Syncing:
    """One call of `sync`.

    Args:
        exporter: The deployed function.
        ledger: Tells the last manifest of a table.
        warehouse: Follows merges; None when nobody waits for them.
        timeout: Longest time for all tables together, in seconds.
        tell: Told table and what happens, for people who watch; by any thread.
        wishes: What to ask of the exporter, one after the other; see
            `Exporter.invoke`.
    """

    def __init__(
        self,
        exporter: Exporter,
        ledger: LedgerReader,
        warehouse: Warehouse | None,
        timeout: float,
        tell: Tell = lambda table, text: None,
        wishes: Sequence[dict[str, Any]] = ({},),
    ) -> None:
        self._exporter = exporter
        self._ledger = ledger
        self._warehouse = warehouse
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._tell = tell
        self._wishes = wishes
        self._waiting: queue.SimpleQueue[Table] = queue.SimpleQueue()
        self._exported: queue.SimpleQueue[
            tuple[Table, tuple[RunResult, ...] | BaseException]
        ] = queue.SimpleQueue()
        self._merges: dict[str, _Merge] = {}
        self._outcomes: dict[str, SyncOutcome] = {}
        self._interval = _FIRST_POLL

    def run(self, tables: Sequence[Table]) -> tuple[SyncOutcome, ...]:
        """Run the tables and return what became of each, in the given order.

        Raises:
            SyncError: When the ledger or Snowflake cannot be asked at all.
        """
        for table in tables:
            self._waiting.put(table)
        for _ in range(min(AT_ONCE, len(tables))):
            # Daemons: an interrupted command must not wait for its invocations.
            threading.Thread(target=self._export_all, daemon=True).start()
        while len(self._outcomes) < len(tables):
            try:
                left = max(0.05, self._deadline - time.monotonic())
                self._take(*self._exported.get(timeout=min(self._interval, left)))
                self._interval = _FIRST_POLL
                if not self._exported.empty():
                    continue
            except queue.Empty:
                self._interval = min(_LONGEST_POLL, self._interval * _POLL_GROWTH)
            self._follow()
            if time.monotonic() > self._deadline:
                self._give_up(tables)
        return tuple(self._outcomes[table.contract.table] for table in tables)

    # --- exports

    def _export_all(self) -> None:
        while True:
            try:
                table = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                export = partial(
                    self._exporter.export,
                    table.spec.source,
                    wait=self._warehouse is not None,
                    deadline=self._deadline,
                    tell=partial(self._tell, table.contract.table),
                )
                answers = [export(**wish) for wish in self._wishes]
                self._exported.put((table, tuple(itertools.chain(*answers))))
            except BaseException as error:
                self._exported.put((table, error))

    def _take(
        self, table: Table, results: tuple[RunResult, ...] | BaseException
    ) -> None:
        name = table.contract.table
        if isinstance(results, SyncError):
            self._end(_failure(table, (), results))
        elif isinstance(results, BaseException):
            raise results
        elif self._warehouse is None:
            self._end(_outcome(table, results, "exported"))
        else:
            wanted = results[-1].reconcile_seq or results[-1].seq
            if wanted is None:
                # Nothing was due now; an earlier run may still be on its way.
                state = self._ledger.states([table.spec.source])[table.spec.source]
                wanted = state.seq
            rows = sum(each.rows_exported for each in results)
            self._tell(name, f"exported {rows} rows, merging")
            self._merges[name] = _Merge(table=table, results=results, wanted=wanted)

    # --- merges

    def _follow(self) -> None:
        if self._warehouse is None or not self._merges:
            return
        progress = self._warehouse.progress(self._merges)
        now = time.monotonic()
        for merge in list(self._merges.values()):
            seen = progress.get(merge.name)
            if seen != merge.seen:
                merge.seen, merge.moved_at, merge.trouble = seen, now, None
            if (seen.merged_seq if seen else 0) >= merge.wanted:
                self._merged(self._warehouse, merge)
            elif now - max(merge.moved_at, merge.asked_at) > _STALL_SECONDS:
                self._stalled(self._warehouse, merge)

    def _merged(self, warehouse: Warehouse, merge: _Merge) -> None:
        outcome = _outcome(merge.table, merge.results, "merged")
        seqs = [each.seq for each in merge.results if each.seq is not None]
        seqs += [each.after + 1 for each in merge.results if each.after is not None]
        if seqs:
            runs = warehouse.runs(merge.table, min(seqs), max(seqs))
            counts = {name: sum(getattr(run, name) for run in runs) for name in COUNTED}
            outcome = msgspec.structs.replace(outcome, **counts)
        through = merge.seen.merged_through if merge.seen else None
        self._end(msgspec.structs.replace(outcome, merged_through=through))

    def _stalled(self, warehouse: Warehouse, merge: _Merge) -> None:
        """Ask why; the same answer for a while is what is wrong."""
        merge.asked_at = time.monotonic()
        trouble = warehouse.trouble(merge.table)
        if trouble is None or trouble != merge.trouble:
            merge.trouble, merge.trouble_at = trouble, merge.asked_at
            if trouble:
                self._tell(merge.name, f"not merging: {trouble}")
        elif merge.asked_at - merge.trouble_at > _TROUBLE_SECONDS:
            error = WarehouseError(
                "what was exported does not arrive",
                subject=merge.name,
                got=trouble,
                remedy="mend that, or run `aurora-sync sweep`; nothing is lost",
            )
            self._end(_failure(merge.table, merge.results, error))

    def _give_up(self, tables: Sequence[Table]) -> None:
        for table in tables:
            name = table.contract.table
            if name in self._outcomes:
                continue
            merge = self._merges.get(name)
            error: SyncError = FunctionError(
                f"the export has not ended within {self._timeout:g} s",
                subject=name,
                remedy="it goes on by itself; see `aurora-sync status`",
            )
            if merge is not None:
                seq = merge.seen.merged_seq if merge.seen else 0
                error = WarehouseError(
                    f"what was exported is not merged within {self._timeout:g} s",
                    subject=name,
                    got=merge.trouble or f"manifest {seq} of {merge.wanted}",
                    remedy="it goes on by itself; see `aurora-sync status`",
                )
            self._end(_failure(table, merge.results if merge else (), error))

    def _end(self, outcome: SyncOutcome) -> None:
        self._merges.pop(outcome.table, None)
        self._outcomes[outcome.table] = outcome
        self._tell(outcome.table, outcome.status)


def _outcome(
    table: Table,
    results: Sequence[RunResult],
    status: Literal["merged", "exported", "failed"],
) -> SyncOutcome:
    """Sum up the answers of all invocations for a table."""
    last = results[-1] if results else None
    return SyncOutcome(
        table=table.contract.table,
        status=status,
        mode=last.mode if last else None,
        seq=last.seq if last else None,
        low=last.low if last else None,
        high=last.high if last else None,
        held_by=last.held_by if last else None,
        drift=last.drift if last else (),
        rows_exported=sum(each.rows_exported for each in results),
        files=sum(len(each.files) for each in results),
        bytes=sum(each.bytes for each in results),
        keys_exported=last.keys_exported if last and last.reconcile_seq else None,
        seconds=round(sum(each.seconds for each in results), 3),
    )


def _failure(
    table: Table, results: Sequence[RunResult], error: SyncError
) -> SyncOutcome:
    outcome = _outcome(table, results, "failed")
    return msgspec.structs.replace(outcome, error=error.as_dict())
