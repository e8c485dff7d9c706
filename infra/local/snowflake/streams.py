"""Append-only streams, and the transactions that feed and consume them.

A stream is a table beside its base table that receives a copy of every row a
transaction appended to the base table, in that same transaction, and loses what a
transaction read of it by DML, in that same transaction. So the rules of DuckDB's
snapshots are the rules of the stream: a commit consumes, a rollback does not, and a
row that is committed later than others is seen later, never missed.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb
from fakesnow.conn import FakeSnowflakeConnection
from snowflake.connector.errors import ProgrammingError
from sqlglot import Expr, exp

from infra.local.snowflake.objects import Catalog
from infra.local.snowflake.reader import Name, Reader
from runtime.contract.errors import WarehouseError
from runtime.contract.names import literal

# fakesnow keeps this schema of every database out of all listings.
HIDDEN = "_fs_information_schema"
# DuckDB numbers the rows that a transaction has appended and not yet committed from
# here on (MAX_ROW_ID in its storage); a test would notice a change.
_FIRST_UNCOMMITTED_ROW = 36028797018960000
_CONFLICT_PATIENCE_SECONDS = 30


@dataclass
class Touched:
    """What a transaction does to streams.

    Attributes:
        appended: Tables that rows were added to.
        read: Streams that DML has read.
    """

    appended: set[Name] = field(default_factory=set)
    read: set[Name] = field(default_factory=set)

    def add(self, other: "Touched") -> None:
        """Take in what another statement of the transaction does."""
        self.appended |= other.appended
        self.read |= other.read


class Streams:
    """All streams.

    Args:
        catalog: Where they are defined.
        cursor: Opens a connection to DuckDB.
        on_rows: Called after a commit that has given rows to a stream.
    """

    def __init__(
        self,
        catalog: Catalog,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        on_rows: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._cursor = cursor
        self._on_rows = on_rows
        # Held while a transaction settles its streams and commits, and while streams
        # come and go: no commit slips between a stream's birth and its first row.
        self._gate = threading.RLock()

    def create(self, name: Name, reader: Reader) -> None:
        """Make a stream from the rest of CREATE STREAM."""
        reader.take("COPY", "GRANTS")
        reader.need("ON", "TABLE")
        table = reader.name()
        options = reader.options()
        if options.pop("APPEND_ONLY", False) is not True:
            reader.refuse("APPEND_ONLY = TRUE")
        initial = options.pop("SHOW_INITIAL_ROWS", False)
        comment = options.pop("COMMENT", "")
        if options or table.database != name.database:
            reader.refuse("APPEND_ONLY, SHOW_INITIAL_ROWS, COMMENT; one database")
        with self._gate, self.transaction(self._cursor(), Touched()) as duck:
            duck.execute(
                f"CREATE OR REPLACE TABLE {_rows(name)} AS SELECT * FROM {table.sql}"
                + ("" if initial else " LIMIT 0")
            )
            self._show(duck, name)
            self._catalog.put(
                "STREAM",
                name,
                {"table_name": table.sql, "table": table, "stale": False}
                | {"mode": "APPEND_ONLY", "comment": comment},
            )
        self._on_rows()

    def drop(self, name: Name) -> None:
        """Remove a stream and the rows it holds."""
        with self._gate, self.transaction(self._cursor(), Touched()) as duck:
            self._catalog.drop("STREAM", name)
            duck.execute(f"DROP VIEW IF EXISTS {name.sql}")
            duck.execute(f"DROP TABLE IF EXISTS {_rows(name)}")

    def has_data(self, name: Name) -> bool:
        """Tell whether the stream holds rows.

        Raises:
            ProgrammingError: There is no such stream.
        """
        self._catalog.get("STREAM", name)
        found = self._cursor().execute(f"SELECT 1 FROM {_rows(name)} LIMIT 1")
        return found.fetchone() is not None

    def touched(self, tree: Expr, session: FakeSnowflakeConnection) -> Touched:
        """Return what a statement will do to streams.

        Raises:
            WarehouseError: It reads a stream in a way that could not consume it.
        """
        home = session.database or "", session.schema or ""
        tables = [Name.of(table, *home) for table in tree.find_all(exp.Table)]
        read = {name for name in tables if self._catalog.has("STREAM", name)}
        if read and isinstance(tree, exp.Create):
            raise WarehouseError(
                "the local Snowflake cannot create a table or view from a stream",
                got=", ".join(name.sql for name in read),
                allowed="INSERT, MERGE, UPDATE and DELETE that read it",
            )
        appended = set()
        if isinstance(tree, (exp.Insert, exp.Merge)):
            target = next(tree.find_all(exp.Table))
            appended.add(Name.of(target, *home))
        return Touched(appended=appended, read=read - appended)

    @contextmanager
    def transaction(
        self, duck: duckdb.DuckDBPyConnection, touched: Touched
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Run the block in one transaction that feeds and consumes streams.

        Args:
            duck: Connection of the block's statements.
            touched: What they do to streams; may grow inside the block.
        """
        duck.execute("BEGIN")
        try:
            yield duck
            with self._gate:
                self.settle(duck, touched)
                duck.execute("COMMIT")
        except BaseException:
            # A failed COMMIT has ended the transaction already.
            with suppress(duckdb.TransactionException):
                duck.execute("ROLLBACK")
            raise
        if touched.appended:
            self._on_rows()

    @contextmanager
    def settling(
        self, duck: duckdb.DuckDBPyConnection, touched: Touched
    ) -> Iterator[None]:
        """Settle streams, then run the block, which commits."""
        with self._gate:
            self.settle(duck, touched)
            yield
        if touched.appended:
            self._on_rows()

    def settle(self, duck: duckdb.DuckDBPyConnection, touched: Touched) -> None:
        """Consume what was read, then feed what was appended."""
        try:
            for stream in touched.read:
                duck.execute(f"DELETE FROM {_rows(stream)}")
            for stream, definition in self._catalog.all("STREAM"):
                table = Name(*definition["table"])
                if table in touched.appended and not definition["stale"]:
                    duck.execute(
                        f"INSERT INTO {_rows(stream)} SELECT * FROM {table.sql}"
                        f" WHERE rowid >= {_FIRST_UNCOMMITTED_ROW}"
                    )
        except duckdb.CatalogException as error:
            # The stream is younger than this transaction's snapshot: run it again.
            raise duckdb.TransactionException(str(error)) from error

    def table_gone(self, table: Name) -> None:
        """Make streams on a dropped or replaced table stale: reading them fails."""
        for stream in self._on(table):
            self._catalog.update("STREAM", stream, stale=True)
            reason = f"base table of stream {stream.sql} was dropped or recreated"
            self._cursor().execute(
                f"CREATE OR REPLACE VIEW {stream.sql} AS SELECT r.*"
                f" FROM (SELECT error({literal(reason)}) AS stale)"
                f" LEFT JOIN {_rows(stream)} AS r ON stale IS NULL"
            )

    def table_altered(self, table: Name, run: Callable[[Name], Any]) -> None:
        """Repeat ALTER TABLE on what its streams hold.

        Args:
            table: The altered table.
            run: Alters the table of that name in the same way.
        """
        for stream in self._on(table):
            run(Name(stream.database, HIDDEN, _label(stream)))
            self._show(self._cursor(), stream)

    def check_unread(self, table: Name) -> None:
        """Refuse to rename a table that has streams.

        Raises:
            WarehouseError: It has.
        """
        if self._on(table):
            raise WarehouseError(
                "the local Snowflake cannot rename a table that has streams",
                got=table.sql,
            )

    def _on(self, table: Name) -> list[Name]:
        streams = self._catalog.all("STREAM")
        return [name for name, entry in streams if Name(*entry["table"]) == table]

    def _show(self, duck: duckdb.DuckDBPyConnection, name: Name) -> None:
        duck.execute(
            f"CREATE OR REPLACE VIEW {name.sql} AS SELECT *,"
            ' \'INSERT\' AS "METADATA$ACTION", FALSE AS "METADATA$ISUPDATE",'
            f' md5(rowid::VARCHAR) AS "METADATA$ROW_ID" FROM {_rows(name)}'
        )


def patiently(work: Callable[[], Any]) -> Any:
    """Run work that commits by itself again while it collides with other work.

    Snowflake lets writers of one table wait for each other; DuckDB fails the later.
    """
    deadline = time.monotonic() + _CONFLICT_PATIENCE_SECONDS
    pause = 0.005
    while True:
        try:
            return work()
        except (ProgrammingError, duckdb.TransactionException) as error:
            cause = error if isinstance(error, duckdb.Error) else error.__cause__
            if not isinstance(cause, duckdb.TransactionException):
                raise
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 0.2)


def _label(stream: Name) -> str:
    return f"stream {stream.schema}.{stream.name}"


def _rows(stream: Name) -> str:
    return Name(stream.database, HIDDEN, _label(stream)).sql
