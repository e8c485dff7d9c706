"""Comparing two streams of rows, and values that have no canonical text."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.ops.compare import Row, compare, parse_float, parse_json, same


def row(order: str, digest: str = "d", *values) -> Row:
    return Row(order=order, digest=digest, key=(f"key {order}",), values=values)


def found(source, target, valued=(), most=10):
    result = compare(iter(source), iter(target), ("id",), valued, most)
    return result.counts, [
        (sample.kind, sample.key["id"], sample.columns) for _, sample in result.samples
    ]


def test_equal_streams_have_no_differences():
    rows = [row("a"), row("b")]
    assert found(rows, rows) == ({}, [])
    assert found([], []) == ({}, [])


def test_every_kind_of_difference_is_counted_and_named():
    source = [row("a"), row("b"), row("c", "one"), row("e", "d", 1.0)]
    target = [row("b"), row("c", "other"), row("d"), row("e", "d", 2.0), row("f")]
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
