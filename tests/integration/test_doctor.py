"""Faults put into a deployed stack: doctor names each, and its remedy clears it."""

import json
import shlex
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import vault
from runtime.contract.loader import load_tables
from runtime.contract.specs import Table
from runtime.ops import doctor_warehouse
from tests.integration.conftest import MERGE_SECONDS, Sandbox

ORDERS = """
  order_id BIGINT PRIMARY KEY,
  status TEXT,
  amount NUMERIC(12, 2),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
"""


class Doctor:
    """The command on one table of a stack."""

    def __init__(self, sandbox: Sandbox, table: Table) -> None:
        self.sandbox, self.table = sandbox, table

    def run(self, *arguments: str) -> Any:
        place = ("--dir", str(self.sandbox.folder))
        return CliRunner().invoke(app, [*arguments, *place])

    def findings(self) -> list[dict[str, Any]]:
        """Return what is wrong; whether the status says so too."""
        result = self.run("doctor", self.table.contract.table, "--json")
        found: list[dict[str, Any]] = json.loads(result.stdout)
        assert len(found) > 15, result.stderr
        errors = [each for each in found if each["severity"] == "error"]
        assert result.exit_code == bool(errors), result.stderr
        return [each for each in found if each["severity"] in ("error", "warning")]

    def checks(self) -> set[str]:
        return {each["check"] for each in self.findings()}

    def mend(self, found: list[dict[str, Any]]) -> None:
        """Run every remedy as it stands, once."""
        remedies = dict.fromkeys(
            (each["where"], line) for each in found for line in each["remedy"]
        )
        for where, line in remedies:
            if where == "shell":
                program, *arguments = shlex.split(line)
                assert program == "aurora-sync"
                result = CliRunner().invoke(app, arguments)
                assert result.exit_code == 0, (line, result.stderr)
            else:
                getattr(self.sandbox, where)(line)


@pytest.fixture(scope="module")
def doctor(sandbox: Sandbox) -> Doctor:
    """A table in good health."""
    made = Doctor(sandbox, sandbox.table(ORDERS))
    name = made.table.spec.source.sql
    sandbox.aurora(f"CREATE INDEX ON {name} (updated_at)")
    sandbox.aurora(f"INSERT INTO {name} VALUES (1, '', 1, NOW() - INTERVAL '1 day')")
    sandbox.sync(made.table)
    return made


def test_faults_everywhere_are_named_and_their_remedies_clear_them(doctor):
    sandbox, table = doctor.sandbox, doctor.table
    assert doctor.findings() == []
    name, slug = table.spec.source.sql, table.spec.source.slug
    index = f"{table.spec.source.name}_updated_at_idx"
    landing = f"ANALYTICS.LANDING.PUBLIC__{table.spec.source.name.upper()}"
    for statement in (
        f'DROP INDEX public."{index}"',
        f"REVOKE SELECT ON {name} FROM aurora_sync_exporter",
        "REVOKE pg_read_all_stats FROM aurora_sync_exporter",
        "REVOKE USAGE ON SCHEMA aws_s3 FROM aurora_sync_exporter",
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_s3, aws_commons"
        " FROM aurora_sync_exporter, PUBLIC",
        'CREATE ROLE "Ba""d" LOGIN',
        'ALTER ROLE "Ba""d" SET track_activities = off',
    ):
        sandbox.aurora(statement)
    sandbox.snowflake(
        f"ALTER PIPE {sandbox.pipe(table)} SET PIPE_EXECUTION_PAUSED = TRUE"
    )
    sandbox.snowflake(f"ALTER TASK {landing}_MERGE SUSPEND")
    sandbox.snowflake(f"DROP STREAM {landing}_STREAM")
    sandbox.aws("events").disable_rule(Name=f"aurora-sync_local_{slug}")
    sandbox.aws("lambda").put_function_concurrency(
        FunctionName=sandbox.outputs["function"], ReservedConcurrentExecutions=0
    )
    sandbox.aws("s3").put_bucket_notification_configuration(
        Bucket=sandbox.outputs["bucket"], NotificationConfiguration={}
    )
    client: Any = vault.vault_client(sandbox.local)
    client.delete(f"database/roles/{sandbox.outputs['function']}")
    sandbox.local.put_fact("aurora_role_arn", None)
    found = doctor.findings()
    assert [each["check"] for each in found] == [
        *["rights"] * 4,
        "export role",
        "track_activities",
        "grants",
        "watermark index",
        "function",
        "schedule",
        *["bucket"] * 2,
        "vault",
        "objects",
        "pipe",
        "task",
    ]
    doctor.mend(found)
    assert doctor.findings() == []
    sandbox.aurora('DROP ROLE "Ba""d"')


