"""What watches, what it tells, to whom, and what it costs."""

import json
import re
from typing import Any

import pytest

from infra.alarms import Alarm, Watched, alarms, kinds
from infra.dashboard import dashboard
from infra.stack import ROOT
from runtime.contract import metrics
from runtime.contract.settings import CHECKER, CheckerSettings
from tests.factories import make_table
from tests.infra.recording import example_settings, run

ALARM = "aws:cloudwatch/metricAlarm"
RUNBOOK = (ROOT / "docs" / "RUNBOOK.md").read_text()


def watched(*groups: str) -> Watched:
    return Watched(
        stack="dev",
        groups=groups,
        exporter="exporter",
        exporter_seconds=300,
        checker="checker",
        checker_seconds=60,
        dead_letters="dead-letters",
        load_queue="load",
        status_minutes=15,
    )


def by_label(*groups: str) -> dict[str, Alarm]:
    return {alarm.label: alarm for alarm in alarms(watched(*groups))}


def test_every_alarm_of_the_program_tells_the_topic_and_links_to_the_runbook(graph):
    topic = graph.one("aws:sns/topic", "alarms")
    found = graph.of(ALARM)
    assert {each.inputs["name"] for each in found} == {
        f"aurora-sync_dev_{label}" for label in by_label("PUBLIC")
    }
    for each in found:
        made = each.inputs
        for actions in ("alarmActions", "okActions"):
            assert [one.rpartition(":")[2] for one in made[actions]] == [
                topic.inputs["name"]
            ]
        link = f"stack dev. {example_settings()['alarms']['runbook']}#"
        assert link in made["alarmDescription"]
        assert len(made["alarmDescription"]) <= 1024
        assert made["datapointsToAlarm"] == made["evaluationPeriods"]
        allowed = graph.one("aws:sns/topicPolicy", "alarms")
        assert allowed.urn in graph.above(each)


def test_each_alarms_heading_stands_in_the_runbook():
    headings = re.findall(r"^##+ (.*)$", RUNBOOK, re.M)
    known = {re.sub(r"[^a-z0-9 -]", "", each.lower()) for each in headings}
    wanted = {alarm.anchor.replace("-", " ") for alarm in alarms(watched("A"))}
    assert wanted - {each.replace("-", " ") for each in known} == set()


def test_an_alarm_looks_at_a_metric_that_somebody_publishes():
    published = metrics.RUN | metrics.CHECK | metrics.LOOK
    for alarm in alarms(watched("A")):
        if alarm.namespace == metrics.NAMESPACE:
            assert alarm.metric in published, alarm.kind
            of_group = alarm.metric not in metrics.LOOK
            expected = {"stack", "group"} if of_group else {"stack"}
            assert set(alarm.dimensions) == expected, alarm.kind
        else:
            assert alarm.namespace in ("AWS/Lambda", "AWS/SQS")
            assert alarm.missing == "notBreaching", alarm.kind


def test_silence_is_trouble_where_something_speaks_by_the_clock():
    found = by_label("A")
    loud = {label for label, each in found.items() if each.missing == "breaching"}
    assert loud == {"silent", "status"}
    silent = found["silent"]
    assert (silent.statistic, silent.below, silent.threshold) == ("Sum", True, 1)
    checked = [each for each in found.values() if each.metric in metrics.CHECK]
    assert {each.missing for each in checked} == {"ignore"}


@pytest.mark.parametrize("alarm", alarms(watched("A")), ids=lambda one: one.label)
def test_cloudwatch_takes_an_alarms_window(alarm):
    """Source: CloudWatch API reference, PutMetricAlarm: a day; a week from an hour."""
    window = alarm.period * alarm.periods
    assert alarm.period % 60 == 0
    assert window <= (7 * 86400 if alarm.period >= 3600 else 86400)


def test_a_group_more_is_eight_alarms_more():
    """Ten cents a month each: README, What a month costs."""
    assert len(by_label()) == 10
    assert len(by_label("A")) == 18
    assert len(by_label("A", "B")) == 26


