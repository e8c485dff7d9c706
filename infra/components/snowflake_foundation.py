"""Snowflake foundation: database, schemas, warehouse, and two roles with their rights.

The loader owns what moves rows and runs the merges; the reader sees targets and
status. Schemas have managed access: the loader cannot hand out what it owns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_snowflake as snowflake

from infra.permissions.grants import Grant, Kind, Role, grants
from infra.stack import StackSettings
from runtime.contract.names import always_quoted, snowflake_name
from runtime.contract.snowflake_names import LANDING, SYNC
from runtime.contract.specs import Table

_SUSPEND_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class SnowflakeFoundationArgs:
    """Arguments of `SnowflakeFoundation`.

    Attributes:
        settings: The stack's settings.
        tables: All tables; their schemas and warehouses.
        integration: Storage integration that the loader's stages use.
        errors: Integration that errors of its pipes and tasks go through.
    """

    settings: StackSettings
    tables: tuple[Table, ...]
    integration: pulumi.Input[str]
    errors: pulumi.Input[str]


class SnowflakeFoundation(pulumi.ComponentResource):
    """What the deploying role owns.

    Attributes:
        loader: Name of the loading role, known once it has all its rights.
        reader: Name of the reading role.
    """

    def __init__(
        self,
        name: str,
        args: SnowflakeFoundationArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:SnowflakeFoundation", name, {}, opts)
        self._name = name
        self._wanted = args.settings.snowflake
        self._protected = args.settings.deletion_protection
        self._adopted = {
            table.spec.target[0]
            for table in args.tables
            if table.contract.table in args.settings.adopt
        }
        self._child = pulumi.ResourceOptions(parent=self)
        self._granted: list[pulumi.Output[str]] = []
        # The PUBLIC schema that comes with a database has no managed access.
        self._database = snowflake.Database(
            f"{name}-database",
            name=self._wanted.database,
            drop_public_schema_on_creation=True,
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=self._protected),
        )
        objects = args.settings.objects
        loader = self._role("loader", objects.loader)
        reader = self._role("reader", objects.reader)
        roles: Mapping[Role, snowflake.AccountRole]
        roles = {"loader": loader, "reader": reader}
        targets = sorted({table.spec.target[0] for table in args.tables})
        places = self._places(targets, args)
        own = {
            snowflake_name(t.spec.warehouse) for t in args.tables if t.spec.warehouse
        }
        for grant in grants(targets, sorted(own - {self._wanted.warehouse})):
            self._grant(grant, roles[grant.role], places)
        self.reader = reader.name
        # Quoted in its full name, which a preview does not know of a role that does
        # not exist yet: no provider tries to log in with it.
        self.loader: pulumi.Output[str] = pulumi.Output.all(
            loader.fully_qualified_name, *self._granted
        ).apply(lambda known: str(known[0]).strip('"'))
        self.register_outputs({"loader": self.loader, "reader": self.reader})

    def _role(self, kind: str, name: str) -> snowflake.AccountRole:
        role = snowflake.AccountRole(
            f"{self._name}-{kind}", name=name, opts=self._child
        )
        held = snowflake.GrantAccountRole(
            f"{self._name}-{kind}-held",
            role_name=role.name,
            parent_role_name=self._wanted.role,
            opts=self._child,
        )
        self._granted.append(held.id)
        return role

    def _schema(self, schema: str, *, transient: bool = False) -> snowflake.Schema:
        """A schema; that of a target that is taken over stands as well.

        Where it is in the state under the very id, Pulumi imports nothing.
        Source: https://www.pulumi.com/docs/iac/concepts/resources/options/import/ and
        https://www.pulumi.com/registry/packages/snowflake/api-docs/schema/#import
        """
        own = always_quoted(self._wanted.database, schema)
        return snowflake.Schema(
            f"{self._name}-schema-{schema}",
            database=self._database.name,
            name=schema,
            is_transient="true" if transient else "false",
            with_managed_access="true",
            opts=pulumi.ResourceOptions(
                parent=self,
                retain_on_delete=self._protected and not transient,
                import_=own if schema in self._adopted else None,
            ),
        )

    def _places(
        self, targets: list[str], args: SnowflakeFoundationArgs
    ) -> Mapping[str, pulumi.Input[str]]:
        """Make what is granted on; return the full names by what the rows call them."""
        warehouse = snowflake.Warehouse(
            f"{self._name}-warehouse",
            name=self._wanted.warehouse,
            warehouse_size=self._wanted.warehouse_size,
            auto_suspend=_SUSPEND_SECONDS,
            auto_resume="true",
            initially_suspended=True,
            opts=self._child,
        )
        schemas = {LANDING: self._schema(LANDING, transient=True)}
        schemas |= {name: self._schema(name) for name in (SYNC, *targets)}
        return {
            "{lake_integration}": args.integration,
            "{errors_integration}": args.errors,
            "{warehouse}": warehouse.name,
            "{database}": self._database.name,
            **{name: made.fully_qualified_name for name, made in schemas.items()},
        }

    def _grant(
        self,
        row: Grant,
        role: snowflake.AccountRole,
        places: Mapping[str, pulumi.Input[str]],
    ) -> None:
        grant = snowflake.GrantPrivilegesToAccountRole(
            f"{self._name}-{row.role}-{row.name}",
            account_role_name=role.name,
            privileges=list(row.privileges),
            opts=self._child,
            **_on(row.kind, places.get(row.on, row.on)),
        )
        self._granted.append(grant.id)


def _on(kind: Kind, name: pulumi.Input[str]) -> dict[str, Any]:
    """Return which of the provider's `on_` arguments says the place."""
    if kind == "ACCOUNT":
        return {"on_account": True}
    if kind == "SCHEMA":
        return {"on_schema": {"schema_name": name}}
    if kind in ("TABLES", "VIEWS"):
        # Whatever will be made in the schema; it is empty when this is granted.
        future = {"object_type_plural": kind, "in_schema": name}
        return {"on_schema_object": {"future": future}}
    return {"on_account_object": {"object_type": kind, "object_name": name}}
