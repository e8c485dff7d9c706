"""What the exporter writes down is read back as it was, also after DynamoDB's turn."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from runtime.contract.names import SourceName
from runtime.contract.records import (
    ExportedFile,
    LedgerState,
    Manifest,
    RunResult,
    fingerprint,
    ledger_key,
    state_from_item,
    state_to_item,
)
from tests.factories import ORDERS, make_column, make_table

FULL = LedgerState(
    generation=2,
    seq=14,
    watermark="2026-11-23 03:29:03.207741+00",
    high="[2026",
    fresh="2026-11-23",
    lease_run="01M8376F4M66VTNFXAZ7ZQAVAH",
    lease_token=99,
    lease_until=1_790_000_000,
    held_by={"pid": 5, "user": "[odd]", "age_seconds": 1.5, "state": None},
    reconcile={"id": "k", "chunks": []},
    backfill={"id": "b", "chunks": []},
    waits_for="connections",
    waits_until=1_790_000_000,
    reconciled_at="2026-11-23T04:14:15+00:00",
    load={"id": "p", "chunks": [{"lo": None, "hi": "{x"}], "committed": [0, 1]},
    last_run={"rows_exported": 5, "seconds": 0.25, "at": "2026-11-23T04:14:15+00:00"},
    refusal={"code": "drift", "retryable": False, "message": 'say "x"\n'},
    contract="86d349b4b776f460",
    source={"oid": 4_294_967_295},
    snapshot="740:745:740,742",
    candidate={"value": 9_223_372_036_854_775_807, "at": "2026-11-23 04:14:15+00"},
    drift=("note", "größe"),
)


def through_dynamodb(item: dict) -> dict:
    """Return an item as boto3's table resource gives it back: numbers as Decimal."""
    wire = {name: TypeSerializer().serialize(value) for name, value in item.items()}
    return {name: TypeDeserializer().deserialize(value) for name, value in wire.items()}


@pytest.mark.parametrize("state", [LedgerState(), FULL], ids=["empty", "full"])
def test_a_state_survives_the_ledger(state):
    # A text that begins like JSON stands for JSON in an item; a watermark never does.
    state = msgspec.structs.replace(state, high=None)
    found = state_from_item(through_dynamodb(state_to_item(state)))
    assert found == state
    assert all(type(found.__getattribute__(n)) is int for n in ("seq", "lease_token"))


def test_every_field_of_a_full_state_is_in_the_item():
    item = state_to_item(FULL)
    assert set(item) == {field.name for field in msgspec.structs.fields(LedgerState)}


def test_absent_values_are_left_out_so_that_conditions_can_ask():
    item = state_to_item(LedgerState())
    assert None not in item.values()
    assert not {"watermark", "load", "refusal", "held_by"} & set(item)


def test_attributes_of_other_writers_are_ignored():
    item = {"pk": "dev#public.orders", "sk": "STATE", "busy": Decimal(3), "x": {"y"}}
    assert state_from_item(item | {"seq": Decimal(4)}) == LedgerState(seq=4)
    assert state_from_item({}) == LedgerState()


def test_floats_never_meet_dynamodb_as_such():
    """boto3 refuses them."""
    for value in state_to_item(FULL).values():
        assert not isinstance(value, float)
        TypeSerializer().serialize(value)


FILE = ExportedFile(key="k", rows=1, bytes=2, stamp="s", columns=3)
MANIFEST = Manifest(
    table="public.orders",
    seq=7,
    run="r",
    mode="first_load",
    generation=1,
    low=None,
    high="2026-01-01",
    contract="c",
    source={"oid": 5},
    files=(FILE,),
    committed_at="2026-01-01T00:00:00+00:00",
)


def test_a_manifest_is_read_back_from_its_json():
    assert msgspec.json.decode(MANIFEST.to_json(), type=Manifest) == MANIFEST


def test_a_manifest_has_all_that_snowflake_reads_of_it():
    raw = msgspec.json.decode(MANIFEST.to_json())
    names = {field.name for field in msgspec.structs.fields(Manifest)}
    assert set(raw) == names | {"prev"}
    assert raw["prev"] == 6
    assert set(raw["files"][0]) == {"key", "rows", "bytes", "stamp", "columns"}


def test_the_first_manifest_follows_none():
    assert msgspec.structs.replace(MANIFEST, seq=1).prev == 0


def test_tables_and_deployments_have_ledger_keys_of_their_own():
    names = ["public.orders", "public.orders_archive", "public.Orders", "a.b"]
    keys = {
        ledger_key(stack, SourceName.parse(name))
        for stack in ("dev", "prod")
        for name in names
    }
    assert len(keys) == 8


def test_an_answer_leaves_out_what_is_not_there():
    raw = msgspec.to_builtins(RunResult(status="busy", table="public.orders"))
    assert raw == {"status": "busy", "table": "public.orders"}


# --- the fingerprint


SAME: dict[str, Any] = {
    "schedule": "daily",
    "lookback": "PT1H",
    "null_watermark": "exclude",
    "target_table": "facts",
    "clustering": ["status"],
    "merge_interval": "PT10S",
}


@pytest.mark.parametrize("key", SAME)
def test_what_does_not_shape_files_does_not_change_the_fingerprint(key):
    assert fingerprint(make_table(**{key: SAME[key]})) == fingerprint(make_table())


def test_a_renamed_column_is_the_same_column():
    renamed = (ORDERS[0], ("state", "text"), ORDERS[2])
    assert fingerprint(make_table(renamed)) == fingerprint(make_table())


DIFFERENT = {
    "a column more": make_table((*ORDERS, ("note", "text"))),
    "another type": make_table((ORDERS[0], ("status", "bigint"), ORDERS[2])),
    "another number": make_table(
        (ORDERS[0], make_column(9, "status", "text"), ORDERS[2])
    ),
    "another kind": make_table(
        (ORDERS[0], make_column(2, "status", "text", kind="enum"), ORDERS[2])
    ),
    "dropped": make_table(
        (ORDERS[0], make_column(2, "status", "text", dropped=True), ORDERS[2])
    ),
    "another key": make_table(primary_key=["order_id", "status"]),
    "another watermark": make_table(watermark_col="status"),
    "another zone": make_table(watermark_timezone="UTC"),
}


def test_what_shapes_files_or_the_watermark_changes_the_fingerprint():
    prints = {name: fingerprint(table) for name, table in DIFFERENT.items()}
    assert len({*prints.values(), fingerprint(make_table())}) == len(DIFFERENT) + 1
