"""Aurora as an operator's command sees it: a session that prints as the export does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

from runtime.contract.dialect import session_options
from runtime.contract.errors import ConfigError, SourceError, SourceUnavailableError

CONNECT_SECONDS = 10
_LOCK_SECONDS = 30
# Reading a whole table to compare it may take long; nothing else here does.
STATEMENT_SECONDS = 6 * 3600


def connect(dsn: str) -> Any:
    """Open a read-only session in which all reads of a transaction agree.

    Args:
        dsn: A libpq connection string; what it leaves out comes from libpq's own
            environment variables.

    Raises:
        SourceUnavailableError: When there is no connection to be had.
    """
    with told("Aurora"):
        connection = psycopg2.connect(
            dsn,
            connect_timeout=CONNECT_SECONDS,
            application_name="aurora-sync operator",
            keepalives_idle=30,
            tcp_user_timeout=60_000,
            options=f"{session_options()} -c row_security=off"
            f" -c lock_timeout={_LOCK_SECONDS * 1000}"
            f" -c statement_timeout={STATEMENT_SECONDS * 1000}",
        )
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    return connection


@contextmanager
def told(subject: str) -> Iterator[None]:
    """Turn the driver's errors into ours, once.

    Args:
        subject: What was being read.
    """
    try:
        yield
    except psycopg2.ProgrammingError as error:
        if error.pgcode is None:
            # No server said so: the connection string itself has a wrong form.
            raise ConfigError(
                f"address has a wrong form ({_text(error)})",
                subject=subject,
                remedy="correct PGHOST, PGPORT, PGDATABASE and their like",
            ) from error
        raise _refused(subject, error) from error
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise SourceUnavailableError(
            f"cannot be reached or gave up ({_text(error)})",
            subject=subject,
            remedy="check address, network and credentials",
        ) from error
    except psycopg2.Error as error:
        raise _refused(subject, error) from error


def _refused(subject: str, error: psycopg2.Error) -> SourceError:
    return SourceError(
        f"Aurora refuses ({_text(error)})",
        subject=subject,
        got=f"SQLSTATE {error.pgcode}",
        remedy="check the rights of the user and the contract of the table",
    )


def _text(error: psycopg2.Error) -> str:
    text = error.diag.message_primary or str(error)
    return " ".join(text.split())
