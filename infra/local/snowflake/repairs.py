"""Repairs of fakesnow 0.12.1; each names the symptom it mends.

fakesnow turns Snowflake SQL into DuckDB's by passing the syntax tree through many
small functions, which its cursor looks up by name at every statement: replacing the
name replaces the function.
"""

import logging
import re
import warnings
from typing import Any
from weakref import WeakSet

import duckdb
import fakesnow.arrow
import fakesnow.server as web
import pyarrow as pa
import pyarrow.compute as pc
from fakesnow import info_schema, rowtype, transforms
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import ProgrammingError
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
_LONGEST_MESSAGE = 500

# Cursors of which nobody asks what a MERGE did.
uncounted: WeakSet[FakeSnowflakeCursor] = WeakSet()
_execute = FakeSnowflakeCursor._execute
_transform = FakeSnowflakeCursor._transform
_to_timestamp = transforms.to_timestamp
_timestamp_struct = fakesnow.arrow.timestamp_to_sf_struct
_insert_table_comment = info_schema.insert_table_comment_sql


def apply() -> None:
    """Put all repairs in place; once per process, before the first connection."""
    setattr(transforms, "to_timestamp", _cast_to_timestamp)
    setattr(transforms, "integer_precision", _integer_precision)
    # Symptom: SUM of a NUMBER was a float, 749992499.999995.
    setattr(transforms, "numeric_agg_implicit_cast", lambda expression: expression)
    # Symptom: MERGE ran as several statements, each committed by itself, failed when
    # a key was not in SET, and took two source rows for one target row without an
    # error. DuckDB has its own MERGE by now.
    setattr(transforms, "merge", lambda expression: [expression])
    setattr(FakeSnowflakeCursor, "_transform", _transform_with_repairs)
    setattr(FakeSnowflakeCursor, "_execute", _execute_with_repairs)
    setattr(FakeSnowflakeCursor, "_inline_variables", _inline_variables)
    setattr(fakesnow.arrow, "timestamp_to_sf_struct", _timestamps)
    setattr(info_schema, "insert_table_comment_sql", _table_comment)
    # sqlglot warns of every table option that DuckDB has no use for, fakesnow logs
    # every refused statement, and DuckDB warns of fakesnow's way to fetch.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    web.logger.setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")
    # Symptom: a result with one of these types became an HTTP 500.
    rowtype.duckdb_to_sf_type.update(
        {"TINYINT": "fixed", "SMALLINT": "fixed", "UINTEGER": "fixed", "FLOAT": "real"}
    )


def _cast_to_timestamp(expression: Expr) -> Expr:
    """Symptom: TRY_CAST to a timestamp raised, CAST took '2024' for seconds."""
    return expression if isinstance(expression, exp.Cast) else _to_timestamp(expression)


def _integer_precision(expression: Expr) -> Expr:
    """Symptom: NUMBER(38,0) became BIGINT and refused numbers of 20 to 38 digits."""
    if isinstance(expression, exp.DataType):
        if expression.this == _Type.DECIMAL and not expression.expressions:
            return exp.DataType.build("DECIMAL(38, 0)")
        if expression.this in (_Type.INT, _Type.SMALLINT, _Type.TINYINT):
            return exp.DataType.build("BIGINT")
    return expression


def _transform_with_repairs(
    cursor: FakeSnowflakeCursor, expression: Expr, params: Any
) -> Expr:
    if isinstance(expression, exp.Select):
        expression.set("expressions", [_named(each) for each in expression.expressions])
    # From the leaves up, because a replaced node is not looked into again.
    for node in reversed(list(expression.bfs())):
        repaired = node
        for repair in _TREE_REPAIRS:
            repaired = repair(repaired)
        if node is expression:
            expression = repaired
        elif repaired is not node:
            node.replace(repaired)
    if isinstance(expression, exp.Merge) and cursor not in uncounted:
        action = exp.column("merge_action")
        expression.set("returning", exp.Returning(expressions=[action]))
    return _transform(cursor, expression, params)


def _named(value: Expr) -> Expr:
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
        return node
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


_TREE_REPAIRS = (
    _binary,
    _hex_number,
    _to_varchar,
    _try_to_moment,
    _parse_json,
    _to_json,
    _keys,
    _real_moments,
)


def _execute_with_repairs(
    cursor: FakeSnowflakeCursor, transformed: Expr, params: Any = None
) -> None:
    """Symptom: an error of DuckDB became an HTTP 500, which the connector retries."""
    try:
        _execute(cursor, transformed, params)
        if isinstance(transformed, exp.Merge) and cursor not in uncounted:
            _execute(cursor, _merge_counts(cursor, transformed))
    except duckdb.Error as error:
        message = " ".join(str(error).split())[:_LONGEST_MESSAGE]
        raise ProgrammingError(msg=message, errno=100000, sqlstate="XX000") from error


def _merge_counts(cursor: FakeSnowflakeCursor, merge: exp.Merge) -> Expr:
    table = cursor._arrow_table
    counts: list[Any] = pc.value_counts(table.column(0)).to_pylist() if table else []
    done = {each["values"]: each["counts"] for each in counts}
    possible = {
        "inserted": ("INSERT", exp.Insert),
        "updated": ("UPDATE", exp.Update),
        "deleted": ("DELETE", exp.Var),
    }
    branches = [when.args["then"] for when in merge.args["whens"].expressions]
    shown = exp.select(
        *(
            exp.alias_(
                exp.Literal.number(done.get(action, 0)),
                f"number of rows {what}",
                quoted=True,
            )
            for what, (action, kind) in possible.items()
            if any(isinstance(branch, kind) for branch in branches)
        )
    )
    shown.set("merge_counts", True)
    return shown


def _inline_variables(cursor: FakeSnowflakeCursor, sql: str) -> str:
    """Symptom: a dollar sign in a text or a name was taken for a session variable."""
    variables = cursor._conn.variables
    return variables.inline_variables(sql) if variables._variables else sql


def _timestamps(moments: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Symptom: a NULL timestamp arrived as 1970-01-01."""
    if isinstance(moments, pa.ChunkedArray):
        moments = moments.combine_chunks()
    filled = _timestamp_struct(pc.fill_null(moments, pa.scalar(0, moments.type)))
    return pa.StructArray.from_arrays(
        filled.flatten(), fields=list(filled.type), mask=moments.is_null()
    )


def _table_comment(catalog: str, schema: str, table: str, comment: str) -> str:
    """Symptom: a comment with an apostrophe failed the statement."""
    parts = (str(part).replace("'", "''") for part in (catalog, schema, table, comment))
    return _insert_table_comment(*parts)
