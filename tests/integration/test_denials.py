"""No role, user or token can do more than its one job."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from typing import Any

import boto3
import psycopg2
import pytest
from botocore.exceptions import ClientError
from hvac.exceptions import Forbidden
from psycopg2 import errors

from infra.local import aws
from infra.local.adapter.landscape import VAULT_ADMIN
from infra.local.parts import AWS_REGION
from infra.local.vault import vault_client
from infra.permissions import ROWS
from runtime.contract.aurora_sql import EXPORTER_ROLE
from tests.integration.conftest import Sandbox
from tests.integration.losing import without_action
from tests.integration.refusing import Scene, role_name
from tests.integration.shop import shop


@pytest.fixture(scope="module")
def scene(sandbox: Sandbox) -> Scene:
    return shop(sandbox).orders


# --- what each role is refused


def function_session(scene: Scene, function: str) -> Any:
    """Take a function's role as Lambda does: the account's root plays the service."""
    sts = boto3.client(
        "sts",
        endpoint_url=scene.sandbox.local.url("aws"),
        region_name=AWS_REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    role = scene.roles[function]
    return sts.assume_role(RoleArn=role, RoleSessionName=function)["Credentials"]


@pytest.fixture(scope="module")
def client_of(scene: Scene) -> Callable[[str, str], Any]:
    """Return a function that gives a client of a service in one of the roles."""
    local = scene.sandbox.local
    functions = ("exporter", "checker")
    sessions = {each: function_session(scene, each) for each in functions}

    @cache
    def client(role: str, service: str) -> Any:
        if role == "aurora":
            return aws.assumed_client(local, service, role, scene.roles["aurora"])
        if role == "snowflake":
            known = scene.integration
            external_id = known["STORAGE_AWS_EXTERNAL_ID"]
            arn = known["STORAGE_AWS_ROLE_ARN"]
            return aws.assumed_client(local, service, role, arn, external_id)
        make: Any = boto3.client
        session = sessions[role]
        return make(
            service,
            endpoint_url=local.url("aws"),
            region_name=AWS_REGION,
            aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"],
            aws_session_token=session["SessionToken"],
        )

    return client


QUERY = {
    "KeyConditionExpression": "pk = :pk",
    "ExpressionAttributeValues": {":pk": {"S": "local#shop.orders"}},
}
TOO_LATE = {"MessageBody": "{{}}", "DelaySeconds": 901}
KEY = {"pk": {"S": "local#shop.orders"}, "sk": {"S": "STATE"}}
KEYS = {"Keys": [KEY]}
# How services say no; SNS in its own words.
REFUSED = ("AccessDenied", "AccessDeniedException", "AuthorizationError")
DENIED: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "exporter": [
        # It never sees a row: what Aurora writes it can neither read nor find.
        ("s3", "get_object", {"Key": "{export}"}),
        ("s3", "put_object", {"Key": "exports/local/shop.orders/forged.csv"}),
        ("s3", "delete_object", {"Key": "{export}"}),
        ("s3", "list_objects_v2", {"Prefix": "exports/local/"}),
        ("s3", "list_objects_v2", {}),
        ("s3", "list_objects_v2", {"Prefix": "manifests/"}),
        ("s3", "get_object", {"Key": "manifests/other/public.orders/0000000001.json"}),
        ("s3", "put_object", {"Key": "manifests/other/public.orders/0000000001.json"}),
        ("s3", "delete_object", {"Key": "{manifest}"}),
        ("s3", "put_bucket_policy", {"Policy": "{{}}"}),
        ("dynamodb", "get_item", {"TableName": "{ledger}", "Key": KEY}),
        ("dynamodb", "put_item", {"TableName": "{ledger}", "Item": KEY}),
        ("dynamodb", "delete_item", {"TableName": "{ledger}", "Key": KEY}),
        ("dynamodb", "scan", {"TableName": "{ledger}"}),
        ("dynamodb", "scan", {"TableName": "another-table"}),
        ("dynamodb", "update_item", {"TableName": "another-table", "Key": KEY}),
        ("dynamodb", "delete_table", {"TableName": "{ledger}"}),
        ("kms", "decrypt", {"CiphertextBlob": b"x", "KeyId": "{kms_key}"}),
        ("kms", "generate_data_key", {"KeyId": "{kms_key}", "KeySpec": "AES_256"}),
        ("sqs", "receive_message", {"QueueUrl": "{dead_letters}"}),
        ("sts", "assume_role", {"RoleArn": "{aurora}", "RoleSessionName": "intruder"}),
        (
            "sts",
            "assume_role",
            {"RoleArn": "{snowflake}", "RoleSessionName": "intruder"},
        ),
        ("iam", "list_roles", {}),
        ("events", "list_rules", {}),
        ("lambda", "invoke", {"FunctionName": "{function}"}),
        ("rds", "describe_db_clusters", {}),
    ],
    "checker": [
        ("s3", "get_object", {"Key": "{export}"}),
        ("s3", "get_object", {"Key": "{manifest}"}),
        ("s3", "get_object", {"Key": "status/other/tables.json"}),
        ("s3", "put_object", {"Key": "status/local/tables.json"}),
        ("s3", "list_objects_v2", {"Prefix": "exports/local/"}),
        ("s3", "list_objects_v2", {}),
        ("dynamodb", "get_item", {"TableName": "{ledger}", "Key": KEY}),
        ("dynamodb", "query", {"TableName": "{ledger}"}),
        ("dynamodb", "scan", {"TableName": "{ledger}"}),
        ("dynamodb", "delete_item", {"TableName": "{ledger}", "Key": KEY}),
        ("sqs", "receive_message", {"QueueUrl": "{dead_letters}"}),
        ("sns", "publish", {"TopicArn": "{alarm_topic}", "Message": "forged"}),
        ("cloudwatch", "delete_alarms", {"AlarmNames": ["aurora-sync_local_silent"]}),
        ("lambda", "invoke", {"FunctionName": "{function}"}),
        ("kms", "decrypt", {"CiphertextBlob": b"x", "KeyId": "{kms_key}"}),
        ("sts", "assume_role", {"RoleArn": "{aurora}", "RoleSessionName": "intruder"}),
    ],
    "aurora": [
        ("s3", "get_object", {"Key": "{export}"}),
        ("s3", "delete_object", {"Key": "{export}"}),
        ("s3", "list_objects_v2", {"Prefix": "exports/local/"}),
        ("s3", "put_object", {"Key": "manifests/local/shop.orders/9999999999.json"}),
        ("s3", "put_object", {"Key": "exports/other/shop.orders/forged.csv"}),
        ("s3", "put_object", {"Key": "exports/localized/shop.orders/forged.csv"}),
        ("dynamodb", "query", {"TableName": "{ledger}"}),
        ("kms", "decrypt", {"CiphertextBlob": b"x", "KeyId": "{kms_key}"}),
        (
            "sts",
            "assume_role",
            {"RoleArn": "{snowflake}", "RoleSessionName": "intruder"},
        ),
    ],
    "snowflake": [
        ("s3", "put_object", {"Key": "exports/local/shop.orders/forged.csv"}),
        ("s3", "put_object", {"Key": "manifests/local/shop.orders/9999999999.json"}),
        ("s3", "put_object", {"Key": "status/other/tables.json"}),
        ("s3", "put_object", {"Key": "status/localized/tables.json"}),
        ("s3", "get_object", {"Key": "status/local/tables.json"}),
        ("s3", "delete_object", {"Key": "{export}"}),
        ("s3", "delete_object", {"Key": "{manifest}"}),
        ("s3", "get_object", {"Key": "exports/other/shop.orders/x.csv"}),
        ("s3", "get_object", {"Key": "exports/localized/shop.orders/x.csv"}),
        ("s3", "list_objects_v2", {"Prefix": "exports/other/"}),
        ("s3", "list_objects_v2", {}),
        ("dynamodb", "query", {"TableName": "{ledger}"}),
        ("kms", "decrypt", {"CiphertextBlob": b"x", "KeyId": "{kms_key}"}),
        ("sts", "assume_role", {"RoleArn": "{aurora}", "RoleSessionName": "intruder"}),
    ],
}


def known_names(scene: Scene) -> dict[str, str]:
    """Return what stands for the names in calls."""
    [pipes] = scene.sandbox.aws("sqs").list_queues(
        QueueNamePrefix=aws.SNOWPIPE_QUEUE_PREFIX
    )["QueueUrls"]
    return {
        "export": scene.objects(scene.keys.exports)[0],
        "manifest": scene.objects(scene.keys.manifests)[0],
        "ledger": scene.settings.ledger_table,
        "kms_key": scene.settings.kms_key_arn,
        "loads": scene.settings.load_queue_url,
        "pipes": pipes,
        "dead_letters": scene.sandbox.outputs["dead_letters_url"],
        "function": scene.sandbox.outputs["function"],
        "alarm_topic": scene.sandbox.outputs["alarm_topic"],
        "aurora": scene.roles["aurora"],
        "snowflake": scene.roles["snowflake"],
    }


def given(
    scene: Scene, service: str, arguments: dict[str, Any], names: dict[str, str]
) -> dict[str, Any]:
    """Return a call's arguments with its names filled in."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {filled(name): filled(each) for name, each in value.items()}
        return value.format(**names) if isinstance(value, str) else value

    return filled(arguments) | (
        {"Bucket": scene.settings.bucket} if service == "s3" else {}
    )


