"""Whatever is wrong with the configuration is told at once, with the way out."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.loader import (
    DeployedTables,
    contract_path,
    convert,
    load_specs,
    load_tables,
    read_json,
)
from runtime.contract.names import SourceName
from runtime.contract.specs import TableContract, TableSpec
from tests.factories import ORDERS, make_column, make_contract, make_entry, treated

KEYS = [field.name for field in msgspec.structs.fields(TableSpec)]


class Folder:
    """A config folder to fill."""

    def __init__(self, path: Path) -> None:
        self.config = path / "sync_config.json"
        (path / "contracts").mkdir()

    def entries(self, *entries: object) -> Path:
        self.config.write_text(json.dumps({"tables": entries}))
        return self.config

    def contract(self, slug: str = "public.orders", **fields: Any) -> Path:
        path = self.config.parent / "contracts" / f"{slug}.json"
        contract = make_contract(**({"table": slug} | fields))
        path.write_bytes(msgspec.json.encode(contract))
        return path


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def problems(load, config: Path) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        load(config)
    return caught.value.problems


def test_three_keys_suffice(folder):
    folder.contract()
    (table,) = load_tables(folder.entries(make_entry()))
    assert table.spec.key == ("order_id",)
    assert table.spec.schedule_expression == "rate(1 hour)"
    assert table.spec.target == ("PUBLIC", "ORDERS")
    assert table.watermark.name == "updated_at"
    assert [column.name for _, column in table.keys] == ["order_id"]


def test_a_good_value_of_every_key_arrives(folder):
    values: dict[str, object] = {
        "table_name": "public.orders",
        "watermark_col": "updated_at",
        "primary_key": ["status", "order_id"],
        "schedule": "cron(0/15 6-20 ? * MON-FRI *)",
        "lookback": "PT90M",
        "margin": "PT0S",
        "watermark_timezone": "Europe/Berlin",
        "watermark_unit": None,
        "null_watermark": "exclude",
        "max_null_rows": 0,
        "id_lookback": None,
        "max_holdback": "P1D",
        "mode": "incremental",
        "deletes": "ignore",
        "deleted_col": None,
        "reconcile_interval": "P7D",
        "max_delete_fraction": 0.5,
        "columns": ["order_id", "status", "updated_at", "note", "total"],
        "exclude": [],
        "rename": {"status": "State"},
        "masks": {"note": "truncate:3"},
        "misfits": {"total": "null"},
        "where": "order_id > 0",
        "target_schema": "shop",
        "target_table": "OrderFacts",
        "clustering": ["status"],
        "warehouse": "MERGES",
        "merge_interval": "PT10S",
    }
    assert set(values) == set(KEYS)
    columns = (*ORDERS, ("note", "text"), ("total", "numeric(9,2)"))
    spec = msgspec.convert(values, TableSpec)
    frozen = treated(make_contract(columns), spec)
    folder.contract().write_bytes(msgspec.json.encode(frozen))
    (table,) = load_tables(folder.entries(values))
    arrived = msgspec.to_builtins(table.spec)
    assert {key: arrived[key] for key in values} == {
        **values,
        "primary_key": ("status", "order_id"),
        "columns": ("order_id", "status", "updated_at", "note", "total"),
        "clustering": ("status",),
        "exclude": (),
        # The same durations, as the library spells them.
        "lookback": "PT5400S",
        "margin": "P0D",
    }
    assert [column.name for _, column in table.keys] == ["status", "order_id"]


WRONG_FORM = {
    "table_name": 5,
    "watermark_col": ["updated_at"],
    "primary_key": {"order_id": 1},
    "schedule": 60,
    "lookback": "5 minutes",
    "margin": 2,
    "watermark_timezone": 1,
    "watermark_unit": "h",
    "null_watermark": "ignore",
    "max_null_rows": -1,
    "id_lookback": "ten",
    "max_holdback": "6h",
    "mode": "append",
    "deletes": "hard",
    "deleted_col": True,
    "reconcile_interval": "daily",
    "max_delete_fraction": 1.5,
    "columns": "order_id",
    "exclude": [1],
    "rename": {"status": ""},
    "masks": {"status": "rot13"},
    "misfits": {"status": "ignore"},
    "where": 1,
    "target_schema": "",
    "target_table": "",
    "clustering": "status",
    "warehouse": "",
    "merge_interval": "60",
}


def test_every_key_has_a_case_below():
    assert set(WRONG_FORM) == set(KEYS)


@pytest.mark.parametrize(("key", "value"), WRONG_FORM.items())
def test_a_value_of_the_wrong_form_names_file_entry_key_and_what_is_allowed(
    folder, key, value
):
    entries = [make_entry(table_name="shop.first"), make_entry(**{key: value})]
    config = folder.entries(*entries)
    (problem,) = problems(load_specs, config)
    assert problem.subject.startswith(f"{config}: tables[1]")
    assert problem.fact.startswith((f"key {key!r}: expected", f"key {key!r}: invalid"))
    assert problem.got == value
    assert problem.allowed
    assert problem.remedy


@pytest.mark.parametrize("key", ["table_name", "watermark_col", "primary_key"])
def test_a_missing_key_is_told_with_its_meaning(folder, key):
    entry = make_entry()
    del entry[key]
    (problem,) = problems(load_specs, folder.entries(entry))
    assert problem.fact == f"key {key!r} is missing"
    assert problem.allowed
    assert problem.remedy.startswith("add the key")


def test_an_unknown_key_is_told_with_those_there_are(folder):
    (problem,) = problems(load_specs, folder.entries(make_entry(watermark="x")))
    assert problem.fact == "unknown key 'watermark'"
    assert problem.allowed == ", ".join(KEYS)


WRONG_VALUE = [
    ("table_name", "orders", "schema.table"),
    ("table_name", "a.b.c", "schema.table"),
    ("table_name", 'a."b', "schema.table"),
    ("table_name", ".b", "schema.table"),
    ("schedule", "every hour", "hourly, daily, rate"),
    ("schedule", "rate(1 minutes)", "hourly, daily, rate"),
    ("schedule", "rate(2 minute)", "hourly, daily, rate"),
    ("schedule", "rate(0 minutes)", "hourly, daily, rate"),
    ("schedule", "cron(0 * * * *)", "hourly, daily, rate"),
    ("lookback", "-PT1S", "PT0S or longer"),
    ("margin", "-PT1S", "PT0S or longer"),
    ("max_holdback", "-PT1S", "PT0S or longer"),
    ("merge_interval", "PT9S", "PT10S to PT1H"),
    ("merge_interval", "PT61M", "PT10S to PT1H"),
    ("watermark_timezone", "Mars/Olympus", "IANA name"),
    ("watermark_timezone", "../../etc/passwd", "IANA name"),
    ("watermark_timezone", "", "IANA name"),
    ("primary_key", [], "a column name or a list"),
    ("primary_key", ["order_id", "order_id"], "each column once"),
    ("columns", ["order_id", "updated_at", "updated_at"], "each column once"),
    ("columns", ["order_id"], "updated_at"),
    ("exclude", ["order_id"], "other columns"),
    ("exclude", ["updated_at"], "other columns"),
    ("exclude", ["status", "status"], "each column once"),
    ("clustering", ["status", "status"], "each column once"),
    ("target_schema", "sync", "any schema but"),
    ("target_schema", "Landing", "any schema but"),
    ("target_schema", "information_schema", "any schema but"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), WRONG_VALUE)
def test_a_value_that_cannot_work_is_refused(folder, key, value, allowed):
    entry = make_entry(**{key: value})
    (problem,) = problems(load_specs, folder.entries(entry))
    assert problem.fact.startswith(f"key {key!r}")
    assert allowed in problem.allowed
    assert problem.got is not None
    assert problem.subject == f"{folder.config}: tables[0] {entry['table_name']}"


def test_the_schema_of_the_source_is_no_way_round(folder):
    (problem,) = problems(load_specs, folder.entries(make_entry(table_name="sync.a")))
    assert problem.fact.startswith("key 'target_schema'")
    assert load_specs(
        folder.entries(make_entry(table_name="sync.a", target_schema="shop"))
    )


def test_columns_and_exclude_do_not_go_together(folder):
    entry = make_entry(columns=["order_id", "updated_at"], exclude=["status"])
    (problem,) = problems(load_specs, folder.entries(entry))
    assert problem.fact == "key 'exclude' stands beside columns"


@pytest.mark.parametrize(
    "schedule",
    [
        "hourly",
        "daily",
        "rate(1 minute)",
        "rate(10 hours)",
        "cron(0 3 ? * 2#1 *)",
        "cron(15 12 L * ? 2026-2030)",
    ],
)
def test_schedules_of_eventbridge_are_accepted(folder, schedule):
    (spec,) = load_specs(folder.entries(make_entry(schedule=schedule)))
    assert spec.schedule_expression.startswith(("rate(", "cron("))


def test_all_problems_of_a_reading_are_told_at_once(folder):
    config = folder.entries(
        make_entry(schedule="often", margin="-PT1S", lookback=5),
        "not an entry",
        make_entry(primary_key="id", clustering=["nothing"]),
        make_entry(),
        make_entry(table_name="public.customers"),
    )
    folder.contract()
    found = problems(load_tables, config)
    told = [str(problem) for problem in found]
    assert len(told) == 6
    assert "tables[0] public.orders: key 'lookback'" in told[0]
    assert "tables[1]: is not an object; got 'not an entry'" in told[1]
    assert "table stands twice; got 'public.orders'" in told[2]
    assert "primary_key names a column the table does not have" in told[3]
    assert "clustering names a column the table does not have" in told[4]
    assert "public.customers.json: file not found" in told[5]
    assert "contract refresh public.customers" in told[5]


def test_several_problems_of_one_entry_are_told_at_once(folder):
    entry = make_entry(schedule="often", margin="-PT1S", exclude=["order_id"])
    assert len(problems(load_specs, folder.entries(entry))) == 3


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (b'{"tables": [}', "is not valid JSON"),
        (b"", "is not valid JSON"),
        (b'{"tables": ["\xff"]}', "is not valid JSON"),
        (b"[]", "is not a sync config"),
        (b"{}", "is not a sync config"),
        (b'{"tables": {}}', "is not a sync config"),
        (b'{"tables": [], "defaults": {}}', "is not a sync config"),
    ],
)
def test_a_config_that_is_none_is_told_with_its_file(folder, text, fact):
    folder.config.write_bytes(text)
    (problem,) = problems(load_tables, folder.config)
    assert problem.fact.startswith(fact)
    assert problem.subject == str(folder.config)
    assert problem.remedy


def test_the_position_of_a_syntax_error_is_told(folder):
    folder.config.write_text('{"tables": [}')
    (problem,) = problems(load_specs, folder.config)
    assert "byte 12" in problem.fact


def test_an_absent_config_says_how_to_make_one(folder):
    (problem,) = problems(load_specs, folder.config)
    assert problem.fact == "file not found"
    assert "table add" in problem.remedy


def test_an_unreadable_file_is_told_with_the_reason(folder):
    folder.config.mkdir()
    (problem,) = problems(load_specs, folder.config)
    assert problem.fact == "cannot be read (Is a directory)"
    with pytest.raises(ConfigError):
        read_json(folder.config, "")


def test_an_editors_schema_reference_is_welcome(folder):
    text = {"$schema": "./sync_config.schema.json", "tables": [make_entry()]}
    folder.config.write_text(json.dumps(text))
    assert len(load_specs(folder.config)) == 1


def test_a_config_without_tables_is_complete(folder):
    assert load_tables(folder.entries()) == ()


def test_the_contract_of_another_table_is_refused(folder):
    folder.contract("public.orders", table="public.customers")
    (problem,) = problems(load_tables, folder.entries(make_entry()))
    assert problem.fact == "is the contract of another table"
    assert problem.got == "public.customers"
    assert "contract refresh public.orders" in problem.remedy


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"columns": []}, "key 'columns'"),
        ({"columns": [{"name": "x"}]}, "key 'columns'"),
        ({"base_width": 0}, "key 'base_width'"),
        ({"version": 1}, "unknown key 'version'"),
    ],
)
def test_a_malformed_contract_is_told_with_its_file(folder, change, fact):
    path = folder.contract()
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (problem,) = problems(load_tables, folder.entries(make_entry()))
    assert problem.fact.startswith(fact)
    assert problem.subject == str(path)


def test_a_contract_is_found_under_a_hostile_name(folder):
    name = 'Sales/EU."../../etc"'
    entry = make_entry(table_name=name)
    (spec,) = load_specs(folder.entries(entry))
    path = contract_path(folder.config, spec.source)
    assert path.parent == folder.config.parent / "contracts"
    contract = make_contract(table=name)
    path.write_bytes(msgspec.json.encode(contract))
    (table,) = load_tables(folder.config)
    assert table.spec.source.name == "../../etc"


def test_convert_gives_the_struct_and_no_problem():
    found: list[ConfigError] = []
    raw = msgspec.to_builtins(make_contract((make_column(1, "a", "text"),)))
    assert convert(raw, TableContract, "here", found) == make_contract(
        (make_column(1, "a", "text"),)
    )
    assert found == []


# --- what the function reads


def test_the_function_reads_the_contract_that_it_needs_and_no_other(folder):
    """Of a thousand: the others' files are not even opened."""
    folder.contract()
    other = make_entry(table_name="public.unread")
    tables = DeployedTables(folder.entries(make_entry(), other))
    source, unread = tables
    assert tables[source] == load_tables(folder.entries(make_entry()))[0]
    assert tables[source] is tables[source]
    with pytest.raises(ConfigErrors, match="public.unread"):
        tables[unread]
    assert tables.get(SourceName.parse("public.nowhere")) is None
    assert len(tables) == 2
