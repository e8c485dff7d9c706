"""Snowflake as it stands beside what was deployed to it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runtime.contract.names import literal
from runtime.contract.snowflake_names import (
    LANDING,
    SnowflakeColumn,
    landing_columns,
    target_columns,
)
from runtime.contract.snowflake_pipes import is_version, pipe_name
from runtime.contract.specs import Table
from runtime.ops.warehouse import Warehouse

Place = tuple[str, str]


def changed_by_hand(
    tables: Sequence[Table], warehouse: Warehouse
) -> dict[str, tuple[str, ...]]:
    """Return what differs from the deployed contracts, by source table.

    Args:
        tables: The tables as deployed.
        warehouse: Where they land.

    Raises:
        WarehouseError: When Snowflake refuses or does not answer.
    """
    if not tables:
        return {}
    columns = standing_columns(tables, warehouse)
    pipes = {row["name"] for row in warehouse.pipes(LANDING)}
    return {
        table.contract.table: tuple(_told(table, warehouse, columns, pipes))
        for table in tables
    }


def standing_columns(
    tables: Sequence[Table], warehouse: Warehouse
) -> Mapping[Place, set[str]]:
    """Return the columns of what stands in the tables' schemas, by schema and table.

    Args:
        tables: The tables.
        warehouse: Where they land.

    Raises:
        WarehouseError: When Snowflake refuses or does not answer.
    """
    schemas = sorted({LANDING, *(table.spec.target[0] for table in tables)})
    rows: list[dict[str, Any]] = warehouse.ask(
        "SELECT table_schema, table_name, column_name "
        f"FROM {warehouse.objects.qualified('INFORMATION_SCHEMA', 'COLUMNS')} "
        f"WHERE table_schema IN ({', '.join(map(literal, schemas))})"
    )
    found: dict[Place, set[str]] = {}
    for row in rows:
        place = (row["table_schema"], row["table_name"])
        found.setdefault(place, set()).add(row["column_name"])
    return found


def _told(
    table: Table,
    warehouse: Warehouse,
    columns: Mapping[Place, set[str]],
    pipes: set[str],
) -> Iterator[str]:
    objects = warehouse.objects
    wanted: tuple[tuple[Place, tuple[SnowflakeColumn, ...]], ...] = (
        ((LANDING, objects.landing(table)), landing_columns(table)),
        (table.spec.target, target_columns(table)),
    )
    for place, declared in wanted:
        name, there = objects.qualified(*place), columns.get(place)
        if there is None:
            yield f"{name} is not there: the deployment makes it, empty"
            continue
        missing = [column.name for column in declared if column.name not in there]
        more = sorted(there - {column.name for column in declared})
        if missing:
            yield f"{name} lacks {', '.join(missing)}: changed by hand"
        if more:
            yield f"{name} also has {', '.join(more)}: made by hand, and stays"
    own, base = pipe_name(objects, table), objects.pipes(table)
    if own not in pipes:
        yield f"pipe {objects.qualified(LANDING, own)} is not there: files wait"
    for name in sorted(pipes - {own}):
        if is_version(name, base):
            yield f"pipe {objects.qualified(LANDING, name)} is an older one, and goes"
