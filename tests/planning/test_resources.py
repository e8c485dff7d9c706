"""Resources as they stand beside those that the program registers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from infra.local.adapter.cloud import UNKNOWN
from infra.local.adapter.record import RETAINED, Resource
from infra.planning.model import ResourceChange
from infra.planning.recording import Recording, Registered
from infra.planning.resources import (
    PreviewError,
    compare,
    previewed,
    resource_refusals,
)

BUCKET = "aws:s3/bucket:Bucket"
RULE = "aws:cloudwatch/eventRule:EventRule"
TABLE = "snowflake:index/table:Table"


def registered(kind: str, name: str, inputs: dict[str, Any], *needs: str) -> Registered:
    return Registered(
        urn=name,
        type=kind,
        name=name,
        provider="",
        parent="",
        custom=True,
        inputs=inputs,
        options=frozenset(),
        needs=frozenset(needs),
    )


def standing(*known: tuple[str, str, dict[str, Any]]) -> dict[Any, Resource]:
    return {
        (kind, name): Resource(type=kind, name=name, id="", inputs=inputs)
        for kind, name, inputs in known
    }


def changes(before: dict[Any, Resource], *now: Registered) -> list[tuple[Any, ...]]:
    found = compare(before, Recording(resources=list(now)))
    return [(each.action, each.name, each.keys) for each in found]


def test_equal_inputs_are_no_change():
    before = standing((BUCKET, "lake", {"bucket": "b", "tags": {"a": "b"}, "n": 3}))
    same = {"bucket": "b", "tags": {"a": "b"}, "n": 3.0}
    assert changes(before, registered(BUCKET, "lake", same)) == []


def test_what_is_known_only_after_the_deployment_is_no_change():
    before = standing((RULE, "r", {"arn": "a", "list": ["x", {"y": "z"}]}))
    now = {"arn": UNKNOWN, "list": ["x", {"y": UNKNOWN}]}
    assert changes(before, registered(RULE, "r", now)) == []


def test_inputs_that_differ_come_and_go_are_named():
    before = standing((RULE, "r", {"state": "ENABLED", "old": 1, "code": "a"}))
    now = registered(RULE, "r", {"state": "DISABLED", "new": 1, "code": "b"})
    assert changes(before, now) == [("update", "r", ("new", "old", "state"))]


def test_another_name_is_another_resource():
    before = standing((BUCKET, "lake", {"bucket": "a"}))
    now = registered(BUCKET, "lake", {"bucket": "b"})
    assert changes(before, now) == [("replace", "lake", ("bucket",))]


def test_the_order_is_that_of_the_program_and_what_goes_comes_last():
    pipe = "snowflake:index/pipe:Pipe"
    now = [
        registered(RULE, "schedule", {}, "function"),
        registered("aws:lambda/function:Function", "function", {}, "pipe-new"),
        registered(pipe, "pipe-new", {}, "landing"),
        registered("snowflake:index/table:Table", "landing", {}),
    ]
    found = changes(standing((pipe, "pipe-old", {})), *now)
    assert [(action, name) for action, name, _ in found] == [
        ("create", "landing"),
        ("create", "pipe-new"),
        ("create", "function"),
        ("create", "schedule"),
        ("delete", "pipe-old"),
    ]


def test_other_code_of_the_function_is_told_and_its_path_is_not():
    kind = "aws:lambda/function:Function"
    before = standing((kind, "f", {"code": "/a.zip"}))
    now = Recording(resources=[registered(kind, "f", {"code": "/b.zip"})])
    assert compare(before, now) == ()
    [change] = compare(before, now, new_code=True)
    assert (change.action, change.keys) == ("update", ("code",))


def test_a_target_that_leaves_the_program_stays():
    kind = "snowflake:index/table:Table"
    before = standing((kind, "table-public.a-target", {}), (kind, "table-b-keys", {}))
    assert [action for action, _, _ in changes(before)] == ["delete", "delete"]
    kept = before[kind, "table-public.a-target"]
    before[kind, kept.name] = replace(kept, options=(RETAINED,))
    assert changes(before) == [
        ("delete", "table-b-keys", ()),
        ("leave", "table-public.a-target", ()),
    ]


@pytest.mark.parametrize(
    ("key", "action"),
    [("name", "update"), ("schema", "replace"), ("database", "replace")],
)
def test_a_table_is_renamed_in_its_place_and_made_anew_elsewhere(key, action):
    kind = "snowflake:index/table:Table"
    place = {"database": "D", "schema": "S", "name": "T"}
    found = changes(
        standing((kind, "t", place)), registered(kind, "t", place | {key: "X"})
    )
    assert found == [(action, "t", (key,))]


def test_what_the_program_imports_is_not_made():
    kind = "snowflake:index/table:Table"
    now = replace(registered(kind, "t", {}), import_id="D|S|T")
    assert changes({}, now) == [("import", "t", ())]
    assert changes(standing((kind, "t", {})), now) == []


def test_to_wait_for_a_component_is_to_wait_for_what_is_in_it():
    child = registered(RULE, "child", {}, "first")
    inner = Registered(**{**fields(child), "parent": "component"})
    recording = Recording(
        resources=[
            registered(RULE, "last", {}, "component"),
            inner,
            registered(RULE, "first", {}),
        ]
    )
    order = recording.order()
    assert order["first"] < order["child"] < order["last"]


def fields(one: Registered) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


@pytest.mark.parametrize(
    ("kind", "name", "action", "refused"),
    [
        (BUCKET, "lake-bucket", "replace", ["bucket"]),
        (BUCKET, "lake-bucket", "update", []),
        ("aws:dynamodb/table:Table", "exporter-ledger", "delete", ["ledger"]),
        ("aws:kms/key:Key", "lake-key", "replace", ["key"]),
        ("snowflake:index/database:Database", "snowflake", "replace", ["database"]),
        ("snowflake:index/table:Table", "landing-manifests", "delete", ["database"]),
        ("snowflake:index/table:Table", "table-public.orders-landing", "delete", []),
        (TABLE, "table-public.a-target", "leave", []),
        (TABLE, "table-public.a-target", "delete", ["removed-table"]),
        (TABLE, "table-public.a-target", "replace", ["target"]),
        (TABLE, "table-public.a-target", "import", []),
        ("snowflake:index/schema:Schema", "snowflake-schema-X", "leave", []),
        (RULE, "rule", "delete", []),
    ],
)
def test_what_holds_data_does_not_go_unasked(kind, name, action, refused):
    change = ResourceChange(action=action, type=kind, name=name)
    assert [each.kind for each in resource_refusals([change])] == refused


def test_a_target_is_judged_once():
    change = ResourceChange(action="replace", type=TABLE, name="table-public.a-target")
    assert resource_refusals([change], ["public.a"]) == ()
    [refusal] = resource_refusals([change], ["public.b"])
    assert refusal.table == "public.a"


def step(op: str, urn: str, **more: Any) -> dict[str, Any]:
    return {"op": op, "urn": f"urn:pulumi:dev::aurora-sync::{urn}", **more}


def test_a_preview_is_read_step_by_step():
    """Its shape is that of PreviewDigest in github.com/pulumi/pulumi."""
    text = json.dumps(
        {
            "steps": [
                step("same", "pulumi:pulumi:Stack::aurora-sync-dev"),
                step("same", f"{RULE}::quiet"),
                step("update", f"a:b:C$d:e:F${RULE}::r", diffReasons=["state"]),
                step("create", "a:b:C::component", newState={"custom": False}),
                step("create-replacement", f"{BUCKET}::b", replaceReasons=["bucket"]),
                step("replace", f"{BUCKET}::b", replaceReasons=["bucket"]),
                step("delete-replaced", f"{BUCKET}::b", replaceReasons=["bucket"]),
                step("delete", f"{RULE}::gone"),
                step("delete", f"{TABLE}::kept", oldState={"retainOnDelete": True}),
                step("delete", f"{TABLE}::lost", oldState={"retainOnDelete": False}),
                step("import", f"{TABLE}::known"),
            ],
            "changeSummary": {"same": 2},
        }
    )
    assert previewed(text) == (
        ResourceChange(action="update", type=RULE, name="r", keys=("state",)),
        ResourceChange(action="replace", type=BUCKET, name="b", keys=("bucket",)),
        ResourceChange(action="delete", type=RULE, name="gone"),
        ResourceChange(action="leave", type=TABLE, name="kept"),
        ResourceChange(action="delete", type=TABLE, name="lost"),
        ResourceChange(action="import", type=TABLE, name="known"),
    )


@pytest.mark.parametrize("text", ["", "no JSON", '{"steps": [{}]}', '{"steps": [3]}'])
def test_what_is_no_preview_is_told(text):
    with pytest.raises(PreviewError, match="cannot be read"):
        previewed(text)
