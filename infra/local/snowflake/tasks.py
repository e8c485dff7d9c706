"""Tasks: triggered by their streams or by the clock, with a history of their runs."""

import logging
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import duckdb
import sqlglot
from fakesnow.instance import FakeSnow
from snowflake.connector.errors import Error as SnowflakeError

from infra.local.snowflake.bodies import Run, read_block, read_loop, run_loop
from infra.local.snowflake.integrations import NOTIFICATION
from infra.local.snowflake.objects import Catalog
from infra.local.snowflake.reader import Name, Option, Reader, known_options
from infra.local.snowflake.repairs import uncounted
from infra.local.snowflake.shared import TABLE, share
from infra.local.snowflake.streams import HIDDEN, Streams, Touched, patiently
from infra.local.snowflake.unload import is_unload, read_unload

# The columns of INFORMATION_SCHEMA.TASK_HISTORY that are meant for people.
RUNS_DDL = """_TASK_RUNS (QUERY_ID VARCHAR, DATABASE_NAME VARCHAR,
    SCHEMA_NAME VARCHAR, NAME VARCHAR, STATE VARCHAR, ERROR_MESSAGE VARCHAR,
    SCHEDULED_TIME TIMESTAMP, QUERY_START_TIME TIMESTAMP, COMPLETED_TIME TIMESTAMP)"""
_INTERVAL = "USER_TASK_MINIMUM_TRIGGER_INTERVAL_IN_SECONDS"
_OPTIONS = {
    "WAREHOUSE": Option(),
    "USER_TASK_MANAGED_INITIAL_WAREHOUSE_SIZE": Option(),
    "TARGET_COMPLETION_INTERVAL": Option(),
    # A merge does not wait for it, it runs as soon as its stream has rows; a sweep
    # does, because it may leave its stream as it is.
    _INTERVAL: Option(30),
    "SCHEDULE": Option(),
    "ERROR_INTEGRATION": Option(),
    "SUSPEND_TASK_AFTER_NUM_FAILURES": Option(10),
    "USER_TASK_TIMEOUT_MS": Option(),
    "ALLOW_OVERLAPPING_EXECUTION": Option(False, (False,)),
    "ERROR_ON_NONDETERMINISTIC_MERGE": Option(True, (True,)),
    "TIMEZONE": Option("UTC", ("UTC", "ETC/UTC")),
    "QUERY_TAG": Option(),
    "COMMENT": Option(),
}
_SCHEDULE = re.compile(r"(\d+) minutes?", re.IGNORECASE)
_WORKERS = 3
_SWEEP_SECONDS = 2
# A failing task leaves its stream's rows, which would trigger it again at once.
_PAUSE_AFTER_FAILURE_SECONDS = 1
_log = logging.getLogger(__name__)


