import json
from typing import Any

import pytest

from infra.program import main
from infra.stack import StackSettings
from runtime.contract.errors import ConfigErrors
from tests.infra.conftest import as_config
from tests.infra.recording import example_settings, run_recording


def problems(settings: dict[str, Any], stack: str = "dev") -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        StackSettings.read(as_config(settings), stack)
    return [str(problem) for problem in caught.value.problems]


def changed(group: str, **values: Any) -> dict[str, Any]:
    settings = example_settings()
    merged = settings.get(group, {}) | values
    kept = {key: value for key, value in merged.items() if value is not ...}
    return settings | {group: kept}


def test_the_example_stack_is_accepted(read_settings):
    assert read_settings.stack == "dev"
    assert read_settings.function.runtime == "python3.13"
    assert read_settings.cluster_arn == (
        "arn:aws:rds:eu-west-1:111122223333:cluster:shop-dev"
    )


def test_all_wrong_settings_are_told_at_once_and_nothing_is_registered(settings):
    settings |= {
        "aws": {"region": "Ireland", "account_id": "1234"},
        "aurora": settings["aurora"] | {"port": 70000, "hots": "x"},
        "vault": settings["vault"] | {"address": "vault.example.com"},
        "tags": ["owner"],
        "snowflak": {},
    }
    graph, error = run_recording(settings)
    assert graph.resources == []
    assert error.startswith("ConfigErrors: ")
    lines = error.removeprefix("ConfigErrors: ").split("\n")
    assert len(lines) == 7
    for key in ("region", "account_id", "port", "hots", "address", "tags", "snowflak"):
        assert [line for line in lines if key in line.partition(";")[0]], key
    assert all(line.startswith("Pulumi.dev.yaml") for line in lines)


@pytest.mark.parametrize(
    ("group", "values", "key"),
    [
        ("network", {"vpc_id": ...}, "cidr"),
        ("network", {"cidr": "10.0.0.0/24"}, "cidr"),
        ("network", {"subnet_ids": []}, "subnet_ids"),
        ("network", {"peers": [{"vpc_id": "v", "cidr": "10.0.0.0/16"}]}, "peers"),
        ("aurora", {"sslmode": "disable"}, "sslmode"),
        ("aurora", {"sslmode": "prefer"}, "sslmode"),
        ("aurora", {"ca": ""}, "ca"),
        ("aurora", {"ca": "../secrets.pem"}, "ca"),
        ("vault", {"address": "http://vault.example.com:8200"}, "address"),
        ("vault", {"cidr": "10.0.0.0/24"}, "cidr"),
        ("vault", {"security_group_id": ..., "cidr": "10.0.0.0/4"}, "cidr"),
        ("vault", {"auth": "approle"}, "secret_id_file"),
        ("vault", {"admin_secret": ...}, "connection_url"),
        ("snowflake", {"database": "shop dev"}, "database"),
        ("snowflake", {"external_id": "short"}, "external_id"),
        ("function", {"timeout": 900}, "timeout"),
        ("function", {"memory": "256"}, "memory"),
        ("function", {"log_retention_days": 31}, "log_retention_days"),
        ("alarms", {"email": ["nobody"]}, "email"),
        ("alarms", {"email": "on-call@example.com"}, "email"),
        ("alarms", {"https": ["http://example.com"]}, "https"),
        ("alarms", {"runbook": ""}, "runbook"),
        ("alarms", {"status_minutes": 1}, "status_minutes"),
        ("alarms", {"sms": ["+49"]}, "sms"),
    ],
)
def test_a_wrong_setting_names_its_key_and_what_is_allowed(group, values, key):
    (problem,) = problems(changed(group, **values))
    assert f"aurora-sync:{group}" in problem
    assert f"key {key!r}" in problem
    assert "; allowed: " in problem


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"cidr": "10.0.0.1/24"}, "cidr"),
        ({"cidr": "10.0.0.0/28"}, "cidr"),
        ({"cidr": "10.0.0.0/24", "availability_zones": ["a"]}, "availability_zones"),
    ],
)
def test_an_own_network_needs_room_and_zones(values, key):
    zones = {"availability_zones": ["eu-west-1a", "eu-west-1b"]}
    found = problems(example_settings() | {"network": zones | values})
    assert len(found) == 1 and f"key {key!r}" in found[0]


def test_unencrypted_connections_are_for_the_loopback_address_only():
    settings = changed("vault", address="http://127.0.0.1:8200")
    settings["aurora"] |= {"host": "127.0.0.1", "sslmode": "disable", "ca": ""}
    assert StackSettings.read(as_config(settings), "dev").aurora.sslmode == "disable"


@pytest.mark.parametrize("stack", ["Dev", "a_b", "-dev", "d" * 25, ""])
def test_a_stack_name_must_fit_every_name_made_of_it(stack):
    (problem,) = problems(example_settings(), stack)
    assert "key 'stack'" in problem


def test_no_group_given_tells_every_required_key():
    found = problems({})
    assert len(found) > 10
    assert len([line for line in found if "is missing" in line]) > 10


def test_settings_hold_no_secret(read_settings):
    """What is secret stands in Vault; settings say under which name."""
    assert read_settings.snowflake.private_key_secret == "aurora-sync/dev/snowflake"
    text = json.dumps(example_settings())
    assert "PRIVATE KEY" not in text


def test_under_pulumi_an_error_is_told_without_a_stack_trace():
    graph, error = run_recording({"aws": {}}, program=main)
    assert graph.resources == []
    assert error.startswith("RunError: Pulumi.dev.yaml: aurora-sync:aws: key 'region'")
