"""Snowflake as an operator's command sees it: questions about runs, pipes and tasks."""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec
from msgspec import Struct
from snowflake.connector import SnowflakeConnection
from snowflake.connector.errors import Error as SnowflakeError

from runtime.contract.errors import WarehouseError
from runtime.contract.names import literal, quote_snowflake
from runtime.contract.snowflake_names import LANDING, SYNC, SnowflakeObjects
from runtime.contract.snowflake_pipes import is_version
from runtime.contract.specs import Table

# Questions are small; a warehouse may have to wake up first.
QUESTION_SECONDS = 120
_MISSING = 2003
# How far back Snowflake remembers: loads 14 days, runs of tasks 7 days.
# Source: https://docs.snowflake.com/en/sql-reference/functions/copy_history and
# https://docs.snowflake.com/en/sql-reference/functions/task_history
_COPY_MINUTES = 13 * 24 * 60
_TASK_MINUTES = 24 * 60
# What receipts count of a run.
COUNTED = (
    "rows_loaded",
    "rows_applied",
    "rows_superseded",
    "rows_quarantined",
    "values_nulled",
)
# What a session needs that an account or a user may have set otherwise: times without
# a zone are those of UTC, which the tasks write, and texts of times have any form.
# Source: https://docs.snowflake.com/en/sql-reference/parameters
SESSION = {
    "TIMEZONE": "UTC",
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "TIME_INPUT_FORMAT": "AUTO",
}


class MergedRun(Struct, frozen=True, kw_only=True):
    """What Snowflake knows of one run: a row of SYNC_RUNS.

    Attributes:
        table_name: Source table.
        seq: Number of its manifest.
        mode: What kind of run.
        files: Files it promised.
        rows_exported: Rows it promised.
        bytes: Size of its files.
        rows_loaded: Rows that stand in the landing table or stood there.
        rows_applied: Rows that were inserted or replaced an older version.
        rows_superseded: Rows that a newer version had already replaced.
        rows_quarantined: Rows with a value that does not fit.
        values_nulled: Values that do not fit and are NULL by their column's rule.
        complete: Whether every promised row is accounted for.
    """

    table_name: str
    seq: int
    mode: str
    files: int
    rows_exported: int
    bytes: int
    rows_loaded: int
    rows_applied: int
    rows_superseded: int
    rows_quarantined: int
    values_nulled: int
    complete: bool


class Progress(Struct, frozen=True, kw_only=True):
    """How far a table's merges are: a row of SYNC_STATUS.

    Attributes:
        table_name: Source table.
        last_seq: Last manifest that has arrived.
        merged_seq: Last manifest of the unbroken chain of complete ones.
        merged_through: Watermark that the target is complete up to.
        first_bad: First manifest that is incomplete or whose predecessor is missing.
    """

    table_name: str
    last_seq: int
    merged_seq: int
    merged_through: str | None
    first_bad: int | None


