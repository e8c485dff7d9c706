"""Every wrong setting of a stack: one clear error, before anything is registered.

The fields are read from the settings' own structs: a new one without a case fails.
"""

import ast
import inspect
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import botocore.session
import msgspec
import pytest

from infra import stack_consistency, stack_rules, stack_settings
from infra.stack import PROJECT, StackSettings
from tests.infra.recording import example_settings, run_recording
from tests.infra.wrong_settings import CONTRADICTIONS, ONLY_TYPES, WRONG, Field

# What no setting takes, whatever its type; None where a setting may be left out.
JUNK: list[Any] = [{"a": 1}, [["x"]], 1.5, None]


def fields() -> Iterator[tuple[Field, msgspec.structs.FieldInfo]]:
    """Every field of every group, and those of a peer."""
    for item in msgspec.structs.fields(StackSettings):
        if isinstance(item.type, type) and issubclass(item.type, msgspec.Struct):
            for inner in msgspec.structs.fields(item.type):
                yield (item.name, inner.name), inner
    for inner in msgspec.structs.fields(stack_settings.Peer):
        yield ("network", "peers", inner.name), inner
    for inner in msgspec.structs.fields(stack_settings.PlainSettings):
        yield (inner.name,), inner


FIELDS = dict(fields())
GROUPS = sorted({path[0] for path in FIELDS if len(path) > 1})


def changed(path: Field, value: Any) -> dict[str, Any]:
    """The example with one value changed; `...` leaves its key out.

    A setting of an own VPC is changed where there is one.
    """
    own = path[:1] == ("network",) and path[1] in (
        "cidr",
        "availability_zones",
        "peers",
    )
    settings = example_settings("dev")
    if own:
        settings["network"] = example_settings("staging")["network"]
    if path == ("vault", "cidr"):
        del settings["vault"]["security_group_id"]
    if path == ("vault", "connection_url") and isinstance(value, str):
        value = value.replace("{host}", settings["aurora"]["host"])
    *above, last = path
    place: Any = settings
    for key in above:
        place = place.setdefault(key, {})
        place = place[0] if isinstance(place, list) else place
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return settings


def combined(group: str, values: dict[str, Any]) -> dict[str, Any]:
    """The example with several values of one group changed or left out."""
    settings = example_settings()
    merged = settings.get(group, {}) | values
    kept = {key: value for key, value in merged.items() if value is not ...}
    return settings | {group: kept}


def the_error(settings: dict[str, Any], packed_example: str, stack: str = "dev") -> str:
    """Return the one error, having seen that nothing was registered."""
    graph, error = run_recording({"bundle": packed_example} | settings, stack=stack)
    assert graph.resources == [] and graph.calls == []
    kind, _, text = error.partition(": ")
    assert kind == "ConfigErrors", error
    (line,) = text.splitlines()
    return line


def check(line: str, path: Field) -> None:
    """An error names the file, the key or its group, what is allowed, what to do."""
    subject, *rest = line.split("; ")
    assert subject.startswith(f"Pulumi.dev.yaml: {PROJECT}:" if path[1:] else "Pulumi.")
    assert path[0] in subject
    assert len(path) == 1 or repr(path[1]) in subject, line
    assert [part for part in rest if part.startswith("allowed: ") and len(part) > 9]
    assert rest[-1].startswith(("correct", "add", "remove", "write")), line


