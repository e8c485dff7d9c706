"""Arrays, composites and hstore: PostgreSQL prints them as JSON, Snowflake reads it."""

import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.types.days import SECOND, fields, fraction, micros
from tests.types.documents import Printed, tree
from tests.types.kinds import JSON, MISFIT, Kind, Value
from tests.types.moments import moments
from tests.types.numbers import decimals
from tests.types.texts import words

Element = tuple[str | None, Any]  # its literal, and what stands in JSON for it
_NULL: Element = (None, None)


def _quoted(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'


def _array_text(items: Sequence[Any]) -> str:
    parts = []
    for item in items:
        if isinstance(item, list):
            parts.append(_array_text(item))
        else:
            parts.append("NULL" if item[0] is None else _quoted(item[0]))
    return "{" + ",".join(parts) + "}"


def _array_tree(items: Sequence[Any]) -> list[Any]:
    return [_array_tree(i) if isinstance(i, list) else i[1] for i in items]


def _array(items: list[Any]) -> Value:
    return Value(_array_text(items), tree(_array_tree(items)))


def _shaped(element: st.SearchStrategy[Element]) -> st.SearchStrategy[Value]:
    item = st.one_of(element, element, element, st.just(_NULL))
    flat = st.lists(item, max_size=6)
    # Each row of several dimensions is as long as the others.
    square = st.tuples(st.integers(1, 3), st.integers(1, 3)).flatmap(
        lambda size: st.lists(
            st.lists(item, min_size=size[0], max_size=size[0]),
            min_size=size[1],
            max_size=size[1],
        )
    )
    cube = st.lists(st.lists(item, min_size=2, max_size=2), min_size=2, max_size=2)
    shape = st.one_of(flat, flat, flat, square, cube.map(lambda rows: [rows, rows]))
    bounds = st.sampled_from((0, 2, -1, 10, 1, 1, 1, 1, 1, 1, 1))
    return st.builds(_bounded, shape, bounds)


def _bounded(items: list[Any], low: int) -> Value:
    value = _array(items)
    if low == 1 or not items:
        return value
    sizes: list[int] = []
    inner: Any = items
    while isinstance(inner, list):
        sizes.append(len(inner))
        inner = inner[0]
    rest = "".join(f"[1:{size}]" for size in sizes[1:])
    prefix = f"[{low}:{low + sizes[0] - 1}]{rest}="
    return Value(prefix + value.literal, MISFIT)


def _same(text: str) -> Element:
    return text, text


def _integer(number: int) -> Element:
    return str(number), Decimal(number)


def _decimal(text: str) -> Element:
    number = Decimal(text)
    # JSON has no NaN and no infinity; PostgreSQL writes them as strings.
    return text, number if number.is_finite() else str(number)


def _double(number: float) -> Element:
    text = repr(number)
    if math.isfinite(number):
        return text, number + 0.0
    return text, {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[text]


def _single(number: float) -> Element:
    """The shortest digits that mean it: compared as the double that they are.

    Digits half-way to a neighbour mean it by the rule of ties alone; PostgreSQL takes
    none that depend on it. Source: its src/common/f2s.c, acceptBounds
    """
    literal, held = _double(number)
    for text in (f"{number:.{digits}g}" for digits in range(1, 10)):
        if math.isfinite(number) and _means(float(text), number):
            return literal, float(text) + 0.0
    return literal, held


def _means(near: float, number: float) -> bool:
    if near == number or _as_single(near) != number:
        return near == number
    beside = _neighbour(number, 1 if near > number else -1)
    return abs(near - number) < abs(beside - near)


def _neighbour(number: float, step: int) -> float:
    """The value of float4 next to one that is not 0, as a double."""
    bits = struct.unpack("i", struct.pack("f", number))[0]
    towards = step if number > 0 else -step
    return float(struct.unpack("f", struct.pack("i", bits + towards))[0])


def _as_single(number: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return math.inf


def _moment(moment: int) -> Element:
    at = fields(moment)
    tail = f"{at.clock}{fraction(at.micro)}"
    return (
        f"{at.date} {tail}+00{at.era}",
        f"{at.date}T{tail}+00:00{at.era}",
    )


def _kind(
    declared: str,
    drawn: st.SearchStrategy[Element],
    elements: list[Element],
    *more: Value,
) -> Kind:
    first = elements[0]
    return Kind(
        declared=declared,
        form=JSON,
        drawn=_shaped(drawn),
        edges=(
            _array([]),
            _array([_NULL]),
            _array([*elements, _NULL]),
            *(_array([each]) for each in elements),
            _array([[first, _NULL], [first, first]]),
            _array([[[first]], [[first]]]),
            _bounded([first], 0),
            _bounded([first, first], 2),
            _bounded([[first], [first]], -1),
            _bounded([first] * 3, 10),
            *more,
        ),
        # The text is JSON of an array.
        back=None,
    )


_ARRAYS = (
    _kind(
        "integer[]",
        st.integers(-(2**31), 2**31 - 1).map(_integer),
        [_integer(n) for n in (0, 2**31 - 1, -(2**31))],
        Value("[1:2][0:0]={{1},{2}}", MISFIT),
        Value("[1:2]={3,4}", [Decimal(3), Decimal(4)]),
    ),
    _kind(
        "bigint[]",
        st.integers(-(2**63), 2**63 - 1).map(_integer),
        [_integer(n) for n in (2**63 - 1, -(2**63), 2**53 + 1)],
    ),
    _kind(
        "text[]",
        words.map(_same),
        [_same(text) for text in ("", "NULL", 'a,"b', "\\", "{}", "é😀", "\n", "null")],
    ),
    _kind(
        "numeric[]",
        decimals(45).map(_decimal),
        [_decimal(t) for t in ("1.10", "NaN", "Infinity", "-Infinity", "9" * 38)],
        *(_array([_decimal(t)]) for t in ("9" * 39, "1e37", "1e38", "1e-37", "1e-38")),
    ),
    _kind(
        "double precision[]",
        st.floats().map(_double),
        [_double(f) for f in (0.1, -0.0, 1e22, 1e-7, math.nan, math.inf, 1e40)],
        *(_array([_double(f)]) for f in (5e-324, 1.7976931348623157e308, -1e-300)),
    ),
    _kind(
        "real[]",
        st.floats(width=32).map(_single),
        [_single(f) for f in (0.5, -0.0, 1e22, -57023192.0, math.nan, -math.inf)],
    ),
    _kind(
        "timestamptz[]",
        moments().map(_moment),
        [
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            _moment(micros(-43, 3, 15)),
            _moment(micros(9999, 12, 31, 23, 59, 59, 999_999)),
            _moment(micros(10000, 1, 1) - SECOND // 2),
        ],
    ),
    _kind(
        "boolean[]",
        st.booleans().map(lambda truth: (str(truth), truth)),
        [("t", True), ("f", False)],
    ),
    _kind("public.numbers", st.integers(-9, 9).map(_integer), [_integer(7)]),
)


def _row_text(parts: list[str | None]) -> str:
    """A composite's literal, in which nothing is NULL."""
    return f"({','.join('' if part is None else _quoted(part) for part in parts)})"


def _maybe(element: st.SearchStrategy[Element]) -> st.SearchStrategy[Element]:
    return st.one_of(element, element, st.just(_NULL))


def _pair(n: Element, t: Element) -> Element:
    return _row_text([n[0], t[0]]), {"n": n[1], "t": t[1]}


_small = st.integers(-(10**6), 10**6).map(_integer)
_pairs = st.builds(_pair, _maybe(_small), _maybe(words.map(_same)))


def _printed_double(number: float) -> Element:
    """A double of a composite, where it is judged by its printed digits."""
    text, held = _double(number)
    return text, Printed(held) if isinstance(held, float) else held


def _mixed(*drawn: Any) -> Value:
    """Return the composite of its fields; the last one is an array."""
    *scalars, many = drawn
    parts = (*scalars, (_array_text(many), _array_tree(many)))
    names = ("d", "a b", "f", "at", "inner_one", "many")
    held = {name: part[1] for name, part in zip(names, parts, strict=True)}
    return Value(_row_text([part[0] for part in parts]), tree(held))


_tame = st.floats(-1e15, 1e15).filter(lambda f: f == 0 or abs(f) > 1e-15)
_EDGE_ROW: tuple[Any, ...] = (*(_decimal("1.10"), _same('a "b"')), _printed_double(0.1))
_COMPOSITES = (
    Kind(
        declared="public.pair",
        form=JSON,
        drawn=_pairs.map(lambda pair: Value(pair[0] or "", tree(pair[1]))),
        edges=(
            Value("(,)", {"n": None, "t": None}),
            Value('(,"")', {"n": None, "t": ""}),
            Value('(1,"a b")', {"n": Decimal(1), "t": "a b"}),
            Value('(-1," a, ""b""\\\\")', {"n": Decimal(-1), "t": ' a, "b"\\'}),
        ),
        back=None,
    ),
    Kind(
        declared="public.mixed",
        form=JSON,
        drawn=st.builds(
            _mixed,
            _maybe(decimals(20).map(_decimal)),
            _maybe(words.map(_same)),
            _maybe(st.one_of(_tame, _tame, st.floats()).map(_printed_double)),
            _maybe(moments().map(_moment)),
            _maybe(_pairs),
            st.lists(st.one_of(_small, st.just(_NULL)), max_size=3),
        ),
        edges=(
            _mixed(*[_NULL] * 5, []),
            _mixed(*_EDGE_ROW, ("infinity", "infinity"), _NULL, [_NULL]),
            _mixed(_decimal("NaN"), _NULL, _printed_double(math.inf), *[_NULL] * 2, []),
            _mixed(_decimal("9" * 39), *[_NULL] * 4, []),
            _mixed(_NULL, _NULL, _printed_double(1e40), *[_NULL] * 2, []),
            _mixed(_NULL, _NULL, _printed_double(-0.0), *[_NULL] * 2, []),
            _mixed(*_EDGE_ROW, _NULL, _pair(_integer(1), _same("{,}")), [_integer(1)]),
        ),
        back=None,
    ),
)


def _hstore(members: dict[str, str | None]) -> Value:
    text = ", ".join(
        f"{_quoted(key)}=>{'NULL' if value is None else _quoted(value)}"
        for key, value in members.items()
    )
    return Value(text, members)


_MEMBERS: list[dict[str, str | None]] = [{}, {"a": None}, {"": ""}, {"n": "NULL"}]
_HSTORE = Kind(
    declared="public.hstore",
    form=JSON,
    drawn=st.dictionaries(words, st.one_of(words, st.none()), max_size=4).map(_hstore),
    edges=(
        *map(_hstore, _MEMBERS),
        _hstore({"a b": 'x"y\\'}),
        _hstore({"é😀": "\n", "1": "1e400", "2": "9" * 50}),
        Value("k=>1, l=>null", {"k": "1", "l": None}),
    ),
    back=None,
)
NESTED = (*_ARRAYS, *_COMPOSITES, _HSTORE)
