"""Receipts count lines, however often and in what parts a file comes."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest

from runtime.contract.specs import Table
from tests.integration.conftest import Sandbox

FILE = "exports/local/x/000001-5-5_3_c000000.csv"


@pytest.fixture(scope="module")
def table(sandbox: Sandbox) -> Iterator[Table]:
    """A table of its own; what was never exported is no run of it afterwards."""
    yield sandbox.table(
        "id INT PRIMARY KEY, note TEXT, at TIMESTAMPTZ NOT NULL",
        primary_key="id",
        watermark_col="at",
    )
    sandbox.snowflake(
        "DELETE FROM ANALYTICS.SYNC.MANIFESTS WHERE file_name LIKE 'm10%'"
    )


def promise(sandbox: Sandbox, table: Table, seq: int, rows: int) -> str:
    """Let a manifest promise a file of some lines; return the file's key."""
    file = FILE.replace("000001-5", f"000001-{seq}")
    body = {
        "table": table.spec.table_name,
        "seq": seq,
        "run": "r",
        "mode": "incremental",
        "generation": 1,
        "low": None,
        "high": None,
        # Not late: no sweep looks for what never was in S3.
        "committed_at": datetime.now(UTC).isoformat(),
        "files": [{"key": file, "rows": rows, "bytes": 1, "stamp": f"000001-{seq}"}],
    }
    text = json.dumps(body)
    values = f"'m{seq}', CURRENT_TIMESTAMP()::TIMESTAMP_NTZ, PARSE_JSON('{text}')"
    sandbox.snowflake(
        "INSERT INTO ANALYTICS.SYNC.MANIFESTS (file_name, loaded_at, body) "
        f"SELECT {values}"
    )
    return file


def arrive(sandbox: Sandbox, table: Table, file: str, lines: Iterable[int]) -> None:
    """Let lines of a file land in one batch, and be merged."""
    landing = f"ANALYTICS.LANDING.PUBLIC__{table.spec.source.name.upper()}"
    values = ", ".join(
        f"('{file}', {line}, '{line}', 'n', '2026-01-01 00:00:00+00')" for line in lines
    )
    sandbox.snowflake(
        f"INSERT INTO {landing} (file_name, file_row, c1, c2, c3) VALUES {values}"
    )
    sandbox.quiet(table)


def receipt(sandbox: Sandbox, file: str) -> tuple[int, int, int, bool]:
    """Return rows loaded, applied and superseded, and whether the file is complete."""
    [(loaded, applied, superseded, complete)] = sandbox.snowflake(
        "SELECT rows_loaded, rows_applied, rows_superseded, complete "
        f"FROM ANALYTICS.SYNC.SYNC_FILES WHERE file_name = '{file}'"
    )
    return (int(loaded), int(applied), int(superseded), complete)


def test_half_a_file_that_comes_twice_is_half_a_file(sandbox, table):
    file = promise(sandbox, table, 101, rows=4)
    arrive(sandbox, table, file, (1, 2))
    arrive(sandbox, table, file, (1, 2))
    assert receipt(sandbox, file) == (2, 2, 0, False)
    arrive(sandbox, table, file, (2, 3, 4))
    assert receipt(sandbox, file) == (4, 4, 0, True)


def test_lines_may_come_in_any_order_and_with_gaps(sandbox, table):
    file = promise(sandbox, table, 102, rows=5)
    arrive(sandbox, table, file, (5, 1, 3, 3))
    assert receipt(sandbox, file)[0] == 3
    arrive(sandbox, table, file, (4, 2))
    assert receipt(sandbox, file) == (5, 5, 0, True)


def test_a_file_that_is_wider_than_the_merge_knows_waits_for_the_next_one(
    sandbox, table
):
    """A run of the task that began before a deployment would null what is new."""
    file = promise(sandbox, table, 105, rows=2)
    wide = file.replace("_3_", "_4_")
    arrive(sandbox, table, wide, (51, 52))
    target = f"ANALYTICS.PUBLIC.{table.spec.source.name.upper()}"
    assert sandbox.snowflake(f"SELECT id FROM {target} WHERE id > 50") == []
    assert (
        sandbox.snowflake(
            "SELECT first_row FROM ANALYTICS.SYNC.FILE_RECEIPTS "
            f"WHERE file_name = '{wide}'"
        )
        == []
    )


def test_a_file_that_is_loaded_again_stays_complete(sandbox, table):
    """A replaced pipe forgets what it has loaded, and a refresh brings it again."""
    file = promise(sandbox, table, 103, rows=3)
    for _ in range(3):
        arrive(sandbox, table, file, (1, 2, 3))
    assert receipt(sandbox, file) == (3, 3, 0, True)


def test_more_lines_than_were_promised_are_no_complete_file(sandbox, table):
    file = promise(sandbox, table, 104, rows=2)
    arrive(sandbox, table, file, (1, 2, 3))
    assert not receipt(sandbox, file)[3]
