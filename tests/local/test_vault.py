"""Vault's front lets in whom Vault would let in, and refuses in Vault's way."""

import io
import json
import time
import zipfile
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import hvac
import psycopg2
import pytest
import requests
from hvac import aws_utils
from hvac.exceptions import (
    BadGateway,
    Forbidden,
    InvalidPath,
    InvalidRequest,
    VaultDown,
)

from infra.local import aws, postgres, vault
from infra.local.parts import AWS_ACCOUNT, HOST, LocalStack
from infra.local.processes import start_parts
from tests.local.running import process, running, stop_part

pytestmark = pytest.mark.integration

SERVER_ID = "vault.example.test"
SERVER_ID_HEADER = "X-Vault-AWS-IAM-Server-ID"
PARTS = (aws.PART, vault.BACKEND_PART, vault.PART)


class Scene:
    """A stack whose Vault knows one application, as a program would set it up."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.vault = vault.vault_client(stack)
        self.iam = aws.client(stack, "iam")
        self.bound = self.make_role("exporter")
        self.make_role("stranger")
        self.make_role("nested", path="/team/")
        self.vault.sys.enable_auth_method("aws")
        self.vault.auth.aws.configure(iam_server_id_header_value=SERVER_ID)
        self.vault.sys.create_or_update_policy(
            "reader", 'path "kv/allowed" { capabilities = ["read"] }'
        )
        self.vault.sys.enable_secrets_engine("kv", options={"version": "1"})
        for name in ("allowed", "other"):
            self.vault.write_data(f"kv/{name}", data={"value": name})
        self.write_role("exporter", token_ttl=600, token_max_ttl=1200)

    def make_role(self, name: str, path: str = "/") -> str:
        trust = {"AWS": aws.user_arn("aurora"), "Service": "lambda.amazonaws.com"}
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trust}
        made = self.iam.create_role(
            RoleName=name,
            Path=path,
            AssumeRolePolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [statement]}
            ),
        )
        return made["Role"]["Arn"]

    def write_role(self, name: str, *, client=None, **fields):
        fields = {
            "auth_type": "iam",
            "bound_iam_principal_arn": [self.bound],
            "token_policies": ["reader"],
        } | fields
        (client or self.vault).write_data(f"auth/aws/role/{name}", data=fields)

    def anonymous(self, timeout: int = 10) -> hvac.Client:
        return hvac.Client(url=self.stack.url("vault"), timeout=timeout)

    def keys(self, iam_role: str = "exporter", path: str = "") -> tuple[str, str, str]:
        session = aws.client(self.stack, "sts", "aurora").assume_role(
            RoleArn=f"arn:aws:iam::{AWS_ACCOUNT}:role/{path}{iam_role}",
            RoleSessionName="session",
        )["Credentials"]
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        return tuple(session[name] for name in names)

    def login(self, iam_role: str = "exporter", path: str = "", **changes):
        """Log in as a session of that IAM role; returns a client and the answer."""
        client = self.anonymous()
        arguments = {"header_value": SERVER_ID, "role": "exporter"} | changes
        answer = client.auth.aws.iam_login(*self.keys(iam_role, path), **arguments)
        return client, answer["auth"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    with running(LocalStack(tmp_path_factory.mktemp("stack")), *PARTS) as stack:
        yield Scene(stack)
    postgres.remove(stack)


@contextmanager
def sealed(scene):
    scene.vault.sys.seal()
    try:
        yield
    finally:
        vault.unseal(scene.stack)


def test_a_bound_principal_gets_the_roles_policies_and_limits(scene):
    client, auth = scene.login()
    assert sorted(auth["policies"]) == ["default", "reader"]
    assert auth["lease_duration"] == 600
    assert auth["renewable"]
    assert client.lookup_token()["data"]["path"] == "auth/aws/login"
    renewed = client.auth.token.renew_self(increment="3h")["auth"]
    assert 600 < renewed["lease_duration"] <= 1200
    assert client.read("kv/allowed")["data"] == {"value": "allowed"}
    with pytest.raises(Forbidden):
        client.read("kv/other")
    client.auth.token.revoke_self()
    with pytest.raises(Forbidden):
        client.read("kv/allowed")


def test_a_role_is_found_by_the_principals_name_when_none_is_named(scene):
    assert scene.login(role=None)[1]["metadata"]["role"] == "exporter"


@pytest.mark.parametrize(
    ("iam_role", "changes", "message"),
    [
        ("stranger", {}, 'assumed-role/stranger/session" does not belong to the role'),
        ("exporter", {"role": "absent"}, 'entry for role "absent" not found'),
        ("exporter", {"role": "../../../sys/auth"}, "not found"),
        ("stranger", {"role": None}, 'entry for role "stranger" not found'),
        ("exporter", {"header_value": None}, "missing header"),
        ("exporter", {"header_value": "elsewhere"}, 'got "elsewhere"'),
        # hvac signs for the global endpoint, which wants us-east-1.
        ("exporter", {"region": "eu-west-1"}, "scoped to a valid region: us-east-1"),
    ],
)
def test_a_login_is_refused(scene, iam_role, changes, message):
    with pytest.raises(InvalidRequest, match=message):
        scene.login(iam_role, **changes)


def test_a_wrong_signature_is_refused_by_sts(scene):
    key_id, secret, token = scene.keys()
    for keys, reason in (
        ((key_id, secret + "x", token), "SignatureDoesNotMatch"),
        ((key_id, secret, token[:-1]), "error code 40[03] from STS"),
        (("ASIAUNKNOWN123456789", secret, token), "InvalidClientTokenId"),
    ):
        with pytest.raises(InvalidRequest, match=reason):
            scene.anonymous().auth.aws.iam_login(
                *keys, header_value=SERVER_ID, role="exporter"
            )


def test_a_stale_login_is_refused(scene, monkeypatch):
    class LastHour(datetime):
        @classmethod
        def utcnow(cls):
            return datetime.fromtimestamp(time.time() - 3600 - time.timezone)

    monkeypatch.setattr(aws_utils, "datetime", LastHour)
    with pytest.raises(InvalidRequest, match="Signature expired"):
        scene.login()


def signed_fields(scene, **changes: str) -> dict:
    """Return the fields of a valid login, with some parts of it replaced."""
    request = aws_utils.generate_sigv4_auth_request(header_value=SERVER_ID)
    aws_utils.SigV4Auth(*scene.keys()).add_auth(request)
    parts = {
        "iam_request_url": request.url,
        "iam_request_body": request.body,
        "iam_request_headers": json.dumps(dict(request.headers)),
    } | changes
    coded = {name: b64encode(value.encode()).decode() for name, value in parts.items()}
    return coded | {"iam_http_request_method": "POST", "role": "exporter"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iam_request_url": "https://evil.example.test/"}, "not an address of STS"),
        (
            {"iam_request_url": "https://sts.amazonaws.com/?Action=AssumeRole"},
            "request url is invalid",
        ),
        ({"iam_request_body": "Action=AssumeRole"}, "request body is invalid"),
        (
            {"iam_request_body": "Action=GetCallerIdentity&RoleArn=x"},
            "request body is invalid",
        ),
        # Signed is what was signed: the version belongs to it.
        (
            {"iam_request_body": "Action=GetCallerIdentity&Version=2011-06-16"},
            "SignatureDoesNotMatch",
        ),
        ({"iam_request_body": ""}, "missing iam_request_body"),
        ({"iam_request_headers": "no json"}, "error parsing iam_request_headers"),
        (
            {"iam_request_headers": json.dumps({SERVER_ID_HEADER: SERVER_ID})},
            "vault header wasn't signed",
        ),
    ],
)
def test_a_forged_request_is_refused(scene, changes, message):
    with pytest.raises(InvalidRequest, match=message):
        scene.anonymous().write_data(
            "auth/aws/login", data=signed_fields(scene, **changes)
        )
    # The same fields without the change are a valid login.
    assert scene.anonymous().write_data("auth/aws/login", data=signed_fields(scene))[
        "auth"
    ]["client_token"]


def test_resolved_ids_do_not_match_a_role_made_anew_under_the_old_name(scene):
    bound = scene.make_role("renewed")
    scene.write_role("by-id", bound_iam_principal_arn=[bound])
    scene.write_role(
        "by-arn", bound_iam_principal_arn=[bound], resolve_aws_unique_ids=False
    )
    for role in ("by-id", "by-arn"):
        scene.login("renewed", role=role)
    scene.iam.delete_role(RoleName="renewed")
    scene.make_role("renewed")
    scene.login("renewed", role="by-arn")
    with pytest.raises(InvalidRequest, match="does not belong"):
        scene.login("renewed", role="by-id")


def test_a_wildcard_binds_the_roles_below_its_path(scene):
    below = f"arn:aws:iam::{AWS_ACCOUNT}:role/team/*"
    scene.write_role("team", bound_iam_principal_arn=below)
    scene.login("nested", "team/", role="team")
    with pytest.raises(InvalidRequest, match="does not belong"):
        scene.login("exporter", role="team")


def test_a_role_is_read_back_updated_listed_and_deleted_as_in_vault(scene):
    scene.write_role("kept", token_ttl=60)
    scene.vault.write_data("auth/aws/role/kept", data={"token_ttl": 90})
    role = scene.vault.read("auth/aws/role/kept")["data"]
    assert role["auth_type"] == "iam"
    assert role["bound_iam_principal_arn"] == [scene.bound]
    assert role["token_policies"] == ["reader"]
    assert role["token_ttl"] == 90
    assert "kept" in scene.vault.list("auth/aws/role")["data"]["keys"]
    scene.vault.delete("auth/aws/role/kept")
    assert scene.vault.read("auth/aws/role/kept") is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bound_vpc_id": "vpc-1"}, "not played by the local Vault: bound_vpc_id"),
        ({"policies": ["reader"]}, "not played by the local Vault: policies"),
        ({"auth_type": "ec2"}, "auth_type ec2 is not played"),
        ({"bound_iam_principal_arn": []}, "one bound parameter"),
        (
            {"bound_iam_principal_arn": "arn:aws:iam::1:role/absent"},
            "unable to resolve",
        ),
        ({"resolve_aws_unique_ids": "false"}, "is true or false"),
    ],
)
def test_a_role_that_cannot_be_played_is_refused(scene, fields, message):
    with pytest.raises(InvalidRequest, match=message):
        scene.write_role("refused", **fields)
    assert scene.vault.read("auth/aws/role/refused") is None


def test_the_method_is_told_as_aws_and_holds_its_client_configuration(scene):
    assert scene.vault.sys.list_auth_methods()["data"]["aws/"]["type"] == "aws"
    config = scene.vault.auth.aws.read_config()
    assert config["iam_server_id_header_value"] == SERVER_ID
    with pytest.raises(InvalidRequest, match="played by the local Vault: access_key"):
        scene.vault.auth.aws.configure(access_key="x")
    with pytest.raises(InvalidRequest, match="already in use"):
        scene.vault.sys.enable_auth_method("aws")


def test_a_second_mount_has_its_own_roles_and_configuration(scene):
    scene.vault.sys.enable_auth_method("aws", path="teams/aws")
    with pytest.raises(InvalidPath):
        scene.vault.auth.aws.read_config(mount_point="teams/aws")
    scene.vault.auth.aws.configure(
        sts_endpoint="https://sts.eu-west-1.amazonaws.com", mount_point="teams/aws"
    )
    scene.vault.write_data(
        "auth/teams/aws/role/exporter",
        data={"bound_iam_principal_arn": [scene.bound], "token_policies": ["reader"]},
    )
    regional = {"mount_point": "teams/aws", "header_value": None}
    assert scene.login(region="eu-west-1", **regional)[1]["policies"]
    # A Vault with a regional endpoint refuses what hvac signs by default.
    with pytest.raises(InvalidRequest, match="valid region: eu-west-1"):
        scene.login(**regional)
    scene.vault.sys.disable_auth_method("teams/aws")
    with pytest.raises((Forbidden, InvalidPath)):
        scene.login(region="eu-west-1", **regional)


def test_only_policies_let_anyone_administer_the_method(scene):
    for client in (scene.anonymous(), scene.login()[0]):
        with pytest.raises(Forbidden):
            scene.write_role("exporter", client=client, token_policies=["root"])
        with pytest.raises(Forbidden):
            client.read("auth/aws/role/exporter")
        with pytest.raises(Forbidden):
            client.auth.aws.read_config()
        with pytest.raises(Forbidden):
            client.auth.aws.configure(iam_server_id_header_value="mine")
        with pytest.raises(Forbidden):
            client.sys.enable_auth_method("aws", path="mine")
    scene.vault.sys.create_or_update_policy(
        "operator", 'path "auth/aws/config/client" { capabilities = ["read"] }'
    )
    made = scene.vault.auth.token.create(policies=["operator"])["auth"]
    operator = hvac.Client(url=scene.stack.url("vault"), token=made["client_token"])
    assert operator.auth.aws.read_config()["iam_server_id_header_value"] == SERVER_ID
    with pytest.raises(Forbidden):
        operator.auth.aws.configure(iam_server_id_header_value="mine")


def test_everything_else_reaches_openbao_unchanged(scene):
    answer = requests.get(
        scene.stack.url("vault") + "/v1/kv/allowed",
        headers={"X-Vault-Token": scene.vault.token, "X-Vault-Wrap-TTL": "60s"},
        timeout=5,
    )
    wrapping = answer.json()["wrap_info"]["token"]
    holder = hvac.Client(url=scene.stack.url("vault"), token=wrapping)
    unwrapped = holder.sys.unwrap()
    assert unwrapped["data"] == {"value": "allowed"}
    assert scene.vault.list("kv/")["data"]["keys"] == ["allowed", "other"]
    assert scene.vault.read("kv/absent") is None
    with pytest.raises(Forbidden, match="permission denied"):
        scene.anonymous().read("kv/allowed")


def test_many_functions_log_in_at_once(scene):
    with ThreadPoolExecutor(40) as pool:
        logins = [pool.submit(scene.login) for _ in range(40)]
        tokens = {login.result()[1]["client_token"] for login in logins}
    assert len(tokens) == 40


def test_a_body_of_unknown_length_is_refused_not_dropped(scene):
    answer = requests.post(
        scene.stack.url("vault") + "/v1/kv/allowed",
        headers={"X-Vault-Token": scene.vault.token},
        data=iter([b'{"value": "lost"}']),
        timeout=5,
    )
    assert answer.status_code == 411
    assert scene.vault.read("kv/allowed")["data"] == {"value": "allowed"}


def test_a_sealed_vault_answers_503_until_it_is_unsealed(scene):
    client, _ = scene.login()
    with sealed(scene):
        assert not vault.PART.is_ready(scene.stack)
        for refused in (
            lambda: client.read("kv/allowed"),
            scene.login,
            lambda: scene.vault.auth.aws.read_config(),
        ):
            with pytest.raises(VaultDown, match="Vault is sealed"):
                refused()
    assert vault.PART.is_ready(scene.stack)
    assert client.read("kv/allowed")["data"] == {"value": "allowed"}


def test_a_slow_vault_makes_the_client_time_out_and_then_goes_on(scene):
    backend = process(scene.stack, "vault_backend")
    backend.suspend()
    try:
        with pytest.raises(requests.exceptions.ReadTimeout):
            scene.anonymous(timeout=1).sys.read_seal_status()
    finally:
        backend.resume()
    assert scene.login()


def test_a_restarted_vault_is_sealed_and_has_lost_nothing(scene):
    client, _ = scene.login()
    stop_part(scene.stack, "vault_backend")
    with pytest.raises(BadGateway, match="Vault does not answer"):
        client.read("kv/allowed")
    start_parts(scene.stack, PARTS)
    assert client.read("kv/allowed")["data"] == {"value": "allowed"}
    assert scene.login()


def test_no_secret_of_vault_stands_in_a_readable_file(scene):
    secrets = [scene.stack.secret("vault_root_token")]
    secrets.append(scene.stack.fact("vault_unseal_key"))
    for file in filter(Path.is_file, scene.stack.dir.rglob("*")):
        if file.stat().st_mode & 0o077:
            text = file.read_text(errors="replace")
            assert not [secret for secret in secrets if secret in text], file
    key = scene.stack.part_dir("vault") / "signing_key.pem"
    assert key.stat().st_mode & 0o777 == 0o600


@contextmanager
def database(stack, **login: Any):
    """Open a session of the local PostgreSQL, as its superuser or as told."""
    session = psycopg2.connect(postgres.aurora_dsn(stack), **login)
    session.autocommit = True
    try:
        yield session.cursor()
    finally:
        session.close()


@pytest.fixture(scope="module")
def dynamic_users(scene):
    """Set up Vault to make PostgreSQL users that may read one table."""
    start_parts(scene.stack, [postgres.PART])
    with database(scene.stack) as cursor:
        cursor.execute(
            "CREATE ROLE vault LOGIN CREATEROLE PASSWORD %s",
            [scene.stack.secret("vault_database")],
        )
        cursor.execute("CREATE ROLE exporters NOLOGIN")
        cursor.execute("GRANT exporters TO vault WITH ADMIN OPTION")
        cursor.execute("CREATE TABLE orders AS SELECT 7 AS id")
        cursor.execute("GRANT SELECT ON orders TO exporters")
    address = f"{HOST}:{scene.stack.port('postgres')}/{postgres.DATABASE}"
    scene.vault.sys.enable_secrets_engine("database")
    scene.vault.secrets.database.configure(
        name="aurora",
        plugin_name="postgresql-database-plugin",
        allowed_roles=["exporter"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@{address}",
        username="vault",
        password=scene.stack.secret("vault_database"),
    )
    scene.vault.secrets.database.create_role(
        name="exporter",
        db_name="aurora",
        creation_statements=[
            "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"
            " VALID UNTIL '{{expiration}}' IN ROLE exporters"
        ],
        default_ttl="10m",
        max_ttl="1h",
    )
    scene.vault.sys.create_or_update_policy(
        "dynamic",
        'path "database/creds/exporter" { capabilities = ["read"] }\n'
        'path "sys/leases/revoke" { capabilities = ["update"] }',
    )
    scene.write_role("dynamic", token_policies=["dynamic"])


def test_a_login_gets_a_database_user_that_ends_with_its_lease(scene, dynamic_users):
    client, _ = scene.login(role="dynamic")
    lease = client.secrets.database.generate_credentials("exporter")
    assert lease["lease_duration"] == 600
    user = {"user": lease["data"]["username"], "password": lease["data"]["password"]}
    with database(scene.stack, **user) as cursor:
        cursor.execute("SELECT id FROM orders")
        assert cursor.fetchall() == [(7,)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("DELETE FROM orders")
    client.sys.revoke_lease(lease["lease_id"])
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        with database(scene.stack, **user):
            pass


def test_a_revoked_login_takes_its_database_users_along(scene, dynamic_users):
    client, _ = scene.login(role="dynamic")
    user = client.secrets.database.generate_credentials("exporter")["data"]
    client.auth.token.revoke_self()
    # Vault ends the leases of a token in the background.
    deadline = time.monotonic() + 10
    with database(scene.stack) as cursor:
        while True:
            query = "SELECT count(*) FROM pg_roles WHERE rolname = %s"
            cursor.execute(query, [user["username"]])
            if cursor.fetchone() == (0,):
                return
            assert time.monotonic() < deadline, "the user is still there"
            time.sleep(0.05)


def test_another_login_gets_no_database_user(scene, dynamic_users):
    with pytest.raises(Forbidden):
        scene.login()[0].secrets.database.generate_credentials("exporter")


FUNCTION = """
import os
import hvac

