"""What `status` says of a table, from the ledger's state and Snowflake's receipts."""

from datetime import UTC, datetime

import msgspec
import pytest

from runtime.contract.records import LedgerState
from runtime.ops.status import lag_seconds, table_status
from runtime.ops.warehouse import MergedRun, Progress
from tests.factories import make_spec

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
LAST_RUN = {"mode": "incremental", "seq": 4, "rows_exported": 7, "files": 1}
LAST_RUN |= {"bytes": 70, "seconds": 0.5, "at": "2026-06-01T11:59:00+00:00"}
STATE = LedgerState(
    seq=4,
    watermark="2026-06-01 11:59:00.000001+00",
    high="2026-06-01 11:59:00.000001+00",
    last_run=LAST_RUN,
)
MERGED = Progress(
    table_name="public.orders",
    last_seq=4,
    merged_seq=4,
    merged_through="2026-06-01 11:59:00.000001+00",
    first_bad=None,
)
RUN = MergedRun(
    table_name="public.orders",
    seq=4,
    mode="incremental",
    files=1,
    rows_exported=7,
    bytes=70,
    rows_loaded=7,
    rows_applied=4,
    rows_superseded=2,
    rows_quarantined=1,
    complete=True,
)


def status(progress: Progress | None = MERGED, run: MergedRun | None = RUN, **changes):
    state = msgspec.structs.replace(STATE, **changes)
    return table_status(make_spec(), state, progress, run, NOW)


def test_a_table_that_never_ran_is_new():
    found = table_status(make_spec(), None, None, None, NOW)
    assert (found.state, found.last_run, found.merged_through) == ("new", None, None)


def test_the_keys_that_others_rely_on():
    plain = msgspec.to_builtins(status())
    assert {"table", "state", "low", "high", "held_by", "merged_through"} <= set(plain)
    assert plain["last_run"] == {
        "mode": "incremental",
        "rows_exported": 7,
        "rows_loaded": 7,
        "rows_applied": 4,
        "rows_superseded": 2,
        "rows_quarantined": 1,
        "files": 1,
        "bytes": 70,
        "seconds": 0.5,
        "at": "2026-06-01T11:59:00+00:00",
    }
    assert plain["state"] == "current"
    assert plain["lag_seconds"] == 60.0


RUNNING = {"lease_run": "r", "lease_until": int(NOW.timestamp()) + 1}
REFUSED = {"refusal": {"code": "drift", "message": "…"}}
LOADING = {"load": {"id": "x"}}
HELD = {"held_by": {"pid": 1}}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        (RUNNING | REFUSED | LOADING | HELD, "running"),
        (RUNNING | {"lease_until": int(NOW.timestamp()) - 1}, "current"),
        (REFUSED | LOADING | HELD, "refused"),
        (LOADING | HELD, "loading"),
        ({"seq": 5} | HELD, "behind"),
        (HELD, "held"),
        ({"last_run": None, "seq": 0}, "new"),
        ({}, "current"),
    ],
)
def test_the_state_is_the_most_urgent_one(changes, state):
    assert status(**changes).state == state


def test_a_manifest_that_has_not_arrived_is_behind():
    assert status(progress=None, run=None).state == "behind"


def test_counts_of_another_run_are_not_taken_for_this_ones():
    older = msgspec.structs.replace(RUN, seq=3)
    assert status(run=older).last_run.rows_loaded == 0
    nothing = status(last_run=LAST_RUN | {"seq": None, "rows_exported": 0})
    assert nothing.last_run.rows_applied == 0


@pytest.mark.parametrize(
    ("watermark", "zone", "lag"),
    [
        ("2026-06-01 11:00:00.5+00", None, 3599.5),
        ("2026-06-01 13:00:00", "Europe/Berlin", 3600.0),
        ("2026-06-01", "UTC", 43200.0),
        (None, None, None),
        ("infinity", None, None),
        ("0044-03-15 00:00:00 BC", None, None),
    ],
)
def test_the_lag_is_counted_in_the_writers_zone(watermark, zone, lag):
    assert lag_seconds(make_spec(watermark_timezone=zone), watermark, NOW) == lag
