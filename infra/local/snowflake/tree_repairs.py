"""Repairs of fakesnow 0.12.1 in the syntax trees of statements.

Each names the symptom it mends; `repairs` puts them in place, with the others.
"""

import re
from typing import Any

import sqlglot
from sqlglot import Expr, exp
from sqlglot.dialects.snowflake import Snowflake
from sqlglot.time import format_time

_Type = exp.DataType.Type
_MOMENTS = (_Type.TIMESTAMP, _Type.TIMESTAMPNTZ, _Type.TIMESTAMPTZ, _Type.TIMESTAMPLTZ)
_RANGES = {
    **dict.fromkeys(_MOMENTS, ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999")),
    _Type.DATE: ("0001-01-01", "9999-12-31"),
    _Type.TIME: ("00:00:00", "23:59:59.999999"),
}
_TRIED: dict[type[Expr], Any] = {
    exp.StrToTime: _Type.TIMESTAMP,
    exp.TsOrDsToDate: _Type.DATE,
    exp.TsOrDsToTime: _Type.TIME,
}
_KEY_PARTS = (
    *(exp.PrimaryKey, exp.Constraint, exp.ForeignKey, exp.UniqueColumnConstraint),
    *(exp.PrimaryKeyColumnConstraint, exp.Reference),
)
_DATE_PARTS = re.compile(r"Y|MON|DD", re.IGNORECASE)
_TIME_PARTS = re.compile(r"HH|MI|SS", re.IGNORECASE)
# The tree shows keys as they are read, "\\u0061" as "a". A document takes 20 µs.
_KEY_TWICE = """(SELECT COUNT(*) > COUNT(DISTINCT (t.parent, t.key))
    FROM JSON_TREE(?) AS t WHERE NOT t.key IS NULL)"""
_FRACTION = """CASE WHEN STARTS_WITH(TYPEOF(?), 'DECIMAL') THEN SUBSTRING(
    REPLACE(REPLACE('#' || CAST(? AS VARCHAR), '#.', '#0.'), '#-.', '#-0.'), 2)
    ELSE CAST(? AS VARCHAR) END"""


def named(value: Expr) -> Expr:
    """Symptom: a column without alias was called count_star(), not COUNT(*)."""
    if isinstance(value, (exp.Alias, exp.Column, exp.Star, exp.Dot)):
        return value
    return exp.alias_(value, value.sql(dialect="snowflake").upper(), quoted=True)


def _hex_number(node: Expr) -> Expr:
    """Symptom: TO_NUMBER(x, 'XXX...') was not implemented."""
    if isinstance(node, exp.ToNumber) and isinstance(
        node.args.get("format"), exp.Literal
    ):
        digits = node.args["format"].name
        if digits and set(digits.upper()) == {"X"} and len(digits) <= 15:
            hexadecimal = exp.DPipe(this=exp.Literal.string("0x"), expression=node.this)
            return exp.cast(
                exp.cast(exp.paren(hexadecimal), "BIGINT"), "DECIMAL(38, 0)"
            )
    return node


def _to_varchar(node: Expr) -> Expr:
    """Symptom: TO_VARCHAR(column, format) dropped the format."""
    if not (
        isinstance(node, exp.ToChar)
        and isinstance(node.args.get("format"), exp.Literal)
    ):
        return _with_zero(node)
    wanted = node.args["format"].name
    if wanted.upper() == "HEX":
        return exp.func("HEX", node.this)
    value: Expr
    if _DATE_PARTS.search(wanted):
        value = exp.cast(node.this, "TIMESTAMP")
    elif _TIME_PARTS.search(wanted):
        value = exp.Add(
            this=exp.cast(exp.Literal.string("2000-01-01"), "DATE"),
            expression=exp.cast(node.this, "TIME"),
        )
    else:
        raise NotImplementedError(f"TO_VARCHAR with the format {wanted!r}")
    mapped = format_time(wanted, Snowflake.TIME_MAPPING, Snowflake.TIME_TRIE)
    return exp.TimeToStr(this=value, format=exp.Literal.string(mapped or wanted))


def _with_zero(node: Expr) -> Expr:
    """Symptom: TO_VARCHAR of a NUMBER(5,5) was .00604, not 0.00604."""
    if not isinstance(node, exp.ToChar) or not isinstance(node.this, exp.Column):
        return node
    text = sqlglot.parse_one(_FRACTION, read="duckdb")
    for place in list(text.find_all(exp.Placeholder)):
        place.replace(node.this.copy())
    return text


def _try_to_moment(node: Expr) -> Expr:
    """Symptom: TRY_TO_TIMESTAMP_NTZ(x) and _TZ(x) of a column were unknown."""
    if isinstance(node, exp.Anonymous) and len(node.expressions) == 1:
        kind = {
            "TRY_TO_TIMESTAMP": "TIMESTAMPNTZ",
            "TRY_TO_TIMESTAMP_NTZ": "TIMESTAMPNTZ",
            "TRY_TO_TIMESTAMP_TZ": "TIMESTAMPTZ",
        }.get(node.name.upper())
        if kind:
            to = exp.DataType(this=exp.DataType.Type[kind])
            return exp.TryCast(this=node.expressions[0], to=to)
    return node


def _parse_json(node: Expr) -> Expr:
    """Symptom: PARSE_JSON turned numbers into doubles, 1.10 into 1.1."""
    if isinstance(node, exp.ParseJSON) and not node.args.get("safe"):
        return exp.cast(node.this, "JSON")
    return node


def _strict_json(node: Expr) -> Expr:
    """Symptom: TRY_PARSE_JSON took an object that has a key twice."""
    if not (isinstance(node, exp.ParseJSON) and node.args.get("safe")):
        return node
    document = exp.TryCast(this=node.this, to=exp.DataType.build("JSON"))
    twice = sqlglot.parse_one(_KEY_TWICE, read="duckdb")
    for place in list(twice.find_all(exp.Placeholder)):
        place.replace(document.copy())
    return exp.Case(ifs=[exp.If(this=exp.not_(twice), true=document)])


def _to_json(node: Expr) -> Expr:
    """Symptom: TO_JSON turned numbers into doubles."""
    if isinstance(node, exp.JSONFormat):
        return exp.cast(node.this, "VARCHAR")
    return node


def _keys(node: Expr) -> Expr:
    """Symptom: PRIMARY KEY and UNIQUE were enforced; Snowflake only records them."""
    if isinstance(node, (exp.Schema, exp.ColumnDef)):
        part = "expressions" if isinstance(node, exp.Schema) else "constraints"
        kept = [
            each
            for each in node.args.get(part) or []
            if not isinstance(each, _KEY_PARTS)
            and not isinstance(each.args.get("kind"), _KEY_PARTS)
        ]
        node.set(part, kept)
    return node


def _real_moments(node: Expr) -> Expr:
    """Symptom: TRY_ casts took 'infinity', years BC, beyond 9999 and 24:00:00."""
    kind = None
    if isinstance(node, exp.TryCast):
        kind = node.to.this
    elif node.args.get("safe"):
        kind = _TRIED.get(type(node))
    if kind not in _RANGES:
        return node
    low, high = (exp.cast(exp.Literal.string(end), kind) for end in _RANGES[kind])
    # DuckDB also parses words, 'infinity' by a format even to 1900-01-01.
    first = exp.func(
        "LEFT", exp.cast(node.this.copy(), "VARCHAR"), exp.Literal.number(1)
    )
    is_digit = exp.Between(
        this=first, low=exp.Literal.string("0"), high=exp.Literal.string("9")
    )
    is_real = exp.Between(this=node.copy(), low=low, high=high)
    return exp.Case(ifs=[exp.If(this=exp.and_(is_digit, is_real), true=node.copy())])


def _binary(node: Expr) -> Expr:
    """Symptom: BINARY(n) was refused, because DuckDB's BLOB takes no length."""
    if isinstance(node, exp.DataType) and node.is_type("BINARY", "VARBINARY"):
        node.set("expressions", [])
    return node


TREE_REPAIRS = (
    _binary,
    _hex_number,
    _to_varchar,
    _try_to_moment,
    _parse_json,
    _strict_json,
    _to_json,
    _keys,
    _real_moments,
)
