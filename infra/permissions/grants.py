"""What the two roles in Snowflake may do: the table of grants.

The loader owns what moves rows and runs the merges; the reader sees targets and
status. `SnowflakeFoundation` registers these rows, one resource each, and
`tests/infra/test_grants.py` holds that they are what the program's objects need, and
no more.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from runtime.contract.snowflake_names import LANDING, SYNC

Role = Literal["loader", "reader"]
Kind = Literal[
    "ACCOUNT", "INTEGRATION", "WAREHOUSE", "DATABASE", "SCHEMA", "TABLES", "VIEWS"
]
# Rows with these names stand for one row for each schema of targets, or for each
# warehouse that a table names for itself.
TARGET, OWN_WAREHOUSE = "{schema}", "{own_warehouse}"


@dataclass(frozen=True)
class Grant:
    """Privileges of one role in one place.

    Attributes:
        name: Name of the resource, after the role's.
        role: Who gets them.
        privileges: What is granted.
        kind: Kind of the place; TABLES and VIEWS are those that a schema will hold.
        on: The place: a schema's name, or what the stack has of the kind; empty for
            the account.
        why: What they are needed for.
    """

    name: str
    role: Role
    privileges: tuple[str, ...]
    kind: Kind
    on: str
    why: str

    def of(self, name: str) -> "Grant":
        """Return the row for the schema or warehouse of that name."""
        return replace(self, name=self.name.replace(self.on, name), on=name)


GRANTS = (
    Grant(
        "tasks",
        "loader",
        ("EXECUTE TASK", "EXECUTE MANAGED TASK"),
        "ACCOUNT",
        "",
        "merges are tasks on a warehouse; the sweep is one without",
    ),
    Grant(
        "lake",
        "loader",
        ("USAGE",),
        "INTEGRATION",
        "{lake_integration}",
        "stages read the lake through it",
    ),
    Grant(
        "errors",
        "loader",
        ("USAGE",),
        "INTEGRATION",
        "{errors_integration}",
        "pipes and tasks tell their errors through it",
    ),
    Grant(
        "warehouse",
        "loader",
        ("USAGE",),
        "WAREHOUSE",
        "{warehouse}",
        "merges run on it",
    ),
    Grant(
        f"warehouse-{OWN_WAREHOUSE}",
        "loader",
        ("USAGE",),
        "WAREHOUSE",
        OWN_WAREHOUSE,
        "merges of a table with a warehouse of its own run there",
    ),
    Grant("database", "loader", ("USAGE",), "DATABASE", "{database}", "it is in there"),
    Grant("database", "reader", ("USAGE",), "DATABASE", "{database}", "it is in there"),
    Grant(
        "landing",
        "loader",
        (
            "USAGE",
            "CREATE TABLE",
            "CREATE STREAM",
            "CREATE PIPE",
            "CREATE TASK",
            "CREATE STAGE",
        ),
        "SCHEMA",
        LANDING,
        "what moves rows is made here, and belongs to the loader",
    ),
    Grant(
        "sync",
        "loader",
        ("USAGE", "CREATE TABLE", "CREATE VIEW", "CREATE PIPE"),
        "SCHEMA",
        SYNC,
        "manifests, receipts and the views of them",
    ),
    Grant("sync", "reader", ("USAGE",), "SCHEMA", SYNC, "status is read here"),
    Grant(
        "sync-tables", "reader", ("SELECT",), "TABLES", SYNC, "receipts and quarantine"
    ),
    Grant("sync-views", "reader", ("SELECT",), "VIEWS", SYNC, "status"),
    Grant(
        TARGET,
        "loader",
        ("USAGE", "CREATE TABLE"),
        "SCHEMA",
        TARGET,
        "targets are made here, and belong to the loader",
    ),
    Grant(TARGET, "reader", ("USAGE",), "SCHEMA", TARGET, "targets are read here"),
    Grant(
        f"{TARGET}-tables", "reader", ("SELECT",), "TABLES", TARGET, "targets are read"
    ),
)


def grants(
    schemas: Iterable[str] = (), own_warehouses: Iterable[str] = ()
) -> Iterator[Grant]:
    """Return the grants of a stack.

    Args:
        schemas: The schemas of its targets.
        own_warehouses: Warehouses that tables name for themselves.
    """
    names = {TARGET: list(schemas), OWN_WAREHOUSE: list(own_warehouses)}
    for row in GRANTS:
        if row.on in names:
            yield from (row.of(name) for name in names[row.on])
        else:
            yield row
