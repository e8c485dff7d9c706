"""What goes wrong is told by an alarm, and what is mended ends it.

The emulated CloudWatch looks at all values of an alarm's whole window at once, and only
when one is put: the test takes a window of seconds for one of minutes.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runtime.contract.snowflake_status import status_key
from runtime.contract.specs import Table
from tests.integration.conftest import Sandbox
from tests.integration.losing import without_action

COLUMNS = (
    "order_id BIGINT PRIMARY KEY, born TIMESTAMP, "
    "updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()"
)
SECONDS = 40.0
PREFIX = "aurora-sync_local_"
# Alarms, and the headings of the runbook that help.
HELPS = {
    "quarantine_PUBLIC": "rows-in-quarantine",
    "drift_PUBLIC": "table-refused-after-a-schema-change",
    "refused_PUBLIC": "export-failing",
}
# All commits that Snowflake knows of are a hundred years older than they were.
LONG_AFTER = """
UPDATE ANALYTICS.SYNC.MANIFESTS SET body = PARSE_JSON(
  REPLACE(TO_JSON(body), '"committed_at":"20', '"committed_at":"19'))
"""


def until(look: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Look until there is something to see."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.3)
    return seen


@pytest.fixture(scope="module")
def orders(sandbox: Sandbox) -> Table:
    table = sandbox.table(COLUMNS)
    sandbox.aurora(f"INSERT INTO {table.spec.source.sql} VALUES (1, '2026-01-01')")
    sandbox.sync(table)
    return table


def tell(sandbox: Sandbox) -> dict[str, Any]:
    """Let Snowflake write its status now; return what it has written."""
    s3, bucket = sandbox.aws("s3"), sandbox.outputs["bucket"]
    key = status_key("local")

    def written() -> dict[str, Any]:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return dict(json.loads(body))

    until(lambda: "Contents" in s3.list_objects_v2(Bucket=bucket, Prefix=key), "status")
    before = written()["written_at"]
    sandbox.snowflake("EXECUTE TASK ANALYTICS.LANDING.STATUS")
    until(lambda: written()["written_at"] > before, "a newer status")
    return written()


def check(sandbox: Sandbox) -> dict[str, Any]:
    """Invoke the checker as its schedule does; return its answer."""
    events, name = sandbox.aws("events"), f"{PREFIX}checker"
    [target] = events.list_targets_by_rule(Rule=name)["Targets"]
    answer = sandbox.aws("lambda").invoke(
        FunctionName=target["Arn"], Payload=target["Input"]
    )
    payload: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


def states(sandbox: Sandbox, *labels: str) -> set[str]:
    """Return the states of some alarms."""
    found = sandbox.aws("cloudwatch").describe_alarms(
        AlarmNames=[PREFIX + label for label in labels]
    )["MetricAlarms"]
    assert len(found) == len(labels)
    return {each["StateValue"] for each in found}


@pytest.fixture
def hasty(sandbox: Sandbox) -> Iterator[Callable[[str], None]]:
    """Gives alarms of the group a window of ten seconds, until the test is over."""
    cloudwatch = sandbox.aws("cloudwatch")
    taken = cloudwatch.meta.service_model.operation_model("PutMetricAlarm")
    short = {"Period": 10, "EvaluationPeriods": 1, "DatapointsToAlarm": 1}
    before: list[dict[str, Any]] = []

    def hasten(label: str) -> None:
        found = cloudwatch.describe_alarms(AlarmNames=[PREFIX + label])
        [deployed] = found["MetricAlarms"]
        members = taken.input_shape.members
        before.append({key: deployed[key] for key in members if key in deployed})
        cloudwatch.put_metric_alarm(**(before[-1] | short))

    yield hasten
    for alarm in before:
        cloudwatch.put_metric_alarm(**alarm)


@pytest.fixture
def eager(sandbox: Sandbox) -> Iterator[None]:
    """Let the checker's own rule start it each minute; one has passed since it stands.

    No other rule is looked at here.
    """
    events = sandbox.aws("events")
    deployed = events.describe_rule(Name=f"{PREFIX}checker")
    kept = {key: deployed[key] for key in ("Name", "State", "Description")}
    events.put_rule(**kept, ScheduleExpression="rate(1 minute)")
    yield
    events.put_rule(**kept, ScheduleExpression=deployed["ScheduleExpression"])


@contextmanager
def stopped(sandbox: Sandbox) -> Iterator[None]:
    """Let nobody start the exporter."""
    lambda_, name = sandbox.aws("lambda"), sandbox.outputs["function"]
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        with pytest.raises(lambda_.exceptions.TooManyRequestsException):
            lambda_.invoke(FunctionName=name, Payload="{}")
        yield
    finally:
        lambda_.delete_function_concurrency(FunctionName=name)


@pytest.fixture
def called(sandbox: Sandbox) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Subscribe a queue to the alarms' topic; gives what it has received so far."""
    sqs, sns = sandbox.aws("sqs"), sandbox.aws("sns")
    url = sqs.create_queue(QueueName="on-call")["QueueUrl"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn = told["Attributes"]["QueueArn"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    made = sns.subscribe(
        TopicArn=sandbox.outputs["alarm_topic"], Protocol="sqs", Endpoint=arn
    )
    seen: list[dict[str, Any]] = []

    def received() -> list[dict[str, Any]]:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        for message in answer.get("Messages", []):
            seen.append(json.loads(json.loads(message["Body"])["Message"]))
        return seen

    yield received
    sns.unsubscribe(SubscriptionArn=made["SubscriptionArn"])
    sqs.delete_queue(QueueUrl=url)


def test_what_is_wrong_with_a_table_raises_alarms_until_it_is_mended(
    sandbox: Sandbox,
    orders: Table,
    hasty: Callable[[str], None],
    called: Callable[[], list[dict[str, Any]]],
) -> None:
    """A value that fits nowhere, a column that no contract has, a run that fails."""
    table = orders.spec.source.sql
    tell(sandbox)
    assert check(sandbox)["tables"] == []
    for label in HELPS:
        hasty(label)
    sandbox.aurora(f"ALTER TABLE {table} ADD COLUMN more TEXT")
    sandbox.aurora(f"INSERT INTO {table} VALUES (2, 'infinity')")
    sandbox.sync(orders)
    sandbox.aurora(f"ALTER TABLE {table} RENAME COLUMN born TO birth")
    assert sandbox.tick(orders)["status"] == "failed"
    [told] = tell(sandbox)["tables"]
    assert (told["table"], told["rows_quarantined"]) == (orders.contract.table, 1)
    [found] = check(sandbox)["tables"]
    assert found["table"] == orders.contract.table
    wrong = found["rows_quarantined"], found["drifted"], found["refused"]
    assert (*wrong, found["late"]) == (1, 1, True, False)
    until(lambda: states(sandbox, *HELPS) == {"ALARM"}, "the alarms go off")
    sandbox.aurora(f"ALTER TABLE {table} RENAME COLUMN birth TO born")
    sandbox.aurora(f"ALTER TABLE {table} DROP COLUMN more")
    sandbox.aurora(f"UPDATE {table} SET born = '2026-01-02', updated_at = NOW()")
    mended(sandbox, orders, *HELPS)

    def told_of(label: str) -> dict[str, Any]:
        ours = [each for each in called() if each["AlarmName"] == PREFIX + label]
        return {each["NewStateValue"]: each["AlarmDescription"] for each in ours}

    for label, anchor in HELPS.items():
        until(lambda: {"ALARM", "OK"} <= told_of(label).keys(), f"{label} is told")
        assert f"docs/RUNBOOK.md#{anchor}" in told_of(label)["ALARM"]


def mended(sandbox: Sandbox, table: Table, *labels: str) -> None:
    """Sync, and look until alarms have ended: what was told before has to go by."""
    sandbox.sync(table)
    tell(sandbox)

    def ended() -> bool:
        return check(sandbox)["tables"] == [] and states(sandbox, *labels) == {"OK"}

    until(ended, "the alarms end")


def test_the_status_has_the_commit_of_what_was_merged(
    sandbox: Sandbox, orders: Table
) -> None:
    done = sandbox.sync(orders)
    [told] = tell(sandbox)["tables"]
    runs = sandbox.snowflake(
        "SELECT seq, committed_at, high, run FROM ANALYTICS.SYNC.SYNC_RUNS "
        f"WHERE table_name = '{orders.contract.table}' ORDER BY seq"
    )
    seq, committed_at, high, run = runs[-1]
    assert (told["last_seq"], told["merged_seq"]) == (seq, seq)
    assert told["merged_at"] == told["chain_at"] == committed_at
    assert told["merged_through"] == high
    assert (told["rows_quarantined"], told["files_overdue"]) == (0, 0)
    if done.get("seq") == seq:
        assert run == done["run"]


def test_alarms_dashboard_topic_and_subscription_stand(
    sandbox: Sandbox, orders: Table
) -> None:
    cloudwatch = sandbox.aws("cloudwatch")
    found = cloudwatch.describe_alarms(AlarmNamePrefix=PREFIX)["MetricAlarms"]
    topic = sandbox.outputs["alarm_topic"]
    assert len(found) >= 18
    assert {tuple(each["AlarmActions"]) for each in found} == {(topic,)}
    silent = next(each for each in found if each["AlarmName"] == f"{PREFIX}silent")
    assert silent["TreatMissingData"] == "breaching"
    body = cloudwatch.get_dashboard(DashboardName="aurora-sync-local-stack")
    assert len(json.loads(body["DashboardBody"])["widgets"]) > 10
    subscribed = sandbox.aws("sns").list_subscriptions_by_topic(TopicArn=topic)
    endpoints = [each["Endpoint"] for each in subscribed["Subscriptions"]]
    assert "on-call@example.com" in endpoints


# Right of the checker, and what its answer says without it.
CHECKER = {
    "s3:GetObject": "S3 does not show the status",
    "dynamodb:BatchGetItem": "DynamoDB does not show the ledger",
}


@pytest.mark.parametrize("action", CHECKER)
def test_without_a_right_the_checker_is_silent(
    sandbox: Sandbox, orders: Table, action: str
) -> None:
    tell(sandbox)
    name = sandbox.outputs["checker"]
    with without_action(sandbox, name, action):
        answer = sandbox.aws("lambda").invoke(FunctionName=name, Payload="{}")
        payload = json.loads(answer["Payload"].read())
        assert answer["FunctionError"]
        assert CHECKER[action] in payload["errorMessage"]
    assert check(sandbox)["status_seconds"] is not None


def test_without_the_right_to_write_snowflakes_status_task_fails(
    sandbox: Sandbox, orders: Table
) -> None:
    tell(sandbox)
    role = "aurora-sync-local-snowflake"
    failed = (
        "SELECT error_message FROM TABLE(ANALYTICS.INFORMATION_SCHEMA.TASK_HISTORY("
        "TASK_NAME => 'STATUS')) WHERE state = 'FAILED'"
    )
    with without_action(sandbox, role, "s3:PutObject"):
        sandbox.snowflake("EXECUTE TASK ANALYTICS.LANDING.STATUS")
        [reason] = until(lambda: sandbox.snowflake(failed), "the task fails")[0]
    assert "AccessDenied" in reason
    tell(sandbox)


# Last: its rule fires a minute after it was made.
def test_when_nothing_else_runs_tables_are_late(
    sandbox: Sandbox, orders: Table, hasty: Callable[[str], None], eager: None
) -> None:
    """The checker's own rule starts it; the exporter was stopped long ago."""
    hasty("late_PUBLIC")
    assert "ALARM" not in states(sandbox, "late_PUBLIC")
    with stopped(sandbox):
        sandbox.snowflake(LONG_AFTER)
        tell(sandbox)
        until(lambda: states(sandbox, "late_PUBLIC") == {"ALARM"}, "it goes off", 90)
    mended(sandbox, orders, "late_PUBLIC")
