"""System functions and history tables inside a SELECT."""

from collections.abc import Callable

import sqlglot
from sqlglot import Expr, exp

from infra.local.snowflake.reader import Name, Reader
from infra.local.snowflake.streams import HIDDEN
from runtime.contract.errors import WarehouseError
from runtime.contract.names import literal

_LAST_PART = r"""TRIM(REGEXP_SUBSTR({}, '("[^"]+"|[^.]+)$'), '"')"""
_FOLDER = "REGEXP_REPLACE(location, '^s3://[^/]+/', '')"
_HISTORIES = ("COPY_HISTORY", "TASK_HISTORY")


def rewrite_functions(
    reader: Reader,
    pipe_status: Callable[[Name], str],
    stream_has_data: Callable[[Name], bool],
) -> str:
    """Return a query with our functions replaced by what they yield."""
    words = {token.text.upper() for token in reader.tokens}
    ours = [word for word in words if word.startswith("SYSTEM$") or word in _HISTORIES]
    if not ours:
        return reader.sql
    tree = sqlglot.parse_one(reader.sql, read="snowflake")
    for node in list(tree.find_all(exp.Anonymous)):
        name = node.name.upper()
        if name.startswith("SYSTEM$"):
            named = Reader(
                node.expressions[0].name, reader.database, reader.schema
            ).name()
            if name == "SYSTEM$PIPE_STATUS":
                node.replace(exp.Literal.string(pipe_status(named)))
            elif name == "SYSTEM$STREAM_HAS_DATA":
                node.replace(exp.Boolean(this=stream_has_data(named)))
    for source in list(tree.find_all(exp.TableFromRows)):
        _replace_history(source, reader)
    return tree.sql(dialect="snowflake")


def _replace_history(source: exp.TableFromRows, reader: Reader) -> None:
    function = source.find(exp.Anonymous)
    if function is None or function.name.upper() not in _HISTORIES:
        return
    database, home = reader.database, source.this.this
    if isinstance(home, exp.Dot):
        database = home.this.name if home.this.quoted else home.this.name.upper()
    given = {arg.name.upper(): arg.expression for arg in function.expressions}
    if function.name.upper() == "TASK_HISTORY":
        sql = _task_history(database, given)
    else:
        sql = _copy_history(database, given, reader)
    if given:
        raise WarehouseError(
            f"argument of {function.name} is not known to the local Snowflake",
            got=", ".join(given),
        )
    query = sqlglot.parse_one(f"SELECT * FROM ({sql}) AS history", read="snowflake")
    subquery = query.args["from_"].this
    if source.args.get("alias"):
        subquery.set("alias", source.args["alias"])
    source.replace(subquery)


def _task_history(database: str, given: dict[str, Expr]) -> str:
    where = "TRUE"
    if "TASK_NAME" in given:
        where += f" AND name = {literal(given.pop('TASK_NAME').name.upper())}"
    if "SCHEDULED_TIME_RANGE_START" in given:
        since = given.pop("SCHEDULED_TIME_RANGE_START").sql(dialect="snowflake")
        where += f" AND scheduled_time >= {since}"
    limit = given.pop("RESULT_LIMIT", exp.Literal.number(100)).sql()
    return (
        f"SELECT * FROM {_hidden(database)}._TASK_RUNS WHERE {where}"
        f" ORDER BY scheduled_time DESC LIMIT {limit}"
    )


def _copy_history(database: str, given: dict[str, Expr], reader: Reader) -> str:
    if "TABLE_NAME" not in given:
        raise WarehouseError("COPY_HISTORY needs TABLE_NAME => '…'")
    table = Reader(given.pop("TABLE_NAME").name, database, reader.schema or "PUBLIC")
    where = f"table_name = {literal(table.name().sql)} AND state <> 'PENDING'"
    if "START_TIME" in given:
        since = given.pop("START_TIME").sql(dialect="snowflake")
        where += f" AND loaded_at >= {since}"
    return (
        f"SELECT SUBSTR(file, LENGTH({_FOLDER}) + 1) AS file_name,"
        " location AS stage_location, loaded_at AS last_load_time, row_count,"
        " row_count AS row_parsed, error AS first_error_message,"
        " IFF(error IS NULL, 0, 1) AS error_count,"
        " IFF(state = 'LOADED', 'Loaded', 'Load failed') AS status,"
        f" {_LAST_PART.format('table_name')} AS table_name,"
        f" NULLIF({_LAST_PART.format('pipe')}, '') AS pipe_name,"
        " received_at AS pipe_received_time"
        f" FROM {_hidden(database)}._LOADS WHERE {where}"
    )


def _hidden(database: str) -> str:
    return Name("", database, HIDDEN).sql
