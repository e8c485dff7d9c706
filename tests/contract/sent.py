"""Every statement that Snowflake is sent, for tests that judge them.

What deploys is rendered as the deployer renders it. What operators' commands ask is
taken down by a warehouse without a server, which answers so that each command goes all
its way, the doctor's remedies included.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import duckdb
import psycopg2.extensions
from sqlglot import exp, parse_one

from infra.admin_snowflake import deployer_statements
from infra.stack import StackSettings
from runtime.contract.records import LedgerState
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.snowflake_pipes import (
    copy_statement,
    manifest_copy_statement,
    manifests_pipe_name,
    pipe_name,
)
from runtime.contract.snowflake_sql import merge_block, task_condition
from runtime.contract.snowflake_status import SYNC_STATE, state_view, status_statement
from runtime.contract.snowflake_sweep import (
    SYNC_OVERDUE,
    overdue_view,
    sweep_block,
    sweep_condition,
)
from runtime.contract.snowflake_views import views
from runtime.contract.specs import Table
from runtime.ops.checksum import target_side
from runtime.ops.deletes import approve
from runtime.ops.doctor_quarantine import examine_quarantine
from runtime.ops.doctor_warehouse import examine_warehouse
from runtime.ops.explain import Explaining
from runtime.ops.findings import Report, Site
from runtime.ops.history import last_day, recent_runs
from runtime.ops.rebuild import rebuild
from runtime.ops.standing import standing
from runtime.ops.warehouse import COUNTED, Warehouse

STAMP = "00000000000000000001-00000000000000000009-1000000000"
FILE = "exports/dev/t/a"
# In the place of a load: those are read as the view spells them.
WAITS = "a load"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def deployed(objects: SnowflakeObjects, table: Table) -> Iterator[tuple[str, str]]:
    """Yield what the deployer puts into a table's pipe and task, with its name."""
    yield "pipe", copy_statement(objects, table)
    yield "condition", f"SELECT {task_condition(objects, table)}"
    block = merge_block(objects, table)
    yield "task", block
    yield "first of task", block.split(";\n")[1]


def shared(
    objects: SnowflakeObjects, tables: Mapping[str, Table]
) -> Iterator[tuple[str, str]]:
    """Yield what the deployer makes for all tables together, with its name."""
    yield "pipe of manifests", manifest_copy_statement(objects)
    yield "condition of the sweep", f"SELECT {sweep_condition(objects)}"
    yield "sweep", sweep_block(objects)
    overdue = overdue_view(objects, tables.values())
    yield from (views(objects) | {SYNC_OVERDUE: overdue}).items()
    yield SYNC_STATE, state_view(objects, tables.values())
    yield f"{SYNC_STATE} without tables", state_view(objects, ())
    yield "unload of the status", status_statement(objects)
    for number, load in enumerate(loads(overdue)):
        yield f"load {number} of {SYNC_OVERDUE}", load


def administered() -> Iterator[tuple[str, str]]:
    """Yield what an administrator is told to run, with its number."""
    wanted = StackSettings.from_file("dev").snowflake
    statements = deployer_statements(wanted, "MIIBIjAN", ["BIG"])
    for number, statement in enumerate(statements):
        yield f"administrator {number}", statement


def loads(overdue: str) -> Iterator[str]:
    """Yield the statements that the view spells out, for one file and one manifest."""
    view = parse_one(overdue, dialect="snowflake")
    texts = [
        alias.this.sql("duckdb")
        for alias in view.find_all(exp.Alias)
        if alias.alias == "statement" and not isinstance(alias.this, exp.Column)
    ]
    assert len(texts) == 2
    with duckdb.connect() as evaluated:
        evaluated.execute("SET lambda_syntax = 'ENABLE_SINGLE_ARROW'")
        for text in texts:
            found = evaluated.execute(
                f"SELECT {text} FROM (SELECT 3 AS width, '{FILE}' AS file_name) AS f, "
                "(SELECT 'C' AS landing) AS p, "
                "(SELECT 'manifests/dev/t/b' AS file_name) AS g"
            ).fetchone()
            assert found is not None
            yield found[0]


