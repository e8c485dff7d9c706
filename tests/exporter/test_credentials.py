"""A run gets one database user from Vault for as long as it lasts, and says why not."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
import psycopg2
import pytest

from infra.local import aws, vault
from infra.local.parts import AWS_ACCOUNT
from infra.local.postgres import DATABASE
from runtime.contract.aurora_sql import EXPORTER_ROLE
from runtime.contract.errors import CredentialError, VaultUnavailableError
from runtime.exporter.credentials import AwsKeys, DatabaseUser, leased_user
from tests.exporter.conftest import DATABASE_ROLE, Scene

SERVER_ID = "vault.example.test"


@pytest.fixture
def settings(scene):
    return scene.around.settings


def lease(settings, keys=None, **changes):
    def aws_keys():
        assert keys is not None
        return keys

    return leased_user(msgspec.structs.replace(settings, **changes), aws_keys)


def tokens(scene: Scene) -> set[str]:
    """Return the accessors of all tokens at Vault."""
    client: Any = vault.vault_client(scene.stack)
    found = client.list("auth/token/accessors")
    return set(found["data"]["keys"])


def roles(scene: Scene) -> set[str]:
    return {name for (name,) in scene.sql("SELECT rolname FROM pg_roles")}


def test_a_leased_user_reads_with_the_exporters_rights_and_is_gone_afterwards(
    scene, settings
):
    before, known = tokens(scene), roles(scene)
    with lease(settings) as user:
        assert tokens(scene) > before
        with scene.connect(user=user.name, password=user.password).cursor() as cursor:
            cursor.execute(
                f"SELECT pg_has_role('{EXPORTER_ROLE}', 'USAGE'), rolvaliduntil "
                "> NOW() + interval '5 minutes' FROM pg_roles "
                "WHERE rolname = current_user"
            )
            assert cursor.fetchone() == (True, True)
    assert roles(scene) == known
    assert tokens(scene) == before
    with pytest.raises(psycopg2.OperationalError):
        scene.connect(user=user.name, password=user.password, dbname=DATABASE)


def test_making_a_user_takes_a_transaction_so_that_stamps_grow_from_run_to_run(
    scene, settings
):
    xmax = "SELECT pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT"
    [(before,)] = scene.sql(xmax)
    with lease(settings):
        assert scene.sql(xmax) > [(before,)]


def test_a_failed_run_gives_its_user_back_too(scene, settings):
    known = roles(scene)
    with pytest.raises(ZeroDivisionError), lease(settings):
        raise ZeroDivisionError
    assert roles(scene) == known


def test_secrets_do_not_show_in_what_is_printed():
    user = DatabaseUser(name="v-1", password="dont-print-me")
    keys = AwsKeys(access_key="AKIA", secret_key="dont-print-me", token="dont-print-me")
    assert "dont-print-me" not in f"{user!r} {keys!r}"


# --- refusals


def test_an_unknown_role_is_refused_and_told(scene, settings):
    with pytest.raises(CredentialError, match="Vault refuses") as caught:
        with lease(settings, vault_role="nobody"):
            pass
    assert not caught.value.retryable
    assert f"Vault {settings.vault_addr}: login (role nobody)" in str(caught.value)


def test_a_database_role_that_the_policy_lacks_is_refused_and_the_login_ended(
    scene, settings
):
    before = tokens(scene)
    with pytest.raises(CredentialError, match="permission denied") as caught:
        with lease(settings, vault_database_role="others"):
            pass
    assert "database credentials (database/creds/others)" in str(caught.value)
    assert tokens(scene) == before


def test_an_absent_secret_id_names_the_file(settings):
    with pytest.raises(CredentialError, match="No such file") as caught:
        with lease(settings, vault_secret_id_file="/absent/secret_id"):
            pass
    assert caught.value.subject == "/absent/secret_id"
    with pytest.raises(CredentialError, match="vault_secret_id_file"):
        with lease(settings, vault_secret_id_file=""):
            pass


def test_a_vault_that_cannot_be_reached_can_be_tried_again(settings):
    with pytest.raises(VaultUnavailableError, match="does not answer") as caught:
        with lease(settings, vault_addr="http://127.0.0.1:1"):
            pass
    assert caught.value.retryable


def test_a_vault_that_cannot_make_users_can_be_tried_again(scene, settings):
    """Vault is well, but Aurora refuses it."""
    scene.sql("ALTER ROLE aurora_sync_vault NOCREATEROLE")
    try:
        with pytest.raises(VaultUnavailableError, match="Vault cannot do it"):
            with lease(settings):
                pass
    finally:
        scene.sql("ALTER ROLE aurora_sync_vault CREATEROLE")
    with lease(settings):
        pass


@contextmanager
def sealed(scene: Scene):
    vault.vault_client(scene.stack).sys.seal()
    try:
        yield
    finally:
        vault.unseal(scene.stack)


def test_a_sealed_vault_can_be_tried_again(scene, settings):
    with sealed(scene):
        with pytest.raises(VaultUnavailableError, match="[Ss]ealed"):
            with lease(settings):
                pass
    with lease(settings):
        pass


def test_a_vault_that_is_sealed_meanwhile_does_not_fail_the_run(scene, settings):
    """Lease and login end by themselves; what counts is what the run has done."""
    done = False
    with ExitStack() as stack:
        with lease(settings) as user:
            stack.enter_context(sealed(scene))
        done = True
    assert done
    scene.sql(f'DROP ROLE IF EXISTS "{user.name}"')


# --- the function's own IAM role


@pytest.fixture
def function_keys(scene) -> Iterator[AwsKeys]:
    """Make an IAM role that may log in to Vault; returns a session of it."""
    arn = f"arn:aws:iam::{AWS_ACCOUNT}:role/function"
    trust = {"AWS": aws.user_arn("aurora")}
    document = msgspec.json.encode(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trust}
            ],
        }
    ).decode()
    iam = aws.client(scene.stack, "iam")
    iam.create_role(RoleName="function", AssumeRolePolicyDocument=document)
    client = vault.vault_client(scene.stack)
    client.sys.enable_auth_method("aws")
    client.auth.aws.configure(iam_server_id_header_value=SERVER_ID)
    client.write_data(
        "auth/aws/role/exporter",
        data={
            "auth_type": "iam",
            "bound_iam_principal_arn": [arn],
            "token_policies": [DATABASE_ROLE],
        },
    )
    session = aws.client(scene.stack, "sts", "aurora").assume_role(
        RoleArn=arn, RoleSessionName="session"
    )["Credentials"]
    yield AwsKeys(
        access_key=session["AccessKeyId"],
        secret_key=session["SecretAccessKey"],
        token=session["SessionToken"],
    )
    client.sys.disable_auth_method("aws")
    iam.delete_role(RoleName="function")


def test_the_function_logs_in_with_its_own_iam_role(scene, settings, function_keys):
    aws_login = {
        "vault_addr": scene.stack.url("vault"),
        "vault_auth": "aws",
        "vault_auth_mount": "aws",
        "vault_role": "exporter",
    }
    with lease(settings, function_keys, **aws_login, vault_server_id=SERVER_ID) as user:
        assert user.name in roles(scene)
    with pytest.raises(CredentialError, match="server-id|header"):
        with lease(settings, function_keys, **aws_login):
            pass
