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
HAMMER_SECONDS = 5.0


@pytest.fixture
def table(sandbox: Sandbox) -> Table:
    """A thousand old rows, merged; one table for all tests."""
    if sandbox.folder not in _MADE:
        made = sandbox.table(
            "id INT PRIMARY KEY, note TEXT, at TIMESTAMPTZ NOT NULL DEFAULT NOW()",
            primary_key="id",
            watermark_col="at",
            lookback="PT0S",
        )
        sandbox.aurora(
            f"INSERT INTO {made.spec.source.sql} SELECT g, 'n', "
            "NOW() - INTERVAL '1 day' FROM generate_series(1, 1000) AS g"
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


def test_a_row_that_was_not_committed_in_the_runs_snapshot_is_not_due(sandbox, table):
    """Its transaction is older than the run, and its watermark above what is merged."""
    name, dsn = table.spec.source.sql, postgres.aurora_dsn(sandbox.local)
    with closing(psycopg2.connect(dsn)) as writer, writer.cursor() as cursor:
        cursor.execute(f"INSERT INTO {name} VALUES (2001, 'open')")
        sandbox.aurora(f"INSERT INTO {name} VALUES (2002, 'quick')")
        sandbox.sync(table)
        writer.commit()
    found = verified(sandbox, table)
    assert (counts(found), found.newer_rows) == ((0, 0, 0), 1)
    sandbox.sync(table)
    assert (verified(sandbox, table).newer_rows, counts(found)) == (0, (0, 0, 0))


def test_a_row_below_what_the_run_read_above_is_not_due(sandbox, table):
    """While somebody holds the watermark, runs go on from a fresh marker."""
    name, dsn = table.spec.source.sql, postgres.aurora_dsn(sandbox.local)
    with closing(psycopg2.connect(dsn)) as idle, idle.cursor() as cursor:
        cursor.execute("SELECT NOW() + INTERVAL '1 millisecond'")
        [(held,)] = cursor.fetchall()
        for _ in range(2):
            sandbox.sync(table)
        sandbox.aurora(f"INSERT INTO {name} VALUES (2003, 'late', '{held}')")
        sandbox.aurora(f"INSERT INTO {name} VALUES (2004, 'in time')")
        sandbox.sync(table)
        found = verified(sandbox, table)
    assert (counts(found), found.newer_rows) == ((0, 0, 0), 1)
    sandbox.sync(table)
    assert (verified(sandbox, table).newer_rows, counts(found)) == (0, (0, 0, 0))


def test_while_a_load_is_under_way_nothing_is_compared(sandbox, table):
    manifests = "ANALYTICS.SYNC.MANIFESTS"
    body = (
        f'{{"table": "{table.spec.table_name}", "seq": 900, "run": "r", '
        '"mode": "first_load", "generation": 1, "high": null, "files": []}'
    )
    sandbox.snowflake(
        f"INSERT INTO {manifests} (file_name, loaded_at, body) "
        f"SELECT 'load', CURRENT_TIMESTAMP()::TIMESTAMP_NTZ, PARSE_JSON('{body}')"
    )
    try:
        found = verified(sandbox, table)
    finally:
        sandbox.snowflake(f"DELETE FROM {manifests} WHERE file_name = 'load'")
    assert (found.verdict, found.loading) == ("inconclusive", True)


def test_rows_of_a_partition_that_was_attached_after_the_run_are_not_due(sandbox):
    """They were written long before, where no run saw them."""
    table = sandbox.table(
        "id INT, part INT, at TIMESTAMPTZ NOT NULL DEFAULT NOW(), "
        "PRIMARY KEY (id, part)) PARTITION BY LIST (part",
        primary_key=["id", "part"],
        watermark_col="at",
    )
    name, later = table.spec.source.sql, '"public"."attached_later"'
    sandbox.aurora(f"CREATE TABLE public.first PARTITION OF {name} FOR VALUES IN (1)")
    sandbox.aurora(f"CREATE TABLE {later} (LIKE {name} INCLUDING ALL)")
    sandbox.aurora(f"INSERT INTO {later} VALUES (1, 2, NOW() + INTERVAL '1 minute')")
    sandbox.aurora(f"INSERT INTO {name} VALUES (1, 1, NOW() - INTERVAL '1 minute')")
    sandbox.sync(table)
    sandbox.aurora(f"ALTER TABLE {name} ATTACH PARTITION {later} FOR VALUES IN (2)")
    found = verified(sandbox, table)
    assert (counts(found), found.newer_rows, found.source_rows) == ((0, 0, 0), 1, 1)


def test_every_sort_of_difference_is_found(sandbox, table):
    name = table.spec.source.sql
    sandbox.aurora(f"UPDATE {name} SET note = 'unseen' WHERE id = 1")
    sandbox.snowflake(f"DELETE FROM {target(table)} WHERE id = 2")
    sandbox.snowflake(f"UPDATE {target(table)} SET note = 'hand' WHERE id = 3")
    sandbox.snowflake(
        f'INSERT INTO {target(table)} (id, note, "AT") SELECT -1, \'x\', "AT" '
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
