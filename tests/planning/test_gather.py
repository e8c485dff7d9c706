"""A plan with nothing but AWS at hand, as a workflow has it."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.cli.cloud import CloudTarget
from infra.planning import gather
from infra.planning.model import Plan
from runtime.contract.errors import SourceUnavailableError, WarehouseError
from runtime.contract.loader import contract_path
from runtime.contract.specs import Table
from runtime.ops.continued import continued
from runtime.ops.invoke import FunctionError
from tests.factories import make_entry, make_table
from tests.planning.test_deployed import Client, NotFound, config, package, served


class Workflow(CloudTarget):
    """A stack in the cloud without ways to Aurora and Snowflake."""

    def __init__(self, config: Path, answer: Any = None) -> None:
        super().__init__("dev", config)
        self._answer = answer

    @property
    def _settings(self) -> Any:
        raise FunctionError("cannot be found", subject="function")

    def client(self, service: str) -> Any:
        return Client(self._answer)

    def aurora(self) -> Any:
        raise SourceUnavailableError("does not answer", subject="Aurora")

    def warehouse(self) -> Any:
        raise WarehouseError("no connection", subject="Snowflake")


def planned(folder: Path, table: Table, answer: Any = None) -> Plan:
    path = folder / "wanted" / "sync_config.json"
    contract = contract_path(path, table.spec.source)
    contract.parent.mkdir(parents=True)
    path.write_text(json.dumps({"tables": [make_entry()]}))
    contract.write_bytes(msgspec.json.encode(table.contract))
    return gather.plan_of(Workflow(path, answer), path, "dev", None)


@pytest.fixture(autouse=True)
def no_preview(monkeypatch):
    monkeypatch.setattr(gather, "preview", lambda stack: ())


def test_before_the_first_deployment_nothing_is_refused(tmp_path):
    found = planned(tmp_path, make_table(), NotFound())
    assert [each.change for each in found.tables] == ["new"]
    assert not found.refused


def test_a_column_that_goes_is_refused_without_aurora_and_snowflake(
    tmp_path, monkeypatch
):
    served(monkeypatch, package(tmp_path, config()))
    table = make_table()
    kept = tuple(c for _, c in table.contract.live if c.name != "status")
    contract = continued(table.contract, kept, table.spec)
    found = planned(tmp_path, Table(spec=table.spec, contract=contract))
    assert [each.kind for each in found.tables[0].refusals] == ["drop-column"]
    assert "Snowflake, named DATABASE here" in found.unknown[0]
