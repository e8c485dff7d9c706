"""Rows that did not fit the target's types, still live in Aurora, and have not come."""

from collections.abc import Sequence
from typing import Any

from psycopg2 import sql

from runtime.contract.names import literal, quote_postgres
from runtime.contract.snowflake_names import QUARANTINE, SYNC
from runtime.contract.snowflake_waiting import waiting_rows
from runtime.contract.specs import Table
from runtime.ops.doctor_source import asking
from runtime.ops.findings import Report
from runtime.ops.warehouse import Warehouse

# Enough to tell that it is many.
_MOST_KEYS = 1000


def examine_quarantine(
    report: Report, session: Any, warehouse: Warehouse, tables: Sequence[Table]
) -> None:
    """Count what waits in quarantine, table by table.

    Args:
        report: Where findings go.
        session: A session with Aurora made by `runtime.ops.source.connect`.
        warehouse: The open connection with Snowflake.
        tables: The tables.
    """
    for table in tables:
        name = table.contract.table
        with asking(report, session, "quarantine", name, "empty") as cursor:
            waiting = _waiting(warehouse, table)
            if waiting:
                cursor.execute(_living(table, waiting, session))
                _tell(report, warehouse, name, cursor.fetchone()[0])


def _waiting(warehouse: Warehouse, table: Table) -> list[tuple[str, ...]]:
    """Return the keys, as texts, that no newer version has replaced in the target."""
    texts = ", ".join(f"l.c{place}" for place, _ in table.keys)
    rows = warehouse.ask(
        f"SELECT DISTINCT {texts} {waiting_rows(warehouse.objects, table)} "
        f"LIMIT {_MOST_KEYS}"
    )
    return [tuple(row.values()) for row in rows]


def _living(table: Table, keys: Sequence[tuple[str, ...]], session: Any) -> str:
    """Render the count of keys that Aurora has; what was deleted needs nobody."""
    given = ", ".join(
        "("
        + ", ".join(
            f"CAST({sql.Literal(text).as_string(session)} AS {column.type})"
            for (_, column), text in zip(table.keys, key, strict=True)
        )
        + ")"
        for key in keys
    )
    columns = ", ".join(quote_postgres(column.name) for _, column in table.keys)
    return (
        f"SELECT pg_catalog.count(*) FROM {table.spec.source.sql} "
        f"WHERE ({columns}) IN ({given})"
    )


def _tell(report: Report, warehouse: Warehouse, table: str, rows: int) -> None:
    if not rows:
        return
    quarantine = warehouse.objects.qualified(SYNC, QUARANTINE)
    many = " or more" if rows == _MOST_KEYS else ""
    report.snowflake(
        "warning",
        f"{rows}{many} rows do not fit the target's types; corrected in Aurora, they "
        "come with the next run, or with a repair where the watermark did not move",
        "SELECT key_text, column_name, value_text, reason, quarantined_at "
        f"FROM {quarantine} WHERE table_name = {literal(table)} "
        "ORDER BY quarantined_at DESC LIMIT 20",
    )
