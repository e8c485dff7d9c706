"""A watermark column's own units: what an instant is in it, and a distance."""

import re
from datetime import timedelta

from psycopg2 import sql

from runtime.contract.columns import INTEGERS
from runtime.contract.specs import Table


def kind(table: Table) -> str:
    """Return the type that values of the column are compared in."""
    plain = table.watermark.plain_type
    return "bigint" if plain in INTEGERS else plain


def step(table: Table) -> timedelta:
    """Return the least step of the column, to which a writer's clock is rounded."""
    if table.spec.per_second:
        return timedelta(seconds=1) / table.spec.per_second
    digits = re.search(r"\((\d)\)", table.watermark.base_type)
    return timedelta(seconds=10.0 ** -int(digits[1] if digits else 6))


def of_instant(table: Table, instant: sql.Composable) -> sql.Composable:
    """Render the value at which everything of before an instant has ended.

    Args:
        table: The table.
        instant: A timestamp with time zone.
    """
    if table.spec.per_second:
        return sql.SQL(
            "pg_catalog.floor(EXTRACT(EPOCH FROM {})::pg_catalog.numeric * {})"
            "::pg_catalog.int8"
        ).format(instant, sql.Literal(table.spec.per_second))
    if kind(table) == "timestamp with time zone":
        return instant
    zone = sql.Literal(table.spec.watermark_timezone)
    local = sql.SQL("({} AT TIME ZONE {})").format(instant, zone)
    if kind(table) == "date":
        # Today is unfinished: whatever was read of it, more may come.
        return sql.SQL("({}::pg_catalog.date - 1)").format(local)
    return local


def distance(table: Table, upper: sql.Composable, value: str) -> sql.Composable:
    """Render how far a value lies below another, in seconds; of ids, in ids.

    Args:
        table: The table.
        upper: The upper value, of the type `kind`.
        value: SQL of the lower one.
    """
    below = sql.SQL("({} - {})").format(upper, sql.SQL(value))
    if kind(table) == "bigint":
        unit = table.spec.per_second or 1
        return sql.SQL("({}::pg_catalog.float8 / {})").format(below, sql.Literal(unit))
    if kind(table) == "date":
        return sql.SQL("({} * 86400)::pg_catalog.float8").format(below)
    return sql.SQL("EXTRACT(EPOCH FROM {})::pg_catalog.float8").format(below)
