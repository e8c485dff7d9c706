"""The Lambda entry: an event in, a result or an error out, and one line of metrics."""

import json
from io import StringIO
from pathlib import Path

import boto3
import msgspec
import pytest

from runtime.contract.errors import (
    ConfigError,
    ConfigErrors,
    DriftError,
    LeaseHeldError,
)
from runtime.contract.metrics import NAMESPACE, RUN
from runtime.contract.records import MOST_KEYS, RunResult
from runtime.exporter import handler
from tests.exporter.conftest import ORDERS, Scene
from tests.factories import make_entry

EVENT = {"table": "public.orders"}


class Context:
    """What Lambda tells a function of its invocation."""

    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Function:
    """The deployed function: its environment, its config and what it prints."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = folder / "config" / "sync_config.json"
        self.log = StringIO()
        self._capsys = capsys
        self.config.parent.joinpath("contracts").mkdir(parents=True)

    def deploy(self, *tables) -> None:
        """Write the config and contracts as the bundle carries them."""
        entries = [make_entry(table_name=str(table.spec.source)) for table in tables]
        self.config.write_text(json.dumps({"tables": entries}))
        for table in tables:
            path = self.config.parent / "contracts" / f"{table.spec.source.slug}.json"
            path.write_bytes(msgspec.json.encode(table.contract))
        handler._tables.cache_clear()

    def __call__(self, event: object = EVENT) -> dict:
        return handler.handle(event, Context())

    def logged(self) -> dict:
        """Return the one line of the log."""
        (line,) = self.log.getvalue().splitlines()
        return json.loads(line)

    def measured(self) -> dict:
        """Return the one line of metrics."""
        (line,) = self._capsys.readouterr().out.splitlines()
        return json.loads(line)


@pytest.fixture
def function(scene: Scene, tmp_path, monkeypatch, capsys):
    keys = scene.stack.fact("aws_keys")["admin"]
    for name, value in {
        **scene.around.settings.to_env(),
        "AWS_ACCESS_KEY_ID": keys["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
        "AWS_ENDPOINT_URL": scene.stack.url("aws"),
    }.items():
        monkeypatch.setenv(name, value)
    function = Function(tmp_path, capsys)
    monkeypatch.setattr(handler, "CONFIG_FILE", function.config)
    monkeypatch.setattr(handler.logger.registered_handler, "stream", function.log)
    handler._surroundings.cache_clear()
    function.deploy(scene.table(ORDERS))
    yield function
    handler._surroundings.cache_clear()
    handler._tables.cache_clear()


def test_a_higher_log_level_is_the_functions_own_and_leaves_metrics(
    function, monkeypatch
):
    """Lambda filters by INFO, so that metrics pass; Powertools would do the same."""
    monkeypatch.setenv("SYNC_LOG_LEVEL", "WARNING")
    monkeypatch.setenv("AWS_LAMBDA_LOG_LEVEL", "INFO")
    assert function()["status"] == "done"
    assert function.log.getvalue() == ""
    assert function.measured()["RunsFailed"] == 0


def test_an_event_runs_its_table_and_answers_with_the_result(scene, function):
    scene.sql("INSERT INTO orders VALUES (1, 's')")
    answer = function()
    assert (answer["status"], answer["table"]) == ("done", "public.orders")
    assert answer["rows_exported"] == 1
    assert len(answer["files"]) == 1
    assert json.loads(json.dumps(answer)) == answer | {
        "files": [dict(file) for file in answer["files"]]
    }


def test_a_run_is_measured_in_the_embedded_metric_format(scene, function):
    """Source: CloudWatch user guide, embedded metric format specification."""
    scene.sql("INSERT INTO orders VALUES (1, 's'), (2, 's')")
    scene.sql("ALTER TABLE orders ADD note TEXT")
    function()
    line = function.measured()
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    assert directive["Dimensions"] == [["stack", "group"]]
    assert (line["group"], line["table"]) == ("PUBLIC", "public.orders")
    assert line["stack"] == scene.around.settings.stack
    assert (line["mode"], line["seq"]) == ("first_load", 1)
    values = {one["Name"]: line[one["Name"]] for one in directive["Metrics"]}
    assert set(values) == set(RUN) - {"ChunksRetried"}
    assert values["RowsExported"] == 2
    assert values["RunsFailed"] == values["LeaseHeld"] == 0
    assert values["HoldbackSeconds"] == values["LookbackUsed"] == 0
    assert values["BytesExported"] > 0
    assert values["RunSeconds"] > 0
    units = {one["Name"]: one["Unit"] for one in directive["Metrics"]}
    assert units["BytesExported"] == "Bytes"
    assert units["RunSeconds"] == "Seconds"


def test_a_long_holder_and_late_rows_are_measured_for_alarms(function, monkeypatch):
    result = RunResult(
        status="done",
        table="public.orders",
        held_by={"pid": 1, "age_seconds": 90.0, "too_long": True},
        late_rows=3,
        null_rows=7,
        lookback_used=0.625,
    )
    monkeypatch.setattr(handler, "run_table", lambda *_, **__: result)
    function()
    line = function.measured()
    assert (line["HoldbackSeconds"], line["LookbackUsed"]) == (90, 62.5)
    assert (line["LateRows"], line["RowsWithoutWatermark"]) == (3, 7)


def test_a_run_is_logged_with_table_and_request(scene, function):
    function()
    line = function.logged()
    assert line["message"] == "run ended"
    assert (line["table"], line["request_id"]) == ("public.orders", "request-1")
    assert line["result"]["status"] == "done"


def test_one_identity_is_in_answer_log_metrics_ledger_and_manifest(scene, function):
    scene.sql("INSERT INTO orders VALUES (1, 's')")
    answer = function()
    (table,) = handler._tables().values()
    run = answer["run"]
    assert function.logged()["run"] == function.logged()["result"]["run"] == run
    assert function.measured()["run"] == run
    assert scene.ledger(table).state().last_run["run"] == run
    assert [manifest.run for manifest in scene.manifests(table)] == [run]
    assert all(f"/{run}/" in file["key"] for file in answer["files"])


def test_a_failed_run_is_logged_by_the_identity_that_the_ledger_notes(scene, function):
    scene.sql("ALTER TABLE orders DROP status")
    answer = function(EVENT | {"report_errors": True})
    (table,) = handler._tables().values()
    assert function.logged()["run"] == answer["run"]
    assert scene.ledger(table).state().refusal["run"] == answer["run"]


def message(receives: int, **fields) -> dict:
    """Return what Lambda makes of a message of the load queue."""
    body = {"table": "public.orders", "run": "01SENDER"} | fields
    record = {
        "eventSource": "aws:sqs",
        "body": json.dumps(body),
        "attributes": {"ApproximateReceiveCount": str(receives)},
        "receiptHandle": "r",
    }
    return {"Records": [record]}


def test_a_chunk_is_logged_with_its_plan_and_the_run_that_sent_it(function):
    function(message(1, plan="gone", chunk=3, contract="x"))
    line = function.logged()
    assert line["message"] == "message ended"
    assert (line["plan"], line["chunk"], line["sent_by"]) == ("gone", 3, "01SENDER")
    assert line["run"] and line["request_id"] == "request-1"


def test_a_chunk_that_comes_again_is_counted(function):
    function(message(2, plan="gone", chunk=3, contract="x"))
    assert function.measured()["ChunksRetried"] == 1


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "public.orders",
        {},
        {"table": 5},
        {"table": ""},
        {"tabel": "public.orders"},
        {"table": "public.orders", "report_errors": "yes"},
        {"table": "public.orders", "mode": "full"},
        {"table": "public.orders", "repair": [["1"]] * (MOST_KEYS + 1)},
        {"table": "public.orders", "repair": ["1"]},
        {"table": "public.orders", "repair": [[1]]},
        {"version": "0", "id": "x", "source": "aws.events", "detail": {}},
    ],
)
def test_an_event_that_is_no_request_fails_the_invocation(function, event):
    with pytest.raises(ConfigError, match="event: is not a request") as caught:
        function(event)
    assert caught.value.got == event


@pytest.mark.parametrize("name", ["public.customers", "orders", 'a"b.c'])
def test_a_table_that_was_not_deployed_fails_the_invocation(function, name):
    with pytest.raises(ConfigError):
        function({"table": name})


def test_an_unknown_table_is_told_with_those_there_are(function):
    with pytest.raises(ConfigError, match="allowed: public.orders") as caught:
        function({"table": "public.customers"})
    assert "table add" in caught.value.remedy


def test_a_table_may_be_named_in_quotes(function):
    assert function({"table": '"public"."orders"'})["status"] == "done"


def test_a_config_that_cannot_be_read_fails_the_invocation(function):
    function.config.write_text("{}")
    handler._tables.cache_clear()
    with pytest.raises(ConfigErrors, match="is not a sync config"):
        function()


def test_a_failed_run_fails_the_invocation(scene, function):
    scene.sql("ALTER TABLE orders DROP status")
    with pytest.raises(DriftError):
        function()
    line = function.measured()
    assert line["RunsFailed"] == 1
    assert line["table"] == "public.orders"


def test_a_failed_run_is_answered_to_who_asks_to_be_told(scene, function):
    scene.sql("ALTER TABLE orders DROP status")
    answer = function(EVENT | {"report_errors": True})
    assert answer["status"] == "failed"
    assert answer["error"]["code"] == "drift"
    assert answer["error"]["retryable"] is False
    assert "contract refresh" in answer["error"]["remedy"]
    assert function.measured()["RunsFailed"] == 1


def test_an_error_is_logged_as_it_is_told(scene, function):
    scene.sql("ALTER TABLE orders DROP status")
    function(EVENT | {"report_errors": True})
    line = function.logged()
    assert line["level"] == "ERROR"
    assert line["error"]["code"] == "drift"


def test_a_table_that_is_under_way_is_busy_once_and_a_failure_twice(scene, function):
    (table,) = handler._tables().values()
    with scene.ledger(table).lease("other"):
        answer = function()
        assert answer["status"] == "busy"
        assert answer["error"]["code"] == "lease_held"
        line = function.measured()
        assert (line["RunsFailed"], line["LeaseHeld"]) == (0, 1)
        with pytest.raises(LeaseHeldError):
            function()
        assert function.measured()["RunsFailed"] == 1
    assert function()["status"] == "done"


def test_without_settings_the_function_names_what_lacks(function, monkeypatch):
    monkeypatch.delenv("SYNC_BUCKET")
    with pytest.raises(ConfigError, match="bucket"):
        function()


def test_the_functions_own_keys_sign_the_login_at_vault(function):
    keys = handler._aws_keys(boto3.Session("key-id", "secret", "token"))
    assert (keys.access_key, keys.secret_key, keys.token) == (
        "key-id",
        "secret",
        "token",
    )
    session = boto3.Session(region_name="eu-west-1")
    assert handler._aws_keys(session).token is None


def test_a_function_without_keys_is_told(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigError, match="function: has no AWS credentials"):
        handler._aws_keys(boto3.Session(region_name="eu-west-1"))
