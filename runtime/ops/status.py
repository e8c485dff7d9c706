"""`status`: how each table is, from the ledger and from Snowflake's receipts.

What one side does not tell is left open, and the rest is told all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from runtime.contract.errors import ConfigError, SyncError
from runtime.contract.records import LedgerState
from runtime.contract.specs import TableSpec
from runtime.ops.deletes import Decision, last_decisions
from runtime.ops.history import Day, PastRun, lag_seconds, last_day, recent_runs
from runtime.ops.ledger import LedgerReader
from runtime.ops.load_progress import LoadProgress, load_progress
from runtime.ops.warehouse import MergedRun, Progress, Warehouse

State = Literal[
    "new", "loading", "current", "behind", "held", "refused", "running", "unknown"
]

Side = Literal["ledger", "warehouse"]
# Fields of `Known`, each by source table.
_Parts = dict[str, Mapping[str, Any]]


class LastRun(Struct, frozen=True, kw_only=True):
    """The last invocation that ended well; what Snowflake has counted of it so far."""

    run: str | None = None
    mode: str
    rows_exported: int = 0
    rows_loaded: int = 0
    rows_applied: int = 0
    rows_superseded: int = 0
    rows_quarantined: int = 0
    values_nulled: int = 0
    files: int = 0
    bytes: int = 0
    late_rows: int = 0
    lookback_used: float = 0.0
    seconds: float = 0.0
    rows_per_second: float | None = None
    at: str | None = None


class TableStatus(Struct, frozen=True, kw_only=True):
    """How one table is.

    Attributes:
        table: Source table.
        state: `new` (never run), `running` (a run holds the lease), `refused` (the
            last run failed), `loading` (the first load is unfinished), `behind`
            (exported but not yet merged), `held` (an open transaction kept the
            watermark back), `current`; `unknown` when the side that could tell does
            not answer.
        low: Watermark up to which everything has been exported.
        high: The commit-safe high that the last run read.
        held_by: Who holds the watermark back.
        merged_through: Watermark up to which the target is complete.
        lag_seconds: Age of `merged_through`.
        last_run: What the last run did.
        load: How far a load or a backfill is that takes several chunks.
        refusal: Why the last run failed.
        drift: Columns at the source that the contract lacks.
        deletes: The last decision on its deletes; None before the first.
        runs: Its last runs, oldest first; None when they were not asked for.
        last_day: What came over in the last 24 hours; with the runs.
    """

    table: str
    state: State
    low: str | None = None
    high: str | None = None
    held_by: dict[str, Any] | None = None
    merged_through: str | None = None
    lag_seconds: float | None = None
    last_run: LastRun | None = None
    load: LoadProgress | None = None
    refusal: dict[str, Any] | None = None
    drift: tuple[str, ...] = ()
    deletes: Decision | None = None
    runs: tuple[PastRun, ...] | None = None
    last_day: Day | None = None


class Reading(Struct, frozen=True, kw_only=True):
    """What could be read.

    Attributes:
        tables: How each table is.
        problems: Why a side did not answer.
    """

    tables: tuple[TableStatus, ...]
    problems: tuple[SyncError, ...]


class Known(Struct, frozen=True, kw_only=True):
    """What is known of one table.

    Attributes:
        state: Its ledger state; None before its first run.
        load: How far its load is.
        progress: How far its merges are; None before the first manifest.
        run: Its last run that has arrived in Snowflake.
        deletes: The last decision on its deletes.
        runs: Its last runs, if they were asked for.
        last_day: Its last 24 hours, with them.
        silent: Sides that did not answer.
    """

    state: LedgerState | None = None
    load: LoadProgress | None = None
    progress: Progress | None = None
    run: MergedRun | None = None
    deletes: Decision | None = None
    runs: tuple[PastRun, ...] | None = None
    last_day: Day | None = None
    silent: frozenset[Side] = frozenset()


def read_status(
    specs: Sequence[TableSpec],
    ledger: Callable[[], LedgerReader],
    warehouse: Callable[[], Warehouse],
    runs: int = 0,
) -> Reading:
    """Read how each table is, from whatever side answers.

    Args:
        specs: The tables asked for.
        ledger: Opens the way to what AWS knows.
        warehouse: Opens the way to what Snowflake knows.
        runs: How many of each table's last runs to read too.

    Raises:
        ConfigError: When a way is not configured.
    """
    now = datetime.now(UTC)
    parts: _Parts = {}
    silent: set[Side] = set()
    problems = []
    names = [str(spec.source) for spec in specs]
    # The ledger first: what it calls exported, Snowflake may have merged since.
    questions: tuple[tuple[Side, Callable[[], _Parts]], ...] = (
        ("ledger", lambda: _from_ledger(specs, ledger(), now)),
        ("warehouse", lambda: _from_warehouse(names, warehouse(), runs, now)),
    )
    for side, ask in questions:
        try:
            parts |= ask() if names else {}
        except ConfigError:
            raise
        except SyncError as error:
            silent.add(side)
            problems.append(error)
    tables = []
    for spec in specs:
        found = {part: each.get(str(spec.source)) for part, each in parts.items()}
        known = Known(**found, silent=frozenset(silent))
        tables.append(table_status(spec, known, now))
    return Reading(tables=tuple(tables), problems=tuple(problems))


def _from_ledger(
    specs: Sequence[TableSpec], ledger: LedgerReader, now: datetime
) -> _Parts:
    states = ledger.states([spec.source for spec in specs])
    loads = {}
    for source, state in states.items():
        if plan := state.load or state.backfill:
            rows = [
                each.rows if each else 0 for each in ledger.chunks(source, plan["id"])
            ]
            loads[str(source)] = load_progress(plan, rows, now, state.waits_for)
    return {"state": {str(key): state for key, state in states.items()}, "load": loads}


def _from_warehouse(
    names: Sequence[str], warehouse: Warehouse, runs: int, now: datetime
) -> _Parts:
    found: _Parts = {
        "progress": warehouse.progress(names),
        "run": warehouse.last_runs(names),
        "deletes": last_decisions(warehouse),
    }
    if runs:
        past, day = recent_runs(warehouse, names, runs), last_day(warehouse, now)
        found["runs"] = {name: past.get(name, ()) for name in names}
        found["last_day"] = {name: day.get(name, Day()) for name in names}
    return found


def table_status(spec: TableSpec, known: Known, now: datetime) -> TableStatus:
    """Put together what both sides know of a table.

    Args:
        spec: The table.
        known: What they said.
        now: The time that ages are counted to.
    """
    state = known.state or LedgerState()
    through = known.progress.merged_through if known.progress else None
    return TableStatus(
        table=str(spec.source),
        state=_state(known, now),
        low=state.watermark,
        high=state.high,
        held_by=state.held_by,
        merged_through=through,
        lag_seconds=lag_seconds(spec, through, now),
        last_run=_last_run(state.last_run, known.run),
        load=known.load,
        refusal=state.refusal,
        drift=state.drift,
        deletes=known.deletes,
        runs=known.runs,
        last_day=known.last_day,
    )


def _state(known: Known, now: datetime) -> State:
    state = known.state or LedgerState()
    merged = known.progress.merged_seq if known.progress else 0
    leased = bool(state.lease_run) and state.lease_until > now.timestamp()
    rules: tuple[tuple[bool, State], ...] = (
        ("ledger" in known.silent, "unknown"),
        (leased, "running"),
        (state.refusal is not None, "refused"),
        (state.load is not None, "loading"),
        (state.last_run is None, "new"),
        ("warehouse" in known.silent, "unknown"),
        (merged < state.seq, "behind"),
        (state.held_by is not None, "held"),
    )
    return next((name for holds, name in rules if holds), "current")


def _last_run(last: dict[str, Any] | None, run: MergedRun | None) -> LastRun | None:
    if last is None:
        return None
    counted = run if run is not None and run.seq == last.get("seq") else None
    rows, seconds = last["rows_exported"], last["seconds"]
    return LastRun(
        run=last.get("run"),
        mode=last["mode"],
        rows_exported=rows,
        rows_loaded=counted.rows_loaded if counted else 0,
        rows_applied=counted.rows_applied if counted else 0,
        rows_superseded=counted.rows_superseded if counted else 0,
        rows_quarantined=counted.rows_quarantined if counted else 0,
        values_nulled=counted.values_nulled if counted else 0,
        files=last["files"],
        bytes=last["bytes"],
        late_rows=last.get("late_rows", 0),
        lookback_used=last.get("lookback_used", 0.0),
        seconds=seconds,
        rows_per_second=round(rows / seconds, 1) if rows and seconds else None,
        at=last.get("at"),
    )
