"""Who may do what: requests are decided by the very documents that are deployed.

Most tests here take `documents` alone: `test_permissions.py` calls those again with a
permission taken away or made wider, and demands that they fail.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from infra import permissions, policies, resource_policies
from infra.permissions import resources, roles, row, snowflake_roles
from infra.stack import ROOT
from tests.infra.deployed import Documents, statement
from tests.infra.iam import decide
from tests.infra.recording import SNOWFLAKE_USER, example_settings, run

ACCOUNT, OTHER_ACCOUNT = "111122223333", "444455556666"
BUCKET = "arn:aws:s3:::aurora-sync-dev-111122223333-eu-west-1"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/lake-key"
LEDGER = "arn:aws:dynamodb:eu-west-1:111122223333:table/aurora-sync-dev-ledger"
LOADS = "arn:aws:sqs:eu-west-1:111122223333:aurora-sync-dev-load"
DEAD_LETTERS = "arn:aws:sqs:eu-west-1:111122223333:aurora-sync-dev-dead-letters"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:aurora-sync-dev-files"
ALARM_TOPIC = "arn:aws:sns:eu-west-1:111122223333:aurora-sync-dev-alarms"
ALARM = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:aurora-sync"
_LOGS = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/aurora-sync-dev"
LOG, CHECKER_LOG = f"{_LOGS}-exporter", f"{_LOGS}-checker"
RULES = "arn:aws:events:eu-west-1:111122223333:rule/aurora-sync"
EXPORT = f"{BUCKET}/exports/dev/public.orders/run/file.csv"
MANIFEST = f"{BUCKET}/manifests/dev/public.orders/0000000001.json"
STATUS = f"{BUCKET}/status/dev/tables.json"
VIA_S3 = {"kms__ViaService": "s3.eu-west-1.amazonaws.com"}
VIA_SNS = {"kms__ViaService": "sns.eu-west-1.amazonaws.com"}
OUTSIDE = [
    f"{BUCKET}/exports/dev-2/public.orders/file.csv",
    f"{BUCKET}/manifests/prod/public.orders/1.json",
    f"{BUCKET}/status/dev-2/tables.json",
    f"{BUCKET}/other",
    "arn:aws:s3:::another/exports/dev/public.orders/file.csv",
]


# --- what the roles may do


def test_aurora_writes_exports_and_nothing_else(documents: Documents):
    aurora = documents["aurora"]
    assert decide(aurora, "s3:PutObject", EXPORT) == "allow"
    assert decide(aurora, "s3:AbortMultipartUpload", EXPORT) == "allow"
    for action in ("s3:GetObject", "s3:DeleteObject", "s3:PutObjectAcl"):
        assert decide(aurora, action, EXPORT) == "none", action
    for place in (MANIFEST, *OUTSIDE):
        assert decide(aurora, "s3:PutObject", place) == "none", place
    assert decide(aurora, "s3:ListBucket", BUCKET, s3__prefix="exports/dev/") == "none"


def test_the_exporter_commits_manifests_and_reads_no_row(documents: Documents):
    exporter = documents["exporter"]
    assert decide(exporter, "s3:PutObject", MANIFEST) == "allow"
    assert decide(exporter, "s3:GetObject", MANIFEST) == "allow"
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert decide(exporter, action, EXPORT) == "none", action
    assert decide(exporter, "s3:DeleteObject", MANIFEST) == "none"
    for place in OUTSIDE:
        assert decide(exporter, "s3:PutObject", place) == "none", place


def test_the_exporter_lists_its_own_manifests_only(documents: Documents):
    exporter = documents["exporter"]

    def listed(bucket: str, **prefix: str) -> str:
        return decide(exporter, "s3:ListBucket", bucket, **prefix)

    own = {"s3__prefix": "manifests/dev/public.orders/"}
    assert listed(BUCKET, **own) == "allow"
    assert listed(BUCKET + "-2", **own) == "none"
    for prefix in ("", "manifests/", "manifests/dev-2/", "exports/"):
        assert listed(BUCKET, s3__prefix=prefix) == "none", prefix
    assert listed(BUCKET) == "none"


def test_the_exporter_knows_neither_snowflake_nor_any_secret(documents: Documents):
    for action, resource in (
        ("secretsmanager:GetSecretValue", "*"),
        ("ssm:GetParameter", "*"),
        ("sts:AssumeRole", "arn:aws:iam::111122223333:role/aurora-sync-dev-snowflake"),
        ("iam:PassRole", "*"),
        ("dynamodb:Scan", LEDGER),
        ("dynamodb:DeleteTable", LEDGER),
        ("sns:Publish", "*"),
    ):
        assert decide(documents["exporter"], action, resource) == "none", action


def test_the_exporter_may_do_to_its_ledger_what_its_code_does(documents: Documents):
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
    assert set(statement(documents, "exporter", "Ledger")["Action"]) == wanted
    for action in wanted:
        assert decide(documents["exporter"], action, LEDGER) == "allow"
        assert decide(documents["exporter"], action, LEDGER + "-2") == "none"


def test_the_functions_write_their_own_logs_only(documents: Documents):
    for name, own, other in (
        ("exporter", LOG, CHECKER_LOG),
        ("checker", CHECKER_LOG, LOG),
    ):
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            stream = ":log-stream:1"
            assert decide(documents[name], action, own + stream) == "allow", action
            for foreign in (own + "-2", other):
                found = decide(documents[name], action, foreign + stream)
                assert found == "none", action
        assert decide(documents[name], "logs:CreateLogGroup", own) == "none"


def test_lambda_puts_down_what_failed_for_good(documents: Documents):
    exporter = documents["exporter"]
    assert decide(exporter, "sqs:SendMessage", DEAD_LETTERS) == "allow"
    assert decide(exporter, "sqs:SendMessage", DEAD_LETTERS + "-2") == "none"
    assert decide(exporter, "sqs:ReceiveMessage", DEAD_LETTERS) == "none"


def test_the_exporter_sends_and_takes_the_chunks_of_its_own_stack(documents: Documents):
    exporter = documents["exporter"]
    actions = ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes")
    for action in (*actions, "ReceiveMessage", "SendMessage"):
        assert decide(exporter, f"sqs:{action}", LOADS) == "allow"
        assert decide(exporter, f"sqs:{action}", LOADS + "-2") == "none"
    for action in ("PurgeQueue", "DeleteQueue", "SetQueueAttributes"):
        assert decide(exporter, f"sqs:{action}", LOADS) == "none"


def test_the_function_code_cannot_touch_network_interfaces(documents: Documents):
    own = "arn:aws:lambda:eu-west-1:111122223333:function:aurora-sync-dev-exporter"
    for action in (
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ):
        assert decide(documents["exporter"], action, "*") == "allow", action
        from_code = {"lambda__SourceFunctionArn": own}
        denied = decide(documents["exporter"], action, "*", **from_code)
        assert denied == "deny", action
    assert decide(documents["exporter"], "ec2:RunInstances", "*") == "none"


def test_the_checker_reads_status_and_ledger_and_changes_nothing(documents: Documents):
    checker = documents["checker"]
    assert decide(checker, "s3:GetObject", STATUS) == "allow"
    assert decide(checker, "dynamodb:BatchGetItem", LEDGER) == "allow"
    assert decide(checker, "dynamodb:BatchGetItem", LEDGER + "-2") == "none"
    for place in (EXPORT, MANIFEST, *OUTSIDE):
        assert decide(checker, "s3:GetObject", place) == "none", place
    for bucket, prefix, expected in (
        (BUCKET, "status/dev/", "allow"),
        (BUCKET, "status/dev-2/", "none"),
        (BUCKET, "exports/dev/", "none"),
        (BUCKET, "", "none"),
        (BUCKET + "-2", "status/dev/", "none"),
    ):
        listed = decide(checker, "s3:ListBucket", bucket, s3__prefix=prefix)
        assert listed == expected, prefix
    for action, resource in (
        ("s3:PutObject", STATUS),
        ("dynamodb:UpdateItem", LEDGER),
        ("dynamodb:Scan", LEDGER),
        ("cloudwatch:PutMetricData", "*"),
        ("sns:Publish", ALARM_TOPIC),
        ("sqs:SendMessage", "*"),
    ):
        assert decide(checker, action, resource) == "none", action


def test_snowflake_writes_its_status_and_nothing_else(documents: Documents):
    snowflake = documents["snowflake"]
    assert decide(snowflake, "s3:PutObject", STATUS) == "allow"
    for place in OUTSIDE:
        assert decide(snowflake, "s3:PutObject", place) == "none", place
    for action in ("s3:GetObject", "s3:DeleteObject"):
        assert decide(snowflake, action, STATUS) == "none", action


def test_snowflake_publishes_its_errors_to_the_alarms_topic_alone(
    documents: Documents,
):
    errors = documents["snowflake-errors"]
    assert decide(errors, "sns:Publish", ALARM_TOPIC) == "allow"
    for topic in (ALARM_TOPIC + "2", TOPIC):
        assert decide(errors, "sns:Publish", topic) == "none"
    assert decide(errors, "sns:Subscribe", ALARM_TOPIC) == "none"
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        assert decide(errors, action, KEY, **VIA_SNS) == "allow", action
        assert decide(errors, action, KEY + "2", **VIA_SNS) == "none", action
        assert decide(errors, action, KEY, **VIA_S3) == "none", action
        assert decide(errors, action, KEY) == "none", action


def test_snowflake_reads_both_folders_and_writes_nothing_there(documents: Documents):
    snowflake = documents["snowflake"]
    for place in (EXPORT, MANIFEST):
        assert decide(snowflake, "s3:GetObject", place) == "allow"
        assert decide(snowflake, "s3:GetObjectVersion", place) == "allow"
        for action in ("s3:PutObject", "s3:DeleteObject"):
            assert decide(snowflake, action, place) == "none", action
    for place in OUTSIDE:
        assert decide(snowflake, "s3:GetObject", place) == "none", place
    assert decide(snowflake, "s3:GetBucketLocation", BUCKET) == "allow"
    assert decide(snowflake, "s3:GetBucketLocation", BUCKET + "-2") == "none"


def test_snowflake_lists_its_folders_only(documents: Documents):
    for bucket, prefix, expected in (
        (BUCKET, "exports/dev/public.orders/", "allow"),
        (BUCKET, "manifests/dev/", "allow"),
        (BUCKET, "status/dev/", "allow"),
        (BUCKET, "exports/dev-2/", "none"),
        (BUCKET, "status/dev-2/", "none"),
        (BUCKET, "", "none"),
        (BUCKET + "-2", "exports/dev/public.orders/", "none"),
    ):
        listed = decide(
            documents["snowflake"], "s3:ListBucket", bucket, s3__prefix=prefix
        )
        assert listed == expected, prefix


def test_the_key_is_used_through_s3_only(documents: Documents):
    for role, actions in {
        "aurora": {"kms:GenerateDataKey", "kms:Decrypt"},
        "exporter": {"kms:GenerateDataKey", "kms:Decrypt"},
        "snowflake": {"kms:GenerateDataKey", "kms:Decrypt"},
        "checker": {"kms:Decrypt"},
    }.items():
        document = documents[role]
        for action in ("kms:GenerateDataKey", "kms:Decrypt", "kms:Encrypt"):
            expected = "allow" if action in actions else "none"
            assert decide(document, action, KEY, **VIA_S3) == expected
            assert decide(document, action, KEY) == "none"
            assert decide(document, action, KEY + "2", **VIA_S3) == "none"


# --- who takes them


def test_aurora_is_trusted_as_this_cluster_only(documents: Documents):
    trust = documents["aurora-trust"]
    cluster = "arn:aws:rds:eu-west-1:111122223333:cluster:shop-dev"

    def assumed(account: str, arn: str) -> str:
        source = {"aws__SourceAccount": account, "aws__SourceArn": arn}
        return decide(trust, "sts:AssumeRole", "role", **source)

    assert [each["Principal"] for each in trust["Statement"]] == [
        {"Service": "rds.amazonaws.com"}
    ]
    assert assumed(ACCOUNT, cluster) == "allow"
    assert assumed(ACCOUNT, cluster + "2") == "none"
    assert assumed(OTHER_ACCOUNT, cluster) == "none"
    assert decide(trust, "sts:AssumeRole", "role") == "none"


def test_snowflake_is_trusted_with_our_external_id_only(documents: Documents):
    trust = documents["snowflake-trust"]
    (one,) = trust["Statement"]
    assert one["Principal"] == {"AWS": SNOWFLAKE_USER}
    ours = {"sts__ExternalId": "aurora-sync-dev-4f1c9a7e"}
    assert decide(trust, "sts:AssumeRole", "role", **ours) == "allow"
    assert decide(trust, "sts:AssumeRole", "role", sts__ExternalId="x") == "none"
    assert decide(trust, "sts:AssumeRole", "role") == "none"


def test_snowflakes_user_publishes_with_the_external_id_that_it_told(
    documents: Documents,
):
    trust = documents["snowflake-errors-trust"]
    (one,) = trust["Statement"]
    assert one["Principal"] == {"AWS": SNOWFLAKE_USER}
    told = {"sts__ExternalId": "made-up-by-Snowflake"}
    assert decide(trust, "sts:AssumeRole", "role", **told) == "allow"
    assert decide(trust, "sts:AssumeRole", "role", sts__ExternalId="x") == "none"
    assert decide(trust, "sts:AssumeRole", "role") == "none"


def test_the_functions_roles_are_trusted_to_lambda_only(documents: Documents):
    for name in ("exporter-trust", "checker-trust"):
        trust = documents[name]
        assert [each["Principal"] for each in trust["Statement"]] == [
            {"Service": "lambda.amazonaws.com"}
        ]
        assert decide(trust, "sts:AssumeRole", "role") == "allow"
        assert decide(trust, "sts:TagSession", "role") == "none"


# --- what the resources accept


def test_the_bucket_refuses_plain_http(documents: Documents):
    bucket = documents["bucket"]
    for action, resource in (
        ("s3:GetObject", EXPORT),
        ("s3:PutObject", MANIFEST),
        ("s3:ListBucket", BUCKET),
    ):
        plain = decide(bucket, action, resource, aws__SecureTransport="false")
        assert plain == "deny", action
        assert decide(bucket, action, resource, aws__SecureTransport="true") == "none"


def test_the_bucket_takes_objects_under_its_own_key_only(documents: Documents):
    """Without headers the bucket's default encryption applies, which is that key."""
    header = "s3__x_amz_server_side_encryption"
    for method, key, callers, expected in (
        (None, None, None, "none"),
        ("aws:kms", None, None, "none"),
        ("aws:kms", KEY, None, "none"),
        ("AES256", None, None, "deny"),
        ("aws:kms", KEY + "2", None, "deny"),
        (None, KEY + "2", None, "deny"),
        (None, None, "AES256", "deny"),
    ):
        headers = {
            header: method,
            f"{header}_aws_kms_key_id": key,
            f"{header}_customer_algorithm": callers,
        }
        sent = {name: value for name, value in headers.items() if value}
        found = decide(documents["bucket"], "s3:PutObject", EXPORT, **sent)
        assert found == expected, sent


