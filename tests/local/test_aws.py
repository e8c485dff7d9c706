"""Emulated AWS refuses what AWS would refuse, and shows functions nothing of ours."""

import io
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local import aws
from infra.local.emf import EmfState, forward_emf_metrics
from infra.local.parts import AWS_ACCOUNT, AWS_REGION, LocalStack
from infra.local.processes import start_parts
from runtime.contract.errors import ConfigError
from tests.local.running import running, stop_part

pytestmark = pytest.mark.integration

ROLE = "arn:aws:iam::{}:role/{}"
LOOK = """
import os, sys
def handler(event, context):
    found = {}
    for name in event["modules"]:
        try:
            __import__(name)
            found[name] = "imported"
        except ImportError as error:
            found[name] = str(error)
    return {"modules": found, "path": sys.path, "env": dict(os.environ)}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with running(LocalStack(tmp_path_factory.mktemp("stack")), aws.PART) as stack:
        yield stack


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def make_role(stack, name: str, trusted: dict, *statements: dict) -> str:
    """Make a role that `trusted` may assume and that may do what is stated."""
    iam = aws.client(stack, "iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole"} | trusted
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
    if statements:
        iam.put_role_policy(
            RoleName=name, PolicyName="own", PolicyDocument=document(*statements)
        )
    return arn["Role"]["Arn"]


def make_bucket(stack, name: str) -> None:
    aws.client(stack, "s3").create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": AWS_REGION}
    )


def make_function(stack, name: str, source: str, **variables: str) -> None:
    role = make_role(stack, name, {"Principal": {"Service": "lambda.amazonaws.com"}})
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as out:
        out.writestr("own_package/__init__.py", "")
        out.writestr("function.py", source)
    client = aws.client(stack, "lambda")
    client.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=role,
        Handler="function.handler",
        Code={"ZipFile": bundle.getvalue()},
        Environment={"Variables": variables},
        Timeout=10,
    )


def invoke(stack, name: str, event: dict) -> dict:
    answer = aws.client(stack, "lambda").invoke(
        FunctionName=name, Payload=json.dumps(event)
    )
    return json.loads(answer["Payload"].read())


def own_client(stack):
    """Return an S3 client that only knows the endpoint and the keys."""
    key = stack.fact("aws_keys")["admin"]
    return boto3.client(
        "s3",
        endpoint_url=stack.url("aws"),
        region_name=AWS_REGION,
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )


def say_plain(request, **_) -> None:
    request.headers["X-Forwarded-Proto"] = "http"


def code(refused: pytest.ExceptionInfo) -> str:
    return refused.value.response["Error"]["Code"]


def test_each_user_is_who_it_is_called(stack):
    for who in aws.USERS:
        identity = aws.client(stack, "sts", who).get_caller_identity()
        assert identity["Arn"] == aws.user_arn(who)
        assert identity["Account"] == stack.fact("aws_account") == AWS_ACCOUNT


@pytest.mark.parametrize(
    ("who", "service", "call", "arguments"),
    [
        ("aurora", "s3", "list_buckets", {}),
        ("aurora", "iam", "list_roles", {}),
        ("aurora", "sqs", "list_queues", {}),
        ("snowflake", "s3", "list_buckets", {}),
        ("snowflake", "sqs", "create_queue", {"QueueName": "exporter-chunks"}),
        ("snowflake", "sns", "create_topic", {"Name": "topic"}),
        ("snowflake", "iam", "list_roles", {}),
        ("vault", "iam", "create_user", {"UserName": "intruder"}),
        ("vault", "s3", "list_buckets", {}),
        (
            "vault",
            "sts",
            "assume_role",
            {"RoleArn": ROLE.format(AWS_ACCOUNT, "any"), "RoleSessionName": "me"},
        ),
    ],
)
def test_a_narrow_user_is_refused_the_rest(stack, who, service, call, arguments):
    with pytest.raises(ClientError) as refused:
        getattr(aws.client(stack, service, who), call)(**arguments)
    assert code(refused) in {"AccessDenied", "AccessDeniedException"} or code(
        refused
    ).startswith("Authorization")


def test_snowflake_manages_its_own_queues(stack):
    sqs = aws.client(stack, "sqs", "snowflake")
    name = aws.SNOWPIPE_QUEUE_PREFIX + "1"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    found = sqs.receive_message(QueueUrl=url)["Messages"]
    assert [message["Body"] for message in found] == ["x"]


def test_a_role_is_assumed_only_by_the_trusted_user_with_the_external_id(stack):
    make_bucket(stack, "lake-assume")
    role = make_role(
        stack,
        "reader",
        {
            "Principal": {"AWS": aws.user_arn("snowflake")},
            "Condition": {"StringEquals": {"sts:ExternalId": "right"}},
        },
        {
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::lake-assume/exports/*",
        },
    )
    s3 = aws.assumed_client(stack, "s3", "snowflake", role, external_id="right")
    s3.put_object(Bucket="lake-assume", Key="exports/a", Body=b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="lake-assume", Key="elsewhere/a", Body=b"x")
    for who, external_id in (
        ("snowflake", "wrong"),
        ("snowflake", None),
        ("aurora", "right"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            aws.assumed_client(stack, "s3", who, role, external_id)


def test_who_may_send_a_message_may_send_a_batch(stack):
    url = aws.client(stack, "sqs").create_queue(QueueName="batches")["QueueUrl"]
    arn = f"arn:aws:sqs:{AWS_REGION}:{AWS_ACCOUNT}:batches"
    allowed = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn}
    trusted = {"Principal": {"AWS": aws.user_arn("snowflake")}}
    entries = [{"Id": "0", "MessageBody": "x"}]
    may, may_not = (
        aws.assumed_client(stack, "sqs", "snowflake", make_role(stack, *role))
        for role in (("sender", trusted, allowed), ("idler", trusted))
    )
    sent = may.send_message_batch(QueueUrl=url, Entries=entries)
    assert len(sent["Successful"]) == 1
    with pytest.raises(ClientError, match="not authorized to perform: sqs:SendMessage"):
        may_not.send_message_batch(QueueUrl=url, Entries=entries)


def test_a_bucket_that_denies_plain_http_takes_all_but_who_says_plain(stack):
    make_bucket(stack, "lake-tls")
    aws.client(stack, "s3").put_bucket_policy(
        Bucket="lake-tls",
        Policy=document(
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": ["arn:aws:s3:::lake-tls", "arn:aws:s3:::lake-tls/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ),
    )
    plain, secure = (own_client(stack) for _ in range(2))
    plain.meta.events.register("before-send.s3", say_plain)
    aws.client(stack, "s3").put_object(Bucket="lake-tls", Key="a", Body=b"x")
    secure.put_object(Bucket="lake-tls", Key="b", Body=b"x")
    with pytest.raises(ClientError, match="explicit deny"):
        plain.put_object(Bucket="lake-tls", Key="c", Body=b"x")


def test_an_unknown_user_is_named_with_the_known_ones(stack):
    with pytest.raises(ConfigError, match="'nobody'; allowed: admin, aurora"):
        aws.client(stack, "s3", "nobody")


def test_clients_are_made_and_used_by_many_threads(stack):
    services = ["s3", "sts", "sqs", "sns", "iam", "logs", "events", "kms"]
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda name: aws.client(stack, name), services * 8))
        calls = [pool.submit(made[1].get_caller_identity) for _ in range(32)]
        assert {call.result()["Arn"] for call in calls} == {aws.user_arn("admin")}
    assert len(set(map(id, made))) == len(services)


def test_a_function_sees_the_standard_library_and_its_bundle_alone(stack):
    make_function(stack, "look", LOOK, TABLE="orders")
    foreign = ["pulumi", "botocore", "boto3", "hvac", "psycopg2", "infra", "ministack"]
    seen = invoke(stack, "look", {"modules": ["json", "own_package", *foreign]})
    modules = seen["modules"]
    assert [modules.pop(name) for name in ("json", "own_package")] == ["imported"] * 2
    assert modules == {name: f"No module named '{name}'" for name in foreign}

    env = seen["env"]
    assert env["TABLE"] == "orders"
    assert env["AWS_REGION"] == AWS_REGION
    assert env["AWS_ENDPOINT_URL"] == stack.url("aws")
    assert env["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert env["AWS_SESSION_TOKEN"]
    ours = [key["secret_access_key"] for key in stack.fact("aws_keys").values()]
    ours += [stack.secret("postgres_password"), stack.secret("vault_root_token")]
    assert not [name for name, value in env.items() if value in ours]
    assert not [name for name in env if name.startswith(("PYTHON", "VIRTUAL_ENV"))]


def test_a_function_that_needs_an_unbundled_package_fails(stack):
    make_function(stack, "needy", "import botocore\ndef handler(e, c): return 1\n")
    assert "No module named 'botocore'" in invoke(stack, "needy", {})["errorMessage"]


def emf(value: float, *, table: str = "orders", metric: str = "Lag") -> str:
    return json.dumps(
        {
            "_aws": {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Sync",
                        "Dimensions": [["table"]],
                        "Metrics": [{"Name": metric, "Unit": "Seconds"}],
                    }
                ],
            },
            "table": table,
            "Lag": value,
        }
    )


def put_log_lines(stack, group: str, *lines: str) -> None:
    now = int(time.time() * 1000)
    aws.client(stack, "logs").put_log_events(
        logGroupName=group,
        logStreamName="one",
        logEvents=[{"timestamp": now, "message": line} for line in lines],
    )


def test_embedded_metrics_become_metrics_once_and_set_off_alarms(stack):
    logs, cloudwatch = aws.client(stack, "logs"), aws.client(stack, "cloudwatch")
    state = EmfState()
    assert forward_emf_metrics(stack, "/aws/lambda/absent", state) == 0
    logs.create_log_group(logGroupName="/aws/lambda/emf")
    logs.create_log_stream(logGroupName="/aws/lambda/emf", logStreamName="one")
    cloudwatch.put_metric_alarm(
        AlarmName="lag",
        Namespace="Sync",
        MetricName="Lag",
        Dimensions=[{"Name": "table", "Value": "orders"}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=100,
        ComparisonOperator="GreaterThanThreshold",
    )
    same = emf(5)
    # The second line twice: two runs may print the same in one millisecond.
    put_log_lines(stack, "/aws/lambda/emf", "START", same, same, emf(7))
    assert forward_emf_metrics(stack, "/aws/lambda/emf", state) == 3
    assert forward_emf_metrics(stack, "/aws/lambda/emf", state) == 0
    broken = [emf(1, metric="Absent"), '{"_aws": {"CloudWatchMetrics": 5}}', "[1]"]
    put_log_lines(stack, "/aws/lambda/emf", *broken, emf(500), emf(1, table="other"))
    assert forward_emf_metrics(stack, "/aws/lambda/emf", state) == 2

    now = datetime.now(timezone.utc)
    found = cloudwatch.get_metric_statistics(
        Namespace="Sync",
        MetricName="Lag",
        Dimensions=[{"Name": "table", "Value": "orders"}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=10),
        Period=3600,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert sum(point["Sum"] for point in found) == 5 + 5 + 7 + 500
    assert sum(point["SampleCount"] for point in found) == 4
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=["lag"])["MetricAlarms"]
    assert alarm["StateValue"] == "ALARM"


def test_a_restart_in_good_order_keeps_everything(tmp_path: Path):
    with running(LocalStack(tmp_path), aws.PART) as stack:
        make_bucket(stack, "lake-kept")
        aws.client(stack, "s3").put_object(Bucket="lake-kept", Key="a/ü", Body=b"x")
        make_function(stack, "kept", LOOK)
        keys = stack.fact("aws_keys")
        stop_part(stack, "aws")
        assert not aws.PART.is_ready(stack)
        start_parts(stack, [aws.PART])
        body = aws.client(stack, "s3").get_object(Bucket="lake-kept", Key="a/ü")["Body"]
        assert body.read() == b"x"
        assert invoke(stack, "kept", {"modules": []})["modules"] == {}
        # The bootstrap ran again; other processes still hold the keys.
        assert stack.fact("aws_keys") == keys
