"""Where a dump's text comes from: a database, or a file in any of pg_dump's forms."""

import gzip
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn, quote_ident

from infra.local.parts import LocalError
from infra.local.postgres import DATABASE, programs
from runtime.contract.errors import ConfigError

_SECONDS = 10
_URLS = ("postgresql://", "postgres://")
_ALLOWED = (
    "postgresql://user@host/database, or a dump: plain SQL (also .gz), or pg_dump's "
    "custom, tar or directory format"
)
_STRIPPED = (
    "--no-owner --no-privileges --no-publications --no-subscriptions "
    "--no-tablespaces --no-table-access-method --no-security-labels"
).split()


class Dump:
    """The text of a dump, being read.

    Args:
        file: Where to read it.
        preamble: SQL to run before it.
        program: The program that writes it, if any.
        said: What that program said.
    """

    def __init__(
        self,
        file: IO[bytes],
        preamble: str = "SELECT 1",
        program: subprocess.Popen[bytes] | None = None,
        said: IO[bytes] | None = None,
    ) -> None:
        self.file = file
        self.preamble = preamble
        self._program = program
        self._said = said

    def close(self) -> None:
        """End the program behind it."""
        if self._program is not None:
            self._program.kill()

    def finish(self) -> None:
        """Make sure that the text was whole.

        Raises:
            LocalError: The program failed.
        """
        if self._program is None or self._said is None or self._program.wait() == 0:
            return
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().split("\n")
        raise LocalError(
            "fails, so nothing was loaded",
            subject="pg_dump or pg_restore",
            got=" | ".join(lines[-3:]),
            remedy="mend what it says, or dump it yourself and load the file",
        )


@contextmanager
def opened(source: str) -> Iterator[Dump]:
    """Open a source; what was started for it ends with the context.

    Args:
        source: A libpq connection string, or the path of a dump.

    Raises:
        ConfigError: It is neither.
        LocalError: The database cannot be reached, or a program is missing.
    """
    path = Path(source)
    if source.startswith(_URLS) or ("=" in source and not path.exists()):
        address, secret, preamble, program = _database(source)
        argv = [program, *_STRIPPED, "--no-password", f"--dbname={address}"]
        # The environment is not in the list of processes; a command line is.
        with _running(argv, os.environ | secret, preamble) as dump:
            yield dump
        return
    head = b"PGDMP" if path.is_dir() else _head(path)
    if head[:5] == b"PGDMP" or head[257:] == b"ustar":
        argv = [str(programs() / "pg_restore"), *_STRIPPED, "--file=-", source]
        with _running(argv, {}, "SELECT 1") as dump:
            yield dump
    else:
        packed = head[:2] == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            yield Dump(cast(IO[bytes], file))


def _head(path: Path) -> bytes:
    """Return the first bytes of a file, up to the mark of a tar archive."""
    try:
        with path.open("rb") as file:
            head = file.read(262)
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})",
            subject=f"source {path}",
            allowed=_ALLOWED,
            remedy="check the path and its rights",
        ) from None
    if (
        b"\0" in head
        and head[:2] != b"\x1f\x8b"
        and head[:5] != b"PGDMP"
        and head[257:] != b"ustar"
    ):
        raise ConfigError(
            "is not a dump: neither text nor an archive of pg_dump",
            subject=f"source {path}",
            allowed=_ALLOWED,
            remedy="unpack it, or convert UTF-16 text to UTF-8",
        )
    return head


@contextmanager
def _running(argv: list[str], env: dict[str, str], preamble: str) -> Iterator[Dump]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        output = cast(IO[bytes], process.stdout)
        try:
            yield Dump(output, preamble, process, said)
        finally:
            process.kill()
            process.wait()
            output.close()


def _database(source: str) -> tuple[str, dict[str, str], str, str]:
    """Return address without password, the password, SQL to begin with, pg_dump."""
    try:
        parts: dict[str, Any] = parse_dsn(source)
    except psycopg2.ProgrammingError:
        # The driver's words quote what it stumbles over, which may be the password.
        raise ConfigError(
            "is no address that libpq can read",
            subject="source",
            allowed=_ALLOWED,
            remedy="write special characters of the password as %40, or leave it to "
            "PGPASSWORD or ~/.pgpass",
        ) from None
    if "sslpassword" in parts:
        raise ConfigError(
            "names a password of a key, which pg_dump would show to everyone here",
            subject="source",
            remedy="dump it yourself and load the file",
        )
    try:
        with closing(
            psycopg2.connect(**{"connect_timeout": _SECONDS, **parts})
        ) as session:
            with session.cursor() as cursor:
                cursor.execute("SHOW timezone")
                zone = quote_ident(cursor.fetchone()[0], session)
            version, encrypted = session.server_version, session.info.ssl_in_use
    except psycopg2.Error as error:
        raise LocalError(
            f"cannot be reached ({' '.join(str(error).split())})",
            subject="source database",
            remedy="check address, network and password",
        ) from None
    secret = {"PGPASSWORD": parts.pop("password")} if "password" in parts else {}
    # What `now()` means in a column without time zone moves along.
    preamble = f"ALTER DATABASE {DATABASE} SET timezone TO {zone};\n"
    return make_dsn(**parts), secret, preamble, pg_dump(version // 10000, encrypted)


def pg_dump(server: int, encrypted: bool) -> str:
    """Return a pg_dump that is not older than the server, and encrypts as asked.

    That of the wheel is built without TLS.
    """
    if not encrypted:
        return str(programs() / "pg_dump")
    found = shutil.which("pg_dump")
    if found is not None:
        said = subprocess.run(
            [found, "--version"], capture_output=True, text=True, timeout=_SECONDS
        ).stdout
        if int(said.split()[2].split(".")[0]) >= server:
            return found
    raise LocalError(
        f"no pg_dump that speaks TLS to PostgreSQL {server} is installed",
        subject="source database",
        got=said.strip() if found else None,
        remedy=f"apt-get install postgresql-client-{server} (of Debian, else of "
        "apt.postgresql.org), or load a dump made elsewhere",
    )
