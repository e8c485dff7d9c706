"""What `doctor` finds, one fact at a time, and how checks report it.

A check never ends the examination: what keeps it from an answer is a finding too.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError
from hvac.exceptions import VaultError
from msgspec import Struct
from requests import RequestException

from runtime.contract.errors import ConfigErrors, SyncError
from runtime.contract.names import SourceName
from runtime.contract.settings import ExporterSettings
from runtime.ops.ledger import LedgerReader
from runtime.ops.warehouse import Warehouse

Part = Literal["source", "tables", "stack", "snowflake"]
Severity = Literal["ok", "note", "warning", "error"]
Where = Literal["aurora", "snowflake", "shell", "person"]

FINE = "as it should be"
_FAILURES = (
    SyncError,
    psycopg2.Error,
    BotoCoreError,
    ClientError,
    VaultError,
    RequestException,
)


class Finding(Struct, frozen=True, kw_only=True):
    """One fact that syncs depend on.

    Attributes:
        part: What was examined.
        check: Name of the check.
        severity: `error` stops syncs or will, `warning` costs or may lose something,
            `note` is worth knowing.
        subject: The table, role, pipe or other thing.
        fact: How it is.
        remedy: Statements or commands as they can be run; for a person, words.
        where: Where the remedy is run.
    """

    part: Part
    check: str
    severity: Severity
    subject: str
    fact: str
    remedy: tuple[str, ...] = ()
    where: Where = "person"


class Site(ABC):
    """A deployed stack, and the ways to all that its syncs depend on.

    Attributes:
        config: The `sync_config.json` that the command reads.
    """

    config: Path

    @property
    @abstractmethod
    def options(self) -> str:
        """What names the stack in a command; with a blank before, or empty."""

    @property
    @abstractmethod
    def deploy(self) -> str:
        """The command that deploys the stack, and mends what was changed by hand."""

    @property
    @abstractmethod
    def function(self) -> str:
        """Name of the deployed function."""

    @property
    @abstractmethod
    def ledger(self) -> LedgerReader:
        """The deployed ledger."""

    @abstractmethod
    def aurora(self) -> Any:
        """Open an operator's session on Aurora; see `runtime.ops.source`."""

    @abstractmethod
    def warehouse(self) -> AbstractContextManager[Warehouse]:
        """Open a connection to Snowflake."""

    @abstractmethod
    def client(self, service: str) -> Any:
        """Return a boto3 client with the operator's rights."""

    @abstractmethod
    def vault(self, settings: ExporterSettings) -> Any:
        """Return an hvac client with the operator's own token, if there is one."""

    @abstractmethod
    def export_role(self) -> str | None:
        """Return the ARN of the role with which the cluster writes to S3."""

    @abstractmethod
    def cluster_id(self) -> str | None:
        """Return the resource id of the cluster that the function reads, as it is now.

        None when it cannot be told.
        """

    @abstractmethod
    def rule(self, source: SourceName) -> str:
        """Return the name of a table's schedule rule."""


def deployed_settings(site: Site) -> ExporterSettings:
    """Return what the deployed function knows of its surroundings.

    Raises:
        ConfigError: When nothing is deployed, or of another version.
        ClientError: When AWS refuses.
    """
    found = site.client("lambda").get_function_configuration(FunctionName=site.function)
    return ExporterSettings.from_env(found.get("Environment", {}).get("Variables", {}))


class Report:
    """The findings of one part, in order.

    Args:
        part: What is examined.
    """

    def __init__(self, part: Part) -> None:
        self.findings: list[Finding] = []
        self._part = part
        self._check, self._subject = "", ""

    @contextmanager
    def check(self, name: str, subject: str, ok: str = FINE) -> Iterator[None]:
        """Run one check: without any finding it is ok, with a failure it is an error.

        Args:
            name: Name of the check.
            subject: What it is about.
            ok: The fact when nothing is found.
        """
        self._check, self._subject = name, subject
        before = len(self.findings)
        try:
            yield
        except ConfigErrors as errors:
            for problem in errors.problems:
                self.failed(problem)
        except _FAILURES as error:
            self.failed(error)
        if len(self.findings) == before:
            self.add("ok", ok)

    def failed(self, error: Exception, *remedy: str, where: Where = "person") -> None:
        """Report an error that was raised; its own remedy unless one is given."""
        if isinstance(error, SyncError):
            text = str(error).removesuffix(f"; {error.remedy}")
            text = text.removeprefix(f"{self._subject}: ")
            remedy = remedy or ((error.remedy,) if error.remedy else ())
        else:
            text = f"cannot be asked ({error})"
            remedy = remedy or ("check address, network, credentials and rights",)
        self.add("error", text, *remedy, where=where)

    def add(
        self, severity: Severity, fact: str, *remedy: str, where: Where = "person"
    ) -> None:
        """Report a fact of the check that runs.

        Args:
            severity: How bad it is.
            fact: How it is.
            remedy: What to do, as it can be run there.
            where: Where to run it.
        """
        self.findings.append(
            Finding(
                part=self._part,
                check=self._check,
                severity=severity,
                subject=self._subject,
                fact=" ".join(fact.split()),
                remedy=remedy,
                where=where,
            )
        )

    def aurora(self, severity: Severity, fact: str, *statements: str) -> None:
        """Report a fact that statements in Aurora mend."""
        self.add(severity, fact, *statements, where="aurora")

    def snowflake(self, severity: Severity, fact: str, *statements: str) -> None:
        """Report a fact that statements in Snowflake mend."""
        self.add(severity, fact, *statements, where="snowflake")

    def shell(self, severity: Severity, fact: str, *commands: str) -> None:
        """Report a fact that commands mend."""
        self.add(severity, fact, *commands, where="shell")
