"""Snowflake foundation: database, schemas, warehouse, and two roles with their rights.

The loader owns what moves rows and runs the merges; the reader sees targets and
status. Schemas have managed access: the loader cannot hand out what it owns.
"""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_snowflake as snowflake

from infra.stack import StackSettings
from runtime.contract.names import snowflake_name
from runtime.contract.snowflake_names import LANDING, SYNC
from runtime.contract.specs import Table

_SUSPEND_SECONDS = 60
_LANDING_RIGHTS = ["USAGE", "CREATE TABLE", "CREATE STREAM", "CREATE PIPE"]
_LANDING_RIGHTS += ["CREATE TASK", "CREATE STAGE"]


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
        self._account_rights(loader, reader, args)
        self._own_schemas(loader, reader)
        for schema in sorted({table.spec.target[0] for table in args.tables}):
            self._target_schema(schema, loader, reader)
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
        return snowflake.Schema(
            f"{self._name}-schema-{schema}",
            database=self._database.name,
            name=schema,
            is_transient="true" if transient else "false",
            with_managed_access="true",
            opts=pulumi.ResourceOptions(
                parent=self, retain_on_delete=self._protected and not transient
            ),
        )

    def _grant(
        self, what: str, role: snowflake.AccountRole, privileges: list[str], **on: Any
    ) -> None:
        """Grant privileges on what one of the provider's `on_` arguments says."""
        grant = snowflake.GrantPrivilegesToAccountRole(
            f"{self._name}-{what}",
            account_role_name=role.name,
            privileges=privileges,
            opts=self._child,
            **on,
        )
        self._granted.append(grant.id)

    def _account_rights(
        self,
        loader: snowflake.AccountRole,
        reader: snowflake.AccountRole,
        args: SnowflakeFoundationArgs,
    ) -> None:
        warehouse = snowflake.Warehouse(
            f"{self._name}-warehouse",
            name=self._wanted.warehouse,
            warehouse_size=self._wanted.warehouse_size,
            auto_suspend=_SUSPEND_SECONDS,
            auto_resume="true",
            initially_suspended=True,
            opts=self._child,
        )
        use = ["USAGE"]
        tasks = ["EXECUTE TASK", "EXECUTE MANAGED TASK"]
        self._grant("loader-tasks", loader, tasks, on_account=True)
        self._grant(
            "loader-lake",
            loader,
            use,
            **_on("INTEGRATION", args.integration),
        )
        self._grant("loader-errors", loader, use, **_on("INTEGRATION", args.errors))
        self._grant(
            "loader-warehouse",
            loader,
            use,
            **_on("WAREHOUSE", warehouse.name),
        )
        own = {
            snowflake_name(t.spec.warehouse) for t in args.tables if t.spec.warehouse
        }
        for other in sorted(own - {self._wanted.warehouse}):
            self._grant(
                f"loader-warehouse-{other}",
                loader,
                use,
                **_on("WAREHOUSE", other),
            )
        for kind, role in (("loader", loader), ("reader", reader)):
            self._grant(
                f"{kind}-database",
                role,
                use,
                **_on("DATABASE", self._database.name),
            )

    def _own_schemas(
        self, loader: snowflake.AccountRole, reader: snowflake.AccountRole
    ) -> None:
        landing, sync = self._schema(LANDING, transient=True), self._schema(SYNC)
        self._grant("loader-landing", loader, _LANDING_RIGHTS, **_within(landing))
        self._grant(
            "loader-sync",
            loader,
            ["USAGE", "CREATE TABLE", "CREATE VIEW", "CREATE PIPE"],
            **_within(sync),
        )
        self._grant("reader-sync", reader, ["USAGE"], **_within(sync))
        for plural in ("TABLES", "VIEWS"):
            self._grant(
                f"reader-sync-{plural.lower()}",
                reader,
                ["SELECT"],
                **_future(plural, sync),
            )

    def _target_schema(
        self,
        name: str,
        loader: snowflake.AccountRole,
        reader: snowflake.AccountRole,
    ) -> None:
        schema = self._schema(name)
        self._grant(
            f"loader-{name}", loader, ["USAGE", "CREATE TABLE"], **_within(schema)
        )
        self._grant(f"reader-{name}", reader, ["USAGE"], **_within(schema))
        self._grant(
            f"reader-{name}-tables", reader, ["SELECT"], **_future("TABLES", schema)
        )


def _on(kind: str, name: pulumi.Input[str]) -> dict[str, Any]:
    return {"on_account_object": {"object_type": kind, "object_name": name}}


def _within(schema: snowflake.Schema) -> dict[str, Any]:
    return {"on_schema": {"schema_name": schema.fully_qualified_name}}


def _future(plural: str, schema: snowflake.Schema) -> dict[str, Any]:
    """Whatever will be made in the schema; it is empty when this is granted."""
    place = {"object_type_plural": plural, "in_schema": schema.fully_qualified_name}
    return {"on_schema_object": {"future": place}}