@pytest.mark.parametrize("role", DENIED)
def test_a_role_is_refused_the_rest(
    scene: Scene, client_of: Callable[[str, str], Any], role: str
) -> None:
    before = scene.moved(), scene.objects("exports/"), scene.objects("manifests/")
    names = known_names(scene)
    allowed = []
    for service, operation, arguments in DENIED[role]:
        filled = given(scene, service, arguments, names)
        try:
            getattr(client_of(role, service), operation)(**filled)
            allowed.append((operation, filled, "done"))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in REFUSED:
                allowed.append((operation, filled, code))
    assert allowed == []
    assert before == (
        scene.moved(),
        scene.objects("exports/"),
        scene.objects("manifests/"),
    )


# A role's permission: a call that needs it, and its neighbour that it does not cover.
# Each fails for another reason once it is allowed, or changes nothing.
Call = tuple[str, str, dict[str, Any]]
_ONCE = {"IfNoneMatch": "*", "Body": b""}
_NOTHING = {"ConditionExpression": "attribute_exists(absent)"}
_NO_UPLOAD, _NO_VERSION = {"UploadId": "absent"}, {"VersionId": "absent"}
NEEDED: dict[tuple[str, str, str], tuple[Call, Call]] = {
    ("aurora", "WriteExports", "s3:PutObject"): (
        ("s3", "put_object", {"Key": "{export}", **_ONCE}),
        ("s3", "put_object", {"Key": "{manifest}", **_ONCE}),
    ),
    ("aurora", "WriteExports", "s3:AbortMultipartUpload"): (
        ("s3", "abort_multipart_upload", {"Key": "{export}", **_NO_UPLOAD}),
        ("s3", "abort_multipart_upload", {"Key": "{manifest}", **_NO_UPLOAD}),
    ),
    ("snowflake", "ReadFiles", "s3:GetObject"): (
        ("s3", "get_object", {"Key": "{export}"}),
        ("s3", "get_object", {"Key": "exports/other/shop.orders/x.csv"}),
    ),
    ("snowflake", "ReadFiles", "s3:GetObjectVersion"): (
        ("s3", "get_object", {"Key": "{export}", **_NO_VERSION}),
        ("s3", "get_object", {"Key": "status/local/tables.json", **_NO_VERSION}),
    ),
    ("snowflake", "FindBucket", "s3:GetBucketLocation"): (
        ("s3", "get_bucket_location", {}),
        ("s3", "get_bucket_policy", {}),
    ),
    ("snowflake", "ListFiles", "s3:ListBucket"): (
        ("s3", "list_objects_v2", {"Prefix": "exports/local/"}),
        ("s3", "list_objects_v2", {"Prefix": "exports/"}),
    ),
    # What is written here lies beside the status, and nobody reads it.
    ("snowflake", "WriteStatus", "s3:PutObject"): (
        ("s3", "put_object", {"Key": "status/local/by-hand", **_ONCE}),
        ("s3", "put_object", {"Key": "status/other/by-hand", **_ONCE}),
    ),
    ("checker", "Ledger", "dynamodb:BatchGetItem"): (
        ("dynamodb", "batch_get_item", {"RequestItems": {"{ledger}": KEYS}}),
        ("dynamodb", "get_item", {"TableName": "{ledger}", "Key": KEY}),
    ),
    ("checker", "Status", "s3:GetObject"): (
        ("s3", "get_object", {"Key": "status/local/by-hand"}),
        ("s3", "get_object", {"Key": "{manifest}"}),
    ),
    ("checker", "FindStatus", "s3:ListBucket"): (
        ("s3", "list_objects_v2", {"Prefix": "status/local/"}),
        ("s3", "list_objects_v2", {"Prefix": "manifests/local/"}),
    ),
    ("exporter", "Ledger", "dynamodb:Query"): (
        ("dynamodb", "query", {"TableName": "{ledger}", **QUERY}),
        ("dynamodb", "query", {"TableName": "another-table", **QUERY}),
    ),
    ("exporter", "Ledger", "dynamodb:UpdateItem"): (
        ("dynamodb", "update_item", {"TableName": "{ledger}", "Key": KEY, **_NOTHING}),
        ("dynamodb", "put_item", {"TableName": "{ledger}", "Item": KEY, **_NOTHING}),
    ),
    ("exporter", "Manifests", "s3:GetObject"): (
        ("s3", "get_object", {"Key": "{manifest}"}),
        ("s3", "get_object", {"Key": "{export}"}),
    ),
    ("exporter", "Manifests", "s3:PutObject"): (
        ("s3", "put_object", {"Key": "{manifest}", **_ONCE}),
        ("s3", "put_object", {"Key": "{export}", **_ONCE}),
    ),
    ("exporter", "ListManifests", "s3:ListBucket"): (
        ("s3", "list_objects_v2", {"Prefix": "manifests/local/"}),
        ("s3", "list_objects_v2", {"Prefix": "exports/local/"}),
    ),
    ("exporter", "Chunks", "sqs:SendMessage"): (
        ("sqs", "send_message", {"QueueUrl": "{loads}", **TOO_LATE}),
        ("sqs", "send_message", {"QueueUrl": "{pipes}", **TOO_LATE}),
    ),
}


