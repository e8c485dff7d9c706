"""Numbers: what PostgreSQL stores of a literal, and what Snowflake must hold of it."""

import operator
from decimal import ROUND_HALF_UP, Context, Decimal

from hypothesis import strategies as st

from tests.types.kinds import (
    EXACT,
    FLOAT,
    MISFIT,
    TEXT,
    Form,
    Kind,
    Single,
    Value,
    literals,
)

_WIDE = Context(prec=200_000, Emax=999_999, Emin=-999_999)


def _integer(declared: str, low: int, high: int) -> Kind:
    def held(text: str) -> str:
        return str(int(text))

    ends = st.sampled_from((low, 0, high))
    near = st.builds(operator.add, ends, st.integers(-9, 9))
    numbers = st.one_of(st.integers(low, high), near).filter(
        lambda number: low <= number <= high
    )
    edges = (str(low), str(high), "0", " 7 ", "+7", str(low + 1), "-0")
    return Kind(
        declared=declared,
        form=EXACT,
        drawn=numbers.map(lambda number: Value(str(number), str(number))),
        edges=literals(held, *edges),
    )


def plain(number: Decimal) -> str:
    """Return the digits of a number as PostgreSQL prints them: no exponent, no -0."""
    if not number.is_finite():
        return str(number)
    text = f"{number:f}" if number or "." in f"{number:f}" else "0"
    return text.removeprefix("-") if not number else text


def _unbounded(text: str) -> str:
    return plain(Decimal(text.strip()))


@st.composite
def decimals(draw: st.DrawFn, most: int = 60) -> str:
    """Draw a number as people write it: sign, point, exponent."""
    digits = draw(st.text("0123456789", min_size=1, max_size=most))
    point = draw(st.integers(0, len(digits)))
    text = (
        f"{digits[:point] or '0'}.{digits[point:]}" if point < len(digits) else digits
    )
    exponent = draw(st.sampled_from(("", "", "", "e5", "E-7", "e+12", "e-30", "e40")))
    return draw(st.sampled_from(("", "-", "-", "+"))) + text + exponent


_NUMERIC = Kind(
    declared="numeric",
    form=TEXT,
    drawn=decimals().map(lambda text: Value(text, _unbounded(text))),
    edges=literals(
        _unbounded,
        *("NaN", "Infinity", "-Infinity", "0", "-0", "-0.00", "1.10", "1e30", "1e-30"),
        *("0e5", "1.10e1", "9" * 38, "9" * 39, "0." + "9" * 38, "1e131071"),
        *("-1e-16383", "9" * 131_072 + "." + "9" * 16_383, " 12.50 "),
    ),
)


def _numeric(precision: int, scale: int, in_text: bool) -> Kind:
    """numeric(p,s): rounded half away from zero to its scale when it is stored."""
    most = 10**precision - 1

    def held(text: str) -> object:
        number = Decimal(text)
        if not number.is_finite():
            return str(number) if in_text else MISFIT
        unit = Decimal(1).scaleb(-scale)
        stored = number.quantize(unit, rounding=ROUND_HALF_UP, context=_WIDE)
        return plain(stored.quantize(unit.min(Decimal(1)), context=_WIDE))

    def shifted(unscaled: int, tail: str) -> str:
        return f"{unscaled}{'.' * bool(tail)}{tail}e{-scale}"

    inner = st.integers(-most + 1, most - 1)
    tail = st.text("0123456789", max_size=6)
    drawn = st.one_of(
        st.integers(-most, most).map(lambda n: shifted(n, "")),
        st.tuples(inner, tail).map(lambda drawn: shifted(*drawn)),
    )
    edges = [shifted(n, "") for n in (most, -most, 0, 1, -1)]
    edges += [shifted(0, "4999"), shifted(0, "5"), shifted(-most, "4"), "NaN", "-0"]
    return Kind(
        declared=f"numeric({precision},{scale})",
        form=TEXT if in_text else EXACT,
        drawn=drawn.map(lambda text: Value(text, held(text))),
        edges=literals(held, *edges),
    )


def _wild(width: int) -> st.SearchStrategy[float]:
    usual = st.integers(-(10**6), 10**6).map(lambda n: n / 100)
    return st.one_of(st.floats(width=64 if width == 64 else 32), usual)


_FLOATS = ("0", "-0", "0.1", "-0.3", "1e22", "1e-7", "NaN", "Infinity", "-Infinity")
_REAL = Kind(
    declared="real",
    form=FLOAT,
    drawn=_wild(32).map(lambda f: Value(repr(f), Single(f))),
    edges=literals(
        lambda text: Single(float(text)),
        *_FLOATS,
        "3.4028235e38",
        "-3.4028235e38",
        "1e-45",
        "1.17549435e-38",
    )
    + (Value("16777216", Single(16777216.0)), Value("1e-40", Single(1e-40))),
)
_DOUBLE = Kind(
    declared="double precision",
    form=FLOAT,
    drawn=_wild(64).map(lambda f: Value(repr(f), f + 0.0)),
    edges=literals(
        float,
        *(*_FLOATS, "1.7976931348623157e308", "-1.7976931348623157e308", "5e-324"),
        *("2.2250738585072014e-308", "0.30000000000000004", "9007199254740993"),
    ),
)


def _cents(cents: int) -> Value:
    sign = "-" * (cents < 0)
    text = f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"
    return Value(text, text)


_MONEY = Kind(
    declared="money",
    form=TEXT,
    drawn=st.integers(-(2**63), 2**63 - 1).map(_cents),
    edges=(
        *map(_cents, (0, 1, -1, 2**63 - 1, -(2**63), 99, -99)),
        Value("$1,234.50", "1234.50"),
        Value("(1.00)", "-1.00"),
        Value("0.005", "0.01"),
    ),
)
_TRUE = ("t", "true", "yes", "on", "1", "TRUE", " t ")
_FALSE = ("f", "false", "no", "off", "0", "FALSE", " f ")
_BOOLEAN = Kind(
    declared="boolean",
    form=Form("TO_VARCHAR({})", str),
    drawn=st.sampled_from(
        literals(lambda _: "true", *_TRUE) + literals(lambda _: "false", *_FALSE)
    ),
    edges=literals(lambda _: "true", *_TRUE) + literals(lambda _: "false", *_FALSE),
)


NUMBERS = (
    _integer("smallint", -(2**15), 2**15 - 1),
    _integer("integer", -(2**31), 2**31 - 1),
    _integer("bigint", -(2**63), 2**63 - 1),
    _integer("oid", 0, 2**32 - 1),
    _NUMERIC,
    # What Snowflake holds as NUMBER: up to 38 digits, 37 of them behind the point.
    _numeric(12, 2, in_text=False),
    _numeric(38, 0, in_text=False),
    _numeric(38, 37, in_text=False),
    _numeric(5, -2, in_text=False),
    _numeric(36, -2, in_text=False),
    _numeric(3, 5, in_text=False),
    # And what it does not, so that it stands there as text.
    _numeric(38, 38, in_text=True),
    _numeric(50, 10, in_text=True),
    _numeric(37, -2, in_text=True),
    _REAL,
    _DOUBLE,
    _MONEY,
    _BOOLEAN,
)
