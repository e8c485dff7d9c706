"""Which stack a command is about, and the ways to its databases and its function."""

import shlex
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.bundle import CONFIG
from infra.local import aws, postgres, stack, vault
from infra.local.adapter import landscape
from infra.local.parts import LocalError, LocalStack
from infra.local.snowflake.part import connect as connect_snowflake
from infra.local.snowflake.part import is_ready
from infra.stack import StackSettings, rule_name
from runtime.contract.errors import ConfigError
from runtime.contract.names import SourceName
from runtime.contract.settings import ExporterSettings
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.ops import source
from runtime.ops.findings import Site
from runtime.ops.invoke import Exporter
from runtime.ops.ledger import LedgerReader
from runtime.ops.warehouse import QUESTION_SECONDS, Warehouse, refusals

LOCAL = landscape.STACK


class Target(Site):
    """A stack that a command addresses."""

    @property
    @abstractmethod
    def exporter(self) -> Exporter:
        """The deployed function, as commands invoke it."""


class _LocalWarehouse(Warehouse):
    """Looks before it asks: the connector knocks for minutes where nobody is."""

    def __init__(
        self, connection: Any, objects: SnowflakeObjects, parts: LocalStack
    ) -> None:
        super().__init__(connection, objects)
        self._parts = parts

    def ask(
        self, statement: str, timeout: int = QUESTION_SECONDS
    ) -> list[dict[str, Any]]:
        """Run a statement, as every `Warehouse` does."""
        if not is_ready(self._parts):
            raise LocalError(
                "does not answer any more",
                subject="local Snowflake",
                remedy="run `aurora-sync local up`; nothing is lost",
            )
        return super().ask(statement, timeout)


class LocalTarget(Target):
    """A local stack whose parts run.

    Args:
        parts: The stack; also an attribute.
        config: The config to read; that of its deployment by default.
    """

    def __init__(self, parts: LocalStack, config: Path | None) -> None:
        self.parts = parts
        self.config = config or Path(parts.fact("config") or CONFIG)

    @property
    def settings(self) -> StackSettings:
        """Settings that need no deployment; its network's ids are not among them."""
        return landscape.known_settings(self.parts)

    def aurora(self) -> Any:
        """Open a session as superuser."""
        return source.connect(postgres.aurora_dsn(self.parts))

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        """Open a connection to the local Snowflake."""
        database = landscape.SNOWFLAKE_DATABASE
        with refusals("local Snowflake"):
            connection = connect_snowflake(self.parts, database)
        try:
            # No statement of an operator's command names a warehouse.
            objects = SnowflakeObjects(database=database, warehouse="", stack=LOCAL)
            yield _LocalWarehouse(connection, objects, self.parts)
        finally:
            connection.close()

    @property
    def ledger(self) -> LedgerReader:
        """The ledger in the emulated AWS."""
        return LedgerReader(self.client("dynamodb"), self._output("ledger"), LOCAL)

    @property
    def exporter(self) -> Exporter:
        """The function in the emulated AWS."""
        return Exporter(self.client("lambda"), self.function, self.ledger)

    @property
    def options(self) -> str:
        """The folder, unless it is the usual one."""
        usual = self.parts.dir == stack.DEFAULT_FOLDER.resolve()
        return "" if usual else f" --dir {shlex.quote(str(self.parts.dir))}"

    @property
    def deploy(self) -> str:
        """Running the program again mends all that it makes."""
        return f"aurora-sync local deploy{self.options}"

    @property
    def function(self) -> str:
        """Name of the function in the emulated AWS."""
        return self._output("function")

    def client(self, service: str) -> Any:
        """Return a client of the emulated AWS."""
        return aws.client(self.parts, service)

    def vault(self, settings: ExporterSettings) -> Any:
        """Return a client with the root token."""
        return vault.vault_client(self.parts)

    def export_role(self) -> str | None:
        """Return the role that the program associated with the cluster."""
        role: str | None = self.parts.fact("aurora_role_arn")
        return role

    def cluster_id(self) -> str | None:
        """Return what the database is told apart by."""
        return postgres.resource_id(self.parts)

    def rule(self, source: SourceName) -> str:
        """Return the name of a table's rule."""
        return rule_name(LOCAL, source)

    def _output(self, name: str) -> str:
        outputs = self.parts.fact("outputs") or {}
        if name not in outputs:
            raise ConfigError(
                "nothing is deployed on it",
                subject=f"local stack {self.parts.dir}",
                remedy="run `aurora-sync local deploy --config FILE`",
            )
        return str(outputs[name])


def resolve(
    name: str | None, folder: Path | None, config: Path | None, *, whole: bool = True
) -> Target:
    """Return the stack that a command's options name.

    Args:
        name: `--stack`; the local one by default.
        folder: `--dir`, where a local stack stands.
        config: `--config`.
        whole: Refuse a local stack some of whose parts do not run.

    Raises:
        ConfigError: When there is no such stack.
        LocalError: When the local stack does not run.
    """
    if name in (None, LOCAL):
        place = folder or stack.DEFAULT_FOLDER
        if name is None and not LocalStack(place).exists:
            raise ConfigError(
                "no local stack is up, and no other is named",
                subject=str(place),
                allowed=f"--stack {LOCAL} (default) with --dir, or --stack NAME",
                remedy="run `aurora-sync local up`, or name a stack with --stack",
            )
        parts = LocalStack(place)
        return LocalTarget(
            stack.running(place) if whole or not parts.exists else parts, config
        )
    if folder is not None:
        raise ConfigError(
            "is for local stacks only",
            subject="--dir",
            got=str(folder),
            remedy="leave out --dir, or --stack",
        )
    from infra.cli.cloud import CloudTarget

    return CloudTarget(str(name), config or CONFIG)
