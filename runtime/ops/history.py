"""What a table's runs did, one after the other, as Snowflake has counted them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from runtime.contract.names import literal
from runtime.contract.snowflake_names import QUARANTINE, SYNC
from runtime.contract.specs import TableSpec
from runtime.ops.warehouse import Warehouse

DAY = timedelta(days=1)


class PastRun(Struct, frozen=True, kw_only=True):
    """One run: a row of SYNC_RUNS.

    Attributes:
        table_name: Source table.
        seq: Number of its manifest.
        mode: What kind of run.
        low: Watermark that it read above; None for a first load.
        high: Watermark that the target is complete up to with it; None when it is a
            part of a load, or compares keys.
        rows_exported: Rows it promised.
        rows_quarantined: Rows with a value that does not fit.
        files: Files it promised.
        bytes: Size of its files.
        committed_at: When its manifest was written.
        merged_at: When the last of its files so far was merged.
        complete: Whether every promised row is accounted for.
    """

    table_name: str
    seq: int
    mode: str
    low: str | None
    high: str | None
    rows_exported: int
    rows_quarantined: int
    files: int
    bytes: int
    committed_at: datetime
    merged_at: datetime | None
    complete: bool

    @property
    def done_at(self) -> datetime | None:
        """When the target had all of it; a run without files has nothing to merge."""
        return (self.merged_at or self.committed_at) if self.complete else None

    @property
    def seconds_to_merge(self) -> float | None:
        """Time from its commit until it was merged."""
        done = self.done_at
        return (done - self.committed_at).total_seconds() if done else None


class Day(Struct, frozen=True, kw_only=True):
    """What came over of a table in the last 24 hours.

    Attributes:
        runs: Manifests committed.
        rows: Rows they promised; keys that were compared do not count.
        quarantined: Different keys of which a row was put into quarantine.
    """

    runs: int = 0
    rows: int = 0
    quarantined: int = 0


def recent_runs(
    warehouse: Warehouse, names: Iterable[str], most: int
) -> dict[str, tuple[PastRun, ...]]:
    """Return the last runs of tables that have arrived, oldest first.

    Args:
        warehouse: Where to ask.
        names: The source tables, at least one.
        most: How many of each table at most.

    Raises:
        WarehouseError: When Snowflake refuses or does not answer.
    """
    rows = warehouse.ask(
        f"SELECT {', '.join(PastRun.__struct_fields__)} "
        f"FROM {warehouse.objects.qualified(SYNC, 'SYNC_RUNS')} "
        f"WHERE table_name IN ({', '.join(map(literal, names))}) "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY table_name ORDER BY seq DESC) "
        f"<= {most} ORDER BY table_name, seq"
    )
    found: dict[str, tuple[PastRun, ...]] = {}
    for row in rows:
        merged = row["merged_at"]
        row["merged_at"] = merged and merged.replace(tzinfo=UTC)
        run = msgspec.convert(row, PastRun)
        found[run.table_name] = (*found.get(run.table_name, ()), run)
    return found


def last_day(warehouse: Warehouse, now: datetime) -> dict[str, Day]:
    """Return what came over in the last 24 hours, by source table.

    Args:
        warehouse: Where to ask.
        now: The end of the 24 hours, in UTC.

    Raises:
        WarehouseError: When Snowflake refuses or does not answer.
    """
    since = (now - DAY).isoformat()
    runs = warehouse.objects.qualified(SYNC, "SYNC_RUNS")
    quarantine = warehouse.objects.qualified(SYNC, QUARANTINE)
    # ISO texts in UTC are in the order of their times.
    counted = warehouse.ask(
        "SELECT table_name, COUNT(seq) AS runs, "
        "SUM(CASE WHEN mode = 'reconcile' THEN 0 ELSE rows_exported END)"
        "::NUMBER(19,0) AS rows_exported "
        f"FROM {runs} WHERE committed_at >= {literal(since)} GROUP BY table_name"
    )
    held = warehouse.ask(
        "SELECT table_name, COUNT(DISTINCT key_text) AS quarantined "
        f"FROM {quarantine} WHERE quarantined_at >= "
        f"{literal(since[:19])}::TIMESTAMP_NTZ GROUP BY table_name"
    )
    quarantined = {row["table_name"]: int(row["quarantined"]) for row in held}
    return {
        row["table_name"]: Day(
            runs=int(row["runs"]),
            rows=int(row["rows_exported"]),
            quarantined=quarantined.get(row["table_name"], 0),
        )
        for row in counted
    }


def lag_over_time(
    spec: TableSpec, runs: Sequence[PastRun], now: datetime
) -> list[tuple[datetime, float]]:
    """Return how far the target was behind: a sawtooth of times and seconds.

    The lag grows with the clock and falls at each merge, from the age of the watermark
    before it to that of the watermark after it.

    Args:
        spec: The table.
        runs: Its runs, oldest first.
        now: Where the line ends.

    Returns:
        Two points for a merge, then the one of now; nothing when no run has moved a
        watermark that is a time.
    """
    points: list[tuple[datetime, float]] = []
    for run in _chain(runs):
        moment, _ = points[-1] if points else (run.committed_at, 0.0)
        moment = max(moment, run.done_at or moment)
        if run.high is None:
            continue
        lags = (lag_seconds(spec, each, moment) for each in (run.low, run.high))
        points += [(moment, lag) for lag in lags if lag is not None]
    if points:
        moment, lag = points[-1]
        points.append((now, lag + (now - moment).total_seconds()))
    return points


def _chain(runs: Sequence[PastRun]) -> Iterable[PastRun]:
    """Return the runs up to the first that is incomplete or misses its predecessor."""
    gaps = {after.seq for before, after in pairwise(runs) if after.seq > before.seq + 1}
    for run in runs:
        if not run.complete or run.seq in gaps:
            return
        yield run


def lag_seconds(spec: TableSpec, watermark: str | None, now: datetime) -> float | None:
    """Return how old a watermark is; None when it tells no time, or one beyond Python.

    Args:
        spec: Says in which zone a watermark without one is meant.
        watermark: Its text as PostgreSQL prints it.
        now: The time its age is counted to.
    """
    if watermark is None or spec.id_lookback is not None:
        return None
    if spec.per_second:
        return round(now.timestamp() - int(watermark) / spec.per_second, 1)
    try:
        moment = datetime.fromisoformat(watermark)
    except ValueError:
        return None
    if len(watermark) == len("2026-11-23"):
        # A day that is finished.
        moment += timedelta(days=1)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(spec.watermark_timezone or "UTC"))
    return round((now - moment).total_seconds(), 1)