@pytest.fixture(scope="module")
def packed_example(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle: what fails must fail before it is looked at."""
    return str(tmp_path_factory.mktemp("none") / "exporter.zip")


def ident(value: Any) -> str:
    return ".".join(value) if isinstance(value, tuple) else json.dumps(value)[:40]


def test_every_setting_has_wrong_values():
    assert set(WRONG) | ONLY_TYPES == set(FIELDS)
    assert set(WRONG) & ONLY_TYPES == set()


@pytest.mark.parametrize(
    ("path", "value"),
    [(path, value) for path, values in WRONG.items() for value in values],
    ids=ident,
)
def test_a_wrong_value_is_one_error(packed_example, path, value):
    line = the_error(changed(path, value), packed_example)
    # Of two settings that contradict each other, the message names the one to mend.
    mended = {
        ("aurora", "cluster_identifier"): ("aurora", "host"),
        ("function", "max_concurrency"): ("function", "load_concurrency"),
    }
    named = path
    if f"key {path[-1]!r}" not in line and len(path) == 2:
        named = mended[path]
    check(line, named)


@pytest.mark.parametrize("path", FIELDS, ids=ident)
def test_a_wrong_type_is_one_error(packed_example, path):
    for junk in JUNK:
        if not _is_taken(path, junk):
            check(the_error(changed(path, junk), packed_example), path)


def _is_taken(path: Field, junk: Any) -> bool:
    """Whether a setting takes what others do not."""
    # A default of null may be written out; a tag's name is free.
    if (junk, FIELDS[path].default) == (None, None) or (path, junk) == (
        ("tags",),
        {"a": 1},
    ):
        return True
    # Pulumi holds what is no list or object as text, which is a path like any other.
    return path in PATHS and not isinstance(junk, dict | list)


PATHS = {("sync_config",): "file not found", ("bundle",): "bundle is missing"}


@pytest.mark.parametrize(("path", "told"), PATHS.items(), ids=ident)
def test_a_path_that_leads_nowhere_is_one_error(path, told):
    for value in (1.5, True, "config/other.json"):
        graph, error = run_recording(changed(path, value))
        assert graph.resources == [] and told in error
        assert str(value).lower() in error.lower() and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "path", [path for path, field in FIELDS.items() if field.required], ids=ident
)
def test_a_missing_setting_is_one_error(packed_example, path):
    check(the_error(changed(path, ...), packed_example), path)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("shape", ["text", "", [], 7, True, None])
def test_a_group_of_another_shape_is_told_as_one(packed_example, group, shape):
    settings = example_settings() | {group: shape}
    line = the_error(settings, packed_example)
    assert line.startswith(f"Pulumi.dev.yaml: {PROJECT}:{group}: is not an object; ")
    assert "allowed: {...}" in line


@pytest.mark.parametrize("group", GROUPS)
def test_an_unknown_key_is_one_error(packed_example, group):
    line = the_error(changed((group, "regoin"), "x"), packed_example)
    assert "unknown key 'regoin'" in line and "allowed: " in line


def test_an_unknown_key_of_a_peer_or_of_the_stack_is_one_error(packed_example):
    line = the_error(changed(("network", "peers", "cird"), "x"), packed_example)
    assert "key 'peers'" in line and "cird" in line
    line = the_error(example_settings() | {"tagz": {}}, packed_example)
    assert f"unknown key {PROJECT}:tagz" in line


@pytest.mark.parametrize(("group", "values"), CONTRADICTIONS, ids=str)
def test_settings_that_contradict_each_other_are_one_error(
    packed_example, group, values
):
    line = the_error(combined(group, values), packed_example)
    assert f"{PROJECT}:{group}" in line and "; allowed: " in line


@pytest.mark.parametrize(
    "stack", ["Dev", "a_b", "-dev", "dev-", "d" * 25, "", "prod/eu", "düv"]
)
def test_a_stack_name_that_no_name_can_be_made_of_is_one_error(packed_example, stack):
    line = the_error(example_settings(), packed_example, stack)
    assert "key 'stack'" in line and "at most 24" in line


def test_an_account_that_yaml_read_as_a_number_is_told_so(packed_example):
    """Without quotes YAML reads 012345678901 as 12345678901."""
    line = the_error(changed(("aws", "account_id"), 12345678901), packed_example)
    assert "expected `str`, got `int`; got 12345678901" in line
    assert "twelve digits in quotes" in line


def test_a_password_in_a_connection_url_is_not_repeated(packed_example):
    url = "postgresql://vault:clear-text@{host}:5432/shop?sslmode=verify-full"
    line = the_error(changed(("vault", "connection_url"), url), packed_example)
    assert "clear-text" not in line and "{{username}}:{{password}}" in line


def test_all_regions_of_our_partition_and_no_others_are_taken():
    session = botocore.session.get_session()
    partitions = session.get_component("data_loader").load_data("partitions")
    seen = set()
    for partition in partitions["partitions"]:
        for region in set(partition["regions"]) - {f"{partition['id']}-global"}:
            taken = True
            try:
                msgspec.convert(
                    region, stack_settings.AwsSettings.__annotations__["region"]
                )
            except msgspec.ValidationError:
                taken = False
            assert taken == (partition["id"] == "aws"), region
            seen.add(partition["id"])
    assert {"aws", "aws-cn", "aws-us-gov"} <= seen


def stated(module: ModuleType) -> Iterator[str]:
    """The facts that a module's rules tell."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("wrong"):
            told: list[ast.expr] = node.args[:2]
        elif isinstance(node, ast.Assign) and "fact" in ast.unparse(node.targets[0]):
            value = node.value
            told = value.elts if isinstance(value, ast.Tuple) else [value]
        else:
            continue
        texts = (each.value for each in told if isinstance(each, ast.Constant))
        yield from (text for text in texts if isinstance(text, str) and " " in text)


def test_every_rule_between_settings_has_a_case(packed_example):
    cases = [changed(path, value) for path, values in WRONG.items() for value in values]
    cases += [combined(group, values) for group, values in CONTRADICTIONS]
    met = [the_error(settings, packed_example) for settings in cases]
    facts = {
        fact for module in (stack_rules, stack_consistency) for fact in stated(module)
    }
    assert len(facts) > 25
    assert {fact for fact in facts if not any(fact in line for line in met)} == set()
