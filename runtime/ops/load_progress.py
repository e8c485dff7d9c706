"""How far a load is, by its plan and the chunks that are finished."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from ulid import ULID


class LoadProgress(Struct, frozen=True, kw_only=True):
    """How far a load is that takes more than one run.

    Attributes:
        chunks_done: Chunks exported.
        chunks: Chunks in all; 0 while they are still to be cut.
        started_at: When the load began.
        expected_end: When it ends if it goes on as it has so far.
        waits_for: What it waits for.
    """

    chunks_done: int
    chunks: int
    rows: int
    started_at: str
    rows_per_second: float | None = None
    expected_end: str | None = None
    waits_for: str = ""


def load_progress(
    plan: Mapping[str, Any], rows: Sequence[int], now: datetime, waits_for: str = ""
) -> LoadProgress:
    """Return how far a load is, and when it ends at the pace it has had.

    Args:
        plan: The plan as the ledger keeps it.
        rows: Rows of each chunk that is exported.
        now: The time of asking.
    """
    started = ULID.from_str(plan["id"]).datetime
    chunks, done = len(plan["chunks"]), len(rows)
    end = started + (now - started) * (chunks / done) if done and chunks else None
    return LoadProgress(
        chunks_done=done,
        chunks=chunks,
        rows=sum(rows),
        started_at=started.isoformat(timespec="seconds"),
        rows_per_second=round(sum(rows) / (now - started).total_seconds(), 1),
        expected_end=end.isoformat(timespec="seconds") if end else None,
        waits_for=waits_for,
    )
