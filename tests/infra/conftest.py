"""Runs of the program for tests; the plain example is run once."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.stack import ROOT, StackSettings
from runtime.contract.loader import contract_path
from runtime.contract.specs import Table
from tests.infra import deployed
from tests.infra.recording import Graph, example_settings, packed, run

CONFIG = ROOT / "config" / "sync_config.json"


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """What the example configuration of this checkout registers; nobody changes it."""
    folder = tmp_path_factory.mktemp("example")
    return run(example_settings() | {"bundle": str(packed(CONFIG, folder))})


@pytest.fixture(scope="session")
def documents(graph: Graph) -> deployed.Documents:
    """The documents that it registers, by their names in the table."""
    return deployed.documents(graph)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """The example's settings with a bundle that fits them."""
    return example_settings() | {"bundle": str(packed(CONFIG, tmp_path))}


@pytest.fixture(scope="session")
def read_settings() -> StackSettings:
    """The example's settings as the program holds them."""
    return StackSettings.read(as_config(example_settings()), "dev")


@pytest.fixture
def with_tables(tmp_path: Path) -> Callable[[Iterable[Table]], dict[str, Any]]:
    """Gives the example's settings for other tables."""
    return lambda tables: settings_with(tmp_path, tables)


def settings_with(folder: Path, tables: Iterable[Table]) -> dict[str, Any]:
    """Return the example's settings for other tables, with config and bundle there."""
    config = folder / "config" / "sync_config.json"
    (config.parent / "contracts").mkdir(parents=True, exist_ok=True)
    entries = []
    for table in tables:
        entries.append(_set_keys(table))
        contract = msgspec.json.encode(table.contract)
        contract_path(config, table.spec.source).write_bytes(contract)
    config.write_text(json.dumps({"tables": entries}))
    bundle = packed(config, folder)
    return example_settings() | {"bundle": str(bundle), "sync_config": str(config)}


def _set_keys(table: Table) -> dict[str, Any]:
    """An entry with the keys that differ from their defaults, as people write it."""
    entry = msgspec.to_builtins(table.spec)
    defaults = {item.name: item.default for item in msgspec.structs.fields(table.spec)}
    return {
        key: value
        for key, value in entry.items()
        if getattr(table.spec, key) != defaults[key] and value not in ([], {})
    }


def as_config(settings: dict[str, Any]) -> dict[str, str]:
    """Render settings as Pulumi's configuration holds them: texts of JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in settings.items()
    }
