"""Who may do what: requests are decided by the very documents that are deployed."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra import policies, resource_policies
from infra.stack import ROOT
from tests.infra.iam import decide
from tests.infra.recording import SNOWFLAKE_USER

BUCKET = "arn:aws:s3:::aurora-sync-dev-111122223333-eu-west-1"
KEY = "arn:aws:kms:eu-west-1:111122223333:lake-key"
LEDGER = "arn:aws:dynamodb:eu-west-1:111122223333:table/aurora-sync-dev-ledger"
EXPORT = f"{BUCKET}/exports/dev/public.orders/run/file.csv"
MANIFEST = f"{BUCKET}/manifests/dev/public.orders/0000000001.json"
STATUS = f"{BUCKET}/status/dev/tables.json"
LOGS = "arn:aws:logs:eu-west-1:111122223333:log-group"
ALARM = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:aurora-sync_"
ALARM_TOPIC = "arn:aws:sns:eu-west-1:111122223333:aurora-sync-dev-alarms"
VIA_S3 = {"kms__ViaService": "s3.eu-west-1.amazonaws.com"}
OUTSIDE = [
    f"{BUCKET}/exports/dev-2/public.orders/file.csv",
    f"{BUCKET}/manifests/prod/public.orders/1.json",
    f"{BUCKET}/other",
    "arn:aws:s3:::another/exports/dev/public.orders/file.csv",
]


def policy(graph, name: str, key: str = "policy") -> dict[str, Any]:
    (found,) = (each for each in graph.resources if each.name == name and each.custom)
    document: dict[str, Any] = json.loads(found.inputs[key])
    return document


@pytest.fixture
def aurora(graph):
    return policy(graph, "aurora-policy")


@pytest.fixture
def exporter(graph):
    return policy(graph, "exporter-role-policy")


@pytest.fixture
def snowflake(graph):
    return policy(graph, "trust-policy")


@pytest.fixture
def checker(graph):
    return policy(graph, "checker-policy")


@pytest.fixture
def bucket(graph):
    return policy(graph, "lake-policy")


def test_aurora_writes_exports_and_nothing_else(aurora):
    assert decide(aurora, "s3:PutObject", EXPORT) == "allow"
    assert decide(aurora, "s3:AbortMultipartUpload", EXPORT) == "allow"
    for action in ("s3:GetObject", "s3:DeleteObject", "s3:PutObjectAcl"):
        assert decide(aurora, action, EXPORT) == "none", action
    for place in (MANIFEST, *OUTSIDE):
        assert decide(aurora, "s3:PutObject", place) == "none", place
    assert decide(aurora, "s3:ListBucket", BUCKET, s3__prefix="exports/dev/") == "none"


def test_the_exporter_commits_manifests_and_reads_no_row(exporter):
    assert decide(exporter, "s3:PutObject", MANIFEST) == "allow"
    assert decide(exporter, "s3:GetObject", MANIFEST) == "allow"
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert decide(exporter, action, EXPORT) == "none", action
    assert decide(exporter, "s3:DeleteObject", MANIFEST) == "none"
    for place in OUTSIDE:
        assert decide(exporter, "s3:PutObject", place) == "none", place


@pytest.mark.parametrize("prefix", ["", "manifests/", "manifests/dev-2/", "exports/"])
def test_the_exporter_lists_its_own_manifests_only(exporter, prefix):
    own = "manifests/dev/public.orders/"
    assert decide(exporter, "s3:ListBucket", BUCKET, s3__prefix=own) == "allow"
    assert decide(exporter, "s3:ListBucket", BUCKET, s3__prefix=prefix) == "none"
    assert decide(exporter, "s3:ListBucket", BUCKET) == "none"


def test_the_exporter_knows_neither_snowflake_nor_any_secret(exporter):
    for action, resource in (
        ("secretsmanager:GetSecretValue", "*"),
        ("ssm:GetParameter", "*"),
        ("sts:AssumeRole", "arn:aws:iam::111122223333:role/aurora-sync-dev-snowflake"),
        ("iam:PassRole", "*"),
        ("dynamodb:Scan", LEDGER),
        ("dynamodb:DeleteTable", LEDGER),
        ("dynamodb:UpdateItem", LEDGER + "-2"),
        ("sns:Publish", "*"),
        ("logs:CreateLogGroup", "*"),
    ):
        assert decide(exporter, action, resource) == "none", action


def test_the_exporter_may_do_to_its_ledger_what_its_code_does(exporter):
    """The policy follows the code: neither a missing right nor one too many."""
    source = (ROOT / "runtime" / "exporter" / "ledger.py").read_text()
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Attribute)
        and node.func.value.attr == "_table"
    }
    assert called
    wanted = {
        "dynamodb:" + "".join(part.title() for part in name.split("_"))
        for name in called
    }
    (ledger,) = (each for each in exporter["Statement"] if each["Sid"] == "Ledger")
    assert set(ledger["Action"]) == wanted
    assert ledger["Resource"] == LEDGER


def test_the_exporter_sends_and_takes_the_chunks_of_its_own_stack(exporter):
    queue = "arn:aws:sqs:eu-west-1:111122223333:aurora-sync-dev-load"
    actions = ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes")
    for action in (*actions, "ReceiveMessage", "SendMessage"):
        assert decide(exporter, f"sqs:{action}", queue) == "allow"
        assert decide(exporter, f"sqs:{action}", queue + "-2") == "none"
    for action in ("PurgeQueue", "DeleteQueue", "SetQueueAttributes"):
        assert decide(exporter, f"sqs:{action}", queue) == "none"


def test_the_function_code_cannot_touch_network_interfaces(exporter):
    own = "arn:aws:lambda:eu-west-1:111122223333:function:aurora-sync-dev-exporter"
    action = "ec2:CreateNetworkInterface"
    assert decide(exporter, action, "*") == "allow"
    denied = decide(exporter, action, "*", lambda__SourceFunctionArn=own)
    assert denied == "deny"


def test_the_checker_reads_status_and_ledger_and_changes_nothing(checker):
    assert decide(checker, "s3:GetObject", STATUS) == "allow"
    assert decide(checker, "dynamodb:BatchGetItem", LEDGER) == "allow"
    assert decide(checker, "dynamodb:BatchGetItem", LEDGER + "-2") == "none"
    for place in (EXPORT, MANIFEST, f"{BUCKET}/status/dev-2/tables.json", *OUTSIDE):
        assert decide(checker, "s3:GetObject", place) == "none", place
    for prefix, expected in (("status/dev/", "allow"), ("", "none")):
        listed = decide(checker, "s3:ListBucket", BUCKET, s3__prefix=prefix)
        assert listed == expected, prefix
    for action, resource in (
        ("s3:PutObject", STATUS),
        ("dynamodb:UpdateItem", LEDGER),
        ("dynamodb:Scan", LEDGER),
        ("cloudwatch:PutMetricData", "*"),
        ("sns:Publish", ALARM_TOPIC),
        ("sqs:SendMessage", "*"),
        ("logs:CreateLogGroup", "*"),
    ):
        assert decide(checker, action, resource) == "none", action


def test_snowflake_writes_its_status_and_nothing_else(snowflake):
    assert decide(snowflake, "s3:PutObject", STATUS) == "allow"
    assert decide(snowflake, "s3:PutObject", f"{BUCKET}/status/dev-2/x") == "none"
    for action in ("s3:GetObject", "s3:DeleteObject"):
        assert decide(snowflake, action, STATUS) == "none", action


def test_alarms_and_snowflake_publish_to_the_alarms_topic_and_nobody_else(graph):
    document = policy(graph, "alarms-policy")
    (statement,) = document["Statement"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    own = {"aws__SourceAccount": "111122223333", "aws__SourceArn": f"{ALARM}dev_late_A"}
    assert decide(document, "sns:Publish", ALARM_TOPIC, **own) == "allow"
    for foreign in (
        own | {"aws__SourceArn": f"{ALARM}dev-2_late_A"},
        own | {"aws__SourceAccount": "444455556666"},
        {},
    ):
        assert decide(document, "sns:Publish", ALARM_TOPIC, **foreign) == "none"
    errors = policy(graph, "errors-policy")
    via = {"kms__ViaService": "sns.eu-west-1.amazonaws.com"}
    assert decide(errors, "sns:Publish", ALARM_TOPIC) == "allow"
    assert decide(errors, "sns:Publish", ALARM_TOPIC + "2") == "none"
    assert decide(errors, "sns:Subscribe", ALARM_TOPIC) == "none"
    assert decide(errors, "kms:GenerateDataKey", KEY, **via) == "allow"
    assert decide(errors, "kms:GenerateDataKey", KEY, **VIA_S3) == "none"


def test_snowflakes_user_publishes_with_the_external_id_that_it_told(graph):
    trust = policy(graph, "errors-role", "assumeRolePolicy")
    (statement,) = trust["Statement"]
    assert statement["Principal"] == {"AWS": SNOWFLAKE_USER}
    told = {"sts__ExternalId": "made up by Snowflake"}
    assert decide(trust, "sts:AssumeRole", "role", **told) == "allow"
    assert decide(trust, "sts:AssumeRole", "role") == "none"


def test_snowflake_reads_both_folders_and_writes_nothing_there(snowflake):
    for place in (EXPORT, MANIFEST):
        assert decide(snowflake, "s3:GetObject", place) == "allow"
        assert decide(snowflake, "s3:GetObjectVersion", place) == "allow"
        for action in ("s3:PutObject", "s3:DeleteObject"):
            assert decide(snowflake, action, place) == "none", action
    for place in OUTSIDE:
        assert decide(snowflake, "s3:GetObject", place) == "none", place
    assert decide(snowflake, "s3:GetBucketLocation", BUCKET) == "allow"
    for prefix, expected in (
        ("exports/dev/public.orders/", "allow"),
        ("manifests/dev/", "allow"),
        ("exports/dev-2/", "none"),
        ("", "none"),
    ):
        listed = decide(snowflake, "s3:ListBucket", BUCKET, s3__prefix=prefix)
        assert listed == expected, prefix


@pytest.mark.parametrize(
    ("role", "actions"),
    [
        ("aurora", {"kms:GenerateDataKey", "kms:Decrypt"}),
        ("exporter", {"kms:GenerateDataKey", "kms:Decrypt"}),
        ("snowflake", {"kms:GenerateDataKey", "kms:Decrypt"}),
        ("checker", {"kms:Decrypt"}),
    ],
)
def test_the_key_is_used_through_s3_only(request, role, actions):
    document = request.getfixturevalue(role)
    for action in ("kms:GenerateDataKey", "kms:Decrypt", "kms:Encrypt"):
        expected = "allow" if action in actions else "none"
        assert decide(document, action, KEY, **VIA_S3) == expected
        assert decide(document, action, KEY) == "none"
        assert decide(document, action, KEY + "2", **VIA_S3) == "none"


def test_aurora_is_trusted_as_this_cluster_only(graph):
    trust = policy(graph, "aurora-role", "assumeRolePolicy")
    cluster = "arn:aws:rds:eu-west-1:111122223333:cluster:shop-dev"

    def assumed(account: str, arn: str) -> str:
        source = {"aws__SourceAccount": account, "aws__SourceArn": arn}
        return decide(trust, "sts:AssumeRole", "role", **source)

    assert trust["Statement"][0]["Principal"] == {"Service": "rds.amazonaws.com"}
    assert assumed("111122223333", cluster) == "allow"
    assert assumed("111122223333", cluster + "2") == "none"
    assert assumed("444455556666", cluster) == "none"
    assert decide(trust, "sts:AssumeRole", "role") == "none"


def test_snowflake_is_trusted_with_our_external_id_only(graph):
    trust = policy(graph, "trust-role", "assumeRolePolicy")
    (statement,) = trust["Statement"]
    assert statement["Principal"] == {"AWS": SNOWFLAKE_USER}
    ours = {"sts__ExternalId": "aurora-sync-dev-4f1c9a7e"}
    assert decide(trust, "sts:AssumeRole", "role", **ours) == "allow"
    assert decide(trust, "sts:AssumeRole", "role", sts__ExternalId="x") == "none"
    assert decide(trust, "sts:AssumeRole", "role") == "none"


@pytest.mark.parametrize("role", ["exporter-role-role", "checker-role"])
def test_the_functions_roles_are_trusted_to_lambda_only(graph, role):
    (statement,) = policy(graph, role, "assumeRolePolicy")["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_the_bucket_refuses_plain_http(bucket):
    for action, resource in (
        ("s3:GetObject", EXPORT),
        ("s3:PutObject", MANIFEST),
        ("s3:ListBucket", BUCKET),
    ):
        plain = decide(bucket, action, resource, aws__SecureTransport="false")
        assert plain == "deny", action
        assert decide(bucket, action, resource, aws__SecureTransport="true") == "none"


@pytest.mark.parametrize(
    ("method", "key", "expected"),
    [
        (None, None, "none"),
        ("aws:kms", None, "none"),
        ("aws:kms", KEY, "none"),
        ("AES256", None, "deny"),
        ("aws:kms", KEY + "2", "deny"),
        (None, KEY + "2", "deny"),
    ],
)
def test_the_bucket_takes_objects_under_its_own_key_only(bucket, method, key, expected):
    """Without headers the bucket's default encryption applies, which is that key."""
    header = "s3__x_amz_server_side_encryption"
    headers = {header: method, f"{header}_aws_kms_key_id": key}
    sent = {name: value for name, value in headers.items() if value}
    assert decide(bucket, "s3:PutObject", EXPORT, **sent) == expected


