"""What administrators are told to run: all that the program needs, and nothing else."""

import re
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.admin_snowflake import deployer_statements, key_body
from infra.admin_vault import commands, deployer_policy
from infra.cli.app import app
from infra.stack import StackSettings
from runtime.contract.aurora_sql import setup_statements
from runtime.contract.errors import ConfigError
from runtime.contract.loader import load_specs
from tests.infra.conftest import CONFIG, as_config
from tests.infra.recording import Graph, example_settings, packed, run

PEM = "-----BEGIN PUBLIC KEY-----\nMIIB\nIjAN==\n-----END PUBLIC KEY-----\n"


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["admin", *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def with_vault(**changes: Any) -> dict[str, Any]:
    """The example's settings with other values in the group `vault`."""
    given = example_settings()
    vault = given["vault"] | changes
    return given | {"vault": {k: v for k, v in vault.items() if v is not None}}


def settings(**changes: Any) -> StackSettings:
    return StackSettings.read(as_config(with_vault(**changes)), "dev")


@pytest.fixture(scope="module")
def packed_bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(packed(CONFIG, tmp_path_factory.mktemp("bundle")))


# --- settings without Pulumi


def test_a_stack_that_is_not_deployed_has_settings_by_its_file(read_settings):
    assert StackSettings.from_file("dev") == read_settings


def test_a_stack_without_a_file_is_told_with_those_that_have_one():
    with pytest.raises(ConfigError, match="no settings.*Pulumi.dev.yaml"):
        StackSettings.from_file("nope")


@pytest.mark.parametrize("text", ["config: [", "- a list", "config: text"])
def test_a_file_that_is_no_yaml_of_settings_is_refused(tmp_path, text):
    (tmp_path / "Pulumi.dev.yaml").write_text(text)
    with pytest.raises(ConfigError, match="no YAML"):
        StackSettings.from_file("dev", tmp_path)


def test_an_empty_file_lacks_every_group(tmp_path):
    (tmp_path / "Pulumi.dev.yaml").write_text("")
    with pytest.raises(ConfigError, match="aurora-sync:aws"):
        StackSettings.from_file("dev", tmp_path)


# --- Aurora


def test_psql_is_given_what_a_local_stack_runs():
    """Between its own commands; the password comes from Vault, on nobody's screen."""
    specs = load_specs(CONFIG)
    text = printed("aurora", "--stack", "dev")
    wanted = setup_statements(specs, "vault", ":'vault_password'")
    assert text.endswith("".join(f"{each};\n" for each in wanted))
    assert "-field=password aurora-sync/dev/database-admin`" in text


def test_a_connection_that_exists_keeps_its_own_user():
    text = "\n".join(setup_statements((), None, ""))
    assert "CREATEROLE" not in text
    assert text.startswith("CREATE EXTENSION IF NOT EXISTS aws_s3 CASCADE")


# --- Snowflake

ACCOUNT_RIGHTS = {
    "snowflake:index/database": "CREATE DATABASE",
    "snowflake:index/warehouse": "CREATE WAREHOUSE",
    "snowflake:index/accountRole": "CREATE ROLE",
    "snowflake:index/storageIntegrationAws": "CREATE INTEGRATION",
}


def test_the_deployer_may_make_what_the_program_makes_and_hand_on_what_it_grants(
    graph: Graph, read_settings: StackSettings
):
    """Objects of the account; what is in the database belongs to who made that."""
    text = "\n".join(deployer_statements(read_settings.snowflake, "key"))
    granted = set(re.findall(r"CREATE (?:DATABASE|WAREHOUSE|ROLE|INTEGRATION)\b", text))
    made = {right for kind, right in ACCOUNT_RIGHTS.items() if graph.of(kind)}
    assert granted == made == set(ACCOUNT_RIGHTS.values())
    handed = {
        right
        for each in graph.of("snowflake:index/grantPrivilegesToAccountRole")
        if each.inputs.get("onAccount")
        for right in each.inputs["privileges"]
    }
    (line,) = re.findall(r"GRANT (.*) ON ACCOUNT .* WITH GRANT OPTION", text)
    assert set(line.split(", ")) == handed


def test_warehouses_of_single_tables_can_be_handed_on(read_settings):
    own = read_settings.snowflake.warehouse
    *_, last = deployer_statements(read_settings.snowflake, "k", ["BIG", own, "BIG"])
    assert last.startswith("GRANT USAGE ON WAREHOUSE BIG TO ROLE")


def test_a_key_travels_without_its_frame(tmp_path):
    file = tmp_path / "rsa_key.pub"
    file.write_text(PEM)
    text = printed("snowflake", "--stack", "dev", "--public-key", str(file))
    assert "TYPE = SERVICE" in text
    assert "RSA_PUBLIC_KEY = 'MIIBIjAN=='" in text


@pytest.mark.parametrize("text", ["", "ssh-rsa AAAA", PEM.replace("PUBLIC", "PRIVATE")])
def test_another_file_than_a_public_key_is_not_printed(text):
    with pytest.raises(ConfigError, match="no public key") as caught:
        key_body(text, "rsa_key")
    assert "MIIB" not in str(caught.value)


# --- Vault

VAULT_PATHS = {
    "vault:index/mount": "sys/mounts/{path}",
    "vault:index/policy": "sys/policies/acl/{name}",
    "vault:index/authBackend": "sys/auth/{path}",
    "vault:database/secretBackendConnection": "{backend}/config/{name}",
    "vault:database/secretBackendRole": "{backend}/roles/{name}",
    "vault:aws/authBackendClient": "auth/{backend}/config/client",
    "vault:aws/authBackendRole": "auth/{backend}/role/{role}",
}
OTHER_PATH = {"auth_mount": "aws/sync"}
EXISTING = {"manage_mounts": False}
GIVEN = {"connection_url": None, "admin_user": None, "admin_secret": None}
# Paths that no resource is: reading lists, tuning, and the provider's own token.
AROUND = r"auth/token/create|sys/(mounts|auth)|sys/.*/tune"


@pytest.mark.parametrize("changes", [{}, OTHER_PATH, EXISTING, EXISTING | GIVEN])
def test_the_policy_names_the_paths_of_the_programs_resources(changes, packed_bundle):
    given, wanted = with_vault(**changes), settings(**changes)
    graph = run(given | {"bundle": packed_bundle})
    made = {
        VAULT_PATHS[each.type.rpartition(":")[0]].format(**each.inputs)
        for each in graph.resources
        if each.type.startswith("vault:")
    }
    made |= {
        f"{call.args['mount']}/data/{call.args['name']}"
        for call in graph.calls
        if call.token.endswith("getSecretV2")
    }
    named = re.findall(r'^path "(.*)" {$', deployer_policy(wanted), re.M)
    assert made == {path for path in named if not re.fullmatch(AROUND, path)}
    assert not [path for path in named if "*" in path or "+" in path]


def test_only_the_auth_method_takes_sudo():
    policy = deployer_policy(settings())
    blocks = re.findall(r'path "([^"]+)" {\n(.*)\n}', policy)
    assert [path for path, rights in blocks if "sudo" in rights] == [
        "sys/auth/aws",
        "sys/auth/aws/tune",
    ]


def test_secrets_are_never_overwritten_and_names_are_quoted():
    text = commands(settings(admin_secret="a/b", kv_mount="kv/us"))
    puts = [line for line in text.splitlines() if "kv put" in line]
    assert len(puts) == 2
    assert all("-cas=0" in line and "-mount=kv/us" in line for line in puts)
    assert "a/b password=-" in text
