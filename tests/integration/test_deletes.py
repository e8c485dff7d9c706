"""Deletes on the local stack: keys are compared, nothing else is ever removed."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from infra.local.snowflake.part import connect
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table
from runtime.ops.deletes import approve
from runtime.ops.warehouse import Warehouse
from tests.factories import make_column, make_table
from tests.integration.conftest import Sandbox

COLUMNS = (
    "id INT PRIMARY KEY, note TEXT, gone BOOLEAN, gone_at TIMESTAMPTZ, "
    "at TIMESTAMPTZ NOT NULL DEFAULT NOW()"
)
_free: dict[Path, list[Table]] = {}
_SPARE = 9
_OTHERS: dict[str, dict[str, Any]] = {
    "whole": {"max_delete_fraction": 1.0},
    "ignored": {"deletes": "ignore"},
    "gone": {"deletes": "soft_column", "deleted_col": "gone"},
    "gone_at": {"deletes": "soft_column", "deleted_col": "gone_at"},
}


def _deployed(sandbox: Sandbox) -> list[Table]:
    """Make the tables of all tests at once: a deployment takes seconds."""
    entries = [(f"del{n}", dict[str, Any]()) for n in range(_SPARE)]
    made = []
    for name, keys in [*entries, *_OTHERS.items()]:
        sandbox.aurora(f"CREATE TABLE public.{name} ({COLUMNS})")
        columns = (
            ("id", "integer"),
            make_column(2, "note", "text", nullable=True),
            make_column(3, "gone", "boolean", nullable=True),
            make_column(4, "gone_at", "timestamp with time zone", nullable=True),
            ("at", "timestamp with time zone"),
        )
        wanted = {"primary_key": "id", "watermark_col": "at", "merge_interval": "PT10S"}
        made.append(make_table(columns, table_name=f"public.{name}", **wanted | keys))
    sandbox.write_config(*sandbox.tables, *made)
    sandbox.deploy()
    return made


def filled(sandbox: Sandbox, name: str = "") -> Table:
    """Return a table with twenty rows, merged; one that no other test uses."""
    if sandbox.folder not in _free:
        _free[sandbox.folder] = _deployed(sandbox)
    tables = _free[sandbox.folder]
    wanted = [table for table in tables if not name or table.spec.source.name == name]
    tables.remove(table := wanted[0])
    sandbox.aurora(
        f"INSERT INTO {table.spec.source.sql} (id, note, at)"
        " SELECT g, 'n' || g, NOW() - INTERVAL '9 days'"
        " FROM generate_series(1, 20) AS g"
    )
    sandbox.sync(table)
    return table


def reconcile(sandbox: Sandbox, table: Table) -> dict[str, Any]:
    answer = sandbox.tick(table, reconcile=True)
    assert answer["status"] == "done", answer
    sandbox.merged(table, answer["reconcile_seq"])
    return answer


def target(sandbox: Sandbox, table: Table) -> str:
    return f"ANALYTICS.PUBLIC.{table.spec.source.name.upper()}"


def living(sandbox: Sandbox, table: Table) -> set[int]:
    name = target(sandbox, table)
    rows = sandbox.snowflake(f"SELECT id FROM {name} WHERE _deleted_at IS NULL")
    return {int(row[0]) for row in rows}


def decisions(sandbox: Sandbox, table: Table) -> list[str]:
    rows = sandbox.snowflake(
        "SELECT decision FROM ANALYTICS.SYNC.RECONCILES "
        f"WHERE table_name = '{table.spec.table_name}' ORDER BY decided_at"
    )
    return [row[0] for row in rows]


def delete(sandbox: Sandbox, table: Table, condition: str) -> None:
    sandbox.aurora(f"DELETE FROM {table.spec.source.sql} WHERE {condition}")


def test_what_is_gone_is_marked_and_all_else_stays(sandbox):
    table = filled(sandbox)
    delete(sandbox, table, "id <= 2")
    answer = reconcile(sandbox, table)
    assert answer["keys_exported"] == 18
    assert living(sandbox, table) == set(range(3, 21))
    [(stamp, file)] = sandbox.snowflake(
        f"SELECT DISTINCT _sync_stamp, _sync_file FROM {target(sandbox, table)} "
        "WHERE _deleted_at IS NOT NULL"
    )
    assert "_s000000.csv" in file and stamp <= file.rsplit("/", 1)[1]
    assert decisions(sandbox, table) == ["applied"]


def test_a_key_that_comes_back_lives_again(sandbox):
    table = filled(sandbox)
    delete(sandbox, table, "id = 1")
    reconcile(sandbox, table)
    sandbox.aurora(f"INSERT INTO {table.spec.source.sql} VALUES (1, 'again')")
    sandbox.sync(table)
    assert 1 in living(sandbox, table)


def test_a_replayed_file_does_not_bring_a_deleted_row_back(sandbox):
    table = filled(sandbox)
    delete(sandbox, table, "id = 1")
    reconcile(sandbox, table)
    landing = f"ANALYTICS.LANDING.PUBLIC__{table.spec.source.name.upper()}"
    columns = "file_name, file_row, loaded_at, c1, c2, c3, c4, c5"
    sandbox.snowflake(
        f"INSERT INTO {landing} SELECT {columns} "
        f"FROM {landing} WHERE file_name LIKE '%_c000000.csv'"
    )
    sandbox.quiet(table)
    assert 1 not in living(sandbox, table)


def test_a_row_that_was_written_after_the_keys_stays(sandbox):
    """Its key is in no key file, and its stamp is above all of them."""
    table = filled(sandbox)
    pipe = sandbox.pipe(table)
    sandbox.snowflake(f"ALTER PIPE {pipe} SET PIPE_EXECUTION_PAUSED = TRUE")
    answer = sandbox.tick(table, reconcile=True)
    sandbox.aurora(f"INSERT INTO {table.spec.source.sql} VALUES (99, 'x')")
    later = sandbox.tick(table)
    sandbox.snowflake(f"ALTER PIPE {pipe} SET PIPE_EXECUTION_PAUSED = FALSE")
    sandbox.merged(table, later["seq"])
    assert answer["keys_exported"] == 20
    assert living(sandbox, table) == {*range(1, 21), 99}


def test_nothing_happens_before_all_keys_have_arrived(sandbox):
    table = filled(sandbox)
    keys = f"ANALYTICS.LANDING.PUBLIC__{table.spec.source.name.upper()}_KEYS"
    delete(sandbox, table, "id = 1")
    landing = keys.removesuffix("_KEYS")
    files = [{"key": "x/000009-1_1_k000000.csv", "rows": 3}]
    seal = json.dumps({"stamp": "000009", "files": files})
    row = "INSERT INTO {} (file_name, file_row, c1) VALUES ('{}', {}, '{}')"
    sandbox.snowflake(row.format(landing, "x/000009-2_1_s000000.csv", 1, seal))
    for number in (1, 2):
        name = "x/000009-1_1_k000000.csv"
        sandbox.snowflake(row.format(landing, name, number, number))
        sandbox.quiet(table)
        assert len(living(sandbox, table)) == 20
    assert decisions(sandbox, table) == []


def test_a_large_loss_waits_for_a_person(sandbox):
    table = filled(sandbox)
    delete(sandbox, table, "id <= 10")
    reconcile(sandbox, table)
    assert decisions(sandbox, table) == ["braked"]
    assert len(living(sandbox, table)) == 20
    with closing(connect(sandbox.local, "ANALYTICS")) as connection:
        objects = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")
        assert approve(table, Warehouse(connection, objects)).gone_count == 10
    deadline = time.monotonic() + 20
    while len(living(sandbox, table)) > 10 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert living(sandbox, table) == set(range(11, 21))
    assert decisions(sandbox, table) == ["braked", "approved", "applied"]


def test_a_brake_lets_go_by_itself_when_the_rows_are_back(sandbox):
    table = filled(sandbox)
    delete(sandbox, table, "id <= 10")
    reconcile(sandbox, table)
    sandbox.aurora(
        f"INSERT INTO {table.spec.source.sql} SELECT g, 'back'"
        " FROM generate_series(1, 10) AS g"
    )
    reconcile(sandbox, table)
    assert decisions(sandbox, table) == ["braked", "applied"]
    assert len(living(sandbox, table)) == 20


def test_an_empty_table_must_be_seen_empty_twice(sandbox):
    table = filled(sandbox, "whole")
    delete(sandbox, table, "TRUE")
    reconcile(sandbox, table)
    assert decisions(sandbox, table) == ["unconfirmed"]
    assert len(living(sandbox, table)) == 20
    reconcile(sandbox, table)
    assert decisions(sandbox, table) == ["unconfirmed", "applied"]
    assert living(sandbox, table) == set()


def test_keys_that_no_decision_waits_for_are_dropped(sandbox):
    table = filled(sandbox)
    reconcile(sandbox, table)
    name = f"ANALYTICS.LANDING.PUBLIC__{table.spec.source.name.upper()}_KEYS"
    assert sandbox.snowflake(f"SELECT COUNT(*) FROM {name}") == [(0,)]


def test_an_ignored_delete_leaves_the_row(sandbox):
    table = filled(sandbox, "ignored")
    delete(sandbox, table, "id = 1")
    assert "reconcile_seq" not in sandbox.tick(table, reconcile=True)


@pytest.mark.parametrize(("column", "mark"), [("gone", "TRUE"), ("gone_at", "NOW()")])
def test_a_column_marks_rows_as_deleted(sandbox, column, mark):
    table = filled(sandbox, column)
    name = table.spec.source.sql
    sandbox.aurora(f"UPDATE {name} SET {column} = {mark}, at = NOW() WHERE id = 1")
    sandbox.sync(table)
    assert living(sandbox, table) == set(range(2, 21))
    sandbox.aurora(f"UPDATE {name} SET {column} = NULL, at = NOW() WHERE id = 1")
    sandbox.sync(table)
    assert living(sandbox, table) == set(range(1, 21))
