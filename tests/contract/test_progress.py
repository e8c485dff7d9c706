"""What Snowflake tells AWS of a table: the view that its status is unloaded from."""

import pytest

from tests.contract.landed import Pipeline, row

pytestmark = pytest.mark.integration


def at(seq: int) -> str:
    return f"2026-01-01T0{seq}:00:00+00:00"


def commit(table: Pipeline, seq: int, *files: tuple[str, int], **fields) -> None:
    table.commit(seq, *files, committed_at=at(seq), **fields)


def test_a_table_without_manifests_is_told_all_the_same(shop):
    found = shop.progress()
    assert found.table == shop.table.spec.table_name
    assert (found.last_seq, found.merged_seq, found.merged_at) == (None, None, None)
    assert (found.rows_quarantined, found.files_overdue) == (0, 0)


def test_the_commit_is_that_of_the_watermark_that_is_merged_through(shop):
    commit(shop, 1)
    commit(shop, 2)
    commit(shop, 3, high=None, mode="reconcile")
    found = shop.progress()
    assert (found.merged_through, found.merged_at) == ("2026-01-02", at(2))
    assert (found.chain_at, found.merged_seq, found.last_seq) == (at(3), 3, 3)


def test_what_is_not_merged_makes_nothing_fresh(shop):
    file = shop.land(1, row(1))
    commit(shop, 1)
    commit(shop, 2, (file, 1))
    commit(shop, 3)
    found = shop.progress()
    assert (found.merged_at, found.chain_at, found.last_seq) == (at(1), at(1), 3)
    shop.merge()
    assert shop.progress().merged_at == at(3)


def test_a_link_that_is_missing_makes_nothing_fresh(shop):
    commit(shop, 1)
    commit(shop, 3)
    found = shop.progress()
    assert (found.merged_at, found.merged_seq, found.last_seq) == (at(1), 1, 3)


def test_a_new_generation_is_not_fresh_by_the_one_before(shop):
    commit(shop, 1)
    commit(shop, 2, generation=2, high=None, mode="first_load")
    found = shop.progress()
    assert (found.merged_through, found.merged_at) == (None, None)
    assert found.chain_at == at(2), "and what comes of its load is seen"


def test_files_are_overdue_when_the_sweep_should_have_them(shop):
    file = shop.land(1, row(1))
    commit(shop, 1, (file, 1))
    assert shop.progress().files_overdue == 1
    shop.merge()
    assert shop.progress().files_overdue == 0


# --- what waits in quarantine


def waiting(table: Pipeline) -> int:
    return table.progress().rows_quarantined


def test_rows_wait_in_quarantine_until_a_newer_version_comes(shop):
    file = shop.land(1, row(1, total="NaN"), row(2, total="NaN"), row(3))
    commit(shop, 1, (file, 3))
    shop.merge()
    assert waiting(shop) == 2
    # That it lands again makes it no other row.
    shop.land(1, row(1, total="NaN"))
    shop.merge()
    assert waiting(shop) == 2
    shop.land(2, row(1), run="s")
    shop.merge()
    assert waiting(shop) == 1
    shop.land(3, row(2), row(4, total="NaN"), run="t")
    shop.merge()
    assert waiting(shop) == 1, "one has gone and another has come"
    shop.land(4, row(4), run="u")
    shop.merge()
    assert waiting(shop) == 0
    shop.land(5, row(4, total="NaN"), run="v")
    shop.merge()
    assert waiting(shop) == 1, "the good version is older than this one"


def test_a_deleted_row_does_not_wait(keyed):
    keyed.land(1, row(1), row(2))
    keyed.merge()
    keyed.land(2, row(1, total="NaN"), run="s")
    keyed.merge()
    assert waiting(keyed) == 1
    keyed.seal(3, 2)
    keyed.merge()
    assert (keyed.ids(), waiting(keyed)) == ([2], 0)


def test_a_table_whose_rows_fit_has_no_note(shop, keyed):
    for table in (shop, keyed):
        for stamp in (1, 2):
            table.land(stamp, row(1), row(stamp))
            table.merge()
        assert table.notes() == []


def test_a_merge_adds_a_note_when_the_count_is_another(shop):
    """Or when another row is the newest of as many."""
    for stamp, bad in enumerate([[1], [], [2], [], []], start=1):
        shop.land(stamp, row(9), *(row(key, total="NaN") for key in bad))
        shop.merge()
    assert shop.notes() == [1, 2]
    shop.land(6, row(1), row(3, total="NaN"))
    shop.merge()
    assert shop.notes() == [1, 2, 2]
    for stamp in (7, 8):
        shop.land(stamp, row(1), row(2), row(3))
        shop.merge()
    assert shop.notes() == [1, 2, 2, 0]


def test_a_merge_that_is_rolled_back_leaves_no_note(shop):
    shop.land(1, row(1, total="NaN"))
    shop.merge(end="ROLLBACK")
    assert (shop.notes(), waiting(shop)) == ([], 0)
    shop.merge()
    assert (shop.notes(), waiting(shop)) == ([1], 1)


def test_rows_are_told_for_seven_days(shop):
    """Of the note, too: nothing may have been merged since."""
    shop.land(1, row(1, total="NaN"))
    shop.merge()
    later(shop, days=6)
    shop.land(2, row(2, total="NaN"))
    shop.merge()
    assert waiting(shop) == 2
    later(shop, days=2)
    assert waiting(shop) == 2, "what was noted, until the next merge"
    shop.land(3, row(3))
    shop.merge()
    assert waiting(shop) == 1
    later(shop, days=6)
    assert waiting(shop) == 0
    shop.land(4, row(4))
    shop.merge()
    assert shop.notes() == [1, 2, 1, 0]


def later(table: Pipeline, days: int) -> None:
    """Let time pass for what is in quarantine and what was noted of it."""
    for name, moments in (
        ("QUARANTINE", ["quarantined_at"]),
        ("QUARANTINE_COUNTS", ["newest_at", "counted_at"]),
    ):
        changes = (f"{each} = DATEADD(DAY, -{days}, {each})" for each in moments)
        table.run(
            f"UPDATE ANALYTICS.SYNC.{name} SET {', '.join(changes)} "
            f"WHERE table_name = '{table.table.spec.table_name}'"
        )