def test_every_permission_that_is_asked_for_here_has_its_call() -> None:
    """Of S3 and DynamoDB each, also those that no step needs on the local stack."""
    roles = {"aurora", "snowflake", "exporter", "checker"}
    assert set(NEEDED) == {
        (row.policy.name, row.sid, action)
        for row in ROWS
        if row.policy.name in roles
        for action, held in row.actions.items()
        if held.by == "behaviour" or action.startswith(("s3:", "dynamodb:"))
    }


def refused(make: Callable[[str, str], Any], role: str, call: Call) -> bool:
    """Make a call in a role and tell whether its rights were the reason it failed."""
    service, operation, arguments = call
    try:
        getattr(make(role, service), operation)(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return code in REFUSED
    return False


@pytest.mark.parametrize("needed", NEEDED, ids=" ".join)
def test_a_permission_lets_its_call_pass_and_not_its_neighbour(
    scene: Scene, client_of: Callable[[str, str], Any], needed: tuple[str, str, str]
) -> None:
    """And without it the same call is refused, in the same session."""
    role, _, action = needed
    names = known_names(scene)
    call, neighbour = (
        (service, operation, given(scene, service, arguments, names))
        for service, operation, arguments in NEEDED[needed]
    )
    before = scene.moved(), scene.objects("exports/")
    assert not refused(client_of, role, call)
    assert refused(client_of, role, neighbour)
    with without_action(scene.sandbox, role_name(scene.roles[role]), action):
        assert refused(client_of, role, call)
    assert not refused(client_of, role, call)
    assert before == (scene.moved(), scene.objects("exports/"))


def in_the_clear(scene: Scene) -> None:
    """Read as somebody who says that the request came by plain HTTP."""
    client = scene.sandbox.aws("s3")

    def say_plain(request: Any, **_: Any) -> None:
        request.headers["X-Forwarded-Proto"] = "http"

    client.meta.events.register_last("before-send.s3", say_plain)
    try:
        client.head_bucket(Bucket=scene.settings.bucket)
    finally:
        client.meta.events.unregister("before-send.s3", say_plain)


def under_another_method(scene: Scene) -> None:
    """Write an object that is not encrypted by the key."""
    client, key = scene.sandbox.aws("s3"), f"{scene.keys.exports}by-hand/not-a-stamp"
    where = {"Bucket": scene.settings.bucket, "Key": key}
    client.put_object(**where, Body=b"", ServerSideEncryption="AES256")
    client.delete_object(**where)


@pytest.mark.parametrize(
    ("sid", "deed"), [("TlsOnly", in_the_clear), ("OnlyKms", under_another_method)]
)
def test_the_bucket_refuses_what_its_policy_denies(
    scene: Scene, sid: str, deed: Callable[[Scene], None]
) -> None:
    """To the operator, too, who may do everything; without the statement it passes."""
    with pytest.raises(ClientError, match="AccessDenied|Forbidden|403"):
        deed(scene)
    s3, bucket = scene.sandbox.aws("s3"), scene.settings.bucket
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    statements = json.loads(policy)["Statement"]
    left = [each for each in statements if each["Sid"] != sid]
    assert len(left) == len(statements) - 1
    fewer = json.loads(policy) | {"Statement": left}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(fewer))
    try:
        deed(scene)
    finally:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)


