"""A table with a column of every type of the type table, for reviewers and tests."""

import re
from collections.abc import Iterable, Iterator

from psycopg2 import sql

from runtime.contract.names import quote_postgres, quote_snowflake_column
from runtime.contract.snowflake_names import (
    SnowflakeColumn,
    SnowflakeObjects,
    target_columns,
)
from runtime.contract.snowflake_sql import merge_block
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.exporter.source import select
from tests.contract.test_type_map import ALL
from tests.factories import ORDERS, make_column, make_table


def every_type() -> Table:
    """Return the table; its keys are not compared, as that shows no further type."""
    columns, taken = list(ORDERS), {"order_id", "status", "updated_at"}
    for number, column in enumerate(ALL, start=len(ORDERS) + 1):
        name = re.sub(r"\W+", "_", column.base_type).strip("_")
        if column.kind != "base":
            name = f"{column.kind}_{name}"
        if name in taken:
            name = f"{name}_{number}"
        taken.add(name)
        kept = {"kind": column.kind, "nullable": True}
        columns.append(make_column(number, name, column.base_type, **kept))
    return make_table(tuple(columns), table_name="public.every_type", deletes="ignore")


def type_sql(objects: SnowflakeObjects) -> Iterator[tuple[str, str]]:
    """Yield what each type is exported, landed, kept and compared as.

    Args:
        objects: Where the sync lives.
    """
    table, folder = every_type(), "sql/every_type"
    yield f"{folder}/export.sql", _export(table)
    yield f"{folder}/target_columns.txt", columns_text(target_columns(table))
    yield f"{folder}/task.sql", merge_block(objects, table)
    yield f"{folder}/types.txt", "\n".join(_ways(table))


def columns_text(columns: Iterable[SnowflakeColumn]) -> str:
    """Render columns, a line for each."""
    return "\n".join(
        f"{column.name} {column.type}{'' if column.nullable else ' NOT NULL'}"
        for column in columns
    )


def _export(table: Table) -> str:
    """Render the export's query with a line for each column."""
    query = _plain(select(table, sql.SQL("TRUE")))
    columns = [
        rule_for(c).export(quote_postgres(c.name)) for _, c in table.contract.live
    ]
    one_line, lines = f"SELECT {', '.join(columns)} FROM", ",\n  ".join(columns)
    assert one_line in query
    return query.replace(one_line, f"SELECT\n  {lines}\nFROM")


def _plain(query: sql.Composable) -> str:
    """Render a query as psycopg2 would if it had a connection."""
    if isinstance(query, sql.Composed):
        return "".join(map(_plain, query.seq))
    if isinstance(query, sql.Identifier):
        return ".".join(map(quote_postgres, query.strings))
    assert isinstance(query, sql.SQL)
    return query.string


def _ways(table: Table) -> Iterator[str]:
    """Yield each column's way there and back, from declared type to compared text."""
    for place, column in table.contract.live:
        rule = rule_for(column)
        target = quote_snowflake_column(column.target)
        text = rule.text(target) if rule.text else "compared by value"
        kind = "" if column.kind == "base" else f" ({column.kind})"
        yield f"{column.base_type}{kind}"
        yield f"  export  {rule.export(quote_postgres(column.name))}"
        yield f"  type    {rule.type}"
        yield f"  cast    {rule.cast(f'c{place}')}"
        yield f"  text    {text}"
