"""Which lines have come, and how far the chain of manifests is whole."""

import pytest

from tests.contract.landed import row

pytestmark = pytest.mark.integration


def test_lines_count_once_however_often_they_land(shop):
    file = shop.land(1, row(1), row(2))
    shop.commit(1, (file, 4))
    shop.merge()
    shop.land(1, row(1), row(2))
    shop.merge()
    assert shop.receipt(file) == (2, 2, 0, 0, False)
    shop.land(1, row(2), row(3), row(4), first=2)
    shop.merge()
    assert shop.receipt(file) == (4, 4, 0, 0, True)


def test_lines_that_land_twice_in_one_batch_count_once(shop):
    for _ in range(2):
        file = shop.land(1, row(1), row(2))
    shop.commit(1, (file, 4))
    shop.merge()
    assert shop.receipt(file) == (2, 2, 0, 0, False)


def test_a_gap_within_a_file_is_no_line(shop):
    file = shop.land(1, row(1))
    shop.land(1, row(3), first=3)
    shop.commit(1, (file, 3))
    shop.merge()
    assert shop.receipt(file) == (2, 2, 0, 0, False)


def test_more_lines_than_promised_are_not_complete(shop):
    file = shop.land(1, row(1), row(2))
    shop.commit(1, (file, 1))
    shop.merge()
    assert not shop.receipt(file)[-1]


def test_a_link_that_is_missing_stops_what_is_merged_through(shop):
    for seq in (1, 2, 4):
        shop.commit(seq)
    assert shop.status() == (2, "2026-01-02", 4)
    shop.commit(3)
    assert shop.status() == (4, "2026-01-04", None)


def test_a_link_whose_files_are_not_merged_stops_it_too(shop):
    file = shop.land(1, row(1))
    for seq in (1, 3):
        shop.commit(seq)
    shop.commit(2, (file, 1))
    assert shop.status() == (1, "2026-01-01", 2)
    shop.merge()
    assert shop.status() == (3, "2026-01-03", None)


def test_a_link_without_a_high_moves_nothing(shop):
    shop.commit(1)
    shop.commit(2, high=None)
    assert shop.status() == (2, "2026-01-01", None)


def test_the_high_of_an_earlier_generation_is_not_merged_through(shop):
    """Of the source that was accepted since nothing is complete yet."""
    shop.commit(1)
    assert shop.status() == (1, "2026-01-01", None)
    shop.commit(2, generation=2, high=None)
    assert shop.status() == (2, None, None)
    shop.commit(3, generation=2)
    assert shop.status() == (3, "2026-01-03", None)


def test_a_manifest_that_lands_twice_is_one_link(shop):
    file = shop.land(1, row(1))
    for seq in (1, 1, 2):
        shop.commit(seq, *([(file, 1)] if seq == 1 else []))
    shop.merge()
    assert shop.status() == (2, "2026-01-02", None)


def test_a_file_that_two_links_promise_holds_both_up(shop):
    file = shop.land(1, row(1))
    for seq in (2, 1):
        shop.commit(seq, (file, 1))
    assert shop.status()[0] == 0
    shop.merge()
    assert shop.status() == (2, "2026-01-02", None)