def test_what_is_denied_is_denied_to_everybody(documents: Documents):
    for name in ("bucket", "topic", "alarm-topic", "dead-letters", "load-queue"):
        denied = [
            each for each in documents[name]["Statement"] if each["Effect"] == "Deny"
        ]
        assert denied and {each["Principal"] for each in denied} == {"*"}


def test_topics_and_queues_refuse_plain_http(documents: Documents):
    for name, action, resource in (
        ("topic", "sns:Publish", TOPIC),
        ("alarm-topic", "sns:Publish", ALARM_TOPIC),
        ("dead-letters", "sqs:SendMessage", DEAD_LETTERS),
        ("load-queue", "sqs:ReceiveMessage", LOADS),
    ):
        plain = decide(documents[name], action, resource, aws__SecureTransport="false")
        assert plain == "deny", name
        secure = decide(documents[name], action, resource, aws__SecureTransport="true")
        assert secure == "none", name
        assert statement(documents, name, "TlsOnly")["Resource"] == resource


def test_the_topic_takes_events_of_this_bucket_and_snowflakes_queues(
    documents: Documents,
):
    document = documents["topic"]
    publish = statement(documents, "topic", "BucketEvents")
    assert publish["Principal"] == {"Service": "s3.amazonaws.com"}
    source = {"aws__SourceAccount": ACCOUNT, "aws__SourceArn": BUCKET}
    assert decide(document, "sns:Publish", TOPIC, **source) == "allow"
    for foreign in (
        {"aws__SourceArn": BUCKET + "-2"},
        {"aws__SourceAccount": OTHER_ACCOUNT},
    ):
        assert decide(document, "sns:Publish", TOPIC, **(source | foreign)) == "none"
    assert decide(document, "sns:Publish", TOPIC) == "none"
    assert decide(document, "sns:Publish", TOPIC + "-2", **source) == "none"
    subscribe = statement(documents, "topic", "Snowpipe")
    assert subscribe["Principal"] == {"AWS": [SNOWFLAKE_USER]}
    assert decide(document, "sns:Subscribe", TOPIC) == "allow"
    assert decide(document, "sns:Subscribe", TOPIC + "-2") == "none"


