"""PostgreSQL's errors as ours, wrapped once, by SQLSTATE and never by message."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2 import errorcodes

from runtime.contract.errors import (
    DriftError,
    ExportError,
    SourceError,
    SourceUnavailableError,
    SyncError,
)


class TooLargeError(SourceUnavailableError):
    """An export does not fit the time or the file size: it must be cut smaller."""

    code = "too_large"


_RETRY = {
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
    errorcodes.TOO_MANY_CONNECTIONS,
    errorcodes.ADMIN_SHUTDOWN,
    errorcodes.CRASH_SHUTDOWN,
    errorcodes.CANNOT_CONNECT_NOW,
    errorcodes.IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
}

_NOT_INSTALLED = (errorcodes.INVALID_SCHEMA_NAME, errorcodes.UNDEFINED_FUNCTION)


@contextmanager
def told(subject: str, exporting: bool = False) -> Iterator[None]:
    """Turn the driver's errors into ours, once.

    Args:
        subject: What was being read.
        exporting: Whether Aurora was writing to S3.
    """
    try:
        yield
    except psycopg2.Error as error:
        raise _wrapped(error, subject, exporting) from error


def _wrapped(error: psycopg2.Error, subject: str, exporting: bool) -> SyncError:
    code = error.pgcode or ""
    diagnosis = error.diag
    text = " ".join((diagnosis.message_primary or str(error)).split())
    if diagnosis.message_detail:
        text += f" ({diagnosis.message_detail.strip()})"
    if code == errorcodes.QUERY_CANCELED:
        return TooLargeError(
            "Aurora cancelled the statement",
            subject=subject,
            got=text,
            remedy="the next run exports smaller chunks",
        )
    if code == errorcodes.INSUFFICIENT_PRIVILEGE:
        return SourceError(
            f"Aurora refuses: {text}",
            subject=subject,
            remedy="run the administrator's statements for this table again; where it "
            "has row security, let the exporter's role see every row",
        )
    if exporting and code in _NOT_INSTALLED:
        return SourceError(
            f"Aurora lacks what an export calls: {text}",
            subject=subject,
            remedy="run `aurora-sync doctor`: it prints the administrator's statements "
            "for the extension aws_s3 and for hash masks",
        )
    if code in (errorcodes.UNDEFINED_TABLE, errorcodes.INVALID_SCHEMA_NAME):
        return DriftError(
            f"the table is gone: {text}",
            subject=subject,
            remedy="restore it, or remove its entry from the config",
        )
    if code == errorcodes.UNDEFINED_COLUMN:
        return DriftError(
            f"a column is not what the contract says: {text}",
            subject=subject,
            remedy="run `aurora-sync contract refresh` for this table and deploy",
        )
    if not code or code in _RETRY or code.startswith("08"):
        return SourceUnavailableError(
            f"Aurora cannot be reached or gave up: {text}",
            subject=subject,
            remedy="check the cluster, its security group and the network",
        )
    if exporting and code[:2] in ("58", "XX", "38", "39"):
        return ExportError(
            f"Aurora could not write to S3: {text}",
            subject=subject,
            remedy="check the cluster's s3Export role, its policy and the KMS key",
        )
    if exporting and code.startswith("22"):
        return SourceError(
            f"Aurora refuses a value: {text}",
            subject=subject,
            got=f"SQLSTATE {code}",
            remedy="correct the row, or the entry's where; a column whose values are "
            "too long can be left behind with exclude or cut by a truncate mask",
        )
    return SourceError(
        f"Aurora refuses: {text}",
        subject=subject,
        got=f"SQLSTATE {code}",
        remedy="look the SQLSTATE up in the PostgreSQL manual",
    )
