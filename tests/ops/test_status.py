"""What `status` says of a table, from the ledger's state and Snowflake's receipts."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from ulid import ULID

from runtime.contract.errors import ConfigError, LedgerError, WarehouseError
from runtime.contract.records import LedgerState
from runtime.ops.load_progress import load_progress
from runtime.ops.status import Known, Side, read_status, table_status
from runtime.ops.warehouse import MergedRun, Progress
from tests.factories import make_spec

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
LAST_RUN = {"mode": "incremental", "seq": 4, "rows_exported": 7, "files": 1}
LAST_RUN |= {"run": "01RUN"}
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
    values_nulled=3,
    rows_quarantined=1,
    complete=True,
)


def status(
    progress: Progress | None = MERGED,
    run: MergedRun | None = RUN,
    silent: Side | None = None,
    **changes,
):
    state = msgspec.structs.replace(STATE, **changes)
    silent_ones = frozenset({silent} if silent else ())
    known = Known(state=state, progress=progress, run=run, silent=silent_ones)
    return table_status(make_spec(), known, NOW)


def test_a_table_that_never_ran_is_new():
    found = table_status(make_spec(), Known(), NOW)
    assert (found.state, found.last_run, found.merged_through) == ("new", None, None)


def test_the_keys_that_others_rely_on():
    plain = msgspec.to_builtins(status())
    assert {"table", "state", "low", "high", "held_by", "merged_through"} <= set(plain)
    assert plain["last_run"] == {
        "run": "01RUN",
        "mode": "incremental",
        "rows_exported": 7,
        "rows_loaded": 7,
        "rows_applied": 4,
        "rows_superseded": 2,
        "values_nulled": 3,
        "rows_quarantined": 1,
        "files": 1,
        "bytes": 70,
        "late_rows": 0,
        "lookback_used": 0.0,
        "seconds": 0.5,
        "rows_per_second": 14.0,
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
    ("silent", "changes", "state"),
    [
        ("ledger", RUNNING, "unknown"),
        ("warehouse", {}, "unknown"),
        ("warehouse", HELD, "unknown"),
        ("warehouse", REFUSED, "refused"),
        ("warehouse", LOADING, "loading"),
    ],
)
def test_what_only_the_silent_side_could_tell_is_unknown(silent, changes, state):
    assert status(silent=silent, progress=None, **changes).state == state


def test_nothing_exported_has_no_pace():
    idle = status(last_run=LAST_RUN | {"rows_exported": 0})
    assert idle.last_run.rows_per_second is None


def raises(error):
    def ask():
        raise error

    return ask


class TestSilence:
    """A side that does not answer is a problem of its own, never of the other."""

    def test_both_may_be_silent(self):
        errors = LedgerError("no"), WarehouseError("no")
        found = read_status([make_spec()], *map(raises, errors))
        assert found.problems == errors
        assert [each.state for each in found.tables] == ["unknown"]

    def test_a_mistake_in_the_configuration_is_no_silence(self):
        with pytest.raises(ConfigError):
            read_status([make_spec()], raises(ConfigError("x")), raises(KeyError()))

    def test_nobody_is_asked_about_no_tables(self):
        assert read_status([], raises(KeyError()), raises(KeyError())).tables == ()


class TestLoad:
    """Progress of a load that takes more than one run."""

    PLAN = {"id": str(ULID.from_datetime(NOW - timedelta(hours=1))), "chunks": [{}] * 4}

    def test_it_ends_at_the_pace_it_has_had(self):
        found = load_progress(self.PLAN, [10, 0], NOW)
        assert (found.chunks_done, found.chunks, found.rows) == (2, 4, 10)
        assert found.expected_end == "2026-06-01T13:00:00+00:00"

    @pytest.mark.parametrize("chunks", [[{}] * 4, []])
    def test_no_end_is_made_up_before_the_first_chunk(self, chunks):
        found = load_progress(self.PLAN | {"chunks": chunks}, [], NOW)
        assert (found.chunks, found.expected_end) == (len(chunks), None)
