"""What `plan` says before a deployment is what the deployment then does."""

import json
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import postgres
from infra.local.adapter.record import resources, write
from infra.local.parts import LocalError
from runtime.contract.loader import load_tables
from runtime.contract.names import SourceName
from runtime.contract.snowflake_pipes import pipe_name
from runtime.contract.specs import Table, TableSpec
from runtime.ops import contracts
from runtime.ops.sizes import sizes
from runtime.ops.source import connect
from tests.factories import make_column, make_table
from tests.integration.conftest import OBJECTS, Sandbox

DDL = "id BIGINT PRIMARY KEY, note TEXT, at TIMESTAMPTZ NOT NULL DEFAULT NOW()"
KEYS: dict[str, Any] = {"primary_key": "id", "watermark_col": "at"}


def planned(sandbox: Sandbox, *more: str, status: int = 0) -> dict[str, Any]:
    where = ["--dir", str(sandbox.folder), "--config", str(sandbox.config)]
    result = CliRunner().invoke(app, ["plan", "--json", *where, *more])
    assert result.exit_code == status, (result.stdout, result.stderr)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def made(sandbox: Sandbox, *names: str) -> list[Table]:
    """Make tables in Aurora and return them, not deployed yet."""
    columns = (
        ("id", "bigint"),
        make_column(2, "note", "text", nullable=True),
        ("at", "timestamp with time zone"),
    )
    for name in names:
        sandbox.aurora(f"CREATE TABLE public.{name} ({DDL})")
    return [make_table(columns, table_name=f"public.{name}", **KEYS) for name in names]


def changed(table: Table, **keys: Any) -> Table:
    """Return a table with other keys of its entry."""
    spec = msgspec.to_builtins(table.spec) | keys
    return msgspec.structs.replace(table, spec=msgspec.convert(spec, TableSpec))


def names(sandbox: Sandbox) -> set[tuple[str, str]]:
    return {(each.type, each.name) for each in resources(sandbox.folder)}


def test_a_plan_is_what_the_deployment_does(sandbox):
    grows, goes, slows = made(sandbox, "grows", "goes", "slows")
    sandbox.write_config(grows, goes, slows)
    sandbox.deploy()
    sandbox.aurora(
        f"INSERT INTO {grows.spec.source.sql} "
        "SELECT g, 'n' FROM generate_series(1, 500) AS g"
    )
    sandbox.aurora(f"ANALYZE {grows.spec.source.sql}")

    found = planned(sandbox)
    assert {each["change"] for each in found["tables"]} == {"unchanged"}
    assert [each["notes"] for each in found["tables"]] == [[], [], []]
    assert (found["resources"], found["unknown"]) == ([], [])

    sandbox.aurora(f"ALTER TABLE {grows.spec.source.sql} ADD COLUMN extra INTEGER")
    with closing(connect(postgres.aurora_dsn(sandbox.local))) as session:
        contracts.refresh(sandbox.config, session, [grows.spec.table_name])
    grown = load_tables(sandbox.config)[0]
    sandbox.write_config(grown, changed(slows, schedule="daily"))
    found = planned(sandbox)
    tables = {each["table"]: each for each in found["tables"]}
    first, last = pipe_name(OBJECTS, grows), pipe_name(OBJECTS, grown)

    one = tables[grows.spec.table_name]
    assert one["change"] == "changed"
    name = grows.spec.source.name.upper()
    assert one["statements"] == [
        f"ALTER TABLE ANALYTICS.LANDING.PUBLIC__{name} "
        "ADD COLUMN C4 VARCHAR(134217728)",
        f"ALTER TABLE ANALYTICS.PUBLIC.{name} ADD COLUMN EXTRA NUMBER(10,0)",
    ]
    assert [step.partition(":")[0] for step in one["steps"]] == [
        f"pipe ANALYTICS.LANDING.{first}",
        f"task ANALYTICS.LANDING.PUBLIC__{name}_MERGE",
    ]
    assert one["backfill"]["reason"] == "new column EXTRA"
    assert one["backfill"]["rows"] == 500
    assert tables[goes.spec.table_name]["change"] == "removed"
    two = tables[slows.spec.table_name]
    assert two["settings"] == ["schedule: hourly -> daily"]
    assert (two["statements"], two["backfill"]) == ([], None)

    actions = [(each["action"], each["name"]) for each in found["resources"]]
    table = f"table-{grows.spec.source.slug}"
    wanted = [
        ("update", f"{table}-landing"),
        ("create", f"{table}-pipe-{last[-8:].lower()}"),
        ("delete", f"{table}-pipe-{first[-8:].lower()}"),
    ]
    assert [actions.index(each) for each in wanted] == sorted(
        actions.index(each) for each in wanted
    )
    # The exporter learns of the contract when its files find their way.
    task = actions.index(("update", f"{table}-task"))
    function = actions.index(("update", "exporter-function"))
    assert actions.index(wanted[1]) < task < function < actions.index(wanted[2])
    assert ("update", f"table-{slows.spec.source.slug}-schedule-rule") in actions
    gone = {name for action, name in actions if action in ("delete", "leave")}
    assert gone == {
        wanted[2][1],
        *(
            name
            for _, name in names(sandbox)
            if name.startswith(f"table-{goes.spec.source.slug}-")
        ),
    }
    before = names(sandbox)
    sandbox.deploy()
    came = {name for action, name in actions if action == "create"}
    assert {name for _, name in names(sandbox) - before} == came
    assert {name for _, name in before - names(sandbox)} == gone

    # What would leave data behind is refused, until somebody says so.
    moved = changed(grown, target_schema="elsewhere")
    sandbox.write_config(moved, *sandbox.tables[1:])
    kept = planned(sandbox, "--allow", f"target:{moved.spec.table_name}")
    assert {each["change"] for each in kept["tables"]} == {"changed", "unchanged"}
    told = planned_text(sandbox, status=1)
    assert "refused (target): public.grows: the target would be ELSEWHERE.GROWS" in told
    assert "unchanged: 1 table" in told


