"""Comparing two streams of rows, and values that have no canonical text."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.ops.compare import (
    Comparison,
    Row,
    Tally,
    alike,
    buckets_of,
    compare,
    parse_float,
    parse_json,
    same,
)

ONE = "1" * 32


def row(order: str, digest: str = ONE, *values, standing: str = "due") -> Row:
    key = (f"key {order}",)
    return Row(order=order, digest=digest, standing=standing, key=key, values=values)


def compared(source, target, valued=(), most=10) -> Comparison:
    result = Comparison(most=most)
    compare(iter(source), iter(target), ("id",), valued, result)
    return result


def found(source, target, valued=(), most=10):
    result = compared(source, target, valued, most)
    return result.counts, [
        (sample.kind, sample.key["id"], sample.columns) for _, sample in result.samples
    ]


def test_equal_streams_have_no_differences():
    rows = [row("a"), row("b")]
    assert found(rows, rows) == ({}, [])
    assert found([], []) == ({}, [])


def test_every_kind_of_difference_is_counted_and_named():
    source = [row("a"), row("b"), row("c", "2" * 32), row("e", ONE, 1.0)]
    target = [row("b"), row("c", "3" * 32), row("d"), row("e", ONE, 2.0), row("f")]
    counts, samples = found(
        [row(each.order, each.digest, *(each.values or (0.0,))) for each in source],
        [row(each.order, each.digest, *(each.values or (0.0,))) for each in target],
        valued=("f8",),
    )
    assert counts == {"missing": 1, "extra": 2, "different": 2}
    assert samples == [
        ("missing", "key a", ()),
        ("different", "key c", ()),
        ("extra", "key d", ()),
        ("different", "key e", ("f8",)),
        ("extra", "key f", ()),
    ]


def test_a_row_that_is_there_twice_is_extra():
    assert found([row("a")], [row("a"), row("a")])[0] == {"extra": 1}


def test_samples_are_bounded_and_counts_are_not():
    counts, samples = found([row(f"{n:03d}") for n in range(100)], [], most=3)
    assert counts == {"missing": 100}
    assert [key for _, key, _ in samples] == ["key 000", "key 001", "key 002"]


class TestWhileBothSidesMove:
    """What can be judged is judged; the rest is counted, never held against anybody."""

    @pytest.mark.parametrize("standing", ["newer", "loose"])
    def test_a_row_that_is_not_due_is_not_missing(self, standing):
        result = compared([row("a", standing=standing)], [])
        assert result.counts == {}
        assert result.undue == 1

    def test_a_row_that_is_not_due_may_be_there_in_an_older_version(self):
        result = compared([row("a", "2" * 32, standing="newer")], [row("a")])
        assert (result.counts, result.source.rows, result.undue) == ({}, 0, 1)

    @pytest.mark.parametrize("standing", ["newer", "loose"])
    def test_a_row_that_is_not_due_counts_where_it_is_equal(self, standing):
        rows = [row("a", standing=standing), row("b", "2" * 32, standing=standing)]
        result = compared(rows, [row("a"), row("b")])
        assert (result.counts, result.undue, result.source.rows) == ({}, 1, 1)

    @pytest.mark.parametrize("standing", ["changed", "gone"])
    def test_a_version_from_after_the_snapshot_is_not_judged(self, standing):
        newer = row("a", "2" * 32, standing=standing)
        result = compared([row("a")], [newer])
        assert (result.counts, result.changed, result.source.rows) == ({}, 1, 0)

    def test_a_version_from_after_the_snapshot_that_is_equal_counts(self):
        result = compared([row("a")], [row("a", standing="changed")])
        assert (result.changed, result.source, result.target) == (
            0,
            Tally(rows=1, checksum=0x111111111111111),
            Tally(rows=1, checksum=0x111111111111111),
        )

    def test_a_row_from_after_the_snapshot_is_not_extra(self):
        result = compared([], [row("a", standing="changed"), row("b", standing="gone")])
        assert (result.counts, result.changed) == ({}, 1)


class TestBuckets:
    """Only those that differ are looked into."""

    SOURCE = [("00ff", "due", 2, 30), ("00ff", "newer", 3, 7), ("00ff", "loose", 1, 4)]

    def bucket(self, *rows):
        return buckets_of([("00ff", *each) for each in rows])["00ff"]

    def test_rows_without_watermark_stand_among_those_that_are_due(self):
        assert buckets_of(self.SOURCE)["00ff"]["due"] == Tally(rows=3, checksum=34)

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            ([("due", 3, 34)], True),
            ([("due", 3, 34), ("newer", 3, 7)], True),
            ([("due", 4, 36), ("newer", 2, 5)], True),
            ([("due", 3, 34), ("newer", 1, 7)], False),
            ([("due", 3, 33)], False),
            ([("due", 2, 34)], False),
            ([], False),
        ],
    )
    def test_newer_rows_may_be_missing_but_must_not_differ(self, target, expected):
        source = buckets_of(self.SOURCE)["00ff"]
        assert alike(source, self.bucket(*target)) is expected


orders = st.lists(st.text("abc", min_size=1, max_size=3), unique=True).map(sorted)


@given(orders, orders)
def test_counts_are_those_of_sets(left, right):
    counts, _ = found([row(each) for each in left], [row(each) for each in right])
    assert counts.get("missing", 0) == len(set(left) - set(right))
    assert counts.get("extra", 0) == len(set(right) - set(left))
    assert "different" not in counts


class TestSame:
    """Values that are compared as values."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ('{"a": 1, "b": [2, null]}', '{"b":[2,null],"a":1}'),
            ("1.0", "1"),
            ("1e3", "1000"),
            ("12345678901234567890.123", "12345678901234567890.1230"),
            ('"é"', '"\\u00e9"'),
        ],
    )
    def test_json_that_means_the_same(self, one, other):
        assert same(parse_json(one), parse_json(other))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("true", "1"),
            ("false", "0"),
            ("null", None),
            ('"1"', "1"),
            ("[1, 2]", "[2, 1]"),
            ("[1]", "[1, 1]"),
            ('{"a": null}', "{}"),
            ("12345678901234567890", "12345678901234567891"),
            ("0.1", "0.1000000000000000055511151231257827"),
        ],
    )
    def test_json_that_does_not(self, one, other):
        assert not same(parse_json(one), parse_json(other))
        assert not same(parse_json(other), parse_json(one))

    def test_numbers_of_json_are_exact_however_long(self):
        digits = "1" * 5000
        assert parse_json(digits) == Decimal(digits)

    def test_what_is_no_json_or_too_deep_is_compared_as_text(self):
        deep = "[" * 100_000 + "]" * 100_000
        assert parse_json(deep) == deep
        assert parse_json("{") == "{"

    def test_floats_are_compared_as_floats(self):
        assert same(parse_float("NaN"), float("nan"))
        assert same(parse_float("-Infinity"), float("-inf"))
        assert same(parse_float("1e-05"), 0.00001)
        assert not same(parse_float("0.1"), 0.10000000000000002)
        assert not same(parse_float(None), 0.0)
        assert not same(parse_float("NaN"), parse_float(None))
        assert same(parse_float(None), parse_float(None))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=20,
        )
    )
    def test_any_json_is_itself_in_whatever_spelling(self, value):
        one = json.dumps(value)
        other = json.dumps(value, ensure_ascii=False, indent=3, sort_keys=True)
        assert same(parse_json(one), parse_json(other))
