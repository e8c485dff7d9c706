"""The stack that is measured, its tables, and what a right result is."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from infra.cli.target import LocalTarget
from infra.local import aws, postgres, stack
from infra.local.parts import LocalStack
from infra.local.snowflake.part import connect
from runtime.contract.loader import load_tables
from runtime.contract.snowflake_names import LANDING, SnowflakeObjects
from runtime.contract.snowflake_pipes import pipe_name
from runtime.contract.specs import Table
from runtime.ops import contracts, source
from runtime.ops.invoke import Exporter
from runtime.ops.sync import Syncing

SMALL_ROWS = 20_000
# `exported` is only exported; `synced` is what we and the peers keep equal.
TABLES = ("small", "exported", "synced")
_CREATE = """
CREATE TABLE {} (id BIGINT PRIMARY KEY, customer_id BIGINT NOT NULL,
  status TEXT NOT NULL, total NUMERIC(12, 2) NOT NULL, note TEXT,
  placed_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ NOT NULL)
"""
# Back-dated: what is younger than the lookback would go out with every sync. No two
# rows share a time, which dlt would have to remember one by one.
_FILL = """
INSERT INTO {} SELECT g, g %% 50000, (ARRAY['new', 'paid', 'sent', 'done'])[1 + g %% 4],
  (g %% 100000) / 7.0, CASE WHEN g %% 3 > 0 THEN MD5(g::TEXT) || ', "' || g || '"' END,
  NOW() - INTERVAL '90 days' + g * INTERVAL '1 ms',
  NOW() - INTERVAL '60 days' + g * INTERVAL '1 ms'
FROM GENERATE_SERIES(1, %s) AS g
"""
_CHANGE = """
UPDATE synced SET total = total + 1, status = 'changed', updated_at = CLOCK_TIMESTAMP()
WHERE id <= %s
"""
# What a copy must have in common with the table.
CHECK = "COUNT(*), COUNT(note), SUM(total), SUM(customer_id)"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A running stack with filled tables.

    Attributes:
        folder: Its folder.
        config: Its config.
        rows: Rows of the large tables.
        changed: Rows that a change touches.
    """

    folder: Path
    config: Path
    rows: int
    changed: int

    @property
    def parts(self) -> LocalStack:
        return LocalStack(self.folder)

    @property
    def dsn(self) -> str:
        return postgres.aurora_dsn(self.parts)

    def output(self, name: str) -> str:
        return str(self.parts.fact("outputs")[name])

    def pid(self, part: str) -> int:
        return int(self.parts.read()["parts"][part]["pid"])

    def table(self, name: str) -> Table:
        tables = {table.spec.source.name: table for table in load_tables(self.config)}
        return tables[name]

    def aurora(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []

    def snowflake(self, *statements: str) -> list[Any]:
        with closing(connect(self.parts, "ANALYTICS")) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def change(self) -> None:
        """Change the same rows as ever, so that the lookback finds no others."""
        self.aurora(_CHANGE, self.changed)

    def truth(self) -> tuple[Any, ...]:
        """What every copy of `synced` must show."""
        return self.aurora(f"SELECT {CHECK} FROM synced")[0]

    def arrived(self) -> tuple[Any, ...]:
        """What our copy shows."""
        exact = CHECK.replace("(total)", "(total::NUMBER(38, 2))").replace(
            "(customer_id)", "(customer_id::NUMBER(38, 0))"
        )
        found = self.snowflake(f"SELECT {exact} FROM ANALYTICS.PUBLIC.SYNCED")
        return tuple(found[0])

    def forget(self, name: str) -> None:
        """Let the next run be a first load again, into an empty target."""
        key = {"pk": {"S": f"local#public.{name}"}, "sk": {"S": "STATE"}}
        aws.client(self.parts, "dynamodb").update_item(
            TableName=self.output("ledger"),
            Key=key,
            UpdateExpression="REMOVE watermark",
        )
        self.snowflake(
            f"TRUNCATE TABLE ANALYTICS.PUBLIC.{name.upper()}",
            f"TRUNCATE TABLE ANALYTICS.LANDING.PUBLIC__{name.upper()}",
        )

    def export(self, name: str) -> Any:
        """Invoke the deployed function once; return its answer."""
        exporter: Exporter = LocalTarget(self.parts, self.config).exporter
        result = exporter.invoke(self.table(name).spec.source)
        if result.status != "done":
            raise RuntimeError(f"export of {name}: {result.status} {result.error}")
        return result

    def sync(self) -> float:
        """Sync until merged, as the command does; return the seconds."""
        target = LocalTarget(self.parts, self.config)
        with target.warehouse() as warehouse:
            begun = time.monotonic()
            syncing = Syncing(target.exporter, target.ledger, warehouse, 600)
            [outcome] = syncing.run([self.table("synced")])
            seconds = time.monotonic() - begun
        if outcome.status != "merged":
            raise RuntimeError(f"sync: {outcome.error}")
        return seconds

    def sync_command(self) -> float:
        """Run the command in a process of its own; return the seconds."""
        command = Path(sys.executable).with_name("aurora-sync")
        words = [str(command), "sync", "public.synced", "--wait", "--json"]
        where = ["--dir", str(self.folder), "--config", str(self.config)]
        begun = time.monotonic()
        subprocess.run(
            [*words, *where], check=True, capture_output=True, timeout=600, text=True
        )
        return time.monotonic() - begun


@contextmanager
def prepared(folder: Path, rows: int, changed: int) -> Iterator[Ground]:
    """Bring up a stack of its own with its tables; take it down at the end."""
    config = folder / "sync_config.json"
    keys = {"watermark_col": "updated_at", "primary_key": "id"}
    entries = [{"table_name": f"public.{name}"} | keys for name in TABLES]
    config.write_text(json.dumps({"tables": entries}))
    ground = Ground(folder=folder / "stack", config=config, rows=rows, changed=changed)
    try:
        stack.up(ground.folder, config, deploy=False)
        for name in TABLES:
            _fill(ground, name, SMALL_ROWS if name == "small" else rows)
        with closing(source.connect(ground.dsn)) as connection:
            contracts.refresh(config, connection)
        stack.deploy(ground.folder, config)
        place = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")
        for table in load_tables(config):
            if table.spec.source.name not in TABLES[:2]:
                continue
            pipe = place.qualified(LANDING, pipe_name(place, table))
            # Only its export is measured; loading would take the cores from it.
            ground.snowflake(f"ALTER PIPE {pipe} SET PIPE_EXECUTION_PAUSED = TRUE")
        yield ground
    finally:
        stack.down(ground.folder)


def _fill(ground: Ground, name: str, rows: int) -> None:
    table = sql.Identifier(name)
    with closing(psycopg2.connect(ground.dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(_CREATE).format(table))
            cursor.execute(sql.SQL(_FILL).format(table), (rows,))
            cursor.execute(sql.SQL("CREATE INDEX ON {} (updated_at)").format(table))
            cursor.execute(sql.SQL("VACUUM ANALYZE {}").format(table))
