"""The command line in this process, and one local stack that it has brought up."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from typer.testing import CliRunner, Result

from infra.cli.app import app
from infra.local import aws
from infra.local.parts import LocalStack
from tests.local.running import unscheduled

SCRIPT = Path(sys.executable).with_name("aurora-sync")
SECONDS = 180


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/cli/" in item.path.as_posix() and "local" in getattr(
            item, "fixturenames", ()
        ):
            item.add_marker(pytest.mark.integration)


def aurora_sync(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(each) for each in arguments])


def process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as people do."""
    return subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@dataclass(kw_only=True)
class Local:
    """A local stack as an operator has it.

    Attributes:
        folder: Its `--dir`.
        config: Its `sync_config.json`.
        described: What `local up --json` printed.
    """

    folder: Path
    config: Path
    described: dict[str, Any]

    def run(self, *arguments: str | Path, status: int = 0) -> Result:
        """Run a command on the stack; its exit status must be this one."""
        result = aurora_sync(*arguments, "--dir", self.folder)
        assert result.exit_code == status, (result.stdout, result.stderr)
        return result

    def data(self, *arguments: str | Path, status: int = 0) -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def connect(self) -> Any:
        """Open a transaction on Aurora, with the DSN that everybody gets."""
        return psycopg2.connect(self.described["aurora_dsn"])

    def aurora(self, *statements: str) -> None:
        """Run statements on Aurora."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def snowflake(self, statement: str) -> list[dict[str, Any]]:
        """Run a statement on Snowflake."""
        rows: list[dict[str, Any]] = self.data("local", "sql", "snowflake", statement)
        return rows

    @property
    def parts(self) -> LocalStack:
        return LocalStack(self.folder)

    def lease(self, table: str, until: int) -> None:
        """Let another run hold a table's lease."""
        aws.client(self.parts, "dynamodb").update_item(
            TableName=self.parts.fact("outputs")["ledger"],
            Key={"pk": {"S": f"local#{table}"}, "sk": {"S": "STATE"}},
            UpdateExpression="SET lease_run = :r, lease_until = :u",
            ExpressionAttributeValues={":r": {"S": "other"}, ":u": {"N": str(until)}},
        )


TABLES = """
CREATE TABLE public.orders (order_id BIGINT PRIMARY KEY, status TEXT,
  total NUMERIC(12, 2), updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW());
INSERT INTO public.orders SELECT g, 'n' || g, g / 3.0, NOW() - INTERVAL '90 days'
  FROM generate_series(1, 50) AS g;
CREATE TABLE public.wide (a TEXT, b INT, f8 FLOAT8, doc JSONB, tm TIME,
  updated_at TIMESTAMP NOT NULL DEFAULT (NOW() AT TIME ZONE 'UTC'), PRIMARY KEY (a, b));
INSERT INTO public.wide SELECT 'k~|' || g, g, g / 7.0, jsonb_build_object('x', g / 7.0),
  '12:00', NOW() - INTERVAL '90 days' FROM generate_series(1, 30) AS g;
CREATE TABLE public.nothing (id INT PRIMARY KEY, updated_at TIMESTAMPTZ NOT NULL);
"""


@pytest.fixture(scope="package")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """Bring up a stack, make tables, add them to a config and deploy it."""
    base = tmp_path_factory.mktemp("cli")
    folder, config = base / "stack", base / "sync_config.json"
    unscheduled(LocalStack(folder))
    try:
        up = process(
            "local", "up", "--no-deploy", "--dir", folder, "--json", "--config", config
        )
        assert up.returncode == 0, up.stderr
        made = Local(folder=folder, config=config, described=json.loads(up.stdout))
        made.aurora(TABLES)
        for arguments in (
            ("public.orders", "--key", "order_id", "--watermark", "updated_at"),
            ("public.wide", "--key", "a,b", "--watermark", "updated_at")
            + ("--watermark-timezone", "UTC"),
            ("public.nothing", "--key", "id", "--watermark", "updated_at"),
        ):
            made.run("table", "add", *arguments, "--config", config)
        deployed = process("local", "deploy", "--dir", folder, "--config", config)
        assert deployed.returncode == 0, deployed.stderr
        yield made
    finally:
        down = process("local", "down", "--dir", folder)
        assert down.returncode == 0, down.stderr
