"""A target that was spoilt is made anew from its files, and Aurora is not asked."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.cli.app import app

from runtime.contract.specs import Table
from tests.factories import make_column, make_table
from tests.integration.conftest import Sandbox

COLUMNS = (
    ("id", "integer"),
    make_column(2, "note", "text", nullable=True),
    ("moved_at", "timestamp with time zone"),
)


@pytest.fixture(scope="module")
def history(sandbox: Sandbox) -> Table:
    """A table with loads, changes, deletes that a reconcile found, and more changes."""
    sandbox.aurora(
        "CREATE TABLE public.built (id INT PRIMARY KEY, note TEXT,"
        " moved_at TIMESTAMPTZ NOT NULL DEFAULT NOW());"
        " INSERT INTO public.built SELECT g, 'n' || g FROM generate_series(1, 20) AS g"
    )
    table = make_table(
        COLUMNS,
        table_name="public.built",
        primary_key="id",
        watermark_col="moved_at",
        merge_interval="PT10S",
    )
    sandbox.write_config(table)
    sandbox.deploy()
    sandbox.sync(table)
    sandbox.aurora("DELETE FROM public.built WHERE id IN (3, 4)")
    change(sandbox, 5)
    keys = sandbox.tick(table, reconcile=True)
    sandbox.merged(table, keys["reconcile_seq"])
    change(sandbox, 6)
    sandbox.aurora("INSERT INTO public.built (id, note) VALUES (3, 'again')")
    sandbox.sync(table)
    return table


def change(sandbox: Sandbox, key: int) -> None:
    sandbox.aurora(
        f"UPDATE public.built SET note = note || '!', moved_at = NOW() WHERE id = {key}"
    )


def target(sandbox: Sandbox) -> list[Any]:
    return sandbox.snowflake(
        "SELECT id, note, _sync_stamp, _deleted_at IS NULL FROM ANALYTICS.PUBLIC.BUILT"
        " ORDER BY id"
    )


def spoil(sandbox: Sandbox) -> None:
    for statement in (
        "DELETE FROM ANALYTICS.PUBLIC.BUILT WHERE id < 6",
        "UPDATE ANALYTICS.PUBLIC.BUILT SET note = 'wrong' WHERE id > 15",
        "INSERT INTO ANALYTICS.PUBLIC.BUILT (id, note) VALUES (99, 'a ghost')",
    ):
        sandbox.snowflake(statement)


def command(sandbox: Sandbox, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--dir", str(sandbox.folder)])


def test_every_row_comes_back_as_it_was_and_deleted_ones_stay_deleted(
    sandbox: Sandbox, history: Table
) -> None:
    before = target(sandbox)
    spoil(sandbox)
    assert target(sandbox) != before
    run = command(sandbox, "rebuild", "public.built", "--yes", "--json")
    assert run.exit_code == 0, run.stderr
    told = json.loads(run.stdout)
    # Key 4 has no file any more that would show it: it was in the first load alone.
    assert told["seq"] == 1 and told["seal"]
    assert target(sandbox) == before
    assert command(sandbox, "verify", "public.built").exit_code == 0


def test_who_dies_half_way_leaves_it_to_the_next(
    sandbox: Sandbox, history: Table
) -> None:
    before = target(sandbox)
    spoil(sandbox)
    run = command(sandbox, "rebuild", "public.built", "--yes", "--timeout", "1")
    assert run.exit_code == 1 and "nothing is lost" in run.stderr
    again = command(sandbox, "rebuild", "public.built", "--yes", "--json")
    assert again.exit_code == 0, again.stderr
    # The deletes that the first one approved, and did not live to see.
    assert json.loads(again.stdout)["seal"]
    assert target(sandbox) == before


def test_who_dies_half_way_may_leave_it_to_the_sweep(
    sandbox: Sandbox, history: Table
) -> None:
    before = target(sandbox)
    run = command(sandbox, "rebuild", "public.built", "--yes", "--timeout", "1")
    assert run.exit_code == 1
    assert command(sandbox, "sweep", "public.built").exit_code == 0
    again = command(sandbox, "rebuild", "public.built", "--yes")
    assert again.exit_code == 0, again.stderr
    assert target(sandbox) == before


def test_what_waits_in_quarantine_is_judged_and_counted_anew(sandbox: Sandbox) -> None:
    table = sandbox.table(
        "id INT PRIMARY KEY, amount NUMERIC(12, 2), "
        "moved_at TIMESTAMPTZ NOT NULL DEFAULT NOW()",
        primary_key="id",
        watermark_col="moved_at",
    )
    name = table.spec.table_name
    sandbox.aurora(f"INSERT INTO {name} VALUES (1, 1), (2, 'NaN')")
    sandbox.sync(table)
    run = command(sandbox, "rebuild", name, "--yes")
    assert run.exit_code == 0, run.stderr
    noted = sandbox.snowflake(
        "SELECT rows_waiting FROM ANALYTICS.SYNC.QUARANTINE_COUNTS "
        f"WHERE table_name = '{name}' ORDER BY counted_at"
    )
    assert [int(count) for (count,) in noted] == [1, 0, 1]
    [(waiting,)] = sandbox.snowflake(
        "SELECT rows_quarantined FROM ANALYTICS.SYNC.SYNC_STATE "
        f"WHERE table_name = '{name}'"
    )
    assert waiting == 1


def test_a_file_that_is_gone_is_told_before_anything_is_emptied(
    sandbox: Sandbox, history: Table
) -> None:
    before, bucket = target(sandbox), sandbox.outputs["bucket"]
    s3 = sandbox.aws("s3")
    key = s3.list_objects_v2(Bucket=bucket, Prefix="exports/local/public.built/")[
        "Contents"
    ][0]["Key"]
    kept = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    s3.delete_object(Bucket=bucket, Key=key)
    run = command(sandbox, "rebuild", "public.built", "--yes")
    s3.put_object(Bucket=bucket, Key=key, Body=kept)
    assert run.exit_code == 1
    assert "gone from S3" in run.stderr and "aurora-sync backfill" in run.stderr
    assert target(sandbox) == before