def test_groups_have_alarms_of_their_own(with_tables):
    tables = [
        make_table(table_name="public.a"),
        make_table(table_name="public.b", target_schema="sales"),
        make_table(table_name="public.c", target_schema="sales"),
    ]
    graph = run(with_tables(tables))
    groups = {
        each.inputs["dimensions"]["group"]
        for each in graph.of(ALARM)
        if "group" in each.inputs["dimensions"]
    }
    assert groups == {"PUBLIC", "SALES"}
    assert len(graph.of(ALARM)) == 26


def test_subscribers_are_told_by_the_alarms_topic(settings):
    settings["alarms"] = {
        "email": ["on-call@example.com"],
        "https": ["https://example.com/hook"],
        "runbook": "https://wiki.example.com/runbook",
        "status_minutes": 30,
    }
    graph = run(settings)
    told = {
        (each.inputs["protocol"], each.inputs["endpoint"])
        for each in graph.of("aws:sns/topicSubscription")
    }
    assert told == {
        ("email", "on-call@example.com"),
        ("https", "https://example.com/hook"),
    }
    status = graph.one("snowflake:index/task", "landing-status").inputs
    assert status["schedule"] == {"minutes": 30}
    described = graph.one(ALARM, "observability-late").inputs["alarmDescription"]
    assert "https://wiki.example.com/runbook#tables-late" in described
    threshold = graph.one(ALARM, "observability-status").inputs["threshold"]
    assert threshold == 4 * 30 * 60


def test_topics_are_encrypted(graph):
    for topic in graph.of("aws:sns/topic"):
        assert topic.inputs["kmsMasterKeyId"].endswith("lake-key")
        assert "fifoTopic" not in topic.inputs


def test_logs_are_encrypted_and_end(graph):
    groups = {each.inputs["name"]: each for each in graph.of("aws:cloudwatch/logGroup")}
    functions = {each.inputs["name"] for each in graph.of("aws:lambda/function")}
    assert set(groups) == {f"/aws/lambda/{name}" for name in functions}
    for each in groups.values():
        assert each.inputs["kmsKeyId"].endswith("lake-key")
        assert each.inputs["retentionInDays"] == 90


@pytest.mark.parametrize(
    ("wanted", "filtered"),
    [("DEBUG", "DEBUG"), ("INFO", "INFO"), ("WARNING", "INFO"), ("ERROR", "INFO")],
)
def test_no_log_level_keeps_metrics_from_cloudwatch(settings, wanted, filtered):
    settings["function"] = {"log_level": wanted}
    functions = run(settings).of("aws:lambda/function")
    assert len(functions) == 2
    for function in functions:
        logging = function.inputs["loggingConfig"]
        assert logging["logFormat"] == "JSON"
        assert logging["applicationLogLevel"] == filtered
        assert function.inputs["environment"]["variables"]["SYNC_LOG_LEVEL"] == wanted


def test_the_checker_is_outside_every_network_and_starts_by_the_clock(graph):
    function = graph.one("aws:lambda/function", "checker")
    assert "vpcConfig" not in function.inputs
    assert function.inputs["handler"] == CHECKER
    exporter = graph.one("aws:lambda/function", "exporter").inputs
    for same in ("runtime", "architectures"):
        assert function.inputs[same] == exporter[same]
    rule = graph.one("aws:cloudwatch/eventRule", "checker")
    target = graph.one("aws:cloudwatch/eventTarget", "checker").inputs
    permission = graph.one("aws:lambda/permission", "checker").inputs
    assert rule.inputs["scheduleExpression"] == "rate(5 minutes)"
    assert target["rule"] == rule.inputs["name"] == "aurora-sync_dev_checker"
    assert permission["sourceArn"].endswith(rule.inputs["name"])
    assert permission["function"] == function.inputs["name"]
    variables = function.inputs["environment"]["variables"]
    found = CheckerSettings.from_env(variables)
    assert found.bucket == graph.one("aws:s3/bucket").inputs["bucket"]
    assert found.ledger_table == graph.one("aws:dynamodb/table").inputs["name"]
    assert set(variables) == set(found.to_env())