def test_snowflake_listens_to_the_topic_while_it_may(scene: Scene) -> None:
    """Its user subscribes by the topic's policy alone, and to no other topic."""
    local, operator = scene.sandbox.local, scene.sandbox.aws("sns")
    [topic] = [
        each["TopicArn"]
        for each in operator.list_topics()["Topics"]
        if each["TopicArn"].endswith("-files")
    ]
    [queue] = {
        each["Endpoint"]
        for each in operator.list_subscriptions_by_topic(TopicArn=topic)[
            "Subscriptions"
        ]
    }
    other = operator.create_topic(Name="another")["TopicArn"]

    def subscribe(arn: str) -> None:
        aws.client(local, "sns", "snowflake").subscribe(
            TopicArn=arn, Protocol="sqs", Endpoint=queue
        )

    policy = operator.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    document = json.loads(policy)
    left = [each for each in document["Statement"] if each["Sid"] != "Snowpipe"]
    named = {"TopicArn": topic, "AttributeName": "Policy"}
    try:
        subscribe(topic)
        with pytest.raises(ClientError, match="AuthorizationError|AccessDenied"):
            subscribe(other)
        operator.set_topic_attributes(
            **named, AttributeValue=json.dumps(document | {"Statement": left})
        )
        with pytest.raises(ClientError, match="AuthorizationError|AccessDenied"):
            subscribe(topic)
    finally:
        operator.set_topic_attributes(**named, AttributeValue=policy)
        operator.delete_topic(TopicArn=other)


