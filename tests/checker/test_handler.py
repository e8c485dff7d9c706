"""The checker's entry: what it reads, what it prints, and how it fails."""

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError

from runtime.checker import handler
from runtime.contract.errors import LakeError, LedgerError
from runtime.contract.records import LedgerState, ledger_key, state_to_item
from runtime.contract.settings import CheckerSettings
from tests.factories import make_spec

WRITE = TypeSerializer()
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SETTINGS = CheckerSettings(
    stack="dev", region="eu-west-1", bucket="lake", ledger_table="ledger"
)
SPECS = (
    make_spec(),
    make_spec(table_name="public.items"),
    make_spec(table_name="public.other", target_schema="sales"),
)


class NoSuchKey(ClientError):
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "NoSuchKey"}}, "GetObject")


class Bucket:
    """S3 with one object, or a refusal."""

    class exceptions:
        NoSuchKey = NoSuchKey

    def __init__(self, body: bytes | Exception) -> None:
        self._body = body
        self.asked: list[dict[str, str]] = []

    def get_object(self, **asked: str) -> dict[str, Any]:
        self.asked.append(asked)
        if isinstance(self._body, Exception):
            raise self._body
        return {"Body": io.BytesIO(self._body)}


class Table:
    """DynamoDB with these items, of which it gives one at a time."""

    def __init__(self, states: dict[str, LedgerState] | Exception) -> None:
        self._states = states
        self.asked = 0

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        if isinstance(self._states, Exception):
            raise self._states
        [(name, wanted)] = RequestItems.items()
        assert wanted["ConsistentRead"] is True
        first, *rest = wanted["Keys"]
        answer: dict[str, Any] = {"Responses": {name: []}}
        if state := self._states.get(first["pk"]["S"]):
            item = state_to_item(state)
            typed = {key: WRITE.serialize(value) for key, value in item.items()}
            answer["Responses"][name].append(typed | first)
        if rest:
            answer["UnprocessedKeys"] = {name: wanted | {"Keys": rest}}
        return answer


STATUS = {
    "written_at": "2026-05-04 11:50:00.000000",
    "tables": [
        {"table": "public.orders", "merged_at": "2026-05-04T11:40:00+00:00"}
        | {"merged_seq": 4, "last_seq": 4, "rows_quarantined": 1},
        {"table": "public.other", "merged_at": "2026-05-04T02:00:00+00:00"},
        {"table": "public.left_the_config"},
    ],
}


def states() -> dict[str, LedgerState]:
    run = {"committed_at": "2026-05-04T11:41:00+00:00"}
    return {
        ledger_key("dev", SPECS[0].source): LedgerState(seq=5, last_run=run),
        ledger_key("dev", SPECS[2].source): LedgerState(seq=1, last_run=run),
    }


def looked(capsys, status: Any = STATUS, ledger: Any = None) -> tuple[Any, list[Any]]:
    """Look once; return the answer and the lines of metrics."""
    body = status if isinstance(status, Exception | bytes) else json.dumps(status)
    body = body.encode() if isinstance(body, str) else body
    ledger = states() if ledger is None else ledger
    clients = {"s3": Bucket(body), "dynamodb": Table(ledger)}
    answer = handler.look(SETTINGS, clients, SPECS, NOW)
    printed = capsys.readouterr().out.splitlines()
    lines = [json.loads(line) for line in printed]
    return answer, [line for line in lines if "_aws" in line]


def test_each_group_has_a_line_and_the_stack_the_last_one(capsys):
    answer, lines = looked(capsys)
    assert [line.get("group") for line in lines] == ["PUBLIC", "SALES", None]
    public, sales, whole = lines
    assert (public["MergedAge"], public["RowsQuarantined"]) == (1200, 1)
    assert (public["TablesLate"], public["TablesNew"]) == (0, 1)
    assert (sales["TablesLate"], sales["MergedAge"]) == (1, 36000)
    assert (whole["Checked"], whole["StatusAge"]) == (1, 600)
    assert {line["stack"] for line in lines} == {"dev"}
    assert {line["_aws"]["Timestamp"] for line in lines} == {NOW.timestamp() * 1000}
    assert answer["status_seconds"] == 600
    assert [each["table"] for each in answer["tables"]] == [
        "public.orders",
        "public.items",
        "public.other",
    ]


@pytest.mark.parametrize("status", [NoSuchKey(), b"{", b"[]", b'{"tables": []}'])
def test_without_a_status_it_goes_on_and_the_status_has_no_age(capsys, status):
    """Its alarm takes missing data for trouble."""
    answer, lines = looked(capsys, status)
    assert lines[-1]["Checked"] == 1
    assert "StatusAge" not in lines[-1]
    assert answer["status_seconds"] is None
    assert [line["TablesLate"] for line in lines[:-1]] == [0, 0]


@pytest.mark.parametrize(
    ("status", "ledger", "error"),
    [
        (ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"), {}, LakeError),
        (STATUS, ClientError({"Error": {"Code": "Denied"}}, "Batch"), LedgerError),
    ],
)
def test_what_it_cannot_read_silences_it(capsys, status, ledger, error):
    with pytest.raises(error):
        looked(capsys, status, ledger)
    assert '"Checked"' not in capsys.readouterr().out


def test_it_asks_for_one_object_and_for_all_states():
    bucket, table = Bucket(json.dumps(STATUS).encode()), Table(states())
    handler.look(SETTINGS, {"s3": bucket, "dynamodb": table}, SPECS, NOW)
    assert bucket.asked == [{"Bucket": "lake", "Key": "status/dev/tables.json"}]
    assert table.asked == len(SPECS)


def test_its_log_level_holds_below_lambdas_own(monkeypatch):
    """Lambda filters by INFO, so that metrics pass."""
    log = logging.getLogger(handler.logger.service)
    before = log.level
    loud = msgspec.structs.replace(SETTINGS, log_level="ERROR")
    for name, value in {**loud.to_env(), "AWS_LAMBDA_LOG_LEVEL": "INFO"}.items():
        monkeypatch.setenv(name, value)
    handler._settings.cache_clear()
    try:
        handler._settings()
        assert not log.isEnabledFor(logging.WARNING)
        assert log.isEnabledFor(logging.ERROR)
    finally:
        handler._settings.cache_clear()
        log.setLevel(before)


def test_its_settings_travel_as_environment():
    assert CheckerSettings.from_env(SETTINGS.to_env()) == SETTINGS
