"""A source table that changes, all the way: refusal, refresh, deployment, back-fill."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import postgres
from runtime.contract.loader import load_tables
from runtime.contract.specs import Table
from runtime.ops import contracts
from runtime.ops.source import connect
from tests.integration.conftest import MERGE_SECONDS, Sandbox

COLUMNS = """
  id BIGINT PRIMARY KEY, note TEXT NOT NULL, gone TEXT, again INTEGER,
  amount NUMERIC(6, 2), small INTEGER, old_name TEXT,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
"""
# Columns of the first contract.
WIDTH = 8


class Drifting:
    """A table that has changed since it was deployed."""

    def __init__(self, sandbox: Sandbox, table: Table) -> None:
        self.sandbox, self.table = sandbox, table

    def alter(self, *changes: str) -> None:
        for change in changes:
            self.sandbox.aurora(f"ALTER TABLE {self.table.spec.source.sql} {change}")

    def refresh(self) -> contracts.Refreshed:
        """Do what the refusal says: refresh and deploy."""
        sandbox, name = self.sandbox, self.table.spec.table_name
        with closing(connect(postgres.aurora_dsn(sandbox.local))) as session:
            (done,) = contracts.refresh(sandbox.config, session, [name])
        sandbox.tables = list(load_tables(sandbox.config))
        sandbox.deploy()
        return done

    def status(self) -> dict[str, Any]:
        where = [
            "--dir",
            str(self.sandbox.folder),
            "--config",
            str(self.sandbox.config),
        ]
        name = self.table.spec.table_name
        result = CliRunner().invoke(app, ["status", name, "--json", *where])
        [found] = json.loads(result.stdout)
        return dict(found)

    def land(self, stamp: str, run: str, line: str) -> None:
        """Let a file of the first contract arrive."""
        slug = self.table.spec.source.slug
        self.sandbox.aws("s3").put_object(
            Bucket=self.sandbox.outputs["bucket"],
            Key=f"exports/local/{slug}/{run}/{stamp}_{WIDTH}_c000000.csv",
            Body=f"{line}\n".encode(),
        )

    def target(self, columns: str = "*") -> list[Any]:
        name = f"ANALYTICS.PUBLIC.{self.table.spec.target[1]}"
        return self.sandbox.snowflake(f"SELECT {columns} FROM {name} ORDER BY id")

    def columns(self) -> set[str]:
        found = self.sandbox.snowflake(
            "SELECT column_name FROM ANALYTICS.INFORMATION_SCHEMA.COLUMNS WHERE "
            f"table_schema = 'PUBLIC' AND table_name = '{self.table.spec.target[1]}'"
        )
        return {name for (name,) in found if not name.startswith("_")}


@pytest.fixture
def drifting(sandbox: Sandbox) -> Iterator[Drifting]:
    table = sandbox.table(COLUMNS, primary_key="id")
    sandbox.aurora(
        f"INSERT INTO {table.spec.source.sql} SELECT g, 'n', 'g', 100 + g, g / 4.0, g,"
        " 'v' || g, NOW() - INTERVAL '90 days' FROM generate_series(1, 3) AS g"
    )
    sandbox.sync(table)
    yield Drifting(sandbox, table)


def test_a_table_that_changes_arrives_as_it_has_become(drifting: Drifting) -> None:
    """Rows that nobody touched since get their values of what is new too."""
    sandbox, table = drifting.sandbox, drifting.table
    drifting.alter("ADD COLUMN extra TEXT DEFAULT 'x'")
    assert sandbox.sync(table)["drift"] == ["extra"]
    drifting.alter(
        "DROP COLUMN gone",
        "DROP COLUMN again",
        "ADD COLUMN again INTEGER",
        "ALTER amount TYPE NUMERIC(8, 4) USING amount + 0.0001",
        "ALTER small TYPE BIGINT USING small + 10000000000",
        "RENAME old_name TO new_name",
        "ALTER note DROP NOT NULL",
    )
    sandbox.aurora(f"UPDATE {table.spec.source.sql} SET again = 7 WHERE id = 1")
    answer = sandbox.tick(table)
    assert (answer["status"], answer["error"]["code"]) == ("failed", "drift")
    assert drifting.status()["state"] == "refused"

    done = drifting.refresh()
    assert done.waiting == ("amount", "again")
    answer = sandbox.sync(table)
    assert sorted(answer["drift"]) == ["again", "amount"]
    assert drifting.columns() == {
        *("ID", "NOTE", "EXTRA", "SMALL", "NEW_NAME", "UPDATED_AT")
    }
    assert drifting.target("id, extra, small, new_name") == [
        (g, "x", 10000000000 + g, f"v{g}") for g in (1, 2, 3)
    ]

    # Files of the first contract: one is late, one newer than all.
    late, newest = (f"00000{n}-{'9' * 20}-{'9' * 10}" for n in (0, 1))
    old = '"g",102,0.50,2,"v2",2026-01-01 00:00:00+00'
    drifting.land(late, "late", f'2,"late",{old}')
    drifting.land(newest, "newest", f'3,"newest",{old}')
    deadline = time.monotonic() + MERGE_SECONDS
    while drifting.target("note")[2] == ("n",) and time.monotonic() < deadline:
        time.sleep(0.1)
    sandbox.quiet(table)
    assert drifting.target("id, note, extra, small, new_name") == [
        (1, "n", "x", 10000000001, "v1"),
        (2, "n", "x", 10000000002, "v2"),
        (3, "newest", "x", 2, "v3"),
    ]

    assert drifting.refresh().waiting == ()
    sandbox.aurora(f"INSERT INTO {table.spec.source.sql} (id) VALUES (4)")
    answer = sandbox.sync(table)
    assert answer.get("drift", []) == []
    assert drifting.status()["refusal"] is None
    found = drifting.target("id, note, again, amount::VARCHAR")
    assert found[:2] == [(1, "n", 7, "0.2501"), (2, "n", None, "0.5001")]
    assert found[3] == (4, None, None, None)
