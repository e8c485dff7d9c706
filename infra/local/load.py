"""`local load`: somebody's own database, into the local Aurora.

Whatever the source is, it becomes the text of a plain dump, whose statements run in
one transaction: a load is there as a whole or not at all. With an extension missing
here, what hangs on it is left out and told; any other failure ends the load.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any

import psycopg2
from msgspec import Struct

from infra.local.dump_source import Dump, opened
from infra.local.dump_text import PIECE, DumpText, Rows
from infra.local.exclusive import exclusive
from infra.local.parts import CONNECT_SECONDS, LocalError, LocalStack
from infra.local.postgres import aurora_dsn
from runtime.ops.suggest import list_tables

Progress = Callable[[str, str], None]
_TOLD_EVERY = 8 * PIECE
# Owners and rights, roles and databases; the bounds of transactions; what pg_dump
# wrote for older servers; extensions whose stand-in is there from the start; and
# commands of psql that change nothing.
_LEFT_OUT = re.compile(rb"""(?isx)
    (?: (?:GRANT|REVOKE|ALTER\s+DEFAULT\s+PRIVILEGES) \s [^;]*
      | ALTER \s [^;']* \s OWNER\s+TO \s [^;']*
      | (?:CREATE|ALTER|DROP|COMMENT\s+ON) \s+ (?:ROLE|USER|DATABASE) \s [^;]*
      | (?:BEGIN|COMMIT|START\s+TRANSACTION) (?:\s+(?:TRANSACTION|WORK))? \s*
      | CREATE\s+SCHEMA \s+ (?:IF\s+NOT\s+EXISTS\s+)? public \s*
      | SET\s+default_with_oids \s [^;]*
      | (?:CREATE|COMMENT\s+ON)\s+EXTENSION \s+ (?:IF\s+NOT\s+EXISTS\s+)?
        (?:aws_s3|aws_commons) \b [^;]*
    ) ; \s* \Z
    | \\ (?:c|connect|restrict|unrestrict|pset|echo|timing) \s""")
_REFUSED = re.compile(rb"(?i)\\|ROLLBACK\b")
_EXTENSION = re.compile(
    rb'(?is)(CREATE|COMMENT\s+ON)\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?"?([\w-]+)"?'
    rb'(?:\s+WITH)?(?:\s+SCHEMA\s+("[^"]+"|\w+))?'
)
# Their results differ in form, not in use.
_STAND_INS = {
    "uuid-ossp": ("uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4")
}
# Undefined type, function, table, column, schema; a file that is not installed.
_FOR_WANT = ("42704", "42883", "42P01", "42703", "3F000", "58P01")
_THERE = ("42P06", "42P07", "42710", "42723", "23505")


class Loaded(Struct, frozen=True, kw_only=True):
    """What a load brought.

    Attributes:
        tables: How many tables there are more than before.
        bytes: Size of the dump's text.
        missing: Extensions that the local server lacks.
        failed: What could not be made for want of them.
    """

    tables: int
    bytes: int
    missing: tuple[str, ...]
    failed: tuple[str, ...]


def load(stack: LocalStack, source: str, progress: Progress) -> Loaded:
    """Put schema and rows of a database or dump into the local Aurora, or nothing.

    Args:
        stack: A stack whose part `postgres` runs.
        source: A libpq connection string, or path of a dump in any of pg_dump's forms.
        progress: Told what is being loaded.

    Raises:
        ConfigError: The source is neither.
        LocalError: It cannot be read, or the local Aurora refuses it.
    """
    with (
        exclusive(stack),
        closing(
            psycopg2.connect(aurora_dsn(stack), connect_timeout=CONNECT_SECONDS)
        ) as connection,
    ):
        # The driver does not hear Ctrl-C while the server works: another thread waits.
        with opened(source) as dump, ThreadPoolExecutor(max_workers=1) as aside:
            done = aside.submit(_Load(connection, dump, progress).run)
            try:
                wait([done])
            except KeyboardInterrupt:
                while not done.done():
                    dump.close()
                    connection.cancel()
                    wait([done], timeout=0.2)
                if done.exception() is not None:
                    raise
            return done.result()


class _Load:
    def __init__(self, connection: Any, dump: Dump, progress: Progress) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._dump = dump
        self._progress = progress
        self._missing: list[str] = []
        self._failed: dict[str, None] = {}

    def run(self) -> Loaded:
        """Run all statements, then commit."""
        text, told = DumpText(self._dump.file), 0
        before = len(list_tables(self._cursor))
        self._cursor.execute(self._dump.preamble)
        try:
            for statement, rows in text.statements():
                if rows is not None or text.bytes - told > _TOLD_EVERY:
                    told = text.bytes
                    table = statement.split()[1].decode() if rows else "statements"
                    self._progress("load", f"{told / 1e6:,.0f} MB so far, {table}")
                self._take(statement, rows)
        except psycopg2.Error as error:
            if not text.truncated:
                raise _failure(error) from error
        self._dump.finish()
        if text.truncated:
            raise LocalError(
                "is damaged or ends in the middle, so nothing was loaded",
                subject="dump",
                remedy="get it whole",
            )
        after = len(list_tables(self._cursor))
        self._connection.commit()
        return Loaded(
            tables=after - before,
            bytes=text.bytes,
            missing=tuple(self._missing),
            failed=tuple(self._failed),
        )

    def _take(self, statement: bytes, rows: Rows | None) -> None:
        extension = _EXTENSION.match(statement)
        if _LEFT_OUT.match(statement):
            return
        if _REFUSED.match(statement):
            raise LocalError(
                "is a script, not a dump, so nothing was loaded",
                subject="dump",
                got=statement.split(b"\n")[0].decode(errors="replace").strip(),
                remedy="run it with psql on a database, then load that",
            )
        if extension and not self._has_extension(name := extension[2].decode()):
            if extension[1].upper() == b"CREATE":
                self._missing.append(name)
                for function in _STAND_INS.get(name, ()):
                    schema = (extension[3] or b"public").decode()
                    self._cursor.execute(
                        f"CREATE OR REPLACE FUNCTION {schema}.{function}() "
                        "RETURNS uuid LANGUAGE sql "
                        "AS 'SELECT pg_catalog.gen_random_uuid()'"
                    )
            return
        if not self._missing:
            self._run(statement, rows)
            return
        self._cursor.execute("SAVEPOINT statement")
        try:
            self._run(statement, rows)
        except psycopg2.Error as error:
            if error.pgcode not in _FOR_WANT:
                raise
            self._cursor.execute("ROLLBACK TO SAVEPOINT statement")
            self._failed[str(error.diag.message_primary)] = None
        self._cursor.execute("RELEASE SAVEPOINT statement")

    def _run(self, statement: bytes, rows: Rows | None) -> None:
        if rows is None:
            self._cursor.execute(statement)
        else:
            self._cursor.copy_expert(statement, rows)

    def _has_extension(self, name: str) -> bool:
        self._cursor.execute(
            "SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = %s", (name,)
        )
        return self._cursor.fetchone() is not None


def _failure(error: psycopg2.Error) -> LocalError:
    fact = error.diag.message_primary or " ".join(str(error).split())
    remedy = (
        "mend the source, or make what it needs with `aurora-sync local sql aurora`"
    )
    if error.pgcode in _THERE:
        remedy = "load into an empty stack: `aurora-sync local down`, then `local up`"
    return LocalError(
        f"does not load, so nothing was loaded: {fact}",
        subject="dump",
        got=f"SQLSTATE {error.pgcode}",
        remedy=remedy,
    )
