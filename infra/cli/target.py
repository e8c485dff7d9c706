"""Which stack a command is about, and the ways to its databases and its function."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.bundle import CONFIG
from infra.local import aws, postgres, stack
from infra.local.adapter import landscape
from infra.local.parts import LocalStack
from infra.local.snowflake.part import connect as connect_snowflake
from runtime.contract.errors import ConfigError
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.ops import source
from runtime.ops.invoke import Exporter
from runtime.ops.ledger import LedgerReader
from runtime.ops.warehouse import Warehouse, refusals

LOCAL = landscape.STACK


class Target(ABC):
    """A stack that a command addresses.

    Attributes:
        config: The `sync_config.json` that the command reads.
    """

    config: Path

    @abstractmethod
    def aurora(self) -> Any:
        """Open an operator's session on Aurora; see `runtime.ops.source`."""

    @abstractmethod
    def warehouse(self) -> Any:
        """Open a connection to Snowflake, as a context: a `Warehouse`."""

    @property
    @abstractmethod
    def ledger(self) -> LedgerReader:
        """The deployed ledger."""

    @property
    @abstractmethod
    def exporter(self) -> Exporter:
        """The deployed function."""


class LocalTarget(Target):
    """A local stack whose parts run.

    Args:
        parts: The stack.
        config: The config to read; that of its deployment by default.
    """

    def __init__(self, parts: LocalStack, config: Path | None) -> None:
        self._parts = parts
        self.config = config or Path(parts.fact("config") or CONFIG)

    def aurora(self) -> Any:
        """Open a session as superuser."""
        return source.connect(postgres.aurora_dsn(self._parts))

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        """Open a connection to the local Snowflake."""
        database = landscape.SNOWFLAKE_DATABASE
        with refusals("local Snowflake"):
            connection = connect_snowflake(self._parts, database)
        try:
            # No statement of an operator's command names a warehouse.
            objects = SnowflakeObjects(database=database, warehouse="", stack=LOCAL)
            yield Warehouse(connection, objects)
        finally:
            connection.close()

    @property
    def ledger(self) -> LedgerReader:
        """The ledger in the emulated AWS."""
        client = aws.client(self._parts, "dynamodb")
        return LedgerReader(client, self._output("ledger"), LOCAL)

    @property
    def exporter(self) -> Exporter:
        """The function in the emulated AWS."""
        client = aws.client(self._parts, "lambda")
        return Exporter(client, self._output("function"), self.ledger)

    def _output(self, name: str) -> str:
        outputs = self._parts.fact("outputs") or {}
        if name not in outputs:
            raise ConfigError(
                "nothing is deployed on it",
                subject=f"local stack {self._parts.dir}",
                remedy="run `aurora-sync local deploy --config FILE`",
            )
        return str(outputs[name])


def resolve(name: str | None, folder: Path | None, config: Path | None) -> Target:
    """Return the stack that a command's options name.

    Args:
        name: `--stack`; the local one by default.
        folder: `--dir`, where a local stack stands.
        config: `--config`.

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
        return LocalTarget(stack.running(place), config)
    if folder is not None:
        raise ConfigError(
            "is for local stacks only",
            subject="--dir",
            got=str(folder),
            remedy="leave out --dir, or --stack",
        )
    from infra.cli.cloud import CloudTarget

    return CloudTarget(str(name), config or CONFIG)