def test_an_added_and_a_changed_column_are_told_with_the_refresh(doctor):
    name = doctor.table.spec.source.sql
    doctor.sandbox.aurora(f"ALTER TABLE {name} ADD COLUMN note TEXT")
    (added,) = doctor.findings()
    assert (added["check"], added["severity"]) == ("contract", "warning")
    assert "note" in added["fact"]
    doctor.mend([added])
    assert doctor.findings() == []


def test_files_that_wait_and_rows_that_do_not_fit(doctor, monkeypatch):
    sandbox = doctor.sandbox
    # Its contract has been refreshed since.
    [table] = load_tables(sandbox.config)
    monkeypatch.setattr(doctor_warehouse, "LATE_MINUTES", 0)
    sandbox.snowflake(
        f"ALTER PIPE {sandbox.pipe(table)} SET PIPE_EXECUTION_PAUSED = TRUE"
    )
    sandbox.aurora(f"UPDATE {table.spec.source.sql} SET updated_at = NOW()")
    answer = sandbox.tick(table)
    found = doctor.findings()
    assert {each["check"] for each in found} == {"pipe", "files"}
    doctor.mend(found)
    sandbox.merged(table, answer["seq"])
    assert doctor.findings() == []
    key = f"exports/local/{table.spec.source.slug}/by-hand"
    for version, amount in ((1, b"10000000000"), (2, b"5")):
        stamp = f"000001-{10**15 + version:020d}-{1_000_000_000:010d}"
        sandbox.aws("s3").put_object(
            Bucket=sandbox.outputs["bucket"],
            Key=f"{key}/{stamp}_4_c0.csv",
            Body=b"1,," + amount + b",2026-01-02 03:04:05+00\n",
        )
        deadline = time.monotonic() + MERGE_SECONDS
        while doctor.checks() != ({"quarantine"} if version == 1 else set()):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_deletes_that_the_brake_has_stopped(doctor):
    for decision, second in (("braked", 1), ("applied", 2)):
        doctor.sandbox.snowflake(
            "INSERT INTO ANALYTICS.SYNC.RECONCILES VALUES "
            f"('{doctor.table.contract.table}', 'seal', 'stamp', 0, 300, 120, "
            f"'{decision}', '2026-01-01 00:00:0{second}', 0)"
        )
        found = doctor.findings()
        assert [each["check"] for each in found] == ["deletes"] * (2 - second)
        assert all("120 of 300 rows" in each["fact"] for each in found)


def test_a_cluster_that_was_restored_under_its_name(doctor):
    """The function knows the one that was deployed."""
    client, name = doctor.sandbox.aws("lambda"), doctor.sandbox.outputs["function"]
    found = client.get_function_configuration(FunctionName=name)
    known = found["Environment"]["Variables"]
    assert known["SYNC_AURORA_CLUSTER_ID"].startswith("cluster-")
    client.update_function_configuration(
        FunctionName=name,
        Environment={"Variables": known | {"SYNC_AURORA_CLUSTER_ID": "cluster-OLD"}},
    )
    client.get_waiter("function_active_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1}
    )
    (finding,) = doctor.findings()
    assert (finding["check"], finding["severity"]) == ("cluster", "error")
    assert "cluster-OLD was deployed" in finding["fact"]
    doctor.mend([finding])
    assert doctor.findings() == []


def test_a_lease_that_its_run_left_behind(doctor):
    sandbox, table = doctor.sandbox, doctor.table
    sandbox.aws("dynamodb").update_item(
        TableName=sandbox.outputs["ledger"],
        Key={"pk": {"S": f"local#{table.spec.source.slug}"}, "sk": {"S": "STATE"}},
        UpdateExpression="SET lease_run = :run, lease_until = :until",
        ExpressionAttributeValues={
            ":run": {"S": "dead"},
            ":until": {"N": "1700000000"},
        },
    )
    (finding,) = doctor.findings()
    assert (finding["check"], finding["severity"]) == ("runs", "warning")
    assert "run dead ended" in finding["fact"]
    doctor.mend([finding])
    assert doctor.findings() == []


def test_a_sealed_vault_and_a_refused_run(doctor):
    sandbox, table = doctor.sandbox, doctor.table
    client: Any = vault.vault_client(sandbox.local)
    client.sys.seal()
    try:
        assert doctor.checks() == {"vault"}
    finally:
        vault.unseal(sandbox.local)
    grant = f"SELECT ON {table.spec.source.sql}"
    sandbox.aurora(f"REVOKE {grant} FROM aurora_sync_exporter")
    doctor.run("sync", table.contract.table)
    found = doctor.findings()
    assert [each["check"] for each in found] == ["grants", "runs"]
    doctor.mend(found[:1])
    sandbox.sync(table)
    assert doctor.findings() == []
