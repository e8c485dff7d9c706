"""Databases and schemas: a database is one DuckDB file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.instance import FakeSnow
from snowflake.connector.errors import ProgrammingError

from infra.local.snowflake.loads import LOADS_DDL, Loads
from infra.local.snowflake.objects import Catalog, missing, status_sql
from infra.local.snowflake.pipes import Pipes
from infra.local.snowflake.reader import Name, Option, Reader, known_options
from infra.local.snowflake.streams import HIDDEN, Streams
from infra.local.snowflake.tasks import RUNS_DDL

# Kept for nobody: the local Snowflake has no time travel.
_OPTIONS = {
    "DATA_RETENTION_TIME_IN_DAYS": Option(),
    "MAX_DATA_EXTENSION_TIME_IN_DAYS": Option(),
    "COMMENT": Option(),
}


class Containers:
    """All databases and schemas.

    Args:
        catalog: Loses what stands in a dropped container.
        snow: The repaired fakesnow.
        streams: Dropped or made stale with their container.
        pipes: Dropped with their container.
        loads: Forgets what was loaded there.
        folder: Holds the databases' files.
    """

    def __init__(
        self,
        catalog: Catalog,
        snow: FakeSnow,
        streams: Streams,
        pipes: Pipes,
        loads: Loads,
        folder: Path,
    ) -> None:
        self._catalog = catalog
        self._snow = snow
        self._streams = streams
        self._pipes = pipes
        self._loads = loads
        self._folder = folder

    def open_all(self) -> None:
        """Attach the databases that an earlier process made."""
        self._snow.create_database_on_connect = True
        for file in sorted(self._folder.glob("*.db")):
            self._snow.connect(file.stem).close()
            self._prepare(file.stem)
        self._snow.create_database_on_connect = False

    def check_schema(self, name: Name) -> None:
        """Check that an object's schema exists.

        Raises:
            ProgrammingError: It does not.
        """
        if not self._has(name.database, name.schema):
            raise missing("SCHEMA", Name(name.database, name.schema, ""))

    def create(
        self, reader: Reader, plain: Callable[[str], Any], replace: bool
    ) -> str | None:
        """Make a database or schema and move the session into it."""
        kind = reader.identifier()
        exists_ok = reader.take("IF", "NOT", "EXISTS")
        name = self._read_name(kind, reader)
        reader.take("WITH", "MANAGED", "ACCESS")
        known_options(reader.options(), _OPTIONS, kind.lower())
        reader.finish()
        if self._has(name.database, name.schema):
            if exists_ok:
                return status_sql(f"{name.sql} already exists, statement succeeded.")
            if not replace:
                raise ProgrammingError(
                    msg=f"Object '{name.sql}' already exists.",
                    errno=2002,
                    sqlstate="42710",
                )
            self._remove(name)
        if not name.schema:
            plain(f"CREATE DATABASE {name.sql}")
            self._prepare(name.database)
            plain(f"USE SCHEMA {name.sql}.PUBLIC")
        plain(f"CREATE {kind} IF NOT EXISTS {name.sql}")
        return None

    def drop(self, reader: Reader, session: FakeSnowflakeConnection) -> str:
        """Remove a database or schema with all that stands in it."""
        kind = reader.identifier()
        exists_only = reader.take("IF", "EXISTS")
        name = self._read_name(kind, reader)
        reader.take("CASCADE")
        reader.finish()
        if self._has(name.database, name.schema):
            self._remove(name)
            if _within(Name(session.database or "", session.schema or "", ""), name):
                # DuckDB runs nothing more in a session whose schema is gone.
                session._duck_conn.execute("USE memory")
                session.database, session.database_set = None, False
                session._schema, session.schema_set = None, False
        elif not exists_only:
            raise missing(kind, name)
        return status_sql(f"{name.sql} successfully dropped.")

    def _read_name(self, kind: str, reader: Reader) -> Name:
        if kind == "DATABASE":
            return Name(reader.identifier(), "", "")
        return reader.schema_name()

    def _has(self, database: str, schema: str) -> bool:
        found = self._snow.duck_conn.cursor().execute(
            "SELECT 1 FROM information_schema.schemata"
            " WHERE catalog_name = ? AND schema_name = ?",
            (database, schema or "main"),
        )
        return found.fetchone() is not None

    def _prepare(self, database: str) -> None:
        home = Name("", "", database).sql
        duck = self._snow.duck_conn.cursor()
        duck.execute(f"CREATE SCHEMA IF NOT EXISTS {home}.PUBLIC")
        for table in (LOADS_DDL, RUNS_DDL):
            duck.execute(f"CREATE TABLE IF NOT EXISTS {home}.{HIDDEN}.{table}")

    def _remove(self, name: Name) -> None:
        orphans = []
        for stream, definition in self._catalog.all("STREAM"):
            table = Name(*definition["table"])
            if _within(stream, name):
                self._streams.drop(stream)
            elif _within(table, name):
                orphans.append(table)
        for pipe, _ in self._catalog.all("PIPE"):
            if _within(pipe, name):
                self._pipes.drop(pipe)
        self._catalog.drop_within(name.database, name.schema)
        duck = self._snow.duck_conn.cursor()
        if name.schema:
            self._loads.forget_schema(name)
            duck.execute(f"DROP SCHEMA {name.sql} CASCADE")
        else:
            duck.execute(f"DETACH {name.sql}")
            for file in self._folder.glob(f"{name.database}.db*"):
                file.unlink()
        for table in orphans:
            self._streams.table_gone(table)


def _within(name: Name, container: Name) -> bool:
    return name.database == container.database and container.schema in (
        "",
        name.schema,
    )