def test_another_name_takes_the_rows_and_what_leaves_a_schema_comes_back(sandbox):
    [table] = made(sandbox, "renamed")
    sandbox.write_config(changed(table, target_schema="sales"))
    sandbox.deploy()
    sandbox.aurora("INSERT INTO public.renamed SELECT g FROM generate_series(1, 9) g")
    sandbox.sync(table)
    other = changed(table, target_schema="sales", target_table="other")
    sandbox.write_config(other)
    [one] = planned(sandbox)["tables"]
    assert one["statements"] == [
        "ALTER TABLE ANALYTICS.SALES.RENAMED RENAME TO ANALYTICS.SALES.OTHER"
    ]
    sandbox.deploy()
    rows = "SELECT COUNT(*), COUNT(DISTINCT id) FROM ANALYTICS.SALES.OTHER"
    assert sandbox.snowflake(rows) == [(9, 9)]
    sandbox.aurora("INSERT INTO public.renamed VALUES (10)")
    sandbox.sync(table)
    assert sandbox.snowflake(rows) == [(10, 10)]

    # Its schema stays as well when the last table leaves it, and nothing is refused.
    sandbox.write_config()
    leaves = {each["name"]: each["action"] for each in planned(sandbox)["resources"]}
    assert leaves["snowflake-schema-SALES"] == "leave"
    assert leaves["table-public.renamed-target"] == "leave"
    sandbox.deploy()
    sandbox.write_config(other)
    with pytest.raises(LocalError, match="already exists.*aurora-sync adopt"):
        sandbox.deploy()
    sandbox.adopt(other)
    [one] = planned(sandbox)["tables"]
    assert "CREATE TABLE ANALYTICS.SALES.OTHER" not in one["statements"]
    sandbox.deploy()
    sandbox.aurora("INSERT INTO public.renamed VALUES (11)")
    sandbox.sync(table)
    assert sandbox.snowflake(rows) == [(11, 11)]


def test_a_target_without_protection_is_not_said_to_stay(sandbox):
    """As a stack with `deletion_protection: false` has it in its record."""
    [table] = made(sandbox, "unkept")
    sandbox.write_config(table)
    sandbox.deploy()
    standing = [replace(each, options=()) for each in resources(sandbox.folder)]
    write(sandbox.folder, standing)
    sandbox.write_config()
    found = planned(sandbox, status=1)
    kinds = {(one["kind"], one["table"]) for one in found["refusals"]}
    assert ("removed-table", "public.unkept") in kinds
    assert "DROP TABLE ANALYTICS.PUBLIC.UNKEPT" in found["tables"][0]["statements"]


def test_sizes_are_of_all_partitions_and_rows_unknown_before_an_analyze(sandbox):
    sandbox.aurora(
        "CREATE TABLE public.sized (id INT) PARTITION BY RANGE (id);"
        "CREATE TABLE public.sized_1 PARTITION OF public.sized"
        " FOR VALUES FROM (0) TO (50);"
        "CREATE TABLE public.sized_2 PARTITION OF public.sized DEFAULT;"
        "INSERT INTO public.sized SELECT generate_series(1, 100);"
        "CREATE VIEW public.sized_seen AS SELECT id FROM public.sized;"
        "CREATE TABLE public.sized_fresh AS SELECT 1 AS id"
    )
    sources = {
        name: SourceName(schema="public", name=name)
        for name in ("sized", "sized_1", "sized_seen", "sized_fresh", "missing")
    }
    with closing(connect(postgres.aurora_dsn(sandbox.local))) as session:
        fresh = sizes(session, sources.values())
        sandbox.aurora("ANALYZE public.sized")
        known = sizes(session, sources.values())
    assert fresh[sources["sized_fresh"]].rows is None
    assert fresh[sources["sized_fresh"]].bytes > 0
    assert known[sources["sized"]].rows == 100
    assert known[sources["sized"]].bytes > known[sources["sized_1"]].bytes > 0
    assert not {sources["sized_seen"], sources["missing"]} & known.keys()


def planned_text(sandbox: Sandbox, *more: str, status: int) -> str:
    where = ["--dir", str(sandbox.folder), "--config", str(sandbox.config)]
    result = CliRunner().invoke(app, ["plan", *where, *more])
    assert result.exit_code == status, (result.stdout, result.stderr)
    return result.stdout
