"""`repair`: what is wrong in the target is exported again, and nothing else."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from runtime.contract.specs import Table
from runtime.ops import repair
from tests.integration.conftest import Sandbox

TARGET = "ANALYTICS.PUBLIC.{}"


def run(sandbox: Sandbox, *args: str, status: int = 0) -> Any:
    """Run a command of the program; return its JSON."""
    where = ["--dir", str(sandbox.folder), "--config", str(sandbox.config), "--json"]
    result = CliRunner().invoke(app, [args[0], *where, "--", *args[1:]])
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def table(sandbox: Sandbox) -> Table:
    """Three hundred merged rows under a key of two columns, one of any text."""
    made = sandbox.table(
        "n INT NOT NULL, code TEXT NOT NULL, note TEXT, "
        "at TIMESTAMPTZ NOT NULL DEFAULT NOW(), PRIMARY KEY (code, n)",
        primary_key=["code", "n"],
        watermark_col="at",
    )
    sandbox.aurora(
        f"INSERT INTO {made.spec.source.sql} SELECT g, 'it''s ' || g || ', \"%', 'x', "
        "NOW() - INTERVAL '1 day' FROM generate_series(1, 300) AS g"
    )
    sandbox.sync(made)
    return made


def repaired(sandbox: Sandbox, table: Table) -> list[Any]:
    """Return the rows of each repair that Snowflake knows of."""
    return sandbox.snowflake(
        "SELECT rows_exported, complete FROM ANALYTICS.SYNC.SYNC_RUNS "
        f"WHERE table_name = '{table.spec.table_name}' AND mode = 'repair' ORDER BY seq"
    )


def test_only_what_is_wrong_is_exported_again_and_both_sides_are_equal(sandbox, table):
    name, source = table.spec.table_name, table.spec.source
    target = TARGET.format(source.name.upper())
    sandbox.snowflake(f"DELETE FROM {target} WHERE n IN (1, 2, 3)")
    sandbox.snowflake(f"UPDATE {target} SET note = 'hand' WHERE n IN (4, 5)")
    sandbox.snowflake(f"UPDATE {target} SET _deleted_at = _sync_at WHERE n = 6")
    sandbox.snowflake(
        f'INSERT INTO {target} (n, code, note, "AT") SELECT -1, code, \'ghost\', "AT" '
        f"FROM {target} WHERE n = 7"
    )
    sandbox.aurora(f"UPDATE {source.sql} SET note = 'silent' WHERE n = 8")
    found = run(sandbox, "repair", name)
    before, after = found["before"], found["after"]
    assert (before["missing"], before["different"], before["extra"]) == (4, 3, 1)
    assert (found["key_count"], found["reconciled"], found["sound"]) == (7, True, True)
    assert (after["verdict"], after["source_rows"]) == ("equal", 300)
    assert repaired(sandbox, table) == [(7, True)]
    assert run(sandbox, "verify", name)[0]["verdict"] == "equal"
    nothing = run(sandbox, "repair", name)
    assert (nothing["key_count"], nothing["sync"], nothing["sound"]) == (0, None, True)


def test_a_named_row_is_exported_again_and_explained(sandbox, table):
    name = table.spec.table_name
    target = TARGET.format(table.spec.source.name.upper())
    key = ("it's 9, \"%", "9")
    sandbox.snowflake(f"DELETE FROM {target} WHERE n = 9")
    lost = run(sandbox, "explain", name, *key, status=1)
    assert lost["verdict"] == "was merged, and the target has lost it"
    found = run(sandbox, "repair", name, *key)
    assert found["keys"] == [{"code": key[0], "n": "9"}]
    assert [each["verdict"] for each in found["rows"]] == ["equal on both sides"]
    [*_, last] = found["rows"][0]["versions"]
    assert (last["mode"], last["fate"]) == ("repair", "in the target")
    assert repaired(sandbox, table)[-1] == (1, True)
    # The same file once more, as a sweep loads it.
    landing = f"ANALYTICS.LANDING.PUBLIC__{table.spec.source.name.upper()}"
    sandbox.snowflake(
        f"INSERT INTO {landing} SELECT * FROM {landing} "
        f"WHERE file_name = '{last['file']}'"
    )
    sandbox.quiet(table)
    again = run(sandbox, "explain", name, *key)
    assert again["verdict"] == "equal on both sides"
    assert [each["fate"] for each in again["versions"]] == [
        each["fate"] for each in found["rows"][0]["versions"]
    ]


def test_many_keys_go_in_events_of_bounded_size(sandbox, table, monkeypatch):
    monkeypatch.setattr(repair, "MOST_KEYS", 2)
    target = TARGET.format(table.spec.source.name.upper())
    sandbox.snowflake(f"DELETE FROM {target} WHERE n IN (21, 22, 23)")
    found = run(sandbox, "repair", table.spec.table_name)
    assert (found["key_count"], found["sound"]) == (3, True)
    assert repaired(sandbox, table)[-2:] == [(2, True), (1, True)]


def test_a_key_with_a_value_missing_is_refused(sandbox, table):
    where = ["--dir", str(sandbox.folder), "--config", str(sandbox.config)]
    result = CliRunner().invoke(app, ["repair", *where, table.spec.table_name, "9"])
    assert result.exit_code == 2
    assert "another number of columns" in result.stderr


def test_the_watermark_stays_as_it_was(sandbox, table):
    """A repair's manifest has neither low nor high, and the next run goes on."""
    name = table.spec.table_name
    [before] = run(sandbox, "status", name)
    target = TARGET.format(table.spec.source.name.upper())
    sandbox.snowflake(f"UPDATE {target} SET note = 'hand' WHERE n = 10")
    run(sandbox, "repair", name)
    [after] = run(sandbox, "status", name)
    for field in ("low", "high", "merged_through", "last_run", "state"):
        assert after[field] == before[field], field


def test_what_did_not_fit_comes_as_it_is_now_and_what_was_deleted_stays_away(sandbox):
    """A line in quarantine is never replayed: its row may have gone since."""
    made = sandbox.table(
        "order_id BIGINT PRIMARY KEY, amount NUMERIC(12, 2), "
        "updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()"
    )
    name, source = made.spec.table_name, made.spec.source.sql
    sandbox.aurora(
        f"INSERT INTO {source} SELECT g, CASE WHEN g > 3 THEN 'NaN' ELSE 1.0 END, "
        "NOW() - INTERVAL '1 day' FROM generate_series(1, 5) AS g"
    )
    sandbox.sync(made)
    still = run(sandbox, "repair", name, status=1)
    assert (still["key_count"], still["after"]["missing"]) == (2, 2)
    assert quarantine(sandbox, name) == ["2 rows do not fit the target's types"]
    sandbox.aurora(f"UPDATE {source} SET amount = 4 WHERE order_id = 4")
    sandbox.aurora(f"DELETE FROM {source} WHERE order_id = 5")
    mended = run(sandbox, "repair", name)
    assert (mended["key_count"], mended["after"]["verdict"]) == (1, "equal")
    assert sandbox.snowflake(
        f"SELECT order_id, amount FROM {TARGET.format(made.spec.source.name.upper())} "
        "WHERE order_id > 3"
    ) == [(4, 4)]
    assert quarantine(sandbox, name) == []


def quarantine(sandbox: Sandbox, table: str) -> list[str]:
    """Return how doctor tells what is in quarantine."""
    return [
        each["fact"].partition(";")[0]
        for each in run(sandbox, "doctor", table)
        if each["check"] == "quarantine" and each["severity"] == "warning"
    ]
