"""Names fit every service, and no two stacks share one."""

import itertools
import json
import re

import pytest

from infra.policy_pack import limits
from infra.stack import ROOT, StackSettings
from tests.factories import make_table
from tests.infra.conftest import as_config, settings_with
from tests.infra.recording import Graph, Recorded, example_settings, packed, run

LONG = "a" * 63
LONGEST_STACK = "x" * 24
STACKS = sorted(
    path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml") if path.is_file()
)


@pytest.fixture(scope="module")
def longest(tmp_path_factory) -> Graph:
    """The longest names of stack, database and tables that settings allow."""
    tables = [
        make_table(table_name=f"{LONG}.{LONG[:-1]}b"),
        make_table(table_name=f"{LONG}.{LONG}"),
    ]
    settings = settings_with(tmp_path_factory.mktemp("longest"), tables)
    settings |= example_settings("staging") | {
        key: settings[key] for key in ("bundle", "sync_config")
    }
    text = json.dumps(settings).replace("eu-west-1", "ap-southeast-1")
    settings = json.loads(
        text.replace("config/certs/ap-southeast-1", "config/certs/eu-west-1")
    )
    settings["snowflake"] |= {"database": "D" * 200, "warehouse": "W" * 200}
    return run(settings, stack=LONGEST_STACK)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory) -> dict[str, Graph]:
    """What each stack of this checkout registers, by its name."""
    bundle = packed(
        ROOT / "config" / "sync_config.json", tmp_path_factory.mktemp("all")
    )
    return {
        stack: run(example_settings(stack) | {"bundle": str(bundle)}, stack=stack)
        for stack in STACKS
    }


def test_the_longest_names_fit_every_service(longest):
    seen = set()
    for each in longest.resources:
        limit = limits.LIMITS.get(each.type)
        if limit is None:
            assert "name" not in each.inputs, f"no limit is known for {each.type}"
            continue
        name = each.inputs[limit.key]
        assert len(name) <= limit.most and re.fullmatch(limit.form, name), each.urn
        seen.add(each.type)
    assert seen == set(limits.LIMITS)


def test_the_longest_rules_begin_as_the_permission_says(longest):
    """Shortened or not: one permission admits all rules by their prefix."""
    named = longest.of("aws:cloudwatch/eventRule", "table-")
    rules = {each.inputs["name"] for each in named}
    assert len(rules) == 2
    arn = longest.one("aws:lambda/permission", "exporter").inputs["sourceArn"]
    prefix = arn.rpartition("/")[2].removesuffix("*")
    assert all(name.startswith(prefix) for name in rules)


def test_the_longest_texts_fit_too(longest):
    for (type_, key), most in limits.TEXTS.items():
        texts = [
            each.inputs[key]
            for each in longest.resources
            if each.type == type_ and each.inputs.get(key)
        ]
        assert texts and max(map(len, texts)) <= most, type_
    for function in longest.of("aws:lambda/function"):
        variables = function.inputs["environment"]["variables"]
        taken = sum(len(key) + len(value) for key, value in variables.items())
        assert taken <= limits.ENVIRONMENT


def test_two_stacks_in_the_same_accounts_share_no_name(graph, tmp_path):
    """But for what the settings themselves call the same."""
    bundle = packed(ROOT / "config" / "sync_config.json", tmp_path)
    settings = example_settings() | {"bundle": str(bundle)}
    mine = _names(graph, settings)
    copied = mine & _names(run(settings, stack="dev-2"), settings)
    assert {name.rpartition("/")[2] for _, _, name in copied} >= {
        "SHOP_DEV",
        "database",
    }
    settings["snowflake"] |= {"database": "SHOP_TEST", "warehouse": "SYNC_TEST"}
    settings["vault"] |= {"address": "https://vault.test.example.com:8200"}
    assert not mine & _names(run(settings, stack="dev-2"), settings)


def test_no_two_stacks_of_this_checkout_share_a_name(deployed):
    """Holds for a stack that you add: its file is found by its name."""
    assert {"dev", "staging", "prod"} <= set(deployed)
    for one, two in itertools.combinations(deployed, 2):
        shared = _names(deployed[one], example_settings(one)) & _names(
            deployed[two], example_settings(two)
        )
        assert shared == set(), f"stacks {one} and {two} share names"


def test_no_stack_can_be_named_into_the_names_of_another(deployed):
    """`dev` with the part `load-x` would meet `dev-load` with the part `x`."""
    for stack, graph in deployed.items():
        parts: dict[str, set[str]] = {}
        for each, name in _own(graph):
            _, prefix, part = name.partition(f"aurora-sync-{stack}-")
            if prefix:
                parts.setdefault(each.type, set()).add(part)
        assert len(parts) > 6
        for type_, own in parts.items():
            for part, other in itertools.product(own, own):
                assert not part.endswith(f"-{other}"), (type_, part, other)


def test_a_stacks_names_hold_its_name(deployed):
    """So that a name of AWS tells whose it is."""
    for stack, graph in deployed.items():
        for each, name in _own(graph):
            # Names of inline policies are of their role.
            if each.type.startswith("aws:") and "rolePolicy" not in each.type:
                assert re.search(rf"[-_]{stack}([-_]|$)", name), each.urn


def _own(graph: Graph) -> list[tuple[Recorded, str]]:
    return [
        (each, each.inputs[limits.LIMITS[each.type].key])
        for each in graph.resources
        if each.type in limits.LIMITS
    ]


def _names(graph: Graph, settings: dict) -> set[tuple[str, str, str]]:
    """Names with the account, Snowflake account or Vault in which they are unique."""
    wanted = StackSettings.read(as_config(settings), "any")
    scopes = {
        "aws": wanted.aws.account_id,
        "snowflake": f"{wanted.snowflake.organization}.{wanted.snowflake.account}",
        "vault": wanted.vault.address,
    }
    found = set()
    for each, name in _own(graph):
        scope = scopes[each.type.partition(":")[0]]
        if each.type == "aws:s3/bucket:Bucket":
            scope = "the world"
        # What lies in another named thing needs a name of its own only there.
        holders = (
            "database",
            "backend",
            "role" if "Policy" in each.type else "backend",
        )
        inside = "/".join(str(each.inputs.get(key, "")) for key in holders)
        found.add((scope, each.type, f"{inside}/{name}"))
    return found
