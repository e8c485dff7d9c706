"""One local stack for all integration tests; each test brings tables of its own."""

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import aws, postgres, stack
from infra.local.parts import LocalStack
from infra.local.snowflake.part import connect
from runtime.contract.loader import contract_path
from runtime.contract.snowflake_names import LANDING, SnowflakeObjects
from runtime.contract.snowflake_pipes import pipe_name
from runtime.contract.specs import Table
from tests.factories import make_entry, make_table
from tests.local.running import unscheduled

MERGE_SECONDS = 30.0
OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/integration/" in item.path.as_posix():
            item.add_marker(pytest.mark.integration)


@dataclass(kw_only=True)
class Sandbox:
    """A running local stack and its config, as an operator has them.

    Attributes:
        folder: Folder of the stack.
        config: Its `sync_config.json`; contracts stand beside it.
        tables: What is in the config.
    """

    folder: Path
    config: Path
    tables: list[Table] = field(default_factory=list)

    @property
    def local(self) -> LocalStack:
        return LocalStack(self.folder)

    def write_config(self, *tables: Table) -> None:
        """Replace the config and its contracts."""
        self.tables = list(tables)
        entries = []
        for table in tables:
            path = contract_path(self.config, table.spec.source)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(msgspec.json.encode(table.contract, order="sorted"))
            entry = msgspec.to_builtins(table.spec)
            defaults = msgspec.to_builtins(make_table().spec)
            entries.append(
                make_entry(
                    **{key: entry[key] for key in entry if entry[key] != defaults[key]}
                )
            )
        self.config.write_text(json.dumps({"tables": entries}))

    def deploy(self) -> stack.Report:
        return stack.deploy(self.folder, self.config)

    def adopt(self, *tables: Table) -> None:
        """Let the next deployment take over the tables' targets, as operators do."""
        names = [table.spec.table_name for table in tables]
        where = ["--dir", str(self.folder), "--config", str(self.config)]
        result = CliRunner().invoke(app, ["adopt", *names, *where])
        assert result.exit_code == 0, (result.stdout, result.stderr)

    def table(self, ddl: str, **keys: Any) -> Table:
        """Make a table of its own for a test, and deploy it.

        Args:
            ddl: Columns and constraints of CREATE TABLE.
            keys: Keys of the config entry beside the table's name.
        """
        name = f"t{next(_numbers)}"
        self.aurora(f"CREATE TABLE public.{name} ({ddl})")
        columns = self.aurora(
            "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)"
            " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = %s::regclass"
            " AND a.attnum > 0 ORDER BY a.attnum",
            f"public.{name}",
        )
        keys = {"table_name": f"public.{name}", "merge_interval": "PT10S"} | keys
        made = make_table(tuple(columns), **keys)
        self.write_config(*self.tables, made)
        self.deploy()
        return made

    def aurora(self, statement: str, *values: Any) -> list[Any]:
        """Run a statement in Aurora as superuser, in a transaction of its own."""
        dsn = postgres.aurora_dsn(self.local)
        with closing(psycopg2.connect(dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []

    def snowflake(self, statement: str) -> list[Any]:
        """Run a statement in the local Snowflake."""
        with closing(connect(self.local, "ANALYTICS")) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())

    def aws(self, service: str) -> Any:
        """Return a client with the operator's rights."""
        return aws.client(self.local, service)

    @property
    def outputs(self) -> dict[str, Any]:
        """The program's exports."""
        found: dict[str, Any] = self.local.fact("outputs")
        return found

    @staticmethod
    def pipe(table: Table) -> str:
        """Return the full name of the pipe that a table's contract is deployed with."""
        return OBJECTS.qualified(LANDING, pipe_name(OBJECTS, table))

    def tick(self, table: Table, **more: Any) -> dict[str, Any]:
        """Invoke the exporter as the table's schedule does; return its answer."""
        [target] = self.aws("events").list_targets_by_rule(
            Rule=f"aurora-sync_local_{table.spec.source.slug}"
        )["Targets"]
        event = json.loads(target["Input"]) | {"report_errors": True} | more
        answer = self.aws("lambda").invoke(
            FunctionName=target["Arn"], Payload=json.dumps(event)
        )
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, payload
        return payload

    def merged(self, table: Table, seq: int) -> None:
        """Wait until Snowflake has merged all manifests up to this one."""
        deadline = time.monotonic() + MERGE_SECONDS
        found: list[Any] = []
        while time.monotonic() < deadline:
            found = self.snowflake(
                "SELECT merged_seq FROM ANALYTICS.SYNC.SYNC_STATUS "
                f"WHERE table_name = '{table.spec.table_name}'"
            )
            if found and found[0][0] >= seq:
                return
            time.sleep(0.1)
        pytest.fail(f"manifest {seq} is not merged after {MERGE_SECONDS} s: {found}")

    def quiet(self, table: Table) -> None:
        """Wait until the table's task has taken what has landed."""
        name = f"PUBLIC__{table.spec.source.name.upper()}_STREAM"
        question = f"SELECT SYSTEM$STREAM_HAS_DATA('ANALYTICS.LANDING.{name}')"
        deadline = time.monotonic() + MERGE_SECONDS
        while self.snowflake(question) != [(False,)]:
            assert time.monotonic() < deadline, f"{name} still has rows"
            time.sleep(0.1)

    def sync(self, table: Table) -> dict[str, Any]:
        """Run one sync and wait until what it exported is merged."""
        answer = self.tick(table)
        while answer["status"] == "more":
            time.sleep(0.5)
            answer = self.tick(table)
        assert answer["status"] == "done", answer
        if answer.get("seq") is not None:
            self.merged(table, answer["seq"])
        return answer


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The session's stack, deployed without any table."""
    folder = tmp_path_factory.mktemp("local")
    made = Sandbox(folder=folder / "stack", config=folder / "sync_config.json")
    made.write_config()
    unscheduled(made.local)
    try:
        stack.up(made.folder, made.config)
        yield made
    finally:
        stack.down(made.folder)


@pytest.fixture(scope="module")
def sandbox(shared: Sandbox) -> Iterator[Sandbox]:
    """The session's stack, with none but the module's own tables in the config."""
    yield shared
    # A deployment takes the longer the more tables it has: the next one stops these.
    shared.write_config()
