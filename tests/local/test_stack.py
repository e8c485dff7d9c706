"""A stack as a whole: deployed again, changed, killed, beside another, taken down."""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from asyncio import BaseEventLoop
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
import pytest

from infra.local import stack
from infra.local.parts import LocalError, LocalStack
from infra.local.process_table import kill, marked_processes
from runtime.contract.errors import ConfigError
from runtime.contract.specs import Table
from tests.factories import make_column
from tests.integration.conftest import Sandbox
from tests.local.running import process, unscheduled

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ORDERS = "order_id BIGINT PRIMARY KEY, status TEXT, updated_at TIMESTAMPTZ"


@pytest.fixture(scope="module", name="own")
def _own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A stack with one table; it may be killed, so nobody shares it."""
    folder = tmp_path_factory.mktemp("own")
    made = Sandbox(folder=folder / "stack", config=folder / "sync_config.json")
    made.write_config()
    unscheduled(made.local)
    try:
        stack.up(made.folder, made.config)
        made.table(ORDERS)
        yield made
    finally:
        stack.down(made.folder)


def what_stands(own: Sandbox) -> dict[str, Any]:
    """Everything a second deployment could change or double."""
    ec2, function = own.aws("ec2"), own.outputs["function"]
    rules = own.aws("events").list_rules()["Rules"]
    return {
        "networks": sorted(each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]),
        "subnets": len(ec2.describe_subnets()["Subnets"]),
        "group rules": sorted(
            each["SecurityGroupRuleId"]
            for each in ec2.describe_security_group_rules()["SecurityGroupRules"]
        ),
        "peerings": len(
            ec2.describe_vpc_peering_connections()["VpcPeeringConnections"]
        ),
        "endpoints": len(ec2.describe_vpc_endpoints()["VpcEndpoints"]),
        "keys": len(own.aws("kms").list_keys()["Keys"]),
        "code": own.aws("lambda").get_function_configuration(FunctionName=function)[
            "CodeSha256"
        ],
        "rules": sorted((each["Name"], each["State"]) for each in rules),
        "hearers": len(own.aws("sns").list_subscriptions()["Subscriptions"]),
        "pipes": own.snowflake("SHOW PIPES IN DATABASE ANALYTICS"),
        "streams": own.snowflake("SHOW STREAMS IN DATABASE ANALYTICS"),
        "tasks": own.snowflake("SHOW TASKS IN DATABASE ANALYTICS"),
        "resources": (own.folder / "resources.json").read_text(),
    }


def test_a_second_deployment_changes_nothing(own: Sandbox) -> None:
    before = what_stands(own)
    report = own.deploy()
    assert what_stands(own) == before
    assert (report.stopped, report.missing) == ((), ())
    assert report.resources == len(json.loads(before["resources"]))


def test_a_deployment_leaves_no_event_loop_open(own: Sandbox) -> None:
    """Else the garbage collector complains, in the middle of whatever runs then."""
    own.deploy()
    found = [one for one in gc.get_objects() if isinstance(one, BaseEventLoop)]
    assert [loop for loop in found if not loop.is_closed()] == []


def test_others_reach_the_parts_by_what_describe_tells(own: Sandbox) -> None:
    told = stack.describe(own.folder)
    with psycopg2.connect(told["aurora_dsn"]) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            assert cursor.fetchone() == (True,)
    connection.close()
    assert told["snowflake"]["database"] == "ANALYTICS"
    assert told["bucket"] == own.outputs["bucket"]
    own.aws("s3").head_bucket(Bucket=told["bucket"])
    assert json.dumps(told)


def test_a_new_column_is_added_and_the_rows_stay(own: Sandbox) -> None:
    [table] = own.tables
    name = table.spec.source.sql
    own.aurora(f"INSERT INTO {name} VALUES (1, 'old', NOW() - INTERVAL '90 days')")
    own.sync(table)
    own.aurora(f"ALTER TABLE {name} ADD COLUMN note TEXT")
    columns = (*table.contract.columns, make_column(4, "note", "text", nullable=True))
    contract = msgspec.structs.replace(table.contract, columns=columns)
    own.write_config(Table(spec=table.spec, contract=contract))
    own.deploy()
    own.aurora(f"INSERT INTO {name} VALUES (2, 'new', NOW(), 'noted')")
    own.sync(own.tables[0])
    target = f"ANALYTICS.PUBLIC.{table.spec.target[1]}"
    assert own.snowflake(
        f"SELECT order_id, status, note FROM {target} ORDER BY order_id"
    ) == [(1, "old", None), (2, "new", "noted")]


def test_a_table_that_leaves_the_config_is_stopped_and_keeps_its_rows(
    own: Sandbox,
) -> None:
    [table] = own.tables
    slug, target = table.spec.source.slug, f"ANALYTICS.PUBLIC.{table.spec.target[1]}"
    rows = own.snowflake(f"SELECT COUNT(*) FROM {target}")
    own.write_config()
    stopped = own.deploy().stopped
    # The alarms are those of the schema, which has no other table.
    assert {each.partition(" ")[0] for each in stopped} == {
        *("EventRule", "MetricAlarm", "Pipe", "Task")
    }
    assert states(own, slug) == ("DISABLED", "true", "suspended")
    assert own.snowflake(f"SELECT COUNT(*) FROM {target}") == rows
    assert exporter_may_read(own, table) is False
    own.write_config(table)
    # As in Snowflake itself: Pulumi has forgotten what it left behind.
    with pytest.raises(LocalError, match="already exists.*aurora-sync adopt"):
        own.deploy()
    own.adopt(table)
    own.deploy()
    assert own.snowflake(f"SELECT COUNT(*) FROM {target}") == rows
    # A later one imports nothing.
    own.deploy()
    assert states(own, slug) == ("ENABLED", "false", "started")
    assert exporter_may_read(own, table) is True


def states(own: Sandbox, slug: str) -> tuple[str, str, str]:
    rule = own.aws("events").describe_rule(Name=f"aurora-sync_local_{slug}")["State"]
    pipes = stack.run_sql(own.folder, "snowflake", "SHOW PIPES IN DATABASE ANALYTICS")
    tasks = stack.run_sql(own.folder, "snowflake", "SHOW TASKS IN DATABASE ANALYTICS")
    [paused] = [each["paused"] for each in pipes if each["schema_name"] == "LANDING"]
    [state] = [each["state"] for each in tasks if each["name"].endswith("_MERGE")]
    return rule, paused, state


def exporter_may_read(own: Sandbox, table: Table) -> bool:
    [[answer]] = own.aurora(
        "SELECT pg_catalog.has_table_privilege('aurora_sync_exporter', %s, 'SELECT')",
        table.spec.source.sql,
    )
    return bool(answer)


def test_a_table_that_aurora_lacks_is_told_and_deployed(own: Sandbox) -> None:
    absent = Table(
        spec=msgspec.structs.replace(own.tables[0].spec, table_name="public.absent"),
        contract=msgspec.structs.replace(own.tables[0].contract, table="public.absent"),
    )
    present = own.tables
    own.write_config(*present, absent)
    told: list[tuple[str, str]] = []
    report = stack.deploy(
        own.folder, own.config, progress=lambda *step: told.append(step)
    )
    assert report.missing == ("public.absent",)
    assert [what for what, _ in told if what.startswith("table ")] == [
        "table public.absent"
    ]
    own.write_config(*present)


def test_a_wrong_config_changes_nothing(own: Sandbox) -> None:
    before = what_stands(own)
    good = own.config.read_text()
    own.config.write_text('{"tables": [{"table_name": "public.x"}]}')
    try:
        with pytest.raises(ConfigError, match="primary_key"):
            own.deploy()
    finally:
        own.config.write_text(good)
    assert what_stands(own) == before


def test_one_statement_answers_as_json(own: Sandbox) -> None:
    statement = (
        "SELECT 1.50::NUMERIC AS exact, 'NaN'::FLOAT8 AS bare, TRUE AS yes,"
        " NULL AS nothing, TIMESTAMP '2026-01-02 03:04:05' AS moment,"
        " DATE '2026-01-02' AS day, '\\x00ff'::BYTEA AS binary,"
        " '{\"a\": [1]}'::JSONB AS nested, 7 AS number"
    )
    assert stack.run_sql(own.folder, "aurora", statement) == [
        {
            "exact": "1.50",
            "bare": "nan",
            "yes": True,
            "nothing": None,
            "moment": "2026-01-02T03:04:05.000000",
            "day": "2026-01-02",
            "binary": "00ff",
            "nested": {"a": [1]},
            "number": "7",
        }
    ]
    statement = (
        'SELECT 1.50::NUMBER(5, 2) AS exact, 0.5::FLOAT AS half, 7 AS "number",'
        " TO_BINARY('00FF', 'HEX') AS bin, PARSE_JSON('{\"a\": [1]}') AS nested,"
        " '2026-01-02 03:04:05.000006'::TIMESTAMP_NTZ(6) AS moment"
    )
    assert stack.run_sql(own.folder, "snowflake", statement) == [
        {
            "EXACT": "1.50",
            "HALF": 0.5,
            "number": "7",
            "BIN": "00ff",
            "NESTED": {"a": [1]},
            "MOMENT": "2026-01-02T03:04:05.000006",
        }
    ]


@pytest.mark.parametrize("statement", ["SELECT 1; SELECT 2", "", "SELECT 'open"])
def test_exactly_one_statement_is_run(own: Sandbox, statement: str) -> None:
    with pytest.raises(ConfigError):
        stack.run_sql(own.folder, "aurora", statement)


def test_parts_that_were_killed_come_back_with_what_aurora_and_snowflake_hold(
    own: Sandbox,
) -> None:
    """The emulated AWS loses its memory when killed: the deployment makes it anew."""
    [table] = own.tables
    target = f"ANALYTICS.PUBLIC.{table.spec.target[1]}"
    rows = own.snowflake(f"SELECT COUNT(*) FROM {target}")
    killed = ("aws", "postgres", "snowflake", "vault_backend")
    for part in killed:
        os.kill(process(own.local, part).pid, signal.SIGKILL)
    wait_until_dead(own.folder, killed)
    with pytest.raises(LocalError, match="not running: aws, postgres"):
        own.deploy()
    stack.up(own.folder, own.config)
    assert stack.status(own.folder)["state"] == "running"
    assert own.snowflake(f"SELECT COUNT(*) FROM {target}") == rows
    own.aurora(f"INSERT INTO {table.spec.source.sql} VALUES (99, 'after', NOW())")
    own.sync(table)
    assert own.snowflake(f"SELECT status FROM {target} WHERE order_id = 99") == [
        ("after",)
    ]


def wait_until_dead(folder: Path, parts: tuple[str, ...]) -> None:
    deadline = time.monotonic() + 10
    while any(stack.status(folder)["parts"][part] != "dead" for part in parts):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_up_is_completed_beside_another_stack_and_leaves_nothing(
    own: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / 'the second\'s "Ümläut" 日本'
    code = (
        "import sys; from pathlib import Path; from infra.local import stack;"
        " stack.up(Path(sys.argv[1]), Path(sys.argv[2]), deploy=False)"
    )
    starting = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(own.config)]
    )
    try:
        while not LocalStack(folder).read().get("parts"):
            assert starting.poll() is None
            time.sleep(0.02)
        starting.kill()
        starting.wait()
        stack.up(folder, own.config, deploy=False)
        second, first = stack.status(folder), stack.status(own.folder)
        assert second["state"] == first["state"] == "running"
        assert not set(second["ports"].values()) & set(first["ports"].values())
        # Not in the machine's folder for temporary files, where it would stay.
        assert list((folder / "snowflake" / "tmp").glob("fakesnow_bucket_*"))
    finally:
        stack.down(folder)
    assert not folder.exists()
    assert list(marked_processes(LocalStack(folder))) == []
    assert stack.status(own.folder)["state"] == "running"


def test_a_folder_with_other_things_is_no_place_for_a_stack(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("someone's")
    with pytest.raises(ConfigError, match="other things"):
        stack.up(tmp_path, tmp_path / "sync_config.json", deploy=False)
    assert stack.down(tmp_path) is False
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert stack.down(tmp_path / "absent") is False
    assert stack.status(tmp_path)["state"] == "down"
    with pytest.raises(LocalError, match="local up"):
        stack.describe(tmp_path)


def test_a_disk_that_is_nearly_full_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "_LEAST_BYTES", shutil.disk_usage(tmp_path).total)
    with pytest.raises(LocalError, match="too little space is free.*--dir"):
        stack.up(tmp_path / "stack", tmp_path / "sync_config.json")
    assert not stack.down(tmp_path / "stack")
    assert list(tmp_path.iterdir()) == []


def test_a_stack_whose_folder_was_deleted_by_hand_is_still_taken_down(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "stack"
    try:
        stack.up(folder, tmp_path / "sync_config.json", deploy=False)
        outside = LocalStack(folder).fact("postgres_home")
        shutil.rmtree(folder)
        assert stack.down(folder)
        assert list(marked_processes(LocalStack(folder))) == []
        assert outside is None or not Path(outside).exists()
        assert not folder.exists()
    finally:
        kill(set(marked_processes(LocalStack(folder))))


def test_taking_down_what_never_was_makes_nothing(tmp_path: Path) -> None:
    assert not stack.down(tmp_path / "never" / "stack")
    assert list(tmp_path.iterdir()) == []
