"""Hostile texts, names and shapes of tables, all the way and value by value.

One deployment and one sync for all tables. What has to arrive stands in
`hostile_cases.py` as Python values; both sides are read and compared with it, and
`verify` is asked.
"""

import json
import re
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import postgres
from infra.local.snowflake.part import connect as connect_snowflake
from runtime.contract.loader import load_tables
from runtime.contract.names import quote_postgres
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.ops.contracts import add
from runtime.ops.source import connect
from runtime.ops.verify import Verdict, verify
from runtime.ops.warehouse import Warehouse
from tests.integration.conftest import Sandbox
from tests.integration.hostile_cases import CASES, COMPARED, SCHEMA, Case

# The first test waits for all that they share.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")
OWN = ["_SYNC_STAMP", "_SYNC_FILE", "_SYNC_AT", "_DELETED_AT"]

# Other modules use the same stack.
OURS = {str(case.source) for case in CASES.values()}


def fill(sandbox: Sandbox, case: Case) -> None:
    sandbox.aurora(case.ddl())
    names = ", ".join(quote_postgres(name).replace("%", "%%") for name in case.filled)
    row = f"({', '.join(['%s'] * len(case.filled))})"
    if case.rows:
        sandbox.aurora(
            f"INSERT INTO {case.table.replace('%', '%%')} ({names}) VALUES "
            + ", ".join([row] * len(case.rows)),
            *[value for each in case.rows for value in each[: len(case.filled)]],
        )


def command(sandbox: Sandbox, *call: str) -> Any:
    where = ["--dir", str(sandbox.folder), "--config", str(sandbox.config), "--json"]
    result = CliRunner().invoke(app, [*call, *where])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def synced(sandbox: Sandbox) -> Sandbox:
    """All tables, filled, added to the config, deployed and synced."""
    sandbox.aurora(f'CREATE SCHEMA "{SCHEMA}"')
    for case in CASES.values():
        fill(sandbox, case)
    with closing(connect(postgres.aurora_dsn(sandbox.local))) as aurora:
        add(sandbox.config, aurora, [case.config for case in CASES.values()])
    sandbox.deploy()
    outcomes = command(sandbox, "sync", "--wait")
    assert [each["status"] for each in outcomes] == ["merged"] * len(CASES), outcomes
    return sandbox


@pytest.fixture(scope="module")
def verdicts(synced: Sandbox) -> dict[str, Verdict]:
    """What `verify` says of each table."""
    with (
        closing(connect(postgres.aurora_dsn(synced.local))) as aurora,
        closing(connect_snowflake(synced.local, "ANALYTICS")) as warehouse,
    ):
        tables = load_tables(synced.config)
        found = verify(tables, aurora, Warehouse(warehouse, OBJECTS))
    return {each.table: each for each in found}


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")
    return str(value) if isinstance(value, Decimal) else value


def rows_of(found: list[Any], width: int) -> list[tuple[Any, ...]]:
    return sorted((tuple(map(plain, row[:width])) for row in found), key=repr)


def as_stored(name: str) -> str:
    """Return what Snowflake makes of a name that nobody quotes, if it can."""
    return name.upper() if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", name) else name


def target(case: Case) -> str:
    schema, name = as_stored(case.source.schema), as_stored(case.source.name)
    return f"ANALYTICS.{quote_postgres(schema)}.{quote_postgres(name)}"


@pytest.mark.parametrize("name", CASES)
def test_both_sides_hold_every_value_as_it_was_inserted(synced, verdicts, name):
    case, width = CASES[name], len(CASES[name].columns)
    expected = sorted(case.rows, key=repr)
    columns = ", ".join(map(quote_postgres, case.columns))
    source = synced.aurora(f"SELECT {columns} FROM {case.source.sql}")
    assert rows_of(source, width) == expected
    arrived = synced.snowflake(f"SELECT * FROM {target(case)}")
    assert rows_of(arrived, width) == expected
    assert all(row[-1] is None for row in arrived)
    found = verdicts[str(case.source)]
    assert found.verdict == ("equal" if expected else "inconclusive"), found
    assert found.source_rows == found.target_rows == len(expected)


@pytest.mark.parametrize("name", CASES)
def test_columns_keep_their_names_and_order(synced, name):
    case = CASES[name]
    with closing(connect_snowflake(synced.local, "ANALYTICS")) as connection:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"SELECT * FROM {target(case)} WHERE FALSE")
            found = [column.name for column in cursor.description]
    assert found == [*map(as_stored, case.columns), *OWN]


def test_no_text_is_taken_for_one_that_does_not_fit(synced):
    found = synced.snowflake("SELECT table_name FROM ANALYTICS.SYNC.QUARANTINE")
    assert [name for (name,) in found if name in OURS] == []


def test_every_key_that_was_compared_found_its_row(synced):
    found = synced.snowflake(
        "SELECT table_name, key_count, row_count, gone_count, missing_count, decision "
        "FROM ANALYTICS.SYNC.RECONCILES"
    )
    counts = {
        str(case.source): len(case.rows)
        for case in CASES.values()
        if case.entry == COMPARED
    }
    assert len(counts) == 3
    assert sorted(each for each in found if each[0] in OURS) == sorted(
        (name, count, count, 0, 0, "applied") for name, count in counts.items()
    )
