"""Specs, contracts and tables for tests: say only what the test is about."""

from typing import Any

import msgspec

from runtime.contract.column_rules import wishes
from runtime.contract.columns import Column
from runtime.contract.specs import Table, TableContract, TableSpec

Columns = tuple[tuple[str, str] | Column, ...]
# The columns of the table that most tests speak of, in file order.
ORDERS: Columns = (
    ("order_id", "bigint"),
    ("status", "text"),
    ("updated_at", "timestamp with time zone"),
)


def make_entry(**keys: Any) -> dict[str, Any]:
    """Return an entry of `sync_config.json`; the three required keys by default."""
    return {
        "table_name": "public.orders",
        "watermark_col": "updated_at",
        "primary_key": "order_id",
    } | keys


def make_spec(**keys: Any) -> TableSpec:
    """Return a spec; keys have the form they have in the config file."""
    return msgspec.convert(make_entry(**keys), TableSpec)


def make_column(attnum: int, name: str, base_type: str, **fields: Any) -> Column:
    """Return a contract column; declared type and base type are the same."""
    known: dict[str, Any] = {"type": base_type, "base_type": base_type}
    known |= {"nullable": False} | fields
    return Column(attnum=attnum, name=name, **known)


def make_contract(columns: Columns = ORDERS, **fields: Any) -> TableContract:
    """Return a contract of these columns, given as name and type or complete."""
    made = tuple(
        column if isinstance(column, Column) else make_column(number, *column)
        for number, column in enumerate(columns, start=1)
    )
    known: dict[str, Any] = {"table": "public.orders", "base_width": len(made)}
    return TableContract(columns=made, **known | fields)


def make_table(
    columns: Columns = ORDERS,
    base_width: int | None = None,
    **keys: Any,
) -> Table:
    """Return a table; keys are those of the config entry."""
    spec = make_spec(**keys)
    fields = {} if base_width is None else {"base_width": base_width}
    contract = make_contract(columns, table=str(spec.source), **fields)
    return Table(spec=spec, contract=treated(contract, spec))


def treated(contract: TableContract, spec: TableSpec) -> TableContract:
    """Return a contract that has frozen what the entry does to rows and columns."""
    columns = tuple(
        msgspec.structs.replace(column, **wishes(column.name, spec))
        for column in contract.columns
    )
    return msgspec.structs.replace(contract, columns=columns, where=spec.where)
