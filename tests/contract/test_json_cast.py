"""JSON becomes a VARIANT only where Snowflake keeps every number as it is."""

import json
from decimal import Decimal
from typing import Any

import pytest

from runtime.contract.names import literal
from runtime.contract.type_map import rule_for
from tests.factories import make_column

pytestmark = pytest.mark.integration

CAST = rule_for(make_column(1, "doc", "json")).cast
NINES = "9" * 38
KEPT = [
    "null",
    "true",
    '"text"',
    "0",
    "-1.10",
    NINES,
    f"-{NINES}",
    "1." + "5" * 37,
    "0." + "5" * 37,
    "1e5",
    "1.7976931348623157e+307",
    "-2.5e-307",
    "1234567890123456.7E-99",
    "0e300",
    "[1.5e300,2]",
    '{"a": [1, {"b": "' + "9" * 50 + '"}]}',
    '{"' + "9" * 50 + '": 1}',
    '["1e999", "\\"1e999", "a\\\\", 1]',
    '["\\\\", "' + "8" * 60 + '"]',
    '{"a":\n "1e999"}',
]
ROUNDED = [
    NINES + "9",
    f"-{NINES}9",
    f"[{NINES}9]",
    f'{{"a": {{"b": {NINES}9}}}}',
    "12." + "5" * 37,
    "0." + "5" * 38,
    "1.23456789012345678901e5",
    "123456789012345678e5",
    "9e308",
    "100000000000000000e292",
    "15e299",
    "[1, 15e299]",
    "0.0000001e-320",
    "1e0005",
    "5e-324",
    "1e309",
    "1E+1000",
    "1e-324",
    '["quoted", 1e999]',
    '["\\"", 1e999, "\\""]',
    '["\\\\", ' + "8" * 60 + "]",
]
BROKEN = ["{", "[2:3]={1,2}", "{1,2}"]


def parsed(cursor: Any, text: str) -> str | None:
    """Cast a landed text, and return the VARIANT as JSON."""
    cursor.execute(f"SELECT {CAST('c1')} FROM (SELECT {literal(text)} AS c1)")
    [(value,)] = cursor.fetchall()
    return value


@pytest.mark.parametrize("text", KEPT)
def test_json_whose_numbers_stay_is_a_value(cursor, text):
    value = parsed(cursor, text)
    assert value is not None
    assert json.loads(value, parse_float=Decimal) == (
        json.loads(text, parse_float=Decimal)
    )


@pytest.mark.parametrize("text", ROUNDED)
def test_json_with_a_number_that_would_be_rounded_does_not_fit(cursor, text):
    json.loads(text)
    assert parsed(cursor, text) is None


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_json_does_not_fit(cursor, text):
    assert parsed(cursor, text) is None


def test_an_array_of_floats_stays_one_of_doubles(cursor):
    column = make_column(1, "x", "double precision[]", kind="array")
    text = "[1" + "0" * 300 + ", 5e-324]"
    cast = rule_for(column).cast(literal(text))
    cursor.execute(f"SELECT {cast}")
    [(value,)] = cursor.fetchall()
    assert json.loads(value, parse_int=float) == [1e300, 5e-324]