def test_the_topic_takes_events_of_this_bucket_and_snowflakes_queues(graph):
    document = policy(graph, "events-policy")
    publish, subscribe = document["Statement"]
    topic = "arn:aws:sns:eu-west-1:111122223333:aurora-sync-dev-files"
    assert publish["Principal"] == {"Service": "s3.amazonaws.com"}
    source = {"aws__SourceAccount": "111122223333", "aws__SourceArn": BUCKET}
    assert decide(document, "sns:Publish", topic, **source) == "allow"
    foreign = source | {"aws__SourceArn": BUCKET + "-2"}
    assert decide(document, "sns:Publish", topic, **foreign) == "none"
    assert decide(document, "sns:Publish", topic) == "none"
    assert subscribe["Principal"] == {"AWS": [SNOWFLAKE_USER]}
    assert subscribe["Action"] == ["sns:Subscribe"]


def test_all_users_that_snowflake_names_may_subscribe():
    document = {
        "Statement": [
            {"Principal": {"AWS": "arn:b"}},
            {"Principal": {"AWS": ["arn:c", "arn:a"]}},
        ]
    }
    assert resource_policies.subscribers(document) == ["arn:a", "arn:b", "arn:c"]


def test_dead_letters_come_from_this_stacks_rules(graph):
    document = policy(graph, "exporter-dead-letters-policy")
    queue = document["Statement"][0]["Resource"]
    rules = "arn:aws:events:eu-west-1:111122223333:rule/aurora-sync"

    def sent(rule: str) -> str:
        return decide(document, "sqs:SendMessage", queue, aws__SourceArn=rule)

    assert sent(f"{rules}_dev_public.orders") == "allow"
    assert sent(f"{rules}_dev-2_public.orders") == "none"
    assert decide(document, "sqs:SendMessage", queue) == "none"


