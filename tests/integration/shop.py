"""Tables that runs are made to fail on; one deployment for all modules."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.adapter.retained import ADOPT
from runtime.contract.specs import Table
from tests.factories import make_column, make_table
from tests.integration.conftest import Sandbox
from tests.integration.refusing import Scene

_shops: dict[Path, "Shop"] = {}


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What runs are made to fail on: deployed, loaded, and due in each run.

    Attributes:
        orders: A table in a schema of its own.
        stock: A view whose rows can be made to fail or to take their time.
    """

    orders: Scene
    stock: Scene


_SHOP = """
CREATE SCHEMA shop;
CREATE TABLE shop.salaries (amount INTEGER);
CREATE TABLE shop.orders (
  order_id BIGINT PRIMARY KEY,
  status TEXT,
  amount NUMERIC(12, 2),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
INSERT INTO shop.orders SELECT g, 'new', g FROM generate_series(1, 10) AS g;
CREATE TABLE shop.pace (seconds FLOAT NOT NULL);
INSERT INTO shop.pace VALUES (0);
CREATE TABLE shop.parts (
  part_id BIGINT NOT NULL, divisor INTEGER NOT NULL, updated_at TIMESTAMPTZ
);
INSERT INTO shop.parts SELECT g, 1, NOW() FROM generate_series(1, 200) AS g;
CREATE VIEW shop.stock AS
  SELECT part_id, 100 / divisor AS share, updated_at,
    -- Slow rows are wide, so that each leaves the server at once.
    pg_sleep(seconds)::TEXT || repeat('-', CEIL(seconds)::INTEGER * 9000) AS pause
  FROM shop.parts, shop.pace;
"""


def shop(sandbox: Sandbox) -> Shop:
    """Return the shop of this stack: made once, deployed for each module."""
    if new := sandbox.folder not in _shops:
        sandbox.aurora(_SHOP)
        names, keys = ("orders", "stock"), {"orders": "order_id", "stock": "part_id"}
        _shops[sandbox.folder] = Shop(
            **{
                name: Scene(
                    sandbox=sandbox,
                    table=_table(sandbox, f"shop.{name}", primary_key=keys[name]),
                )
                for name in names
            }
        )
    found = _shops[sandbox.folder]
    tables = found.orders.table, found.stock.table
    if tables[0] not in sandbox.tables:
        sandbox.write_config(*sandbox.tables, *tables)
        if not new:
            # They left the config with the module before; their targets stayed.
            back = [table.spec.table_name for table in tables]
            sandbox.local.put_fact(ADOPT, back)
        sandbox.deploy()
    if new:
        for table in tables:
            sandbox.sync(table)
    return found


def _table(sandbox: Sandbox, name: str, **keys: Any) -> Table:
    """Return what the config and the contract say of a table or view in Aurora."""
    columns = sandbox.aurora(
        "SELECT a.attnum, a.attname,"
        " pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull"
        " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = %s::regclass"
        " AND a.attnum > 0 ORDER BY a.attnum",
        name,
    )
    return make_table(
        tuple(
            # The columns of a view are nullable; a key may not be.
            make_column(
                number, column, kind, nullable=nullable and column not in keys.values()
            )
            for number, column, kind, nullable in columns
        ),
        table_name=name,
        # What was written when the tests began is due in each run.
        lookback="PT1H",
        merge_interval="PT10S",
        # Other modules of the stack have an `orders`, too, whose target stays.
        target_schema="public",
        target_table=name.replace(".", "_"),
        **keys,
    )
