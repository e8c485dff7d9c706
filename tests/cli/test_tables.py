"""The commands about tables on one local stack, as an operator uses them.

The tests share the stack; each leaves its tables synced and its pipes running.
"""

import json
import signal
import subprocess
import threading
import time
from contextlib import closing

import pytest
import snowflake.connector

from infra.cli.cloud import CloudTarget
from infra.local import postgres
from infra.stack import StackSettings
from runtime.contract.loader import load_tables
from runtime.ops import sync
from tests.cli.conftest import SCRIPT, Local
from tests.infra.recording import example_settings

ORDERS, WIDE, NOTHING = "public.orders", "public.wide", "public.nothing"


@pytest.fixture(scope="module")
def synced(local: Local) -> Local:
    """Both tables with rows, merged."""
    local.run("sync", ORDERS, WIDE, "--wait")
    return local


def orders(local: Local, change: str) -> None:
    local.aurora(f"UPDATE public.orders SET {change}, updated_at = NOW()")


class TestAddAndRefresh:
    """What the fixture did, and what follows a change at the source."""

    def test_the_config_has_what_was_asked_for(self, local):
        entries = json.loads(local.config.read_text())["tables"]
        assert entries[1] == {
            "table_name": WIDE,
            "watermark_col": "updated_at",
            "primary_key": ["a", "b"],
            "watermark_timezone": "UTC",
        }
        assert len(load_tables(local.config)) == 3

    def test_a_table_is_added_once(self, local):
        before = local.config.read_bytes()
        result = local.run(
            *("table", "add", ORDERS, "--key", "order_id"),
            *("--watermark", "updated_at"),
            status=2,
        )
        assert "table stands twice" in result.stderr
        assert local.config.read_bytes() == before

    def test_the_deployed_config_is_the_default(self, local):
        found = local.data("contract", "refresh", ORDERS)
        assert [(each["table"], each["change"]) for each in found] == [
            (ORDERS, "unchanged")
        ]

    def test_all_problems_are_told_a_line_each(self, local, tmp_path):
        config = tmp_path / "sync_config.json"
        entries = [
            {"table_name": f"public.{name}", "primary_key": "x", "watermark_col": "y"}
            for name in ("none", "orders")
        ]
        config.write_text(json.dumps({"tables": entries}))
        result = local.run("contract", "refresh", "--config", config, status=2)
        assert len(result.stderr.splitlines()) == 3
        assert "public.none: there is no such table" in result.stderr


