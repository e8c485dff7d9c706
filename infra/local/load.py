"""`local load`: somebody's own database, into the local Aurora.

Whatever the source is, it becomes the text of a plain dump, which psql runs in one
transaction. That is prepared first, and committed when psql and pg_dump have ended
well: a load is there as a whole or not at all. The psql is that of the wheel.
"""

import re
import secrets
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any

import psycopg2
from msgspec import Struct
from psycopg2.extensions import parse_dsn

from infra.local.dump_source import PIECE, Dump, opened
from infra.local.dump_text import DumpText
from infra.local.postgres import aurora_dsn, programs
from infra.local.processes import LocalError, exclusive
from infra.local.stack import running
from runtime.ops.suggest import list_tables

Progress = Callable[[str, str], None]
_TOLD_EVERY = 8 * PIECE
# Undefined type, function, table, column, schema; a file that is not installed.
_FOR_WANT = ("42704", "42883", "42P01", "42703", "3F000", "58P01")
_ERROR = re.compile(r"(?:ERROR|FATAL):  (\w{5}): (.*)")
_EMPTY = "load into an empty stack: `aurora-sync local down`, then `local up`"
_REMEDIES = {
    "42P06": _EMPTY,
    "42P07": _EMPTY,
    "42710": _EMPTY,
    "42723": _EMPTY,
    "23505": _EMPTY,
    "42704": "make what is missing with `aurora-sync local sql aurora`, load again",
}


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


def load(folder: Path, source: str, progress: Progress) -> Loaded:
    """Put schema and rows of a database or dump into the local Aurora, or nothing.

    Args:
        folder: Folder of a running stack.
        source: A libpq connection string, or path of a dump in any of pg_dump's forms.
        progress: Told what is being loaded.

    Raises:
        ConfigError: The source is neither.
        LocalError: It cannot be read, or the local Aurora refuses it.
    """
    stack = running(folder)
    with exclusive(stack), closing(psycopg2.connect(aurora_dsn(stack))) as session:
        session.autocommit = True
        with session.cursor() as cursor, opened(source) as dump:
            before = len(list_tables(cursor))
            run = _Run(cursor, aurora_dsn(stack))
            try:
                run.feed(dump, progress)
                failed = run.judged(dump)
                cursor.execute("COMMIT PREPARED %s", (run.name,))
            finally:
                # Ctrl-C included: nothing is left half done.
                with suppress(psycopg2.errors.UndefinedObject):
                    cursor.execute("ROLLBACK PREPARED %s", (run.name,))
            return Loaded(
                tables=len(list_tables(cursor)) - before,
                bytes=run.bytes,
                missing=tuple(run.text.missing),
                failed=failed,
            )


class _Run:
    """One psql, and what it said."""

    def __init__(self, cursor: Any, dsn: str) -> None:
        self._cursor = cursor
        self._address = parse_dsn(dsn)
        self._key = secrets.token_hex(16)
        self.name = f"aurora-sync load {secrets.token_hex(8)}"
        self.bytes = 0
        # With all that hangs on a missing extension the rest still goes on.
        tolerant = "\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on"
        self.text = DumpText(
            self._has_extension,
            f"\\unrestrict {self._key}\n{tolerant}\n\\restrict {self._key}\n".encode(),
        )

    def feed(self, dump: Dump, progress: Progress) -> None:
        """Run a dump's text up to a prepared transaction."""
        options = ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=on"]
        options += ["--set=VERBOSITY=verbose", f"--host={self._address['host']}"]
        options += [f"--port={self._address['port']}"]
        options += [f"--username={self._address['user']}"]
        options += [f"--dbname={self._address['dbname']}"]
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [programs() / "psql", *options],
                env={
                    "PGPASSWORD": self._address["password"],
                    "PGCLIENTENCODING": "UTF8",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )
            assert process.stdin is not None
            try:
                # It may have ended at an error already.
                with suppress(BrokenPipeError), process.stdin:
                    self._write(process.stdin, dump, progress)
                progress("load", "waiting for the server to finish")
                self._status = process.wait()
            finally:
                process.kill()
                process.wait()
            said.seek(0)
            self._said = said.read(PIECE).decode(errors="replace")

    def _write(self, out: IO[bytes], dump: Dump, progress: Progress) -> None:
        # A dump may come from anywhere: no command of psql in it is obeyed.
        out.write(f"BEGIN;\n{dump.preamble}\\restrict {self._key}\n".encode())
        told, table = 0, ""
        for piece in self.text.filtered(dump.pieces()):
            out.write(piece)
            self.bytes += len(piece)
            if self.text.table != table or self.bytes - told > _TOLD_EVERY:
                told, table = self.bytes, self.text.table
                progress("load", f"{table or 'schema'}, {told / 1e6:,.0f} MB so far")
        if not self.text.truncated:
            # Without it, the end of psql is the end of the transaction.
            out.write(f"\nPREPARE TRANSACTION '{self.name}';\n".encode())

    def _has_extension(self, name: str) -> bool:
        self._cursor.execute(
            "SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = %s", (name,)
        )
        return self._cursor.fetchone() is not None

    def judged(self, dump: Dump) -> tuple[str, ...]:
        """Return what failed for want of an extension.

        Raises:
            LocalError: For any other failure.
        """
        if "backslash commands are restricted" in self._said:
            raise LocalError(
                "has commands of psql in it, which could run programs here, so nothing "
                "was loaded",
                subject="dump",
                remedy="run that script on a database with psql, then load that",
            )
        errors = _ERROR.findall(self._said)
        for code, fact in errors:
            if self.name in fact:
                # The last statement became part of one that the dump leaves open.
                break
            if not self.text.missing or code not in _FOR_WANT:
                raise LocalError(
                    f"does not load, so nothing was loaded: {fact}",
                    subject="dump",
                    got=f"SQLSTATE {code}",
                    remedy=_REMEDIES.get(code, "mend the source and load again"),
                )
        if self._status == 0:
            dump.finish()
        if self._status != 0 or self.text.truncated:
            raise LocalError(
                "ends in the middle, so nothing was loaded",
                subject="dump",
                got=None if errors else " ".join(self._said.split())[-300:] or None,
                remedy="get it whole",
            )
        return tuple(fact for _, fact in errors)
