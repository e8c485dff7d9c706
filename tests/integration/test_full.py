"""A table of mode full, all the way: rows change without a watermark, and vanish."""

import json
from contextlib import closing
from typing import Any

from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import postgres
from infra.local.snowflake.part import connect as connect_snowflake
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table
from runtime.ops.source import connect
from runtime.ops.verify import Verdict, verify
from runtime.ops.warehouse import Warehouse
from tests.integration.conftest import Sandbox

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")


def verified(sandbox: Sandbox, table: Table) -> Verdict:
    with (
        closing(connect(postgres.aurora_dsn(sandbox.local))) as aurora,
        closing(connect_snowflake(sandbox.local, "ANALYTICS")) as warehouse,
    ):
        [found] = verify([table], aurora, Warehouse(warehouse, OBJECTS))
    return found


def asked(sandbox: Sandbox, command: str, table: Table, *more: str) -> Any:
    """Run a command of the program on the table; return its JSON."""
    where = ["--dir", str(sandbox.folder), "--config", str(sandbox.config), "--json"]
    call = [command, table.spec.table_name, *more, *where]
    result = CliRunner().invoke(app, call)
    return json.loads(result.stdout)


def living(sandbox: Sandbox, table: Table) -> list[Any]:
    return sandbox.snowflake(
        f"SELECT item, note FROM ANALYTICS.PUBLIC.{table.spec.target[1]} "
        "WHERE _deleted_at IS NULL ORDER BY item"
    )


def test_what_changes_without_a_watermark_and_what_is_deleted_arrives(
    sandbox: Sandbox,
) -> None:
    table = sandbox.table(
        "item BIGINT PRIMARY KEY, note TEXT",
        primary_key="item",
        watermark_col=None,
        mode="full",
        max_delete_fraction=0.5,
    )
    name = table.spec.source.sql
    sandbox.aurora(f"INSERT INTO {name} SELECT g, 'n' FROM generate_series(1, 5) AS g")
    first = sandbox.sync(table)
    assert (first["mode"], first["rows_exported"], first["keys_exported"]) == (
        *("full", 5, 5),
    )
    sandbox.aurora(f"UPDATE {name} SET note = 'changed' WHERE item = 2")
    found = verified(sandbox, table)
    # A row that was written since the last load is not due yet.
    assert (found.verdict, found.different) == ("equal", 0)
    sandbox.aurora(f"DELETE FROM {name} WHERE item = 1")
    second = sandbox.sync(table)
    sandbox.merged(table, second["reconcile_seq"])
    assert living(sandbox, table) == [(2, "changed"), (3, "n"), (4, "n"), (5, "n")]
    found = verified(sandbox, table)
    assert (found.verdict, found.source_rows, found.target_rows) == ("equal", 4, 4)
    sandbox.snowflake(
        f"UPDATE ANALYTICS.PUBLIC.{table.spec.target[1]} SET note = 'x' WHERE item = 3"
    )
    assert verified(sandbox, table).different == 1
    assert asked(sandbox, "explain", table, "3")["verdict"] == "the next run exports it"
    sandbox.sync(table)
    assert verified(sandbox, table).verdict == "equal"
    explained = asked(sandbox, "explain", table, "3")
    assert (explained["sound"], explained["watermark"]) == (True, None)
    [status] = asked(sandbox, "status", table)
    assert status["last_run"]["mode"] == "full"
    assert status["merged_through"] is not None and status["lag_seconds"] < 600
    found = asked(sandbox, "doctor", table)
    assert [each for each in found if each["severity"] == "error"] == []
    checks = {each["check"] for each in found if each["part"] == "tables"}
    assert checks == {"contract", "contract file", "size", "grants"}
