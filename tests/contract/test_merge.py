"""What a table's task does to rows: versions, what does not fit, what is old."""

import pytest

from runtime.contract.snowflake_cleaning import clear_landing
from tests.contract.landed import AT, OBJECTS, Pipeline, row

pytestmark = pytest.mark.integration


# --- versions


def test_a_file_that_lands_late_takes_no_row_back(shop):
    shop.land(2, row(1, "new"))
    shop.merge()
    late = shop.land(1, row(1, "old"), row(2, "other"))
    shop.commit(1, (late, 2))
    shop.merge()
    assert shop.rows() == [(1, "new"), (2, "other")]
    assert shop.receipt(late) == (2, 1, 1, 0, True)


@pytest.mark.parametrize("runs", [("a", "b"), ("b", "a")])
def test_within_a_batch_the_stamp_decides_and_not_the_name_of_the_run(shop, runs):
    older, newer = runs
    old = shop.land(1, row(1, "old"), run=older)
    new = shop.land(2, row(1, "new"), run=newer)
    shop.commit(1, (old, 1), (new, 1))
    shop.merge()
    assert shop.rows() == [(1, "new")]
    assert shop.receipt(old) == (1, 0, 1, 0, True)
    assert shop.receipt(new) == (1, 1, 0, 0, True)


def test_a_key_is_one_row_however_it_is_written_and_however_often_it_comes(shop):
    shop.land(1, row(1, "a"), [" 01", AT, "1", "a"])
    shop.merge()
    assert len(shop.rows()) == 1


def test_a_file_without_a_newer_column_does_not_null_it(shop):
    shop.land(1, row(1, "kept"), row(2, "emptied"))
    shop.merge()
    shop.land(2, row(1)[:3], width=3)
    shop.land(2, row(2, None), run="wide")
    shop.merge()
    assert shop.rows() == [(1, "kept"), (2, None)]


# --- quarantine


def test_what_was_merged_leaves_the_landing_table_when_it_is_old(cursor):
    """Neither what is young, nor what no receipt has seen, nor what did not fit."""
    pipeline = Pipeline(cursor)
    old = pipeline.land(1, ("1", AT, "1", "a"), ("2", AT, "12345", "b"))
    pipeline.run(
        f"UPDATE {pipeline.landing} SET loaded_at = DATEADD(DAY, -31, SYSDATE())"
    )
    pipeline.merge()
    pipeline.land(2, ("3", AT, "1", "c"))
    pipeline.run(
        f"UPDATE {pipeline.landing} SET loaded_at = DATEADD(DAY, -29, SYSDATE()) "
        f"WHERE file_name <> '{old}'"
    )
    pipeline.merge()
    left = f"SELECT c1 FROM {pipeline.landing} ORDER BY c1"
    assert pipeline.run(left) == [("2",), ("3",)]
    assert pipeline.rows() == [(1, "a"), (3, "c")]
    pipeline.run(
        f"UPDATE {pipeline.landing} SET loaded_at = DATEADD(DAY, -31, SYSDATE())"
    )
    unseen = pipeline.table.spec.source.slug
    pipeline.run(
        f"INSERT INTO {pipeline.landing} (file_name, file_row, loaded_at, c1) SELECT "
        f"'exports/dev/{unseen}/r/000003_4_c000000.csv', 1, "
        "DATEADD(DAY, -31, SYSDATE()), '4'"
    )
    pipeline.run(clear_landing(OBJECTS, pipeline.table))
    assert pipeline.run(left) == [("2",), ("4",)]


def test_a_row_that_does_not_fit_is_in_quarantine_and_the_others_in_the_target(shop):
    file = shop.land(1, row(1), row(2, total="12345"), [None, AT, "1", "n"])
    shop.commit(1, (file, 3))
    shop.merge()
    assert shop.ids() == [1]
    assert shop.receipt(file) == (3, 1, 0, 2, True)
    assert shop.run(
        "SELECT key_text, column_name, value_text, stamp FROM "
        "ANALYTICS.SYNC.QUARANTINE "
        f"WHERE file_name = '{file}' ORDER BY file_row"
    ) == [("2", "total", "12345", "000001"), ("", "id", None, "000001")]


def test_a_row_in_quarantine_does_not_keep_an_older_good_one_out(shop):
    good = shop.land(1, row(1, "good"))
    bad = shop.land(2, row(1, "bad", total="x"), run="b")
    shop.commit(1, (good, 1), (bad, 1))
    shop.merge()
    assert shop.rows() == [(1, "good")]
    assert shop.receipt(good) == (1, 1, 0, 0, True)
    assert shop.receipt(bad) == (1, 0, 0, 1, True)
