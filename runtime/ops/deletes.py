"""Deletes that wait for a person: a reconcile that would remove too many rows."""

from typing import Any

from msgspec import Struct, convert

from runtime.contract.errors import ConfigError
from runtime.contract.names import literal
from runtime.contract.snowflake_names import LANDING, RECONCILES, SYNC
from runtime.contract.specs import Table
from runtime.ops.warehouse import Warehouse


class Decision(Struct, frozen=True, kw_only=True):
    """The last word on a table's deletes: a row of RECONCILES.

    Attributes:
        table_name: Source table.
        seal: Key of the file that lists the key files.
        stamp: Snapshot that all of the keys are younger than.
        key_count: Keys at the source.
        row_count: Living rows in the target.
        gone_count: Rows whose key is gone.
        missing_count: Keys without a living row in the target, but for rows that were
            not due yet and keys that ever were in quarantine.
        decision: `applied`, `braked` (more than `max_delete_fraction` would go),
            `unconfirmed` (no key at all, for the first time) or `approved`.
        decided_at: When, UTC.
    """

    table_name: str
    seal: str
    stamp: str
    key_count: int
    row_count: int
    gone_count: int
    decision: str
    decided_at: str
    missing_count: int = 0


def last_decisions(warehouse: Warehouse) -> dict[str, Decision]:
    """Return the last decision on each table that has one, by source table."""
    name = warehouse.objects.qualified(SYNC, RECONCILES)
    rows = warehouse.ask(
        "SELECT table_name, seal, stamp, key_count, row_count, gone_count, decision, "
        "decided_at::VARCHAR AS decided_at, "
        "COALESCE(missing_count, 0) AS missing_count "
        f"FROM {name} QUALIFY ROW_NUMBER() OVER "
        "(PARTITION BY table_name ORDER BY decided_at DESC, stamp DESC) = 1"
    )
    return {row["table_name"]: convert(row, Decision) for row in rows}


def approve(table: Table, warehouse: Warehouse) -> Decision:
    """Let deletes go ahead that the brake has stopped.

    Args:
        table: The table.
        warehouse: Where its target is.

    Returns:
        What was approved.

    Raises:
        ConfigError: When nothing waits.
        WarehouseError: When Snowflake refuses or does not answer.
    """
    found = last_decisions(warehouse).get(table.contract.table)
    if found is None or found.decision != "braked":
        raise ConfigError(
            "no deletes wait for approval",
            subject=f"table {table.contract.table}",
            got=found.decision if found else "none so far",
            remedy="see `aurora-sync status`",
        )
    values: list[Any] = [found.table_name, found.seal, found.stamp]
    counts = [found.key_count, found.row_count, found.gone_count]
    quoted = [*map(literal, values), *map(str, counts), "'approved'"]
    warehouse.ask(
        f"INSERT INTO {warehouse.objects.qualified(SYNC, RECONCILES)} "
        "(table_name, seal, stamp, key_count, row_count, gone_count, decision, "
        f"decided_at, missing_count) SELECT {', '.join(quoted)}, "
        f"CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6), {found.missing_count}"
    )
    task = warehouse.objects.qualified(LANDING, warehouse.objects.task(table))
    warehouse.ask(f"EXECUTE TASK {task}")
    return found