class Warehouse:
    """The sync's objects in Snowflake; for one thread at a time.

    Args:
        connection: An open connection.
        objects: Names of the sync's objects.
    """

    def __init__(
        self, connection: SnowflakeConnection, objects: SnowflakeObjects
    ) -> None:
        self.connection = connection
        self.objects = objects

    def ask(
        self, statement: str, timeout: int = QUESTION_SECONDS
    ) -> list[dict[str, Any]]:
        """Run a statement and return its rows; columns in lower case.

        Args:
            statement: The statement, values already quoted.
            timeout: How long Snowflake may work on it, in seconds.

        Raises:
            WarehouseError: When Snowflake refuses or does not answer.
        """
        with refusals("Snowflake"), closing(self.connection.cursor()) as cursor:
            cursor.execute(statement, timeout=timeout)
            names = [column.name.lower() for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def progress(self, names: Iterable[str]) -> dict[str, Progress]:
        """Return how far tables' merges are, by source table.

        Args:
            names: The source tables, at least one.
        """
        columns = ", ".join(Progress.__struct_fields__)
        view = self.objects.qualified(SYNC, "SYNC_STATUS")
        rows = self.ask(f"SELECT {columns} FROM {view} WHERE {_among(names)}")
        return {row["table_name"]: msgspec.convert(row, Progress) for row in rows}

    def last_runs(self, names: Iterable[str]) -> dict[str, MergedRun]:
        """Return the last run of each table that has arrived, by source table.

        Args:
            names: The source tables, at least one.
        """
        runs = self._runs(
            f"WHERE {_among(names)} QUALIFY ROW_NUMBER() OVER "
            "(PARTITION BY table_name ORDER BY seq DESC) = 1"
        )
        return {run.table_name: run for run in runs}

    def runs(self, table: Table, first: int, last: int) -> list[MergedRun]:
        """Return runs of a table by the numbers of their manifests, both inclusive."""
        return self._runs(
            f"WHERE {_among([table.contract.table])} "
            f"AND seq BETWEEN {first} AND {last} ORDER BY seq"
        )

    def _runs(self, rest: str) -> list[MergedRun]:
        columns = ", ".join(MergedRun.__struct_fields__)
        view = self.objects.qualified(SYNC, "SYNC_RUNS")
        rows = self.ask(f"SELECT {columns} FROM {view} {rest}")
        return [msgspec.convert(row, MergedRun) for row in rows]

    def trouble(self, table: Table) -> str | None:
        """Say why a table's files do not arrive or merge; None when nothing is known.

        Args:
            table: The table.
        """
        return next(filter(None, self._troubles(table)), None)

    def _troubles(self, table: Table) -> Iterator[str]:
        """Ask one question after the other; an empty answer means no trouble."""
        yield self.failed_file(table)
        yield self.pipe_trouble(self.table_pipe(table))
        yield self.pipe_trouble(self.manifests_pipe())
        state = self.task_state(table)
        if state != "started":
            task = self.objects.qualified(LANDING, self.objects.task(table))
            yield f"task {task} is {state}"
        yield self.task_failure(table)

    def failed_file(self, table: Table) -> str:
        """Name a file that failed to load: its pipe does not try it again."""
        name = literal(table.contract.table)
        open_files = self.ask(
            f"SELECT file_name FROM {self.objects.qualified(SYNC, 'SYNC_FILES')} "
            f"WHERE table_name = {name} AND NOT complete ORDER BY seq LIMIT 100"
        )
        if not open_files:
            return ""
        landing = self.objects.qualified(LANDING, self.objects.landing(table))
        failed = self.ask(
            "SELECT file_name, first_error_message FROM "
            f"TABLE({self._function('COPY_HISTORY')}("
            f"TABLE_NAME => {literal(landing)}, START_TIME => {_ago(_COPY_MINUTES)})) "
            "WHERE status <> 'Loaded'"
        )
        for row in failed:
            # Relative to the stage; what we know is relative to the bucket.
            ending = "/" + row["file_name"].lstrip("/")
            if any(file["file_name"].endswith(ending) for file in open_files):
                return _line(f"file {row['file_name']}: {row['first_error_message']}")
        return ""

    def table_pipe(self, table: Table) -> str:
        """Return the full name of a table's pipe, as it is deployed."""
        return self._pipe(LANDING, self.objects.pipes(table))

    def manifests_pipe(self) -> str:
        """Return the full name of the manifests' pipe, as it is deployed."""
        return self._pipe(SYNC, self.objects.manifests_pipes)

    def _pipe(self, schema: str, pipes: str) -> str:
        """Return the newest version of a pipe that stands; others are about to go."""
        found = (r for r in self.pipes(schema, pipes) if is_version(r["name"], pipes))
        newest = max(found, key=lambda row: str(row["created_on"]), default=None)
        return self.objects.qualified(schema, newest["name"] if newest else pipes)

    def pipes(self, schema: str, beginning: str = "") -> list[dict[str, Any]]:
        """Return a schema's pipes whose names begin so, in any case of letters."""
        place = f"{quote_snowflake(self.objects.database)}.{quote_snowflake(schema)}"
        return self.ask(f"SHOW PIPES LIKE {literal(beginning + '%')} IN SCHEMA {place}")

    def pipe_trouble(self, name: str) -> str:
        """Say why a pipe does not load; empty when it does."""
        (row,) = self.ask(f"SELECT SYSTEM$PIPE_STATUS({literal(name)}) AS status")
        status = json.loads(row["status"])
        if status["executionState"] != "RUNNING":
            return f"pipe {name} is {status['executionState']}"
        return _line(f"pipe {name}: {status['error']}") if status.get("error") else ""

    def task_state(self, table: Table) -> str:
        """Return `started`, `suspended` or `missing`."""
        found = self.shown("TASKS", self.objects.task(table))
        return str(found["state"]) if found else "missing"

    def shown(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return what SHOW says of an object in the landing schema.

        Args:
            kind: TASKS or STREAMS.
            name: Its stored name.
        """
        place = f"{quote_snowflake(self.objects.database)}.{quote_snowflake(LANDING)}"
        rows = self.ask(f"SHOW {kind} LIKE {literal(name)} IN SCHEMA {place}")
        # LIKE takes the underscore for any letter and ignores case.
        return next((row for row in rows if row["name"] == name), None)

    def task_failure(self, table: Table) -> str:
        """Say why the last run of a table's merge failed; empty when it did not."""
        task = self.objects.task(table)
        rows = self.ask(
            "SELECT state, error_message FROM "
            f"TABLE({self._function('TASK_HISTORY')}(TASK_NAME => {literal(task)}, "
            f"SCHEDULED_TIME_RANGE_START => {_ago(_TASK_MINUTES)})) "
            f"WHERE database_name = {literal(self.objects.database)} "
            f"AND schema_name = {literal(LANDING)} AND completed_time IS NOT NULL "
            # A look at a stream without rows, as after every merge.
            "AND state <> 'SKIPPED' ORDER BY completed_time DESC LIMIT 1"
        )
        if not rows or rows[0]["state"] == "SUCCEEDED":
            return ""
        return _line(f"task {task} failed: {rows[0]['error_message']}")

    def _function(self, name: str) -> str:
        return f"{quote_snowflake(self.objects.database)}.INFORMATION_SCHEMA.{name}"


def _line(text: str) -> str:
    """Return a text of another program in one line."""
    return " ".join(text.split())


def _among(names: Iterable[str]) -> str:
    return f"table_name IN ({', '.join(map(literal, names))})"


def _ago(minutes: int) -> str:
    return f"DATEADD(MINUTE, -{minutes}, CURRENT_TIMESTAMP())"


@contextmanager
def refusals(subject: str) -> Iterator[None]:
    """Turn the connector's errors into ours, once.

    Args:
        subject: What was asked.
    """
    try:
        yield
    except SnowflakeError as error:
        missing = error.errno == _MISSING
        raise WarehouseError(
            f"Snowflake refuses ({' '.join(str(error.raw_msg or error).split())})",
            subject=subject,
            remedy=(
                "deploy the stack first, or check the role's rights"
                if missing
                else "check the connection and the query history"
            ),
        ) from error
