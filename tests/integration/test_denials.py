"""No role, user or token can do more than its one job."""

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
from runtime.contract.aurora_sql import EXPORTER_ROLE
from tests.integration.conftest import Sandbox
from tests.integration.refusing import (
    Scene,
)
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


KEY = {"pk": {"S": "local#shop.orders"}, "sk": {"S": "STATE"}}
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


@pytest.mark.parametrize("role", DENIED)
def test_a_role_is_refused_the_rest(
    scene: Scene, client_of: Callable[[str, str], Any], role: str
) -> None:
    before = scene.moved(), scene.objects("exports/"), scene.objects("manifests/")
    names = {
        "export": scene.objects(scene.keys.exports)[0],
        "manifest": scene.objects(scene.keys.manifests)[0],
        "ledger": scene.settings.ledger_table,
        "kms_key": scene.settings.kms_key_arn,
        "dead_letters": scene.sandbox.outputs["dead_letters_url"],
        "function": scene.sandbox.outputs["function"],
        "alarm_topic": scene.sandbox.outputs["alarm_topic"],
        "aurora": scene.roles["aurora"],
        "snowflake": scene.roles["snowflake"],
    }
    allowed = []
    for service, operation, arguments in DENIED[role]:
        given = {
            name: value.format(**names) if isinstance(value, str) else value
            for name, value in arguments.items()
        }
        if service == "s3":
            given["Bucket"] = scene.settings.bucket
        try:
            getattr(client_of(role, service), operation)(**given)
            allowed.append((operation, given, "done"))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code not in REFUSED:
                allowed.append((operation, given, code))
    assert allowed == []
    assert before == (
        scene.moved(),
        scene.objects("exports/"),
        scene.objects("manifests/"),
    )


def test_the_roles_can_do_their_job_in_the_same_sessions(
    scene: Scene, client_of: Callable[[str, str], Any]
) -> None:
    """Otherwise the denials above would say nothing."""
    bucket, key = scene.settings.bucket, scene.objects(scene.keys.exports)[0]
    manifest = scene.objects(scene.keys.manifests)[0]
    client_of("exporter", "s3").get_object(Bucket=bucket, Key=manifest)
    client_of("snowflake", "s3").get_object(Bucket=bucket, Key=key)
    client_of("snowflake", "s3").get_object(Bucket=bucket, Key=manifest)
    own = f"{scene.keys.exports}by-hand/not-a-stamp"
    try:
        client_of("aurora", "s3").put_object(Bucket=bucket, Key=own, Body=b"")
    finally:
        scene.sandbox.aws("s3").delete_object(Bucket=bucket, Key=own)


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
