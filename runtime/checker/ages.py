"""How fresh each table is, from Snowflake's status and the ledger: pure arithmetic.

A table's age is that of the last commit whose watermark has been merged. A watermark
itself may be an id, stands still in a quiet table, and is held back by an open
transaction; a commit has a time, comes with the heartbeat at the latest, and goes on
while the watermark is held. Nothing has to run for an age to grow.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct
from ulid import ULID

from runtime.contract.freshness import LOAD_PATIENCE, bound, longest_gap
from runtime.contract.names import SourceName
from runtime.contract.records import LedgerState
from runtime.contract.snowflake_status import TableProgress, WrittenStatus
from runtime.contract.specs import TableSpec

# So many manifests of a table that Snowflake has never merged: the first may be on its
# way, with the third two ticks have passed.
_UNMERGED = 3
# A table that is started less often than that has no deadline for its first run.
_FIRST_RUN = timedelta(days=1)


class TableAge(Struct, frozen=True, kw_only=True):
    """How one table is.

    Attributes:
        table: Source table.
        group: What it is summed up in.
        merged_seconds: Age of the last commit that has been merged; None without one.
        manifest_seconds: Age of the last commit at all; None without one.
        bound_seconds: What `merged_seconds` never reaches while all is well.
        late: Whether it is later than that.
        refused: Whether its last run failed.
        held: Whether somebody holds its watermark back for too long.
        new: Whether it has never run, and should have within a day.
        rows_quarantined: Rows that wait in quarantine.
        files_overdue: Files that should have been merged.
        drifted: Columns that the contract lacks.
    """

    table: str
    group: str
    merged_seconds: float | None = None
    manifest_seconds: float | None = None
    bound_seconds: float
    late: bool = False
    refused: bool = False
    held: bool = False
    new: bool = False
    rows_quarantined: int = 0
    files_overdue: int = 0
    drifted: int = 0

    @property
    def is_well(self) -> bool:
        """Whether nothing about it is worth a line in the log."""
        wrong = self.late, self.refused, self.held, self.new
        counts = self.rows_quarantined, self.files_overdue, self.drifted
        return not any((*wrong, *counts))


class Cadence(Struct, frozen=True, kw_only=True):
    """What tables are judged by, beside their own schedules.

    Attributes:
        heartbeat: Longest silence between two manifests of a table.
        status: How often Snowflake writes the status.
    """

    heartbeat: timedelta
    status: timedelta


def moment(text: str) -> datetime:
    """Read an ISO time; one without a zone is UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def status_age(status: WrittenStatus, now: datetime) -> float:
    """Return how old the status itself is, in seconds."""
    return _age(moment(status.written_at), now)


def judged(
    specs: Sequence[TableSpec],
    states: Mapping[SourceName, LedgerState],
    status: WrittenStatus | None,
    cadence: Cadence,
    now: datetime,
) -> list[TableAge]:
    """Say how each table is.

    Args:
        specs: The deployed tables.
        states: What the ledger knows of them.
        status: What Snowflake has told last; None when there is no file. Then no table
            is late: the status itself is.
        cadence: What tables are judged by.
        now: The time that ages are counted to.
    """
    told = {each.table: each for each in status.tables} if status else {}
    return [
        _judged(
            spec,
            states.get(spec.source),
            told.get(str(spec.source)),
            cadence,
            now,
        )
        for spec in specs
    ]


def _judged(
    spec: TableSpec,
    known: LedgerState | None,
    progress: TableProgress | None,
    cadence: Cadence,
    now: datetime,
) -> TableAge:
    state = known or LedgerState()
    allowed = bound(spec, cadence.heartbeat, cadence.status)
    merged = progress.merged_at if progress else None
    committed = (state.last_run or {}).get("committed_at")
    return TableAge(
        table=str(spec.source),
        group=spec.group,
        merged_seconds=_age(moment(merged), now) if merged else None,
        manifest_seconds=_age(moment(committed), now) if committed else None,
        bound_seconds=allowed.total_seconds(),
        late=progress is not None and _late(state, progress, allowed, now),
        refused=state.refusal is not None,
        held=bool((state.held_by or {}).get("too_long")),
        new=known is None and longest_gap(spec.schedule_expression) <= _FIRST_RUN,
        rows_quarantined=progress.rows_quarantined if progress else 0,
        files_overdue=progress.files_overdue if progress else 0,
        drifted=len(state.drift),
    )


def _late(
    state: LedgerState, progress: TableProgress, allowed: timedelta, now: datetime
) -> bool:
    if state.load is not None:
        # What is merged is of before it; what comes of it counts, whatever its size.
        steps = [*_moments(progress.chain_at, progress.merged_at), *_begun(state.load)]
        return bool(steps) and now - max(steps) > LOAD_PATIENCE
    last = [*_moments(progress.merged_at)] or [*_moments(progress.chain_at)]
    if not last:
        return state.seq - (progress.merged_seq or 0) >= _UNMERGED
    return now - last[0] > allowed


def _moments(*texts: str | None) -> Iterable[datetime]:
    return (moment(text) for text in texts if text)


def _begun(plan: Mapping[str, Any]) -> Iterable[datetime]:
    """Yield when a plan began, which its identity tells."""
    try:
        yield ULID.from_str(str(plan.get("id"))).datetime
    except ValueError:
        return


def _age(then: datetime, now: datetime) -> float:
    return round(max(0.0, (now - then).total_seconds()), 1)


def measured(ages: Iterable[TableAge]) -> dict[str, float]:
    """Sum up the tables of one group: counts, and the age of the worst.

    Args:
        ages: Its tables.

    Returns:
        The metrics of `runtime.contract.metrics.CHECK`; an age that no table has is
        left out.
    """
    tables = list(ages)
    merged = [each.merged_seconds for each in tables if each.merged_seconds is not None]
    manifests = [
        each.manifest_seconds for each in tables if each.manifest_seconds is not None
    ]
    found: dict[str, float] = {
        "TablesLate": sum(each.late for each in tables),
        "TablesRefused": sum(each.refused for each in tables),
        "TablesHeld": sum(each.held for each in tables),
        "TablesNew": sum(each.new for each in tables),
        "RowsQuarantined": sum(each.rows_quarantined for each in tables),
        "FilesOverdue": sum(each.files_overdue for each in tables),
        "DriftedColumns": sum(each.drifted for each in tables),
    }
    found |= {"MergedAge": max(merged)} if merged else {}
    found |= {"ManifestAge": max(manifests)} if manifests else {}
    return found