class TestSync:
    """Run, follow, report."""

    def test_everything_exported_is_merged_when_it_returns(self, synced):
        orders(synced, "status = 'new'")
        (outcome,) = synced.data("sync", ORDERS, "--wait")
        assert (outcome["status"], outcome["mode"]) == ("merged", "incremental")
        assert outcome["rows_exported"] == outcome["rows_loaded"] == 50
        rows = synced.snowflake(
            "SELECT COUNT(*) AS n FROM ANALYTICS.PUBLIC.ORDERS WHERE status = 'new'"
        )
        assert rows == [{"N": "50"}]

    def test_without_wait_it_says_what_was_exported(self, synced):
        orders(synced, "status = 'x'")
        result = synced.run("sync", ORDERS)
        assert "public.orders: incremental, 50 rows exported in 1 file" in result.stdout
        assert "merged" not in result.stdout

    def test_all_tables_by_default_and_one_line_each(self, local):
        result = local.run("sync", "--wait")
        tables = [line.partition(":")[0] for line in result.stdout.splitlines()]
        assert tables == [ORDERS, WIDE, NOTHING]
        assert "public.nothing: no change, merged through 20" in result.stdout

    def test_a_held_watermark_is_told_and_no_failure(self, synced):
        with closing(synced.connect()) as writer:
            with writer.cursor() as cursor:
                cursor.execute("SET application_name = 'billing'")
                cursor.execute("UPDATE public.orders SET status = 'late'")
            time.sleep(1.5)
            result = synced.run("sync", ORDERS, "--wait")
            assert "public.orders: watermark held back by pid" in result.stdout
            assert "user postgres, billing, idle in transaction" in result.stdout
            (status,) = synced.data("status", ORDERS)
            assert status["state"] == "held"
            assert status["held_by"]["pid"] == writer.info.backend_pid
            writer.rollback()

    def test_another_run_is_a_failure_without_wait(self, synced):
        synced.lease(ORDERS, int(time.time()) + 60)
        try:
            result = synced.run("sync", ORDERS, status=1)
            assert "another run of this table is under way" in result.stderr
            (status,) = synced.data("status", ORDERS)
            assert status["state"] == "running"
        finally:
            synced.lease(ORDERS, 0)

    def test_another_run_is_waited_for_with_wait(self, synced):
        synced.lease(ORDERS, int(time.time()) + 60)
        release = threading.Timer(2, synced.lease, (ORDERS, 0))
        release.start()
        result = synced.run("sync", ORDERS, "--wait")
        release.join()
        assert "waiting for another run to end" in result.stderr

    def test_a_pipe_that_stands_still_is_the_reason(self, synced, monkeypatch):
        monkeypatch.setattr(sync, "_STALL_SECONDS", 0.5)
        monkeypatch.setattr(sync, "_TROUBLE_SECONDS", 1.0)
        [name] = [
            row["name"]
            for row in synced.snowflake("SHOW PIPES IN SCHEMA ANALYTICS.LANDING")
            if row["name"].startswith("PUBLIC__ORDERS_PIPE")
        ]
        pipe = f"ALTER PIPE ANALYTICS.LANDING.{name} SET "
        synced.snowflake(pipe + "PIPE_EXECUTION_PAUSED = TRUE")
        try:
            orders(synced, "status = 'stuck'")
            result = synced.run("sync", ORDERS, "--wait", status=1)
            assert f"{name} is PAUSED" in result.stderr
            (status,) = synced.data("status", ORDERS)
            assert status["state"] == "behind"
        finally:
            synced.snowflake(pipe + "PIPE_EXECUTION_PAUSED = FALSE")
        assert synced.data("sync", ORDERS, "--wait")[0]["status"] == "merged"

    def test_a_task_that_fails_is_the_reason(self, synced, monkeypatch):
        rename = "ALTER TABLE ANALYTICS.LANDING.{} RENAME TO ANALYTICS.LANDING.{}"
        synced.snowflake(rename.format("PUBLIC__ORDERS_KEYS", "AWAY"))
        try:
            orders(synced, "status = 'fails'")
            with monkeypatch.context() as hasty:
                hasty.setattr(sync, "_STALL_SECONDS", 0.5)
                hasty.setattr(sync, "_TROUBLE_SECONDS", 1.0)
                result = synced.run("sync", ORDERS, "--wait", status=1)
            assert "task PUBLIC__ORDERS_MERGE failed" in result.stderr
        finally:
            synced.snowflake(rename.format("AWAY", "PUBLIC__ORDERS_KEYS"))
        # Ten failures may have suspended it by now.
        synced.snowflake("ALTER TASK ANALYTICS.LANDING.PUBLIC__ORDERS_MERGE RESUME")
        assert synced.data("sync", ORDERS, "--wait")[0]["status"] == "merged"

    def test_rows_in_quarantine_are_told(self, synced):
        change = "UPDATE public.wide SET tm = '{}', updated_at = NOW() WHERE b = 3"
        synced.aurora(change.format("24:00"))
        result = synced.run("sync", WIDE, "--wait")
        assert "public.wide: 1 row in quarantine" in result.stdout
        synced.aurora(change.format("12:00"))
        synced.run("sync", WIDE, "--wait")

    def test_a_table_that_was_not_deployed_is_refused(self, local, tmp_path):
        local.aurora(
            "CREATE TABLE IF NOT EXISTS public.later (id INT PRIMARY KEY, "
            "at TIMESTAMPTZ NOT NULL)"
        )
        config = tmp_path / "sync_config.json"
        arguments = ("public.later", "--key", "id", "--watermark", "at")
        local.run("table", "add", *arguments, "--config", config)
        result = local.run("sync", "--config", config, status=1)
        assert "is not in the config that was deployed" in result.stderr

    def test_ctrl_c_is_one_line_and_130(self, synced):
        """The function works on; it waits for a lock that this test holds."""
        with closing(synced.connect()) as blocker:
            with blocker.cursor() as cursor:
                cursor.execute("LOCK TABLE public.orders IN ACCESS EXCLUSIVE MODE")
            running = subprocess.Popen(
                [SCRIPT, "sync", ORDERS, "--wait", "--dir", str(synced.folder)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert running.stderr is not None
            assert "exporting" in running.stderr.readline()
            started = time.monotonic()
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=30)
            assert time.monotonic() - started < 10
            assert (running.returncode, out) == (130, "")
            assert err == "interrupted; what was begun goes on by itself\n"
        assert synced.data("sync", ORDERS, "--wait")[0]["status"] == "merged"


class TestStatus:
    """For people and for programs."""

    def test_programs_get_a_list_of_objects(self, synced):
        synced.run("sync", NOTHING, "--wait")
        found = {each["table"]: each for each in synced.data("status")}
        assert set(found) == {ORDERS, WIDE, NOTHING}
        assert {each["state"] for each in found.values()} == {"current"}
        one = found[ORDERS]
        assert one["low"] == one["high"] == one["merged_through"]
        assert one["lag_seconds"] < 120

    def test_people_get_a_line_per_table(self, synced):
        lines = synced.run("status", NOTHING, ORDERS).stdout.splitlines()
        assert len(lines) == 3
        assert lines[0].split()[:2] == ["Table", "State"]
        assert lines[2].split()[-2:] == ["0", "-"]

    def test_a_refusal_and_drift_are_told(self, synced):
        synced.aurora("ALTER TABLE public.orders RENAME COLUMN status TO state")
        try:
            result = synced.run("sync", ORDERS, "--wait", status=1)
            assert "column 'status' is not what the contract says" in result.stderr
            (status,) = synced.data("status", ORDERS)
            assert (status["state"], status["refusal"]["code"]) == ("refused", "drift")
            assert "'status' is not what" in synced.run("status", ORDERS).stdout
        finally:
            synced.aurora("ALTER TABLE public.orders RENAME COLUMN state TO status")
        synced.aurora("ALTER TABLE public.orders ADD COLUMN extra INT")
        try:
            result = synced.run("sync", ORDERS, "--wait")
            assert "public.orders: not in the contract: extra" in result.stdout
        finally:
            synced.aurora("ALTER TABLE public.orders DROP COLUMN extra")
            synced.run("sync", ORDERS, "--wait")


class TestVerify:
    """Are both sides the same?"""

    def test_equal_tables_are_told_so(self, synced):
        found = synced.data("verify", ORDERS, WIDE)
        assert [each["verdict"] for each in found] == ["equal", "equal"]
        assert found[0]["source_checksum"] == found[0]["target_checksum"] != "0"
        assert found[1]["by_value"] == ["f8", "doc"]

    def test_every_sort_of_difference_is_named(self, synced):
        synced.aurora(
            "DELETE FROM public.wide WHERE b = 1",
            "UPDATE public.wide SET f8 = 5, tm = '01:00' WHERE b = 2",
            "INSERT INTO public.wide (a, b, updated_at) "
            "VALUES ('only | here', 99, NOW() - INTERVAL '1 day'), ('new', 100, NOW())",
        )
        (found,) = synced.data("verify", WIDE, status=1)
        assert (found["verdict"], found["source_rows"]) == ("different", 30)
        counts = (found["missing"], found["extra"], found["different"])
        assert (counts, found["newer_rows"]) == ((1, 1, 1), 1)
        samples = {each["kind"]: each for each in found["samples"]}
        assert samples["missing"]["key"] == {"a": "only | here", "b": "99"}
        assert samples["extra"]["key"] == {"a": "k~|1", "b": "1"}
        assert samples["different"]["columns"] == ["tm", "f8"]
        text = synced.run("verify", WIDE, status=1).stdout
        assert "public.wide: a=k~|2, b=2: differs in tm, f8" in text
        assert "public.wide: a=k~|1, b=1: only in the target" in text
        assert "public.wide: 1 row not due yet (newer than 20" in text
        assert "run `aurora-sync sync public.wide --reconcile`" in text
        synced.aurora(
            # Within the lookback, and settled for the next test.
            "UPDATE public.wide SET updated_at = NOW() AT TIME ZONE 'UTC' "
            "- INTERVAL '1 minute'",
            "INSERT INTO public.wide (a, b, f8, doc, tm) "
            "VALUES ('k~|1', 1, 1 / 7.0, '{}', '12:00')",
        )
        synced.run("sync", WIDE, "--wait")
        assert synced.data("verify", WIDE)[0]["verdict"] == "equal"

    def test_a_difference_of_json_alone_is_found(self, synced):
        """The sums do not cover it."""
        change = "UPDATE public.wide SET doc = '{}' WHERE b = 4"
        synced.aurora(change.format('{"x": 1}'))
        (found,) = synced.data("verify", WIDE, status=1)
        assert found["source_checksum"] == found["target_checksum"]
        assert [each["columns"] for each in found["samples"]] == [["doc"]]
        synced.aurora("UPDATE public.wide SET updated_at = NOW() WHERE b = 4")
        synced.run("sync", WIDE, "--wait")

    def test_nothing_compared_is_not_ok(self, local):
        local.run("sync", NOTHING, "--wait")
        (found,) = local.data("verify", NOTHING, status=1)
        assert found["verdict"] == "inconclusive"
        assert "nothing was compared" in local.run("verify", NOTHING, status=1).stdout

    def test_one_table_that_cannot_be_read_does_not_hide_the_others(self, synced):
        synced.aurora("ALTER TABLE public.orders RENAME COLUMN total TO sum")
        try:
            found = synced.data("verify", ORDERS, WIDE, status=1)
        finally:
            synced.aurora("ALTER TABLE public.orders RENAME COLUMN sum TO total")
        assert [each["verdict"] for each in found] == ["failed", "equal"]
        assert 'column "total" does not exist' in found[0]["error"]["message"]


class TestCloud:
    """The way to a stack in the cloud, walked on the emulated one."""

    @pytest.fixture
    def target(self, synced, monkeypatch, tmp_path):
        parts = synced.parts
        keys = parts.fact("aws_keys")["admin"]
        described = synced.described["snowflake"]
        for name, value in {
            "AWS_ENDPOINT_URL": parts.url("aws"),
            "AWS_ACCESS_KEY_ID": keys["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
            "AWS_REGION": "eu-west-1",
            "PGUSER": "postgres",
            "PGPASSWORD": parts.secret("postgres_password"),
        }.items():
            monkeypatch.setenv(name, value)
        real = snowflake.connector.connect

        def named(connection_name, **options):
            """Stand in for a connections.toml, which is read once per process."""
            assert connection_name == "default"
            return real(**described, protocol="http", **options)

        monkeypatch.setattr(snowflake.connector, "connect", named)
        return CloudTarget("local", synced.config)

    def test_everything_is_found_by_the_functions_own_settings(self, target):
        tables = load_tables(target.config)[:1]
        with target.warehouse() as warehouse:
            exporter, ledger = target.exporter, target.ledger
            syncing = sync.Syncing(exporter, ledger, warehouse, 60)
            (outcome,) = syncing.run(tables)
        assert outcome.status == "merged"
        with closing(target.aurora()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.current_database()")
            assert cursor.fetchone() == (postgres.DATABASE,)

    def test_the_functions_name_is_the_deployers(self, target):
        raw = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in example_settings().items()
        }
        settings = StackSettings.read(raw, "local")
        assert target.function == settings.exporter