def test_endpoints_lead_to_this_account_only(graph):
    for name in ("network-s3", "network-dynamodb", "network-sqs"):
        document = policy(graph, name)
        own = {"aws__ResourceAccount": "111122223333"}
        other = {"aws__ResourceAccount": "444455556666"}
        assert decide(document, "s3:PutObject", EXPORT, **own) == "allow"
        assert decide(document, "s3:PutObject", EXPORT, **other) == "none"


def documents(graph) -> dict[str, dict[str, Any]]:
    return {
        each.name: json.loads(each.inputs["policy"])
        for each in graph.resources
        if each.type.startswith("aws:") and "policy" in each.inputs
    }


def test_wildcards_stand_only_where_they_are_explained(graph):
    """A resource `*` of a key's policy is the key; EC2's take no resource."""
    wide = {
        (name, statement["Sid"])
        for name, document in documents(graph).items()
        for statement in document["Statement"]
        if statement["Effect"] == "Allow"
        and (statement["Resource"] == "*" or statement["Action"] == ["*"])
    }
    assert wide == {
        ("exporter-role-policy", "NetworkInterfaces"),
        ("lake-key", "Account"),
        ("lake-key", "Alarms"),
        ("lake-key", "BucketEvents"),
        ("lake-key", "LogGroup"),
        ("network-dynamodb", "OwnAccount"),
        ("network-s3", "OwnAccount"),
        ("network-sqs", "OwnAccount"),
    }


