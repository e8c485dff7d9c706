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


def test_unencrypted_connections_are_for_the_loopback_address_only():
    settings = changed("vault", address="http://127.0.0.1:8200")
    settings["aurora"] |= {"host": "127.0.0.1", "sslmode": "disable", "ca": ""}
    url = "postgresql://{{username}}:{{password}}@127.0.0.1:5432/shop?sslmode=disable"
    settings["vault"]["connection_url"] = url
    assert StackSettings.read(as_config(settings), "dev").aurora.sslmode == "disable"


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
