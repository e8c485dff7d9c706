"""Snowflake's side in this process: the rendered COPY, merge block and views.

The engine of the local stack runs the product's own statements, without its server,
its threads and its queue: here the scenario says which file arrives, and when.
"""

import dataclasses
from functools import cached_property
from typing import Any

import sqlglot

from infra.local.parts import LocalStack
from infra.local.snowflake import repairs, shared
from infra.local.snowflake.bodies import read_block
from infra.local.snowflake.copy import Copy, read_copy
from infra.local.snowflake.engine import Engine
from infra.local.snowflake.files import fetched, rows_view
from infra.local.snowflake.reader import Reader
from infra.local.snowflake.streams import Touched
from runtime.contract.names import literal, quote_snowflake
from runtime.contract.snowflake_names import (
    LANDING,
    SYNC,
    SnowflakeColumn,
    SnowflakeObjects,
    keys_columns,
    landing_columns,
    shared_tables,
    target_columns,
)
from runtime.contract.snowflake_pipes import copy_statement, manifest_copy_statement
from runtime.contract.snowflake_sql import merge_block
from runtime.contract.snowflake_sweep import overdue_view
from runtime.contract.snowflake_views import views
from runtime.contract.specs import Table

OBJECTS = SnowflakeObjects(database="FAULTS", warehouse="W", stack="faults")


class EngineError(Exception):
    """The warehouse failed in the middle of a task."""