def test_actions_are_named_one_by_one(graph):
    wide = {
        (name, action)
        for name, document in documents(graph).items()
        for statement in document["Statement"]
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
        if "*" in action
    }
    assert wide == {
        ("lake-key", "kms:*"),
        ("lake-key", "kms:GenerateDataKey*"),
        ("lake-key", "kms:ReEncrypt*"),
        ("network-dynamodb", "*"),
        ("network-s3", "*"),
        ("network-sqs", "*"),
    }


def test_the_key_serves_this_stacks_logs_alarms_and_bucket(graph):
    document = policy(graph, "lake-key")
    by_sid = {statement["Sid"]: statement for statement in document["Statement"]}
    assert by_sid["LogGroup"]["Condition"] == {
        "ArnEquals": {
            "kms:EncryptionContext:aws:logs:arn": [
                f"{LOGS}:/aws/lambda/aurora-sync-dev-exporter",
                f"{LOGS}:/aws/lambda/aurora-sync-dev-checker",
            ]
        }
    }
    assert by_sid["Alarms"]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert by_sid["Alarms"]["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "111122223333"},
        "ArnLike": {"aws:SourceArn": f"{ALARM}dev_*"},
    }
    assert by_sid["BucketEvents"]["Condition"]["ArnLike"] == {"aws:SourceArn": BUCKET}
    assert by_sid["Account"]["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}


def test_at_vault_the_exporter_leases_its_own_users_only(graph):
    text = graph.one("vault:index/policy").inputs["policy"]
    paths = re.findall(r'path "([^"]+)"', text)
    assert paths == [
        "database/creds/aurora-sync-dev-exporter",
        "sys/leases/revoke",
        "auth/token/revoke-self",
    ]
    assert re.findall(r'"lease_id" = \["([^"]+)"\]', text) == [
        "database/creds/aurora-sync-dev-exporter/*"
    ]
    assert set(re.findall(r'capabilities = \["([^]]+)"\]', text)) == {"read", "update"}


def test_policies_know_nothing_of_pulumi():
    """They are testable, and readable, without it."""
    for module in (policies, resource_policies):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        imported = {
            name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for name in node.names
        }
        imported |= {
            str(node.module)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        assert not [name for name in imported if name.startswith("pulumi")]