def test_the_status_is_written_by_the_clock_without_a_warehouse(graph):
    task = graph.one("snowflake:index/task", "landing-status")
    inputs = task.inputs
    assert inputs["schedule"] == {"minutes": 15}
    assert "when" not in inputs and "warehouse" not in inputs
    assert inputs["userTaskManagedInitialWarehouseSize"] == "XSMALL"
    assert inputs["timezone"] == "UTC" and inputs["started"] is True
    view = graph.one("snowflake:index/view", "landing-sync_state")
    stage = graph.one("snowflake:index/stageExternalS3", "landing-stage-status")
    assert {view.urn, stage.urn} <= graph.above(task)
    (key,) = stage.inputs["encryption"].values()
    assert key["kmsKeyId"].endswith("lake-key")
    others = graph.of("snowflake:index/stageExternalS3")
    assert [each.name for each in others if each.inputs.get("encryption")] == [
        stage.name
    ]


def test_every_pipe_and_task_tells_its_errors(graph):
    integration = graph.one("snowflake:index/notificationIntegration")
    topic = graph.one("aws:sns/topic", "alarms").inputs["name"]
    assert integration.inputs["awsSnsTopicArn"].endswith(topic)
    assert integration.inputs["notificationProvider"] == "AWS_SNS"
    role = graph.one("aws:iam/role", "errors").inputs["name"]
    assert integration.inputs["awsSnsRoleArn"].endswith(f"role/{role}")
    policy = graph.one("aws:iam/rolePolicy", "errors")
    found = [*graph.of("snowflake:index/pipe"), *graph.of("snowflake:index/task")]
    assert len(found) == 3 * 2 + 3
    for each in found:
        assert each.inputs["errorIntegration"] == integration.inputs["name"]
        assert policy.urn in graph.above(each), each.name


# --- the dashboard


def test_the_dashboard_is_the_one_of_the_golden_file(graph):
    body = json.loads(graph.one("aws:cloudwatch/dashboard").inputs["dashboardBody"])
    golden = json.loads((ROOT / "tests" / "golden" / "dashboard.json").read_text())
    assert body == golden


def lines(body: dict[str, Any]) -> list[list[Any]]:
    return [
        line
        for widget in body["widgets"]
        for line in widget["properties"].get("metrics", [])
    ]


def test_the_dashboard_shows_what_there_is_however_many_groups_there_are():
    many = watched(*(f"G{number}" for number in range(200)))
    arns = [f"arn:{number}" for number in range(len(alarms(many)))]
    body, small = dashboard(many, "eu-west-1", arns), dashboard(watched("A"), "r", [])
    assert len(lines(body)) == len(lines(small)) < 100
    assert len(body["widgets"][0]["properties"]["alarms"]) == 100
    assert len(json.dumps(body)) < 64_000
    published = metrics.RUN | metrics.CHECK
    for first, *_ in lines(body):
        if isinstance(first, dict):
            (name,) = re.findall(r'MetricName="(\w+)"', first["expression"])
            assert name in published


def test_what_raises_an_alarm_can_be_seen_on_the_dashboard():
    shown = {
        name
        for first, *more in lines(dashboard(watched("A"), "eu-west-1", []))
        for name in (
            re.findall(r'MetricName="(\w+)"', first["expression"])
            if isinstance(first, dict)
            else more[:1]
        )
    }
    wanted = {alarm.metric for alarm in alarms(watched("A"))} - {"Checked"}
    assert wanted | {"RunsFailed", "LateRows"} <= shown


def test_no_two_widgets_lie_on_each_other():
    taken: set[tuple[int, int]] = set()
    for widget in dashboard(watched("A"), "eu-west-1", [])["widgets"]:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_kinds_are_what_the_runbook_explains():
    assert "late" in kinds(alarms(watched("A", "B")))
