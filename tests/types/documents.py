"""JSON: what Snowflake keeps of a document, by the rule of decision 0020.

A number keeps its digits, or becomes the double that it is written as; what has more
digits than Snowflake keeps does not fit, nor does an object with a key twice.
"""

import json
import re
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.types.kinds import JSON, MISFIT, Kind, Value, literals
from tests.types.numbers import plain
from tests.types.texts import words

_DIGITS, _DECIMALS, _BEFORE_EXPONENT = 38, 37, 17


class _DoesNotFitError(Exception):
    pass


def exact(text: str) -> Decimal:
    """Return a number that is written without exponent, if Snowflake keeps it."""
    whole, _, decimals = text.removeprefix("-").partition(".")
    if len(whole) + len(decimals) > _DIGITS or len(decimals) > _DECIMALS:
        raise _DoesNotFitError
    return Decimal(text)


def _raw_number(text: str) -> Decimal | float:
    mantissa, with_exponent, exponent = text.lower().partition("e")
    if not with_exponent:
        return exact(text)
    digits = mantissa.removeprefix("-")
    power = exponent.lstrip("+-")
    if len(digits.replace(".", "")) > _BEFORE_EXPONENT:
        raise _DoesNotFitError
    # Of a long exponent only one digit that counts tells how large the number is.
    scientific = digits == "0" or re.fullmatch(r"[1-9](\.\d+)?", digits)
    if len(power) > 3 or (len(power) == 3 and not scientific) or int(power) > 307:
        raise _DoesNotFitError
    return float(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise _DoesNotFitError
    return dict(pairs)


def _is_text(value: Any) -> bool:
    """Whether all strings consist of characters: U+0000 and half a pair are none."""
    if isinstance(value, str):
        return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, dict):
        return all(map(_is_text, [*value, *value.values()]))
    return not isinstance(value, list) or all(map(_is_text, value))


def raw(text: str) -> object:
    """Return what must stand in Snowflake for a document of type json."""
    try:
        found = json.loads(
            text,
            parse_int=_raw_number,
            parse_float=_raw_number,
            object_pairs_hook=_once,
        )
    except _DoesNotFitError:
        return MISFIT
    return found if _is_text(found) else MISFIT


def binary(text: str) -> object:
    """Return what must stand there for a document of type jsonb: the last key wins."""
    try:
        return _fitting(json.loads(text, parse_int=_Numeric, parse_float=_Numeric))
    except _DoesNotFitError:
        return MISFIT


class _Numeric(str):
    """The text of a number, told apart from a string."""


def _fitting(value: Any) -> Any:
    """Judge the numbers that are there; what a repeated key lost is not.

    jsonb keeps them as numeric, and prints them without exponent.
    """
    if isinstance(value, dict):
        return {key: _fitting(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_fitting(each) for each in value]
    return exact(plain(Decimal(value))) if isinstance(value, _Numeric) else value


class Printed(float):
    """A double of which all digits are printed, and must be kept."""


def tree(value: Any) -> object:
    """Return what must stand there for a tree of Python; numbers are Decimals."""
    try:
        return _kept(value)
    except _DoesNotFitError:
        return MISFIT


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _kept(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_kept(each) for each in value]
    if isinstance(value, Printed):
        exact(plain(Decimal(repr(float(value)))))
    return exact(plain(value)) if isinstance(value, Decimal) else value


_EXPONENTS = ("E+05", "e309", "e350", "e-324", "E-350", "e1000")
_numbers = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(("", "-")),
    st.one_of(st.integers(0, 10**7), st.integers(10**15, 10**40)),
    st.one_of(
        st.just(""), st.text("0123456789", min_size=1, max_size=38).map(".{}".format)
    ),
    st.one_of(
        st.just(""),
        st.integers(-320, 320).map("e{}".format),
        st.sampled_from(_EXPONENTS),
    ),
)
_plain_numbers = st.integers(-(10**9), 10**9).map(lambda n: f"{n / 100:.2f}")


def _escaped(text: str, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only).replace("/", "\\/")


