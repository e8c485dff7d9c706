"""Whether Aurora understands an entry's `where`, and can tell it by the row alone."""

import json
from typing import Any

import psycopg2
from psycopg2 import sql

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.specs import TableSpec


def check_filter(cursor: Any, spec: TableSpec) -> None:
    """Let Aurora plan the condition; nothing is read.

    Args:
        cursor: Cursor of an open transaction, which goes on whatever is found.
        spec: The config entry; without `where` nothing is asked.

    Raises:
        ConfigErrors: When it is no condition of this table, or asks other tables: what
            changes there moves no watermark here.
    """
    if spec.where is None:
        return
    cursor.execute("SAVEPOINT filter")
    try:
        others = _subplans(cursor, spec, spec.where) - _subplans(cursor, spec, "TRUE")
    except (psycopg2.ProgrammingError, psycopg2.DataError) as error:
        cursor.execute("ROLLBACK TO SAVEPOINT filter")
        raise _wrong(spec, f"is no condition ({str(error).splitlines()[0]})") from error
    if others > 0:
        raise _wrong(spec, "has a subquery")


def _subplans(cursor: Any, spec: TableSpec, condition: str) -> int:
    """Count subqueries of a plan.

    Within CASE a parenthesis cannot close what is around it, and nothing of it becomes
    a join.
    """
    cursor.execute(
        sql.SQL(
            "EXPLAIN (FORMAT JSON, COSTS FALSE) SELECT 1 FROM {} "
            "WHERE CASE WHEN {}\nTHEN TRUE END"
        ).format(
            sql.Identifier(spec.source.schema, spec.source.name), sql.SQL(condition)
        )
    )
    [(plan,)] = cursor.fetchall()
    return json.dumps(plan).count('"Subplan Name"')


def _wrong(spec: TableSpec, fact: str) -> ConfigErrors:
    return ConfigErrors(
        [
            ConfigError(
                f"where {fact}",
                subject=spec.table_name,
                got=spec.where or "",
                allowed="an SQL condition on the row's own columns",
                remedy="correct it, or sync a view of the table that has it",
            )
        ]
    )
