"""The statements that fakesnow lacks, and the order in which the engine is asked.

Every statement of a client comes here first. What is ours is answered, the rest is
passed on: DML inside a transaction that feeds and consumes streams.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import duckdb
import sqlglot
from fakesnow import macros
from fakesnow.conn import FakeSnowflakeConnection
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.instance import FakeSnow
from snowflake.connector.errors import Error as SnowflakeError
from snowflake.connector.errors import ProgrammingError
from sqlglot import Expr, exp
from sqlglot.errors import SqlglotError

from infra.local.parts import LocalStack
from infra.local.snowflake.containers import Containers
from infra.local.snowflake.functions import rewrite_functions
from infra.local.snowflake.loads import Loads
from infra.local.snowflake.objects import Catalog, rows_sql
from infra.local.snowflake.pipes import Pipes
from infra.local.snowflake.reader import Call, Name, Reader
from infra.local.snowflake.statements import ObjectStatements
from infra.local.snowflake.streams import Streams, Touched, patiently
from infra.local.snowflake.tasks import Tasks
from infra.local.snowflake.unload import is_unload, read_unload, run_unload
from runtime.contract.errors import SyncError, WarehouseError

# What does not fit is written to the scratch folder.
_MEMORY_LIMIT = "1GB"
_RESULTS_KEPT = 16


class _LatestResults(dict[str, Any]):
    """Results by query id; fakesnow would keep every one for ever."""

    def __setitem__(self, key: str, result: Any) -> None:
        super().__setitem__(key, result)
        while len(self) > _RESULTS_KEPT:
            self.pop(next(iter(self)), None)


class Engine:
    """The local Snowflake inside its process.

    Args:
        stack: The local stack.
    """

    def __init__(self, stack: LocalStack) -> None:
        # sqlglot loads a dialect with the first statement of it, and those of other
        # threads would meet it unfinished: `json_extract_scalar` was no function.
        sqlglot.Dialect.get_or_raise("duckdb")
        self._stack = stack
        folder = stack.part_dir("snowflake")
        scratch, data = folder / "tmp", folder / "databases"
        for place in (scratch, data):
            place.mkdir(exist_ok=True)
        # Statements of clients in an explicit transaction, by session.
        self._open: WeakKeyDictionary[FakeSnowflakeConnection, Touched] = (
            WeakKeyDictionary()
        )
        self.snow = FakeSnow(
            # fakesnow writes it into SQL as it is, and a path may hold a quote:
            # seen from the part's own folder it does not.
            db_path=os.path.relpath(data),
            create_database_on_connect=False,
            create_schema_on_connect=False,
        )
        self.snow.results_cache = _LatestResults()
        # For sessions without a current database.
        self.snow.duck_conn.execute(macros.creation_sql("memory"))
        self.snow.duck_conn.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
        self.snow.duck_conn.execute(
            f"SET temp_directory = '{os.path.relpath(scratch)}'"
        )
        self.catalog = Catalog(folder / "objects.json")
        self.streams = Streams(self.catalog, self._duck, lambda: self.tasks.wake())
        self.tasks = Tasks(
            self.catalog,
            self.snow,
            self.streams,
            lambda cursor, sql: self.execute(cursor, sql, cursor.execute),
        )
        self.loads = Loads(stack, self.catalog, self.snow, self.streams, scratch)
        self.pipes = Pipes(stack, self.catalog, self.loads)
        self.containers = Containers(
            self.catalog, self.snow, self.streams, self.pipes, self.loads, data
        )
        statements = ObjectStatements(
            self.catalog,
            self.containers,
            self.streams,
            self.pipes,
            self.tasks,
            self._table_ddl,
        )
        self._verbs: dict[str, Callable[[Call], str | None]] = {
            **statements.verbs,
            "COPY": self._copy,
            "BEGIN": self._begin,
            "START": self._begin,
            "COMMIT": self._commit,
            "ROLLBACK": self._rollback,
            "TRUNCATE": self._truncate,
            "SELECT": self._select,
            "WITH": self._select,
            **{verb: self._dml for verb in ("INSERT", "MERGE", "UPDATE", "DELETE")},
        }

    def start(self) -> None:
        """Open what an earlier process left and go on with it."""
        self.containers.open_all()
        self.tasks.start()
        self.pipes.start()

    def stop(self) -> None:
        """Finish what is under way and close the databases."""
        self.pipes.stop()
        self.tasks.stop()
        self.snow.duck_conn.close()

    def execute(
        self, cursor: FakeSnowflakeCursor, command: str, plain: Callable[[str], Any]
    ) -> None:
        """Run a statement of a client.

        Args:
            cursor: Receives the result.
            command: The statement.
            plain: Lets fakesnow run a statement on the cursor.

        Raises:
            ProgrammingError: The statement is refused or fails.
        """
        session = cursor._conn
        try:
            reader = Reader(command, session.database or "", session.schema or "")
            handler = self._verbs.get(reader.peek())
            call = Call(reader=reader, session=session, plain=plain)
            answer = handler(call) if handler else command
            if answer is not None:
                plain(answer)
        except SnowflakeError:
            raise
        except (SyncError, SqlglotError) as error:
            raise ProgrammingError(
                msg=str(error), errno=1003, sqlstate="42000"
            ) from error
        except Exception as error:
            # Anything else would be an HTTP 500, which the connector sends again.
            raise ProgrammingError(
                msg=f"{type(error).__name__}: {error}", errno=100000, sqlstate="XX000"
            ) from error

    def _duck(self) -> duckdb.DuckDBPyConnection:
        return self.snow.duck_conn.cursor()

    def _run(self, call: Call) -> None:
        """Run a statement; alone it waits for others, as Snowflake lets it wait."""
        if call.session in self._open:
            call.plain(call.reader.sql)
        else:
            patiently(lambda: call.plain(call.reader.sql))

    def _copy(self, call: Call) -> str:
        if is_unload(call.reader):
            written = run_unload(
                read_unload(call.reader),
                call.session.cursor(),
                lambda cursor, sql: self.execute(cursor, sql, cursor.execute),
                self._stack,
                self.catalog,
            )
            return rows_sql(tuple(written), [written])
        columns = ("file", "status", "rows_loaded", "first_error")
        return rows_sql(columns, self.loads.copy(call.reader))

    def _select(self, call: Call) -> str:
        return rewrite_functions(call.reader, self.pipes.status, self.streams.has_data)

    def _dml(self, call: Call) -> None:
        sql, session = call.reader.sql, call.session
        tree = sqlglot.parse_one(sql, read="snowflake")
        touched = self.streams.touched(tree, session)
        if not session._autocommit:
            self._open.setdefault(session, Touched())
        if session in self._open:
            call.plain(sql)
            self._open[session].add(touched)
            return

        def once() -> None:
            with self.streams.transaction(session._duck_conn, touched):
                call.plain(sql)

        patiently(once)

    def _begin(self, call: Call) -> None:
        call.reader.identifier()
        if not call.reader.done and not call.reader.take("TRANSACTION"):
            call.reader.refuse("BEGIN [TRANSACTION]")
        call.reader.finish()
        call.plain("BEGIN")
        self._open[call.session] = Touched()

    def _commit(self, call: Call) -> None:
        touched = self._open.pop(call.session, Touched())
        try:
            with self.streams.settling(call.session._duck_conn, touched):
                call.plain("COMMIT")
        except (duckdb.Error, ProgrammingError):
            with suppress(duckdb.Error):
                call.session._duck_conn.execute("ROLLBACK")
            raise

    def _rollback(self, call: Call) -> None:
        self._open.pop(call.session, None)
        call.plain("ROLLBACK")

    def _truncate(self, call: Call) -> None:
        table = self._table(call)
        self._run(call)
        self.loads.forget_table(table)

    def _table(self, call: Call) -> Name:
        tree = sqlglot.parse_one(call.reader.sql, read="snowflake")
        found = tree.find(exp.Table)
        if found is None:
            raise WarehouseError("statement names no table", got=call.reader.sql[:60])
        return Name.of(found, call.reader.database, call.reader.schema)

    def _table_ddl(self, call: Call) -> None:
        tree = sqlglot.parse_one(call.reader.sql, read="snowflake")
        self.streams.touched(tree, call.session)
        of_table = tree.args.get("kind") == "TABLE"
        if of_table and tree.find(exp.AlterRename):
            self.streams.check_unread(self._table(call))
        self._run(call)
        if of_table and (isinstance(tree, exp.Drop) or tree.args.get("replace")):
            self.streams.table_gone(self._table(call))
            self.loads.forget_table(self._table(call))
        if of_table and isinstance(tree, exp.Alter):
            self.streams.table_altered(
                self._table(call), lambda to: self._repeat(tree, to, call)
            )

    def _repeat(self, alter: Expr, table: Name, call: Call) -> None:
        alter = alter.copy()
        alter.set(
            "this", exp.table_(table.name, table.schema, table.database, quoted=True)
        )
        call.session.cursor().execute(alter.sql(dialect="snowflake"))