class Warehouse:
    """One table's way from the lake to its target.

    Args:
        stack: The local stack; its part `snowflake` does not run.
        s3: S3 client that reads the lake.
        bucket: The lake.
        table: The table.

    Attributes:
        has_data: Whether rows have landed that no task has committed; without any,
            it is not triggered.
    """

    def __init__(self, stack: LocalStack, s3: Any, bucket: str, table: Table) -> None:
        repairs.apply()
        self._s3, self._bucket, self._table = s3, bucket, table
        self._scratch = stack.part_dir("snowflake") / "tmp"
        self._engine = Engine(stack)
        # What the target and the views said since they last changed.
        self._answers: dict[str, list[tuple[Any, ...]]] = {}
        self.has_data = False
        self._make()
        self._compile()

    # Asked of views, which take their time to translate: once somebody asks.
    @cached_property
    def _status(self) -> str:
        return self._view_text(
            "SELECT table_name, last_seq, merged_seq, merged_through, first_bad FROM "
            + OBJECTS.qualified(SYNC, "SYNC_STATUS")
        )

    @cached_property
    def _files(self) -> str:
        return self._view_text(
            "SELECT file_name, complete, rows_exported, rows_loaded FROM "
            + OBJECTS.qualified(SYNC, "SYNC_FILES")
        )

    @cached_property
    def _overdue(self) -> str:
        # Whatever its patience is: here no time passes.
        return self._view_text(
            f"SELECT file_name FROM ({overdue_view(OBJECTS, [self._table])}) AS o"
            " ORDER BY seq, file_name"
        )

    def close(self) -> None:
        """Close the databases."""
        self._engine.stop()

    def begin(self, stack: str) -> None:
        """Forget everything and look at the lake of that deployment.

        Args:
            stack: Name of the deployment.
        """
        for stage, url in (
            dataclasses.replace(OBJECTS, stack=stack).stage_urls(self._bucket).items()
        ):
            self._run(
                f"CREATE OR REPLACE STAGE {OBJECTS.qualified(LANDING, stage)} "
                f"URL = {literal(url)} STORAGE_INTEGRATION = LAKE"
            )
        for table in self._emptied:
            self._duck.execute(f"DELETE FROM {table}")
        self._answers.clear()
        self.has_data = False

    def arrive(self, key: str, rows: int | None = None) -> None:
        """Load a file; whether it has been loaded before is the caller's business.

        Args:
            key: The object.
            rows: Only the first of its rows, as when a load is cut off.
        """
        kind = key.split("/", 1)[0]
        copy, text = self._copies[kind]
        only = "" if rows is None else f' WHERE "METADATA$FILE_ROW_NUMBER" <= {rows}'
        with fetched(self._s3, self._bucket, key, copy.format, self._scratch) as path:
            self._duck.execute(rows_view(path, key, copy.format, copy.fields))
            appended = Touched(appended={copy.table})
            with self._engine.streams.transaction(self._duck, appended):
                self._duck.execute(text + only)
        self._answers.clear()
        self.has_data |= kind == "exports"

    def merge(self, fail_after: int | None = None) -> None:
        """Run the task once, as the engine runs it: one transaction.

        Args:
            fail_after: Number of statements after which the engine fails.

        Raises:
            EngineError: It was told to fail.
        """
        with self._engine.streams.transaction(self._duck, self._touched):
            self._duck.execute(f"CREATE TEMP TABLE {shared.TABLE} AS {self._shared}")
            for number, statement in enumerate(self._statements):
                if number == fail_after:
                    raise EngineError
                self._duck.execute(statement)
            self._duck.execute(f"DROP TABLE TEMP.MAIN.{shared.TABLE}")
            if fail_after == len(self._statements):
                raise EngineError
        self._answers.clear()
        self.has_data = False

    @property
    def statements(self) -> int:
        """Number of statements of the task."""
        return len(self._statements)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the target: key, version, its other columns, whether it is deleted."""
        return self._answer(
            "SELECT order_id, version, status, note, _deleted_at IS NOT NULL"
            f" FROM {OBJECTS.qualified(*self._table.spec.target)}"
        )

    def merged_through(self) -> str | None:
        """Return what SYNC_STATUS says."""
        found = self._answer(self._status)
        return found[0][3] if found else None

    def chain(self) -> tuple[Any, ...] | None:
        """Return last seq, merged seq, merged through and first bad of SYNC_STATUS."""
        found = self._answer(self._status)
        return found[0][1:] if found else None

    def open_files(self) -> list[tuple[Any, ...]]:
        """Return the promised files that are not complete."""
        return [file for file in self._answer(self._files) if not file[1]]

    def overdue(self) -> list[str]:
        """Return the objects that the sweep would load now, in its order."""
        return [name for (name,) in self._answer(self._overdue)]

    def decisions(self) -> list[str]:
        """Return what was decided of reconciles."""
        found = self._answer("SELECT decision FROM FAULTS.SYNC.RECONCILES")
        return [decision for (decision,) in found]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query in Snowflake's SQL."""
        return self._duck.execute(self._duckdb_text(query)).fetchall()

    def _answer(self, query: str) -> list[tuple[Any, ...]]:
        """Ask again only when something has changed: views take their time."""
        if query not in self._answers:
            self._answers[query] = self._duck.execute(query).fetchall()
        return self._answers[query]

    def _make(self) -> None:
        engine = self._engine
        engine.containers.open_all()
        self._duck = engine.snow.duck_conn.cursor()
        # Rows are few here; sharing them out among threads takes longer.
        self._duck.execute("SET threads = 1")
        for place in ("DATABASE FAULTS", f"SCHEMA FAULTS.{LANDING}"):
            self._run(f"CREATE {place}")
        self._run(f"CREATE SCHEMA FAULTS.{SYNC}")
        self._run(
            "CREATE STORAGE INTEGRATION LAKE TYPE = EXTERNAL_STAGE STORAGE_PROVIDER ="
            " 'S3' ENABLED = TRUE"
            " STORAGE_AWS_ROLE_ARN = 'arn:aws:iam::111122223333:role/r'"
            " STORAGE_AWS_EXTERNAL_ID = 'x'"
            f" STORAGE_ALLOWED_LOCATIONS = ('s3://{self._bucket}/')"
        )
        table = self._table
        landing = OBJECTS.qualified(LANDING, OBJECTS.landing(table))
        stream = OBJECTS.qualified(LANDING, OBJECTS.stream(table))
        tables = {
            landing: landing_columns(table),
            OBJECTS.qualified(*table.spec.target): target_columns(table),
            OBJECTS.qualified(LANDING, OBJECTS.keys_table(table)): keys_columns(table),
            **{
                OBJECTS.qualified(SYNC, name): columns
                for name, columns in shared_tables().items()
            },
        }
        for name, columns in tables.items():
            self._run(f"CREATE TABLE {name} ({', '.join(map(_column, columns))})")
        self._run(f"CREATE STREAM {stream} ON TABLE {landing} APPEND_ONLY = TRUE")
        self._viewed = False
        hidden = "FAULTS._fs_information_schema"
        self._emptied = [
            *tables,
            f'{hidden}."stream {LANDING}.{OBJECTS.stream(table)}"',
        ]

    def _run(self, sql: str) -> None:
        with self._engine.snow.connect() as session:
            cursor = session.cursor()
            self._engine.execute(cursor, sql, lambda text: cursor.execute(text))

    def _compile(self) -> None:
        """Translate the product's statements once: that takes longer than they do."""
        self._copies: dict[str, tuple[Copy, str]] = {}
        for kind, text in (
            ("exports", copy_statement(OBJECTS, self._table)),
            ("manifests", manifest_copy_statement(OBJECTS)),
        ):
            reader = Reader(text, OBJECTS.database, LANDING)
            copy = read_copy(reader, self._engine.catalog)
            self._copies[kind] = copy, self._duckdb_text(copy.statement)
        self._touched = Touched()
        statements = read_block(merge_block(OBJECTS, self._table))
        with self._engine.snow.connect(OBJECTS.database, LANDING) as session:
            for statement in statements:
                tree = sqlglot.parse_one(statement, read="snowflake")
                self._touched.add(self._engine.streams.touched(tree, session))
        common, statements = shared.share(statements)
        assert common is not None
        self._shared = self._duckdb_text(common.sql(dialect="snowflake"))
        self._statements = [self._duckdb_text(statement) for statement in statements]

    def _view_text(self, sql: str) -> str:
        if not self._viewed:
            for view, statement in views(OBJECTS).items():
                name = OBJECTS.qualified(SYNC, view)
                self._run(f"CREATE OR REPLACE VIEW {name} AS {statement}")
            self._viewed = True
        return self._duckdb_text(sql)

    def _duckdb_text(self, sql: str) -> str:
        with self._engine.snow.connect(OBJECTS.database, LANDING) as session:
            cursor = session.cursor()
            # Nobody asks what a MERGE did.
            repairs.uncounted.add(cursor)
            tree = sqlglot.parse_one(sql, read="snowflake")
            return str(cursor._transform(tree, None).sql(dialect="duckdb"))


def _column(column: SnowflakeColumn) -> str:
    return f"{quote_snowflake(column.name)} {column.type}" + (
        "" if column.nullable else " NOT NULL"
    )
