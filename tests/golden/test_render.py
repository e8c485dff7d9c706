import json
from pathlib import Path

import jsonschema
import pytest

from infra.stack import ROOT
from tests.contract.test_type_map import ALL
from tests.golden import render


@pytest.fixture(scope="module")
def files() -> dict[Path, str]:
    return render.rendered()


def test_generated_files_are_up_to_date(files):
    assert render.differences(files) == []


def test_a_changed_a_missing_and_a_left_over_file_are_each_told(files, tmp_path):
    urns = render.GOLDEN / "urns.txt"
    changed = files | {urns: "other\n", render.GOLDEN / "sql" / "new.sql": "SELECT 1\n"}
    left_over = render.GOLDEN / "sql" / "public.orders" / "task.sql"
    del changed[left_over]
    told = render.differences(changed)
    assert told == [
        str(path.relative_to(ROOT))
        for path in (render.GOLDEN / "sql" / "new.sql", left_over, urns)
    ]


def test_every_statement_policy_and_resource_of_the_example_is_written(files):
    names = {str(path.relative_to(ROOT)) for path in files}
    for table in ("customers", "orders", "order_items"):
        for name in ("pipe.sql", "task.sql", "task_condition.sql"):
            assert f"tests/golden/sql/public.{table}/{name}" in names
    types = files[render.GOLDEN / "sql" / "every_type" / "types.txt"]
    assert all(f"\n{column.base_type}" in types for column in ALL)
    urns = files[render.GOLDEN / "urns.txt"].splitlines()
    assert len(urns) == len(set(urns)) > 100
    assert "config/sync_config.schema.json" in names


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [("sync_config", "sync_config.json"), ("contract", "contracts/*.json")],
)
def test_the_example_agrees_with_the_generated_schemas(kind, pattern):
    """Editors check against the schema what the loader checks against the model."""
    config = ROOT / "config"
    schema = json.loads((config / f"{kind}.schema.json").read_text())
    examples = list(config.glob(pattern))
    assert examples
    for path in examples:
        jsonschema.validate(json.loads(path.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"tabels": []}, schema)
