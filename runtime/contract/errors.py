"""One tree of errors; each says the fact, the subject, what was got and the remedy.

    SyncError
    ├── ConfigError             what a person wrote: config, contract, event, argument
    ├── CredentialError         Vault refuses: policy, role, path
    │   └── VaultUnavailableError      sealed, unreachable, overloaded (retryable)
    ├── SourceError             Aurora refuses: rights, row security, reader endpoint
    │   ├── SourceUnavailableError     cannot connect, cancelled, timed out (retryable)
    │   ├── ExportError                aws_s3 could not write the object (retryable)
    │   └── DriftError                 the table no longer matches its contract
    ├── LakeError               S3 refuses the manifest or the listing (retryable)
    ├── LedgerError             DynamoDB refuses or contradicts (retryable)
    │   ├── LeaseHeldError             another run of this table is under way
    │   └── FencedError                our lease was taken over: stop, nothing is lost
    ├── QueueError              SQS does not take a load's messages (retryable)
    └── WarehouseError          Snowflake refuses or does not answer

Drivers' errors are wrapped once, where the driver is called, with `from`.
"""

from typing import Any, ClassVar


class SyncError(Exception):
    """Base of all errors that a person or an alarm is meant to read.

    Args:
        fact: What is wrong, as a lower-case clause.
        subject: What it is about: a file and key, a table, a role.
        got: The offending value, shown as it is.
        allowed: What would have been accepted.
        remedy: What to do now.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        fact: str,
        *,
        subject: str = "",
        got: Any = None,
        allowed: str = "",
        remedy: str = "",
    ) -> None:
        super().__init__(fact)
        self.fact = fact
        self.subject = subject
        self.got = got
        self.allowed = allowed
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.subject}: {self.fact}" if self.subject else self.fact
        if self.got is not None:
            text += f"; got {self.got!r}"
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.remedy:
            text += f"; {self.remedy}"
        return text

    def as_dict(self) -> dict[str, Any]:
        """Return the error for logs, results and `--json` output."""
        return {
            "code": self.code,
            "retryable": self.retryable,
            "message": str(self),
            "remedy": self.remedy,
        }


class ConfigError(SyncError):
    """Something a person wrote is wrong: config, contract, event or argument."""

    code = "config"


class ConfigErrors(ConfigError):
    """All configuration errors of one reading, told at once.

    Args:
        problems: The single errors, at least one.
    """

    def __init__(self, problems: list[ConfigError]) -> None:
        super().__init__(f"{len(problems)} configuration errors")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class CredentialError(SyncError):
    """Vault refuses the login or the credentials."""

    code = "credential"


class VaultUnavailableError(CredentialError):
    """Vault is sealed, unreachable or overloaded."""

    code = "vault_unavailable"
    retryable = True


class SourceError(SyncError):
    """Aurora refuses the work for a reason that stays until someone mends it."""

    code = "source"


class SourceUnavailableError(SourceError):
    """Aurora cannot be reached, or cancelled the statement."""

    code = "source_unavailable"
    retryable = True


class ExportError(SourceError):
    """The aws_s3 extension could not write the object."""

    code = "export"
    retryable = True


class DriftError(SourceError):
    """The source table no longer matches its contract."""

    code = "drift"


class LakeError(SyncError):
    """S3 refuses a manifest or an object."""

    code = "lake"
    retryable = True


class LedgerError(SyncError):
    """The ledger refuses a change or contradicts itself."""

    code = "ledger"
    retryable = True


class LeaseHeldError(LedgerError):
    """Another run of this table holds the lease.

    Attributes:
        times: How often in a row the lease was found held.
        seconds_left: When it expires at the latest.
    """

    code = "lease_held"
    times: int = 1
    seconds_left: int = 0


class FencedError(LedgerError):
    """The lease was taken over by a newer run; this one must stop."""

    code = "fenced"


class QueueError(SyncError):
    """The queue of a load's chunks refuses or does not answer."""

    code = "queue"
    retryable = True


class WarehouseError(SyncError):
    """Snowflake refuses a statement or does not answer."""

    code = "warehouse"