_strings = st.builds(_escaped, words.filter(lambda w: len(w) < 99), st.booleans())
_ODD = ('"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\uD83D\\uDE00"', '"\\\\u0000"')


def _documents(odd: bool) -> st.SearchStrategy[str]:
    strings = st.one_of(_strings, _strings, st.sampled_from(_ODD if odd else _ODD[3:]))
    words_of_json = st.sampled_from(("true", "false", "null", "{}", "[]"))
    leaves = st.one_of(_plain_numbers, _numbers, strings, words_of_json)
    keys = st.one_of(
        st.sampled_from(('"a"', '"b"', '"\\u0061"', '""', '"a b"', '"a.b"')), strings
    )

    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds(_array, st.lists(inner, max_size=4), _BLANKS),
            st.builds(_object, st.lists(st.tuples(keys, inner), max_size=4), _BLANKS),
        )

    return st.recursive(leaves, extend, max_leaves=6)


_BLANKS = st.sampled_from(("", " ", "\n", "\t \r"))


def _array(items: list[str], blank: str) -> str:
    return f"[{blank}{f'{blank},'.join(items)}]"


def _object(members: list[tuple[str, str]], blank: str) -> str:
    texts = (f"{key}{blank}:{value}{blank}" for key, value in members)
    return f"{{{f',{blank}'.join(texts)}}}"


_BOTH = (
    *("null", "true", "0", "-0", '""', "{}", "[]", '"a"', "1.10", "-1.50", " 1 "),
    *("9" * 38, "9" * 39, "-" + "9" * 38, "0." + "9" * 37, "0." + "9" * 38),
    *("1" + "0" * 38, "9" * 20 + "." + "9" * 18, "9" * 20 + "." + "9" * 19),
    *("1e2", "1E+2", "1e-2", "1.5e10", "1e22", "1e37", "1e38", "1e-37", "1e-38"),
    *('{"b":1, "a":{"b":[1,{"c":null}]}}', '{"a":"1e400"}', '["' + "9" * 60 + '"]'),
    *('"\\uD83D\\uDE00"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"é€😀"', '"\\u00e9"'),
    *('"\\\\u0000"', '{"":1}', '{"a\\"b":2}', "[" * 40 + "]" * 40, "[1,[2,[3]]]"),
    *('{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '[{"x":{"k":1,"k":1}}]'),
    *('{"a":{"k":1},"b":{"k":1}}', '{"k":"k","l":"k"}', '[{"k":1},{"k":1}]'),
    *('{"a":"x\\"}:1,{\\"a\\":2"}', '"' + "x" * 5000 + '"', '{"n":' + "9" * 39 + "}"),
    *("123456789.123456789", "0.1", "-0.0", "0.00", "100", "12345678901234567890"),
)
_RAW = (
    *("1e308", "-1.7976931348623157e308", "2.2250738585072014e-308", "1e-323"),
    *("1.23456789012345678e5", "1.2345678901234567e5", "1e400", "1e309", "1e-400"),
    *('"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '{"\\u0000":1}', "0e0", "0e99"),
    *("1e-324", "4e-400", "1e-300", "1.5e290"),
    *('{"a" :\n1}', "\t[1 ,\r\n2] ", "0.0e-5", "-0e1"),
    *("9e308", "100000000000000000e292", "0.0000001e-320", "1e0005", "1e-0005"),
    *("1e307", "-9.5e-307", "15e99", "15e100", "0e300", "0.5e100", "5e-324"),
)
RAW = Kind(
    declared="json",
    form=JSON,
    drawn=_documents(odd=True).map(lambda text: Value(text, raw(text))),
    edges=literals(raw, *_BOTH, *_RAW),
)
DOCUMENTS = (
    RAW,
    Kind(
        declared="jsonb",
        form=JSON,
        drawn=_documents(odd=False).map(lambda text: Value(text, binary(text))),
        edges=literals(binary, *_BOTH, "1e400", "1e-400", "1.5e300", "1e-300"),
    ),
)
