"""A plan with nothing but AWS at hand, as a workflow has it."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.cli.cloud import CloudTarget
from infra.planning import gather
from infra.planning.model import Action, Plan, ResourceChange
from infra.stack import StackSettings
from runtime.contract.errors import SourceUnavailableError, WarehouseError
from runtime.contract.loader import contract_path
from runtime.contract.snowflake_names import SnowflakeObjects, target_columns
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


class Warehouse:
    """Answers with what stands in Snowflake."""

    objects = SnowflakeObjects(database="DB", warehouse="", stack="dev")

    def ask(self, statement: str) -> list[dict[str, str]]:
        place = {"table_schema": "PUBLIC", "table_name": "ORDERS"}
        columns = target_columns(make_table())
        return [{**place, "column_name": column.name} for column in columns]

    def pipes(self, schema: str) -> list[dict[str, str]]:
        return []


@pytest.fixture
def standing(monkeypatch):
    monkeypatch.setattr(Workflow, "warehouse", lambda self: nullcontext(Warehouse()))


def seen(monkeypatch, action: Action) -> None:
    kind = "snowflake:index/table:Table"
    change = ResourceChange(action=action, type=kind, name="table-public.orders-target")
    monkeypatch.setattr(gather, "preview", lambda stack: (change,))


def test_a_target_that_stands_and_that_pulumi_would_make_is_refused(
    tmp_path, monkeypatch, standing
):
    seen(monkeypatch, "create")
    found = planned(tmp_path, make_table(), NotFound())
    assert [each.kind for each in found.refused] == ["adopt"]


def test_what_the_settings_take_over_is_not(tmp_path, monkeypatch, standing):
    """Without Pulumi at hand they alone tell."""
    monkeypatch.setattr(gather, "preview", lambda stack: None)
    kept = msgspec.structs.replace(
        StackSettings.from_file("dev"), adopt=("public.orders",)
    )
    monkeypatch.setattr(StackSettings, "from_file", lambda stack: kept)
    found = planned(tmp_path, make_table(), NotFound())
    assert found.refused == ()
    assert "is taken over with its rows" in found.tables[0].notes[0]


@pytest.mark.parametrize(
    ("action", "kinds"), [("replace", ["target"]), ("delete", ["removed-table"])]
)
def test_a_target_that_the_preview_would_lose_is_refused(
    tmp_path, monkeypatch, action, kinds
):
    served(monkeypatch, package(tmp_path, config()))
    seen(monkeypatch, action)
    found = planned(tmp_path, make_table())
    assert [(each.kind, each.table) for each in found.refused] == [
        (kind, "public.orders") for kind in kinds
    ]
