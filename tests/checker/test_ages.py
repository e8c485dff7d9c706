"""Which tables are late, and which only look as if they were."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ulid import ULID

from runtime.checker.ages import Cadence, TableAge, judged, measured, status_age
from runtime.contract import metrics
from runtime.contract.records import LedgerState
from runtime.contract.snowflake_status import TableProgress, WrittenStatus
from tests.factories import make_spec

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
CADENCE = Cadence(heartbeat=timedelta(hours=1), status=timedelta(minutes=15))
SPEC = make_spec()
RUN = {"committed_at": "2026-05-04T11:50:00+00:00"}


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


def look(
    state: LedgerState | None, spec=SPEC, now: datetime = NOW, **told: Any
) -> TableAge:
    """Judge one table: what the ledger knows, what Snowflake has told."""
    progress = TableProgress(table=str(spec.source), **told)
    status = WrittenStatus(written_at=ago(minutes=5), tables=(progress,))
    states = {} if state is None else {spec.source: state}
    [found] = judged([spec], states, status, CADENCE, now)
    return found


def test_a_table_is_as_old_as_the_last_commit_that_was_merged():
    found = look(LedgerState(last_run=RUN), merged_at=ago(minutes=40))
    assert found.merged_seconds == 40 * 60
    assert found.manifest_seconds == 10 * 60
    assert found.is_well


def test_an_age_grows_though_nobody_runs_any_more():
    state = LedgerState(last_run=RUN)
    merged = ago(minutes=40)
    later = [
        look(state, merged_at=merged, now=NOW + timedelta(hours=hours))
        for hours in (0, 2, 3, 4)
    ]
    assert [each.late for each in later] == [False, False, True, True]
    assert later[3].merged_seconds == (4 * 60 + 40) * 60
    assert later[3].manifest_seconds == (4 * 60 + 10) * 60


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_table_is_late_beyond_its_own_bound(extra):
    minutes = 60 + 60 + 1 + 15 + 30
    found = look(LedgerState(last_run=RUN), merged_at=ago(minutes=minutes + extra))
    assert found.bound_seconds == minutes * 60
    assert found.late is (extra > 0)


def test_a_rare_table_is_not_late_before_its_time():
    rare = make_spec(schedule="cron(0 2 ? * SUN *)")
    state = LedgerState(last_run={"committed_at": ago(days=6)})
    assert not look(state, rare, merged_at=ago(days=6)).late
    assert look(state, rare, merged_at=ago(days=8)).late


def test_a_held_back_table_goes_on_and_is_told_only_when_it_lasts():
    """Its watermark stands still; its commits do not."""
    holder = {"pid": 1, "age_seconds": 7200, "too_long": False}
    state = LedgerState(last_run=RUN, held_by=holder)
    found = look(state, merged_at=ago(minutes=20), merged_through="2026-01-01")
    assert (found.late, found.held) == (False, False)
    state = LedgerState(last_run=RUN, held_by=holder | {"too_long": True})
    assert look(state, merged_at=ago(minutes=20)).held


def test_a_watermark_of_ids_has_an_age_like_any_other():
    ids = make_spec(id_lookback=100)
    found = look(
        LedgerState(last_run=RUN), ids, merged_at=ago(hours=5), merged_through="4711"
    )
    assert (found.merged_seconds, found.late) == (5 * 3600, True)


def load(**span: float) -> dict[str, Any]:
    return {"id": str(ULID.from_datetime(NOW - timedelta(**span)))}


def test_a_load_is_late_when_it_stands_still_not_when_it_is_large():
    fresh = LedgerState(load=load(days=2))
    assert not look(fresh, chain_at=ago(hours=1)).late
    assert look(fresh, chain_at=ago(hours=7)).late
    assert look(fresh).late, "nothing of it has come for two days"
    assert not look(LedgerState(load=load(hours=5))).late
    assert not look(LedgerState(load={"id": "by-hand"})).late


def test_what_was_never_merged_is_late_when_more_and_more_waits():
    """Snowflake has not even seen a manifest, and each heartbeat commits anew."""
    assert not look(LedgerState(seq=2, last_run=RUN)).late
    assert look(LedgerState(seq=3, last_run=RUN)).late
    assert not look(LedgerState(seq=3, last_run=RUN), chain_at=ago(minutes=9)).late
    assert look(LedgerState(seq=3, last_run=RUN), chain_at=ago(hours=9)).late


def test_a_table_that_never_ran_is_new_where_it_should_have_by_tomorrow():
    assert look(None).new and not look(None).late and not look(None).is_well
    assert not look(None, make_spec(schedule="cron(0 2 ? * SUN *)")).new
    assert not look(LedgerState()).new


def test_refusals_drift_quarantine_and_overdue_files_are_told():
    state = LedgerState(refusal={"code": "drift"}, drift=("a", "b"), last_run=RUN)
    found = look(state, rows_quarantined=3, files_overdue=2, merged_at=ago(minutes=1))
    assert (found.refused, found.drifted) == (True, 2)
    assert (found.rows_quarantined, found.files_overdue) == (3, 2)
    assert not found.is_well and not found.late


def test_without_a_status_no_table_is_late_because_the_status_is():
    [found] = judged([SPEC], {SPEC.source: LedgerState(seq=9)}, None, CADENCE, NOW)
    assert (found.late, found.merged_seconds) == (False, None)


def test_a_table_that_the_status_does_not_know_has_no_age():
    status = WrittenStatus(written_at=ago(minutes=1))
    [found] = judged([SPEC], {SPEC.source: LedgerState(seq=9)}, status, CADENCE, NOW)
    assert (found.late, found.merged_seconds) == (False, None)


def test_the_status_has_an_age_of_its_own():
    status = WrittenStatus(written_at="2026-05-04 11:00:00.500000")
    assert status_age(status, NOW) == 3599.5


def test_a_group_counts_its_tables_and_shows_the_age_of_the_worst():
    one = look(LedgerState(last_run=RUN), merged_at=ago(hours=9), rows_quarantined=2)
    other = look(LedgerState(last_run=RUN), merged_at=ago(hours=1), files_overdue=1)
    new = look(None)
    found = measured([one, other, new])
    assert set(found) == set(metrics.CHECK)
    assert (found["TablesLate"], found["TablesNew"]) == (1, 1)
    assert found["MergedAge"] == 9 * 3600
    assert (found["RowsQuarantined"], found["FilesOverdue"]) == (2, 1)


def test_a_group_without_any_commit_has_no_age():
    found = measured([look(None)])
    assert set(metrics.CHECK) - set(found) == {"MergedAge", "ManifestAge"}