class Account(Warehouse):
    """A warehouse without a server, where everything waits to be mended.

    Args:
        objects: Names of the sync's objects.
        table: The one table.
    """

    def __init__(self, objects: SnowflakeObjects, table: Table) -> None:
        super().__init__(connection=None, objects=objects)  # type: ignore[arg-type]
        self.said: list[str] = []
        name = table.contract.table
        run: dict[str, Any] = {
            "seq": 1,
            "mode": "full" if table.spec.is_full else "first_load",
        }
        run |= {"run": "r", "low": None, "high": "2026-01-01", "generation": 1}
        run |= dict.fromkeys(("rows_exported", "bytes"), 0)
        run |= dict.fromkeys(COUNTED, 0)
        run |= {"files": 1, "complete": True, "committed_at": NOW, "merged_at": None}
        decision = dict.fromkeys(("key_count", "row_count", "gone_count"), 1)
        paused = json.dumps({"executionState": "PAUSED"})
        status = {"last_seq": 1, "merged_seq": 1, "merged_through": "2026-01-01"}
        # By what the statement has in it; the first that fits.
        self._answers: tuple[tuple[str, dict[str, Any]], ...] = (
            ("SHOW STREAMS", {"name": objects.stream(table), "stale": "true"}),
            (
                f"SHOW PIPES LIKE '{objects.manifests_pipes}",
                {"name": manifests_pipe_name(objects), "created_on": NOW},
            ),
            ("SHOW PIPES", {"name": pipe_name(objects, table), "created_on": NOW}),
            ("SHOW TASKS", {"name": objects.task(table), "state": "suspended"}),
            ("CURRENT_ROLE()", {"name": "Ops Team"}),
            ("PIPE_STATUS", {"status": paused}),
            ("COPY_HISTORY", {"file_name": "x", "first_error_message": "y"}),
            ("TASK_HISTORY", {"state": "FAILED", "error_message": "y"}),
            ("SYNC_STATUS", {"table_name": name, "first_bad": None, **status}),
            (
                "SYNC_OVERDUE",
                {"table_name": name, "file_name": "x", "statement": WAITS},
            ),
            ("AS line", {}),
            ("f.stamp, r.low", {"stamp": STAMP, "low": None}),
            ("AS since", {"run": "r", "files": 1, "since": NOW, "landed": 0}),
            ("AS rows_exported", {"table_name": name, "runs": 1, "rows_exported": 1}),
            ("AS quarantined", {"table_name": name, "quarantined": 1}),
            ("r.seal", {"seal": "exports/dev/t/s"}),
            ("SELECT DISTINCT l.c", {f"c{place}": "1" for place, _ in table.keys}),
            (
                "missing_count, 0)",
                decision
                | {"table_name": name, "seal": "s", "stamp": STAMP}
                | {"decision": "braked", "decided_at": "2026", "missing_count": 1},
            ),
            ("SYNC_RUNS", {"table_name": name, **run}),
            ("SYNC_FILES", {"file_name": FILE}),
        )

    def ask(self, statement: str, timeout: int = 0) -> list[dict[str, Any]]:
        if statement == WAITS:
            return []
        self.said.append(statement)
        columns = statement.split(" FROM ")[0].removeprefix("SELECT ").split(", ")
        for part, row in self._answers:
            if part in statement and statement.startswith(("SELECT", "SHOW", "WITH")):
                few = {name: row[name] for name in columns if name in row}
                return [few if len(few) == len(columns) else row] if row else []
        return []


class Aurora(psycopg2.extensions.connection):
    """A session with Aurora without a server, and its answers in turn."""

    encoding = "UTF8"
    closed = 0

    def __init__(self, *answers: tuple[Any, ...] | None) -> None:
        self._answers = list(answers)

    def cursor(self, *_: Any, **__: Any) -> Any:
        return self

    def execute(self, *_: Any) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def rollback(self) -> None:
        """Nothing to do."""

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._answers.pop(0)


class Here:
    """A stack as the doctor names it."""

    options, deploy = "", "pulumi up"


class Operator:
    """The commands that ask Snowflake about a table, each with an account of its own.

    Args:
        objects: Names of the sync's objects.
        table: The table.
    """

    def __init__(self, objects: SnowflakeObjects, table: Table) -> None:
        self._objects, self._table = objects, table
        self._name = table.contract.table
        last_run = {"at": "2026-01-01T00:00:00+00:00"}
        self._state = LedgerState(seq=9, last_run=last_run)

    def status(self, account: Account) -> None:
        account.progress([self._name])
        account.last_runs([self._name])
        account.runs(self._table, 1, 2)
        account.failed_file(self._table)
        account.task_failure(self._table)

    def report(self, account: Account) -> None:
        recent_runs(account, [self._name], 5)
        last_day(account, NOW)

    def doctor(self, account: Account) -> None:
        report, tables, here = Report("snowflake"), [self._table], cast(Site, Here())
        states = {self._table.spec.source: self._state}
        examine_warehouse(report, account, tables, states, here)
        examine_quarantine(report, Aurora((1,)), account, tables)
        for found in report.findings:
            account.said += found.remedy if found.where == "snowflake" else ()

    def rebuild(self, account: Account) -> None:
        rebuild(self._table, account, lambda _: iter([FILE]), seconds=0, tell=_unheard)

    def approve(self, account: Account) -> None:
        approve(self._table, account)

    def explain(self, account: Account) -> None:
        key = tuple(str(place) for place, _ in self._table.keys)
        session = Aurora(key, None)
        Explaining(self._table, key, session, account, self._state).explanation()

    def verify(self, account: Account) -> None:
        """Ask what verify asks: the target's side goes to the connection itself."""
        session = Aurora((STAMP, False, True, "2026-01-01"))
        progress = account.progress([self._name])[self._name]
        by = standing(self._table, session, account, progress)
        assert by is not None
        side = target_side(self._table, self._objects)
        account.said += [
            side.aggregate(by.target_group, side.where),
            side.rows(by.target, by.target_rows, ["00ff"]),
            side.picked(["0" * 32]),
        ]


def _unheard(_: str) -> None:
    """Nobody watches."""


COMMANDS = ("status", "report", "doctor", "rebuild", "approve", "explain", "verify")


def operated(objects: SnowflakeObjects, table: Table) -> Iterator[tuple[str, str]]:
    """Yield what each operator's command asks about a table, with its name."""
    for command in COMMANDS:
        account = Account(objects, table)
        getattr(Operator(objects, table), command)(account)
        for number, statement in enumerate(account.said):
            yield f"{command} {number}", statement
