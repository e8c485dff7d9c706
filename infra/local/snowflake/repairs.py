"""Repairs of fakesnow 0.12.1; each names the symptom it mends.

fakesnow turns Snowflake SQL into DuckDB's by passing the syntax tree through many
small functions, which its cursor looks up by name at every statement: replacing the
name replaces the function.
"""

import logging
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

from infra.local.snowflake.tree_repairs import TREE_REPAIRS, named

_Type = exp.DataType.Type
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
        expression.set("expressions", [named(each) for each in expression.expressions])
    # From the leaves up, because a replaced node is not looked into again.
    for node in reversed(list(expression.bfs())):
        repaired = node
        for repair in TREE_REPAIRS:
            repaired = repair(repaired)
        if node is expression:
            expression = repaired
        elif repaired is not node:
            node.replace(repaired)
    if isinstance(expression, exp.Merge) and cursor not in uncounted:
        action = exp.column("merge_action")
        expression.set("returning", exp.Returning(expressions=[action]))
    return _transform(cursor, expression, params)


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
