"""The program writes the exporter's settings, the function reads the same ones."""

import msgspec
import pytest

from runtime.contract.errors import ConfigError
from runtime.contract.settings import ExporterSettings

SETTINGS = ExporterSettings(
    stack="dev",
    bucket="lake",
    region="eu-west-1",
    kms_key_arn="arn:aws:kms:eu-west-1:111122223333:key/1",
    ledger_table="ledger",
    load_queue_url="https://sqs.eu-west-1.amazonaws.com/111122223333/load",
    aurora_host="writer.example.test",
    aurora_port=5432,
    aurora_database="app",
    vault_addr="https://vault.example.test",
    vault_role="exporter",
    vault_database_role="exporter",
    vault_namespace="admin/team = a",
    chunk_bytes=7,
)


def test_settings_survive_the_environment():
    assert ExporterSettings.from_env(SETTINGS.to_env()) == SETTINGS


def test_variables_are_texts_under_one_prefix():
    env = SETTINGS.to_env()
    assert len(env) == len(msgspec.structs.fields(ExporterSettings))
    assert all(name.startswith("SYNC_") and name.isupper() for name in env)
    assert all(isinstance(value, str) for value in env.values())
    assert env["SYNC_AURORA_PORT"] == "5432"


def test_other_variables_are_none_of_our_business():
    env = SETTINGS.to_env() | {"PATH": "/bin", "SYNC_OTHER": "x"}
    assert ExporterSettings.from_env(env) == SETTINGS


def test_defaults_need_no_variable():
    env = SETTINGS.to_env()
    for name in ("SYNC_AURORA_SSLMODE", "SYNC_LOG_LEVEL", "SYNC_VAULT_CACERT"):
        del env[name]
    found = ExporterSettings.from_env(env)
    assert (found.aurora_sslmode, found.log_level) == ("verify-full", "INFO")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"SYNC_BUCKET": None}, "bucket"),
        ({"SYNC_AURORA_PORT": "five"}, "aurora_port"),
        ({"SYNC_CHUNK_BYTES": "1.5"}, "chunk_bytes"),
    ],
)
def test_what_lacks_or_has_the_wrong_form_is_named(change, told):
    env = {k: v for k, v in (SETTINGS.to_env() | change).items() if v is not None}
    with pytest.raises(ConfigError, match=told) as caught:
        ExporterSettings.from_env(env)
    assert caught.value.remedy == "deploy the function again"


def test_no_setting_is_a_secret():
    """They can be read by whoever may look at the function."""
    names = " ".join(SETTINGS.to_env()).lower()
    assert "password" not in names
    assert "token" not in names
    assert "secret" not in names.replace("secret_id_file", "")
