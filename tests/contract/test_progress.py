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


def test_rows_wait_in_quarantine_until_a_newer_version_comes(shop):
    file = shop.land(1, row(1, total="NaN"), row(2, total="NaN"), row(3))
    commit(shop, 1, (file, 3))
    shop.merge()
    assert shop.progress().rows_quarantined == 2
    # That it lands again makes it no other row.
    shop.land(1, row(1, total="NaN"))
    shop.merge()
    assert shop.progress().rows_quarantined == 2
    shop.land(2, row(1), run="s")
    shop.merge()
    assert shop.progress().rows_quarantined == 1