def handler(event, context):
    client = hvac.Client(url=event["vault"], timeout=5)
    client.auth.aws.iam_login(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ["AWS_SESSION_TOKEN"],
        header_value=event["server_id"],
        role=event["role"],
    )
    return client.read("kv/allowed")["data"]
"""


def bundle(source: str, *packages: str) -> bytes:
    """Return a function's zip with these packages of the environment in it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("function.py", source)
        for package in packages:
            folder = aws.package_folder(package)
            for file in folder.rglob("*"):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(folder.parent))
    return out.getvalue()


def test_a_function_logs_in_with_its_execution_role(scene):
    client = aws.client(scene.stack, "lambda")
    packages = ("hvac", "requests", "urllib3", "certifi", "idna", "charset_normalizer")
    code = bundle(FUNCTION, *packages)
    event = {"vault": scene.stack.url("vault"), "server_id": SERVER_ID}
    answers = {}
    for role in ("exporter", "stranger"):
        client.create_function(
            FunctionName=role,
            Runtime="python3.13",
            Role=f"arn:aws:iam::{AWS_ACCOUNT}:role/{role}",
            Handler="function.handler",
            Code={"ZipFile": code},
            Timeout=20,
        )
        answer = client.invoke(
            FunctionName=role, Payload=json.dumps(event | {"role": "exporter"})
        )
        answers[role] = json.loads(answer["Payload"].read())
    assert answers["exporter"] == {"value": "allowed"}
    assert "does not belong to the role" in answers["stranger"]["errorMessage"]
