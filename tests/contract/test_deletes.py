"""What a seal marks, what waits for a person, and what it counts as missing."""

import pytest

from tests.contract.landed import Pipeline, row

pytestmark = pytest.mark.integration


def test_a_key_that_is_gone_is_marked_under_the_seals_stamp(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 2, 3)
    keyed.merge()
    assert keyed.ids() == [2, 3]
    marked = f"SELECT _sync_stamp FROM {keyed.target} WHERE _deleted_at IS NOT NULL"
    assert keyed.run(marked) == [("000002",)]
    assert keyed.decisions() == ["applied"]


def test_a_deleted_row_does_not_come_back_with_an_older_file(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(3, 2, 3)
    keyed.merge()
    keyed.land(2, row(1), run="replayed")
    keyed.merge()
    assert keyed.ids() == [2, 3]


def test_a_row_that_is_written_after_its_delete_lives_again(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 2, 3)
    keyed.merge()
    keyed.land(3, row(1))
    keyed.merge()
    assert keyed.ids() == [1, 2, 3]


def test_a_row_above_the_seal_stays_though_its_key_is_missing(keyed):
    keyed.land(1, row(1), row(2))
    keyed.land(3, row(3), run="later")
    keyed.merge()
    keyed.seal(2, 1, 2)
    keyed.merge()
    assert keyed.ids() == [1, 2, 3]


def test_a_seal_whose_keys_have_not_all_landed_does_nothing(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 2, promised=2)
    keyed.merge()
    assert (keyed.ids(), keyed.decisions()) == ([1, 2, 3], [])
    keyed.land(2, [3], name="k", width=1, first=2)
    keyed.merge()
    assert (keyed.ids(), keyed.decisions()) == ([2, 3], ["applied"])


def test_the_same_key_line_twice_does_not_complete_a_seal(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 2, promised=2)
    keyed.land(2, [2], name="k", width=1)
    keyed.merge()
    assert (keyed.ids(), keyed.decisions()) == ([1, 2, 3], [])


def test_keys_without_a_living_row_are_counted(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.merge()
    keyed.run(f"DELETE FROM {keyed.target} WHERE id = 1")
    keyed.run(f"UPDATE {keyed.target} SET _deleted_at = _sync_at WHERE id = 2")
    keyed.seal(2, 1, 2, 3, 4)
    keyed.merge()
    assert (keyed.missing(), keyed.decisions()) == (3, ["applied"])


def test_what_is_not_due_or_in_quarantine_is_not_missing(keyed):
    keyed.land(1, row(1), row(2, "n", "12345"))
    keyed.seal(2, 1, 2, 3, 4, newer=2)
    keyed.merge()
    assert keyed.missing() == 0
    keyed.seal(3, 1, 2, 3, 4, newer=1)
    keyed.merge()
    assert keyed.missing() == 1


def test_a_loss_above_the_limit_waits_until_it_is_approved(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 3)
    keyed.merge()
    assert (keyed.ids(), keyed.decisions()) == ([1, 2, 3], ["braked"])


def test_an_empty_source_must_be_seen_twice(cursor):
    whole = Pipeline(cursor, max_delete_fraction=1.0)
    whole.land(1, row(1), row(2))
    whole.seal(2)
    whole.merge()
    assert (whole.ids(), whole.decisions()) == ([1, 2], ["unconfirmed"])
    whole.seal(3)
    whole.merge()
    assert (whole.ids(), whole.decisions()) == ([], ["unconfirmed", "applied"])


def test_keys_and_seals_are_no_rows(keyed):
    keyed.land(1, row(1))
    keyed.seal(2, 1)
    keyed.merge()
    assert keyed.rows() == [(1, "n")]
