"""`verify` while both sides move: never a false difference, and every real one."""

import threading
import time
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from infra.local import postgres
from infra.local.snowflake.part import connect as connect_snowflake
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table
from runtime.ops.source import connect
from runtime.ops.verify import Verdict, verify
from runtime.ops.warehouse import Warehouse
from tests.integration.conftest import Sandbox

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")
_MADE: dict[Any, Table] = {}
HAMMER_SECONDS = 8.0


@pytest.fixture
def table(sandbox: Sandbox) -> Table:
    """A thousand old rows, merged; one table for all tests."""
    if sandbox.folder not in _MADE:
        made = sandbox.table(
            "id INT PRIMARY KEY, note TEXT, at TIMESTAMPTZ NOT NULL DEFAULT NOW()",
            primary_key="id",
            watermark_col="at",
        )
        sandbox.aurora(
            f"INSERT INTO {made.spec.source.sql} SELECT g, 'n', NOW() - INTERVAL '1 day'"
            " FROM generate_series(1, 1000) AS g"
        )
        sandbox.sync(made)
        _MADE[sandbox.folder] = made
    return _MADE[sandbox.folder]


def verified(sandbox: Sandbox, table: Table) -> Verdict:
    with (
        closing(connect(postgres.aurora_dsn(sandbox.local))) as aurora,
        closing(connect_snowflake(sandbox.local, "ANALYTICS")) as warehouse,
    ):
        [found] = verify([table], aurora, Warehouse(warehouse, OBJECTS))
    return found


def counts(found: Verdict) -> tuple[int | None, ...]:
    return found.missing, found.extra, found.different


def target(table: Table) -> str:
    return f"ANALYTICS.PUBLIC.{table.spec.source.name.upper()}"


def writing(sandbox: Sandbox, table: Table, stop: threading.Event, first: int) -> None:
    """Insert and update, in transactions of different lengths, until told to stop."""
    name, number = table.spec.source.sql, first
    dsn = postgres.aurora_dsn(sandbox.local)
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        while not stop.is_set():
            number += 1
            cursor.execute(f"INSERT INTO {name} (id, note) VALUES ({number}, 'new')")
            cursor.execute(
                f"UPDATE {name} SET note = 'w{number}', at = NOW() "
                f"WHERE id % 97 = {number % 97} AND id % 2 = {first % 2}"
            )
            time.sleep(0.3 * (number % 3 == 0))
            connection.commit()
            time.sleep(0.02)


def test_writers_and_syncs_meanwhile_are_no_difference_and_a_planted_one_is(
    sandbox, table
):
    stop = threading.Event()
    threads = [
        threading.Thread(target=writing, args=(sandbox, table, stop, first))
        for first in (100_000, 200_001)
    ]

    def syncing() -> None:
        while not stop.is_set():
            sandbox.tick(table)

    threads.append(threading.Thread(target=syncing))
    for thread in threads:
        thread.start()
    try:
        found = []
        until = time.monotonic() + HAMMER_SECONDS
        while time.monotonic() < until:
            found.append(verified(sandbox, table))
        # Behind the writers' backs: they touch every row but this one.
        sandbox.aurora(
            f"INSERT INTO {table.spec.source.sql} VALUES (0, 'lost', '2001-01-01')"
        )
        planted = verified(sandbox, table)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sandbox.aurora(f"DELETE FROM {table.spec.source.sql} WHERE id = 0")
    assert [each.verdict for each in found] == ["equal"] * len(found), found
    assert all(counts(each) == (0, 0, 0) for each in found)
    assert sum((each.newer_rows or 0) for each in found) > 0
    assert counts(planted) == (1, 0, 0)
    assert planted.samples[0].key == {"id": "0"}
    sandbox.sync(table)
    assert verified(sandbox, table).verdict == "equal"


def test_a_row_written_just_before_its_sync_is_judged(sandbox, table):
    """Its watermark is above what is merged, by the margin."""
    sandbox.aurora(f"INSERT INTO {table.spec.source.sql} VALUES (2000, 'now')")
    sandbox.sync(table)
    assert (verified(sandbox, table).newer_rows, verified(sandbox, table).verdict) == (
        0,
        "equal",
    )
    sandbox.snowflake(f"UPDATE {target(table)} SET note = 'hand' WHERE id = 2000")
    assert counts(verified(sandbox, table)) == (0, 0, 1)
    sandbox.aurora(f"UPDATE {table.spec.source.sql} SET at = NOW() WHERE id = 2000")
    sandbox.sync(table)


def test_every_sort_of_difference_is_found(sandbox, table):
    name = table.spec.source.sql
    sandbox.aurora(f"UPDATE {name} SET note = 'unseen' WHERE id = 1")
    sandbox.snowflake(f"DELETE FROM {target(table)} WHERE id = 2")
    sandbox.snowflake(f"UPDATE {target(table)} SET note = 'hand' WHERE id = 3")
    sandbox.snowflake(
        f"INSERT INTO {target(table)} (id, note, at) SELECT -1, 'x', at "
        f"FROM {target(table)} WHERE id = 4"
    )
    sandbox.aurora(f"INSERT INTO {name} VALUES (3000, 'not due')")
    found = verified(sandbox, table)
    assert (counts(found), found.newer_rows) == ((1, 1, 2), 1)
    assert {(each.kind, each.key["id"]) for each in found.samples} == {
        ("missing", "2"),
        ("extra", "-1"),
        ("different", "1"),
        ("different", "3"),
    }