def test_alarms_publish_to_their_topic_and_nobody_else(documents: Documents):
    document = documents["alarm-topic"]
    publish = statement(documents, "alarm-topic", "Alarms")
    assert publish["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    own = {"aws__SourceAccount": ACCOUNT, "aws__SourceArn": f"{ALARM}_dev_late_A"}
    assert decide(document, "sns:Publish", ALARM_TOPIC, **own) == "allow"
    for foreign in (
        own | {"aws__SourceArn": f"{ALARM}_dev-2_late_A"},
        own | {"aws__SourceAccount": OTHER_ACCOUNT},
        {},
    ):
        assert decide(document, "sns:Publish", ALARM_TOPIC, **foreign) == "none"
    assert decide(document, "sns:Publish", ALARM_TOPIC + "-2", **own) == "none"
    assert decide(document, "sns:Subscribe", ALARM_TOPIC, **own) == "none"


def test_all_users_that_snowflake_names_may_subscribe():
    document = {
        "Statement": [
            {"Principal": {"AWS": "arn:b"}},
            {"Principal": {"AWS": ["arn:c", "arn:a"]}},
        ]
    }
    assert resource_policies.subscribers(document) == ["arn:a", "arn:b", "arn:c"]


def test_dead_letters_come_from_this_stacks_rules(documents: Documents):
    def sent(rule: str, queue: str = DEAD_LETTERS) -> str:
        return decide(
            documents["dead-letters"], "sqs:SendMessage", queue, aws__SourceArn=rule
        )

    assert sent(f"{RULES}_dev_public.orders") == "allow"
    assert sent(f"{RULES}_dev-2_public.orders") == "none"
    assert sent(f"{RULES}_dev_public.orders", DEAD_LETTERS + "-2") == "none"
    assert decide(documents["dead-letters"], "sqs:SendMessage", DEAD_LETTERS) == "none"
    principal = statement(documents, "dead-letters", "Schedules")["Principal"]
    assert principal == {"Service": "events.amazonaws.com"}


def test_schedules_of_this_stack_alone_start_the_function(documents: Documents):
    function = "aurora-sync-dev-exporter"

    def started(account: str, rule: str, name: str = function) -> str:
        source = {"aws__SourceAccount": account, "aws__SourceArn": rule}
        return decide(documents["function"], "lambda:InvokeFunction", name, **source)

    assert started(ACCOUNT, f"{RULES}_dev_public.orders") == "allow"
    assert started(ACCOUNT, f"{RULES}_dev-2_public.orders") == "none"
    assert started(OTHER_ACCOUNT, f"{RULES}_dev_public.orders") == "none"
    assert started(ACCOUNT, f"{RULES}_dev_public.orders", function + "-2") == "none"
    principal = statement(documents, "function", "Schedules")["Principal"]
    assert principal == {"Service": "events.amazonaws.com"}


def test_its_schedule_alone_starts_the_checker(documents: Documents):
    function, own = "aurora-sync-dev-checker", f"{RULES}_dev_checker"

    def started(account: str, rule: str, name: str = function) -> str:
        source = {"aws__SourceAccount": account, "aws__SourceArn": rule}
        document = documents["checker-function"]
        return decide(document, "lambda:InvokeFunction", name, **source)

    assert started(ACCOUNT, own) == "allow"
    assert started(ACCOUNT, f"{RULES}_dev_public.orders") == "none"
    assert started(OTHER_ACCOUNT, own) == "none"
    assert started(ACCOUNT, own, function + "-2") == "none"
    principal = statement(documents, "checker-function", "Schedules")["Principal"]
    assert principal == {"Service": "events.amazonaws.com"}


def test_endpoints_lead_to_this_account_only(documents: Documents):
    own = {"aws__ResourceAccount": ACCOUNT}
    other = {"aws__ResourceAccount": OTHER_ACCOUNT}
    assert decide(documents["endpoint"], "s3:PutObject", EXPORT, **own) == "allow"
    assert decide(documents["endpoint"], "s3:PutObject", EXPORT, **other) == "none"


def test_all_endpoints_carry_the_same_policy(settings):
    settings["network"] = example_settings("staging")["network"]
    endpoints = run(settings).of("aws:ec2/vpcEndpoint")
    carried = {each.name: each.inputs["policy"] for each in endpoints}
    assert set(carried) == {"network-s3", "network-dynamodb", "network-sqs"}
    assert len(set(carried.values())) == 1


def test_the_account_keeps_hold_of_its_key(documents: Documents):
    account = statement(documents, "key", "Account")
    assert account["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}
    assert decide(documents["key"], "kms:ScheduleKeyDeletion", KEY) == "allow"


def test_the_key_serves_this_stacks_logs_alarms_and_bucket(documents: Documents):
    group = "kms__EncryptionContext:aws:logs:arn"
    bucket = {"aws__SourceAccount": ACCOUNT, "aws__SourceArn": BUCKET}
    alarm = {"aws__SourceAccount": ACCOUNT, "aws__SourceArn": f"{ALARM}_dev_late_A"}
    for sid, service, own, foreign, actions in (
        (
            "LogGroup",
            "logs.eu-west-1",
            [{group: LOG}, {group: CHECKER_LOG}],
            [{group: LOG + "-2"}],
            "Decrypt DescribeKey Encrypt GenerateDataKey ReEncryptFrom",
        ),
        (
            "BucketEvents",
            "s3",
            [bucket],
            [
                bucket | {"aws__SourceArn": BUCKET + "-2"},
                bucket | {"aws__SourceAccount": OTHER_ACCOUNT},
            ],
            "Decrypt GenerateDataKey",
        ),
        (
            "Alarms",
            "cloudwatch",
            [alarm],
            [
                alarm | {"aws__SourceArn": f"{ALARM}_dev-2_late_A"},
                alarm | {"aws__SourceAccount": OTHER_ACCOUNT},
            ],
            "Decrypt GenerateDataKey",
        ),
    ):
        one = statement(documents, "key", sid)
        assert one["Principal"] == {"Service": f"{service}.amazonaws.com"}
        document = {"Statement": [one]}
        for context in own:
            for action in actions.split():
                name = f"kms:{action}"
                assert decide(document, name, KEY, **context) == "allow", name
                for other in foreign:
                    assert decide(document, name, KEY, **other) == "none", name
            assert decide(document, "kms:PutKeyPolicy", KEY, **context) == "none"


# --- Vault


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


# --- the modules


@pytest.mark.parametrize(
    "module",
    [
        permissions,
        roles,
        snowflake_roles,
        resources,
        row,
        policies,
        resource_policies,
    ],
)
def test_policies_know_nothing_of_pulumi(module: Any):
    """They are testable, and readable, without it."""
    tree = ast.parse(Path(str(module.__file__)).read_text())
    imported = {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    }
    imported |= {
        str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert not [name for name in imported if name.startswith("pulumi")]


def test_every_document_is_rendered_by_the_table(graph):
    """No statement of the program stands beside it."""
    named = {(rows.policy.name, rows.sid) for rows in permissions.ROWS}
    carried = {
        (each.type, key, one["Sid"])
        for each in graph.resources
        for key in ("policy", "assumeRolePolicy")
        if each.type.startswith("aws:") and key in each.inputs
        for one in json.loads(each.inputs[key])["Statement"]
    }
    by_name = {policy.name: policy for policy in permissions.POLICIES}
    wanted = {
        (by_name[name].resource, by_name[name].input, sid)
        for name, sid in named
        if by_name[name].input and name != "vault"
    }
    assert carried == wanted


def test_the_page_names_the_services_that_a_deployer_works_on(graph):
    page = (ROOT / "docs" / "SECURITY.md").read_text()
    table = page.partition("<!-- services -->")[2].partition("<!-- end of")[0]
    named = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.+?`) \|", table, re.M)))
    made = {each.type for each in graph.resources if each.type.startswith("aws:")}
    assert set(named) == {re.split("[:/]", type_)[1] for type_ in made}
    assert len(graph.of("aws:iam/role")) == 5