class Tasks:
    """All tasks.

    Args:
        catalog: Where tasks are defined.
        snow: The repaired fakesnow.
        streams: What triggers tasks.
        run: Runs a statement of a loop.
    """

    def __init__(
        self, catalog: Catalog, snow: FakeSnow, streams: Streams, run: Run
    ) -> None:
        self._catalog = catalog
        self._snow = snow
        self._streams = streams
        self._run_statement = run
        self._lock = threading.Lock()
        self._running: set[Name] = set()
        self._not_before: dict[Name, float] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._pool = ThreadPoolExecutor(_WORKERS, "task")

    def start(self) -> None:
        """Begin to watch the streams."""
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Finish the runs under way and begin no others."""
        self._stopping = True
        self._wake.set()
        self._pool.shutdown(cancel_futures=True)

    def wake(self) -> None:
        """Look at the streams now."""
        self._wake.set()

    def create(self, name: Name, reader: Reader) -> None:
        """Make a task, suspended, from the rest of CREATE TASK."""
        options = known_options(reader.options("WHEN", "AS"), _OPTIONS, "task")
        serverless = "TARGET_COMPLETION_INTERVAL" in options
        if ("WAREHOUSE" in options) == serverless:
            reader.refuse("WAREHOUSE = … or TARGET_COMPLETION_INTERVAL = '…'")
        if integration := options.get("ERROR_INTEGRATION"):
            self._catalog.get(NOTIFICATION, Name("", "", integration))
        seconds = _seconds(reader, options)
        condition = ""
        if seconds:
            reader.need("AS")
        else:
            reader.need("WHEN")
            condition = reader.until("AS")
        body = reader.rest()
        loop = read_loop(body)
        if seconds:
            read_unload(Reader(body, name.database, name.schema))
        elif loop is None:
            read_block(body)
        self._catalog.put(
            "TASK",
            name,
            {
                "definition": body,
                "condition": condition,
                "streams": _streams(condition, name) if condition else [],
                "warehouse": options.get("WAREHOUSE"),
                "interval": seconds or (options[_INTERVAL] if loop else 0),
                "error_integration": options.get("ERROR_INTEGRATION", ""),
                "comment": options.get("COMMENT", ""),
                "limit": options["SUSPEND_TASK_AFTER_NUM_FAILURES"],
                "failures": 0,
                "state": "suspended",
            },
        )

    def set_state(self, name: Name, state: str) -> None:
        """Resume (`started`) or suspend (`suspended`) a task."""
        self._catalog.get("TASK", name)
        self._catalog.update("TASK", name, state=state, failures=0)
        self._wake.set()

    def execute(self, name: Name) -> None:
        """Run a task once, soon, whatever its condition and state."""
        self._catalog.get("TASK", name)
        self._pool.submit(self._run_alone, name)

    def _watch(self) -> None:
        while not self._stopping:
            self._wake.wait(_SWEEP_SECONDS)
            self._wake.clear()
            for name, task in self._catalog.all("TASK"):
                if task["state"] == "started" and self._due(name, task):
                    self._submit(name)

    def _due(self, name: Name, task: dict[str, Any]) -> bool:
        if time.monotonic() < self._not_before.get(name, 0):
            return False
        if not task["streams"]:
            return True
        try:
            return any(self._streams.has_data(Name(*s)) for s in task["streams"])
        except (duckdb.Error, SnowflakeError) as error:
            _log.warning("condition of task %s: %s", name.sql, error)
            return False

    def _submit(self, name: Name) -> None:
        with self._lock:
            if name in self._running or self._stopping:
                return
            self._running.add(name)
        self._pool.submit(self._run, name)

    def _run_alone(self, name: Name) -> None:
        """Wait for a run under way, then run."""
        while not self._stopping:
            with self._lock:
                if name not in self._running:
                    self._running.add(name)
                    break
            time.sleep(0.05)
        self._run(name)

    def _run(self, name: Name) -> None:
        try:
            task = self._catalog.get("TASK", name)
            started, error = datetime.now(UTC), ""
            self._not_before[name] = time.monotonic() + task["interval"]
            try:
                self._body(name, task["definition"])
            except Exception as failure:
                # Whatever it is, it belongs into the history.
                error = str(failure)
            self._record(name, task, started, error)
        finally:
            with self._lock:
                self._running.discard(name)
            # Rows that came during the run have no other event to trigger the next.
            self._wake.set()

    def _body(self, name: Name, body: str) -> None:
        loop = read_loop(body)
        unloads = is_unload(Reader(body))
        if loop is None and not unloads:
            patiently(lambda: self._transaction(name, body))
            return
        with self._snow.connect(name.database, name.schema) as session:
            cursor = session.cursor()
            if loop is None:
                self._run_statement(cursor, body)
            else:
                run_loop(loop, cursor, self._run_statement)

    def _transaction(self, name: Name, body: str) -> None:
        with self._snow.connect(name.database, name.schema) as session:
            touched, statements = Touched(), read_block(body)
            for statement in statements:
                tree = sqlglot.parse_one(statement, read="snowflake")
                touched.add(self._streams.touched(tree, session))
            shared, statements = share(statements)
            duck, cursor = session._duck_conn, session.cursor()
            uncounted.add(cursor)
            with self._streams.transaction(duck, touched):
                if shared:
                    sql = cursor._transform(shared, None).sql(dialect="duckdb")
                    duck.execute(f"CREATE TEMP TABLE {TABLE} AS {sql}")
                for statement in statements:
                    cursor.execute(statement)
                duck.execute(f"DROP TABLE IF EXISTS TEMP.MAIN.{TABLE}")

    def _record(
        self, name: Name, task: dict[str, Any], started: datetime, error: str
    ) -> None:
        failures = task["failures"] + 1 if error else 0
        changes: dict[str, Any] = {"failures": failures}
        if error:
            _log.warning("task %s failed: %s", name.sql, error)
            self._not_before[name] = time.monotonic() + _PAUSE_AFTER_FAILURE_SECONDS
            if task["limit"] and failures >= task["limit"]:
                changes["state"] = "suspended"
        if failures or task["failures"]:
            self._catalog.update("TASK", name, **changes)
        began, ended = (t.replace(tzinfo=None) for t in (started, datetime.now(UTC)))
        state = "FAILED" if error else "SUCCEEDED"
        run = (str(uuid.uuid4()), *name, state, error or None, began, began, ended)
        marks = ", ".join("?" * len(run))
        sql = f"INSERT INTO {Name('', name.database, HIDDEN).sql}._TASK_RUNS"
        duck = self._snow.duck_conn.cursor()
        patiently(lambda: duck.execute(f"{sql} VALUES ({marks})", run))


def _seconds(reader: Reader, options: dict[str, Any]) -> int:
    """Return the interval of a task that the clock starts; 0 for any other.

    It begins as soon as it is resumed; Snowflake's waits for its interval first.
    """
    schedule = options.get("SCHEDULE")
    if schedule is None:
        return 0
    match = _SCHEDULE.fullmatch(str(schedule))
    if match is None:
        reader.refuse("SCHEDULE = '… MINUTE'")
    return 60 * int(match.group(1))


def _streams(condition: str, task: Name) -> list[Name]:
    """Return the streams of `SYSTEM$STREAM_HAS_DATA('…') [OR …]`."""
    reader = Reader(condition, task.database, task.schema)
    streams = []
    while True:
        reader.need("SYSTEM$STREAM_HAS_DATA", "(")
        streams.append(Reader(reader.text(), task.database, task.schema).name())
        reader.need(")")
        if not reader.take("OR"):
            reader.finish()
            return streams
