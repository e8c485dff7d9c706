"""Lag over time, from what Snowflake says of the runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtime.ops.history import PastRun, lag_over_time, lag_seconds
from tests.factories import make_spec

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def past_run(seq: int, **changes) -> PastRun:
    """A run of each hour: up to the hour, committed and merged minutes after it."""
    hour = NOON + timedelta(hours=seq)
    known: dict[str, Any] = {
        "table_name": "public.orders",
        "seq": seq,
        "mode": "incremental",
        "low": str(hour - timedelta(hours=1)),
        "high": str(hour),
        "rows_exported": 5,
        "rows_quarantined": 0,
        "files": 1,
        "bytes": 50,
        "committed_at": hour + MINUTE,
        "merged_at": hour + 2 * MINUTE,
        "complete": True,
    }
    return PastRun(**known | changes)


def lag(*runs: PastRun, minutes: int = 300) -> list[tuple[int, float]]:
    """Return the line in minutes after noon, and minutes of lag."""
    points = lag_over_time(make_spec(), runs, NOON + minutes * MINUTE)
    return [((at - NOON) // MINUTE, seconds / 60) for at, seconds in points]


def test_lag_falls_at_each_merge_and_grows_with_the_clock():
    assert lag(past_run(1), past_run(2)) == [
        *((62, 62.0), (62, 2.0), (122, 62.0), (122, 2.0), (300, 180.0))
    ]


def test_a_first_load_has_no_lag_before_it():
    assert lag(past_run(1, low=None)) == [(62, 2.0), (300, 240.0)]


def test_a_run_without_files_counts_from_its_commit():
    run = past_run(1, files=0, merged_at=None)
    assert (run.done_at, run.seconds_to_merge) == (run.committed_at, 0.0)
    assert lag(run)[1] == (61, 1.0)


@pytest.mark.parametrize(
    "second", [past_run(2, complete=False), past_run(3)], ids=["incomplete", "gap"]
)
def test_nothing_counts_behind_a_break_of_the_chain(second):
    after = past_run(second.seq + 1)
    assert lag(past_run(1), second, after) == lag(past_run(1))


def test_a_merge_that_overtook_counts_when_the_chain_reaches_it():
    slow = past_run(1, merged_at=NOON + 130 * MINUTE)
    assert lag(slow, past_run(2))[1:4] == [(130, 70.0), (130, 70.0), (130, 10.0)]


def test_runs_that_move_no_watermark_draw_nothing():
    assert lag(past_run(1, low=None, high=None), past_run(2, low="7", high="9")) == []


@pytest.mark.parametrize(
    ("watermark", "zone", "lag"),
    [
        ("2026-06-01 11:00:00.5+00", None, 3599.5),
        ("2026-06-01 13:00:00", "Europe/Berlin", 3600.0),
        ("2026-05-31", "UTC", 43200.0),
        (None, None, None),
        ("infinity", None, None),
        ("0044-03-15 00:00:00 BC", None, None),
    ],
)
def test_the_lag_is_counted_in_the_writers_zone(watermark, zone, lag):
    assert lag_seconds(make_spec(watermark_timezone=zone), watermark, NOON) == lag


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_the_lag_of_an_epoch_is_counted_in_its_unit(unit):
    factor = {"s": 1, "ms": 1_000, "us": 1_000_000}[unit]
    high = str(int(NOON.timestamp() - 90) * factor)
    assert lag_seconds(make_spec(watermark_unit=unit), high, NOON) == 90.0


def test_an_id_tells_no_time_also_when_it_looks_like_a_date():
    assert lag_seconds(make_spec(id_lookback=9), "20260531", NOON) is None
