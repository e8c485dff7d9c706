"""`status`: one line per table, from the ledger and from Snowflake's receipts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from runtime.contract.records import LedgerState
from runtime.contract.specs import TableSpec
from runtime.ops.ledger import LedgerReader
from runtime.ops.warehouse import MergedRun, Progress, Warehouse

State = Literal["new", "loading", "current", "behind", "held", "refused", "running"]


class LastRun(Struct, frozen=True, kw_only=True):
    """The last invocation that ended well; what Snowflake has counted of it so far."""

    mode: str
    rows_exported: int = 0
    rows_loaded: int = 0
    rows_applied: int = 0
    rows_superseded: int = 0
    rows_quarantined: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    at: str | None = None


class TableStatus(Struct, frozen=True, kw_only=True):
    """How one table is.

    Attributes:
        table: Source table.
        state: `new` (never run), `running` (a run holds the lease), `refused` (the
            last run failed), `loading` (the first load is unfinished), `behind`
            (exported but not yet merged), `held` (an open transaction kept the
            watermark back), `current`.
        low: Watermark up to which everything has been exported.
        high: The commit-safe high that the last run read.
        held_by: Who holds the watermark back.
        merged_through: Watermark up to which the target is complete.
        lag_seconds: Age of `merged_through`.
        last_run: What the last run did.
        refusal: Why the last run failed.
        drift: Columns at the source that the contract lacks.
    """

    table: str
    state: State
    low: str | None = None
    high: str | None = None
    held_by: dict[str, Any] | None = None
    merged_through: str | None = None
    lag_seconds: float | None = None
    last_run: LastRun | None = None
    refusal: dict[str, Any] | None = None
    drift: tuple[str, ...] = ()


def read_status(
    specs: Sequence[TableSpec], ledger: LedgerReader, warehouse: Warehouse
) -> tuple[TableStatus, ...]:
    """Return how each table is.

    Args:
        specs: The tables asked for.
        ledger: What AWS knows.
        warehouse: What Snowflake knows.

    Raises:
        LedgerError: When DynamoDB refuses or does not answer.
        WarehouseError: When Snowflake refuses or does not answer.
    """
    # The ledger first: what it calls exported, Snowflake may have merged since.
    states = ledger.states([spec.source for spec in specs])
    names = [str(source) for source in states]
    progress = warehouse.progress(names) if names else {}
    runs = warehouse.last_runs(names) if names else {}
    now = datetime.now(UTC)
    return tuple(
        table_status(
            spec,
            states.get(spec.source),
            progress.get(str(spec.source)),
            runs.get(str(spec.source)),
            now,
        )
        for spec in specs
    )


def table_status(
    spec: TableSpec,
    state: LedgerState | None,
    progress: Progress | None,
    run: MergedRun | None,
    now: datetime,
) -> TableStatus:
    """Put together what both sides know of a table.

    Args:
        spec: The table.
        state: Its ledger state; None before its first run.
        progress: How far its merges are; None before the first manifest.
        run: Its last run that has arrived in Snowflake.
        now: The time that ages are counted to.
    """
    if state is None:
        return TableStatus(table=str(spec.source), state="new")
    through = progress.merged_through if progress else None
    return TableStatus(
        table=str(spec.source),
        state=_state(state, progress, now),
        low=state.watermark,
        high=state.high,
        held_by=state.held_by,
        merged_through=through,
        lag_seconds=lag_seconds(spec, through, now),
        last_run=_last_run(state.last_run, run),
        refusal=state.refusal,
        drift=state.drift,
    )


def _state(state: LedgerState, progress: Progress | None, now: datetime) -> State:
    merged = progress.merged_seq if progress else 0
    rules: tuple[tuple[bool, State], ...] = (
        (bool(state.lease_run) and state.lease_until > now.timestamp(), "running"),
        (state.refusal is not None, "refused"),
        (state.load is not None, "loading"),
        (state.last_run is None, "new"),
        (merged < state.seq, "behind"),
        (state.held_by is not None, "held"),
    )
    return next((name for holds, name in rules if holds), "current")


def _last_run(last: dict[str, Any] | None, run: MergedRun | None) -> LastRun | None:
    if last is None:
        return None
    counted = run if run is not None and run.seq == last.get("seq") else None
    return LastRun(
        mode=last["mode"],
        rows_exported=last["rows_exported"],
        rows_loaded=counted.rows_loaded if counted else 0,
        rows_applied=counted.rows_applied if counted else 0,
        rows_superseded=counted.rows_superseded if counted else 0,
        rows_quarantined=counted.rows_quarantined if counted else 0,
        files=last["files"],
        bytes=last["bytes"],
        seconds=last["seconds"],
        at=last.get("at"),
    )


def lag_seconds(spec: TableSpec, watermark: str | None, now: datetime) -> float | None:
    """Return how old a watermark is; None without one, or when it is beyond Python.

    Args:
        spec: Says in which zone a watermark without one is meant.
        watermark: Its text as PostgreSQL prints it.
        now: The time its age is counted to.
    """
    try:
        moment = datetime.fromisoformat(watermark or "")
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(spec.watermark_timezone or "UTC"))
    return round((now - moment).total_seconds(), 1)
