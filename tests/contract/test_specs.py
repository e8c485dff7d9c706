"""The model of entries and contracts, and the JSON Schema that editors get of it."""

import jsonschema
import msgspec
import pytest

from runtime.contract.specs import Table, TableContract, TableSpec
from tests.contract.test_loader import WRONG_FORM
from tests.factories import (
    ORDERS,
    make_column,
    make_contract,
    make_entry,
    make_spec,
    make_table,
)

ENTRY_SCHEMA = msgspec.json.schema(TableSpec)
CONTRACT_SCHEMA = msgspec.json.schema(TableContract)
DURATIONS = {
    "lookback",
    "reconcile_interval",
    "margin",
    "max_holdback",
    "merge_interval",
}


def is_valid(value: object, schema: dict) -> bool:
    kind = jsonschema.Draft202012Validator
    return kind(schema).is_valid(value)


def test_the_generated_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(ENTRY_SCHEMA)
    jsonschema.Draft202012Validator.check_schema(CONTRACT_SCHEMA)


GOOD = {
    "primary_key": ["order_id", "line_no"],
    "schedule": "rate(5 minutes)",
    "lookback": "PT90M",
    "watermark_timezone": "Europe/Berlin",
    "null_watermark": "exclude",
    "max_null_rows": 0,
    "max_delete_fraction": 1,
    "columns": ["a"],
    "exclude": [],
    "masks": {"status": "hash"},
    "clustering": ["status"],
    "target_table": None,
    "merge_interval": "PT10S",
    "where": "status <> 'draft'",
    "rename": {"status": "state"},
    "misfits": {"updated_at": "text"},
}


@pytest.mark.parametrize(("key", "value"), GOOD.items())
def test_the_schema_accepts_what_the_loader_accepts(key, value):
    entry = make_entry(**{key: value})
    msgspec.convert(entry, TableSpec)
    assert is_valid(entry, ENTRY_SCHEMA)


@pytest.mark.parametrize("key", sorted(set(WRONG_FORM) - DURATIONS))
def test_the_schema_refuses_what_the_loader_refuses(key):
    assert not is_valid(make_entry(**{key: WRONG_FORM[key]}), ENTRY_SCHEMA)


def test_three_keys_suffice_for_the_schema_too():
    assert is_valid(make_entry(), ENTRY_SCHEMA)
    for key in make_entry():
        less = {name: value for name, value in make_entry().items() if name != key}
        # Mode full does without a watermark; the loader knows.
        assert is_valid(less, ENTRY_SCHEMA) is (key == "watermark_col")
    assert not is_valid(make_entry(other=1), ENTRY_SCHEMA)


def test_every_key_is_described_to_whoever_writes_an_entry():
    properties = ENTRY_SCHEMA["$defs"]["TableSpec"]["properties"]
    bare = [name for name, key in properties.items() if not key.get("description")]
    assert bare == []
    described = [name for name in DURATIONS if "ISO 8601" in str(properties[name])]
    assert set(described) == DURATIONS


def test_a_contract_that_was_written_is_valid_and_read_back():
    contract = make_contract((*ORDERS, make_column(4, "old", "text", dropped=True)))
    raw = msgspec.json.decode(msgspec.json.encode(contract))
    assert is_valid(raw, CONTRACT_SCHEMA)
    assert msgspec.convert(raw, TableContract) == contract


# --- what a spec means


def test_the_target_follows_the_source_unless_it_is_set():
    assert make_spec().target == ("PUBLIC", "ORDERS")
    assert make_spec(table_name="Sales.Order Lines").target == ("SALES", "Order Lines")
    assert make_spec(target_schema="dwh").target == ("DWH", "ORDERS")
    assert make_spec(target_table="Facts").target == ("PUBLIC", "FACTS")


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("hourly", "rate(1 hour)"), ("daily", "rate(1 day)"), ("rate(5 minutes)",) * 2],
)
def test_shorthands_are_spelled_out_for_eventbridge(schedule, expected):
    assert make_spec(schedule=schedule).schedule_expression == expected


def test_a_key_is_a_list_however_it_was_written():
    assert make_spec(primary_key="a").key == ("a",)
    assert make_spec(primary_key=["a", "b"]).key == ("a", "b")


# --- what a contract means


def test_a_dropped_column_keeps_its_place_without_a_name():
    columns = (*ORDERS, make_column(4, "old", "text", dropped=True), ("note", "text"))
    table = make_table(columns)
    assert table.contract.width == 5
    assert [place for place, _ in table.contract.live] == [1, 2, 3, 5]
    assert table.contract.column("old") is None


def test_a_re_added_column_is_found_under_its_new_number():
    columns = (
        *ORDERS,
        make_column(4, "note", "text", dropped=True),
        make_column(7, "note", "text"),
    )
    found = make_table(columns).contract.column("note")
    assert found is not None
    assert found.attnum == 7


def test_key_columns_stand_in_the_order_of_the_key_with_their_places():
    table = make_table(primary_key=["status", "order_id"])
    assert [(place, column.name) for place, column in table.keys] == [
        (2, "status"),
        (1, "order_id"),
    ]


@pytest.mark.parametrize(
    ("base_type", "plain"),
    [
        ("timestamp(3) with time zone", "timestamp with time zone"),
        ("numeric(12,-2)", "numeric"),
        ("character varying(20)", "character varying"),
        ("date", "date"),
    ],
)
def test_a_plain_type_has_no_length_or_precision(base_type, plain):
    assert make_column(1, "x", base_type).plain_type == plain


def test_tables_are_values():
    assert make_table() == make_table()
    assert isinstance(make_table(), Table)
    with pytest.raises(AttributeError):
        setattr(make_table().spec, "schedule", "daily")