@pytest.mark.parametrize("external_id", [None, "another"])
def test_nobody_takes_snowflakes_role_without_our_external_id(
    scene: Scene, external_id: str | None
) -> None:
    local, role = scene.sandbox.local, scene.roles["snowflake"]
    with pytest.raises(ClientError, match="AccessDenied"):
        aws.assumed_client(local, "s3", "snowflake", role, external_id)


@pytest.mark.parametrize("role", ["exporter", "aurora", "snowflake"])
def test_no_other_user_takes_a_role(scene: Scene, role: str) -> None:
    external_id = scene.integration["STORAGE_AWS_EXTERNAL_ID"]
    for who in {"aurora", "snowflake", "vault"} - {role}:
        with pytest.raises(ClientError, match="AccessDenied"):
            arn = scene.roles[role]
            aws.assumed_client(scene.sandbox.local, "s3", who, arn, external_id)


@pytest.fixture(scope="module")
def leased(scene: Scene) -> Iterator[Any]:
    """A cursor of a leased user."""
    engine: Any = vault_client(scene.sandbox.local).secrets.database
    settings = scene.settings
    lease = engine.generate_credentials(
        settings.vault_database_role, mount_point=settings.vault_database_mount
    )["data"]
    try:
        with closing(
            psycopg2.connect(
                host=settings.aurora_host,
                port=settings.aurora_port,
                dbname=settings.aurora_database,
                user=lease["username"],
                password=lease["password"],
                connect_timeout=5,
            )
        ) as connection:
            connection.autocommit = True
            yield connection.cursor()
    finally:
        scene.take_back_leases()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT amount FROM shop.salaries",
        "INSERT INTO shop.orders (order_id) VALUES (0)",
        "UPDATE shop.orders SET status = 'forged'",
        "DELETE FROM shop.orders",
        "TRUNCATE shop.orders",
        "DO $$ BEGIN LOCK TABLE shop.orders IN ROW EXCLUSIVE MODE; END $$",
        "SELECT order_id FROM shop.orders FOR UPDATE",
        "ALTER TABLE shop.orders DISABLE TRIGGER ALL",
        "CREATE TABLE shop.loot (a INTEGER)",
        "CREATE TABLE public.loot (a INTEGER)",
        "CREATE SCHEMA loot",
        "CREATE ROLE accomplice LOGIN",
        f'GRANT "{EXPORTER_ROLE}" TO postgres',
        f"SET ROLE {VAULT_ADMIN}",
        "SELECT rolpassword FROM pg_catalog.pg_authid",
        "SELECT PG_CATALOG.PG_READ_FILE('PG_VERSION')",
        "SELECT PG_CATALOG.PG_TERMINATE_BACKEND(pid) FROM pg_catalog.pg_stat_activity"
        " WHERE usename = 'postgres'",
    ],
)
def test_a_leased_user_reads_its_tables_and_nothing_else(
    leased: Any, statement: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        leased.execute(statement)
    leased.execute("SELECT COUNT(*), MIN(status) FROM shop.orders")
    assert leased.fetchone() == (10, "new")


@pytest.fixture(scope="module")
def token(scene: Scene) -> Iterator[Any]:
    """Vault as the exporter sees it once it has logged in."""
    settings, session = scene.settings, function_session(scene, "exporter")
    client: Any = vault_client(scene.sandbox.local)
    client.token = ""
    client.auth.aws.iam_login(
        access_key=session["AccessKeyId"],
        secret_key=session["SecretAccessKey"],
        session_token=session["SessionToken"],
        header_value=settings.vault_server_id,
        role=settings.vault_role,
        mount_point=settings.vault_auth_mount,
    )
    yield client
    client.auth.token.revoke_self()


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("read", "secret/data/aurora-sync/aurora", None),
        ("read", "secret/data/aurora-sync/snowflake", None),
        ("read", "database/config/aurora", None),
        ("read", "database/creds/another", None),
        ("write_data", "database/roles/another", {"db_name": "aurora"}),
        ("write_data", "sys/policies/acl/another", {"policy": ""}),
        ("write_data", "auth/token/create", {"policies": ["root"]}),
        ("write_data", "auth/token/renew-self", {}),
        ("write_data", "sys/leases/revoke", {"lease_id": "database/creds/another/x"}),
        ("write_data", "sys/leases/revoke-prefix/database", {}),
        ("write_data", "sys/seal", {}),
        ("list", "sys/leases/lookup/database/creds", None),
        ("list", "auth/token/accessors", None),
    ],
)
def test_the_exporters_token_opens_one_path(
    token: Any, method: str, path: str, data: dict[str, Any] | None
) -> None:
    arguments = {"path": path} if data is None else {"path": path, "data": data}
    with pytest.raises(Forbidden):
        getattr(token, method)(**arguments)
