"""A value that its type cannot hold waits, stands beside its column, or is counted."""

import pytest

from tests.contract.landed import AT, Pipeline

pytestmark = pytest.mark.integration

INFINITE = "infinity"


@pytest.fixture
def pipeline(cursor):
    def make(**rules):
        return Pipeline(cursor, **{"misfits": rules} if rules else {})

    return make


def line(key, total, at=AT, note="n"):
    return [key, at, total, note]


def test_by_default_a_row_waits_in_quarantine(pipeline):
    table = pipeline()
    file = table.land(1, line(1, "NaN"), line(2, "7"))
    table.merge()
    table.commit(1, (file, 2))
    assert table.ids() == [2]
    assert table.receipt(file) == (2, 1, 0, 1, True)
    assert table.nulled(file) == 0


def test_with_text_the_row_arrives_and_its_text_beside_the_column(pipeline):
    table = pipeline(total="text", moved_at="text")
    file = table.land(1, line(1, "NaN", INFINITE), line(2, "7"), line(3, None))
    table.merge()
    table.commit(1, (file, 3))
    columns = "id, total, total__text, moved_at__text"
    assert [(int(k), t, x, m) for k, t, x, m in table.rows(columns)] == [
        (1, None, "NaN", INFINITE),
        (2, 7, None, None),
        (3, None, None, None),
    ]
    assert table.receipt(file) == (3, 3, 0, 0, True)
    assert table.nulled(file) == 0


def test_a_later_version_takes_the_text_away_and_an_older_one_does_not(pipeline):
    table = pipeline(total="text")
    table.land(2, line(1, "7"))
    table.merge()
    table.land(1, line(1, "NaN"))
    table.merge()
    assert table.rows("total, total__text") == [(7, None)]
    table.land(3, line(1, "NaN"))
    table.merge()
    assert table.rows("total, total__text") == [(None, "NaN")]
    table.land(4, line(1, "8"))
    table.merge()
    assert table.rows("total, total__text") == [(8, None)]


def test_with_null_the_row_arrives_and_the_values_are_counted_per_file(pipeline):
    table = pipeline(total="null", moved_at="null")
    first = table.land(1, line(1, "NaN", INFINITE), line(2, "NaN"), line(3, None))
    second = table.land(1, line(4, "1"), run="s")
    table.merge()
    table.commit(1, (first, 3), (second, 1))
    assert [row[1] for row in table.rows("id, total")] == [None, None, None, 1]
    assert table.receipt(first) == (3, 3, 0, 0, True)
    assert (table.nulled(first), table.nulled(second)) == (3, 0)


def test_values_of_a_file_that_comes_twice_count_once(pipeline):
    table = pipeline(total="null")
    file = table.land(1, line(1, "NaN"))
    table.merge()
    table.land(1, line(1, "NaN"))
    table.merge()
    table.commit(1, (file, 1))
    assert table.nulled(file) == 1


def test_of_a_row_in_quarantine_no_value_counts_as_null(pipeline):
    """It is not in the target: nothing of it is NULL there."""
    table = pipeline(moved_at="null")
    file = table.land(1, line(1, "NaN", INFINITE))
    table.merge()
    table.commit(1, (file, 1))
    assert table.receipt(file) == (1, 0, 0, 1, True)
    assert table.nulled(file) == 0


def test_a_key_has_no_such_rule(pipeline):
    table = pipeline(total="text", moved_at="null")
    table.land(1, line("x", "1"), line(2, "1"))
    table.merge()
    assert table.ids() == [2]


def test_a_file_from_before_the_column_leaves_its_text_alone(cursor):
    table = Pipeline(cursor, misfits={"note": "text"}, rename={"note": "Remark"})
    assert table.table.contract.base_width == 3
    table.land(2, line(1, "1"))
    table.merge()
    table.land(3, [1, AT, "2"], width=3)
    table.merge()
    assert table.rows('total, "Remark", "Remark__TEXT"') == [(2, "n", None)]
