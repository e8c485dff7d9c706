"""A thousand tables: the program's work is linear, and nothing that is shared grows.

Counts and sizes are held here; seconds are measured by `tests/benchmarks`.
"""

import json
import logging
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from infra import preflight
from infra.policy_pack.limits import ENVIRONMENT, LIMITS, TEXTS
from runtime.contract.loader import contract_path
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.snowflake_status import state_view
from runtime.contract.snowflake_sweep import overdue_view
from tests.factories import make_entry, make_table
from tests.infra.recording import Graph, example_settings, packed, run

# The first test to ask for it waits for the large graph.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MANY = 1000
FEW = (10, 20)
# The longest that settings take, so that names are as long as they get.
STACK = "a" * 24
# PostgreSQL cuts longer ones.
SCHEMA = "s" * 63
# Of one table; a new kind must be worth a thousand of it.
A_TABLE_HAS = {
    "aurora-sync:index:TablePipeline": 1,
    "aurora-sync:index:Schedule": 1,
    "snowflake:index/table:Table": 3,
    "snowflake:index/pipe:Pipe": 1,
    "snowflake:index/streamOnTable:StreamOnTable": 1,
    "snowflake:index/task:Task": 1,
    "aws:cloudwatch/eventRule:EventRule": 1,
    "aws:cloudwatch/eventTarget:EventTarget": 1,
}
BUNDLE_MB = 250
# Most that the pinned packages may take of it: see test_bundle.
PACKAGES_MB = 40


class Evaluated(NamedTuple):
    """What the program made of some number of tables.

    Attributes:
        graph: Its resources.
        zip_bytes: Size of the function's own files.
        warnings: What it warned of.
    """

    graph: Graph
    zip_bytes: int
    warnings: list[str]


class Listener(logging.Handler):
    """Keeps what the program warns of: the engine of tests logs it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


def evaluate(count: int, folder: Path) -> Evaluated:
    """Run the program for tables with the longest names."""
    config = folder / "config" / "sync_config.json"
    (config.parent / "contracts").mkdir(parents=True)
    names = [f"{SCHEMA}.{number:04d}_{'t' * 58}" for number in range(count)]
    for name in names:
        table = make_table(table_name=name)
        path = contract_path(config, table.spec.source)
        path.write_bytes(msgspec.json.encode(table.contract))
    entries = [make_entry(table_name=name) for name in names]
    config.write_text(json.dumps({"tables": entries}))
    bundle = packed(config, folder)
    files = {"bundle": str(bundle), "sync_config": str(config)}
    listener = Listener()
    logging.getLogger().addHandler(listener)
    try:
        graph = run(example_settings() | files, STACK)
    finally:
        logging.getLogger().removeHandler(listener)
    return Evaluated(graph, bundle.stat().st_size, listener.heard)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Evaluated]:
    """What the program makes; of a thousand tables it takes most of a minute."""
    return {
        count: evaluate(count, tmp_path_factory.mktemp(f"tables{count}"))
        for count in (*FEW, MANY)
    }


@pytest.fixture(scope="module")
def many(evaluated: dict[int, Evaluated]) -> Graph:
    return evaluated[MANY].graph


@pytest.fixture(scope="module")
def few(evaluated: dict[int, Evaluated]) -> Graph:
    return evaluated[FEW[0]].graph


def types(graph: Graph) -> Counter[str]:
    return Counter(each.type for each in graph.resources)


def test_each_table_adds_the_same_resources(few, many):
    added = types(many) - types(few)
    assert {kind: n / (MANY - FEW[0]) for kind, n in added.items()} == A_TABLE_HAS


def test_edges_and_questions_to_providers_grow_in_proportion(evaluated):
    """What waits for what, and calls, are the program's other work."""
    edges = {
        count: sum(len(each.needs) for each in found.graph.resources)
        for count, found in evaluated.items()
    }
    one, two = FEW
    assert (edges[MANY] - edges[two]) / (MANY - two) == (edges[two] - edges[one]) / 10
    assert len({len(found.graph.calls) for found in evaluated.values()}) == 1


def test_no_shared_document_grows_but_the_views_that_name_all_tables(few, many):
    known = {each.urn: each for each in few.resources}
    # The zip is another file.
    grown = {
        (each.name, key)
        for each in many.resources
        if each.urn in known
        for key, value in each.inputs.items()
        if value != known[each.urn].inputs.get(key) and key != "code"
    }
    assert grown == {
        ("landing-sync_overdue", "statement"),
        ("landing-sync_state", "statement"),
    }


@pytest.mark.parametrize("limit", TEXTS, ids=lambda limit: ".".join(limit))
def test_documents_and_statements_fit_their_services(many, limit):
    kind, key = limit
    sizes = [
        len(each.inputs[key])
        for each in many.resources
        if each.type == kind and key in each.inputs
    ]
    assert sizes
    assert max(sizes) <= TEXTS[limit]


def test_of_the_views_that_name_all_tables_only_the_list_of_names_grows(few, many):
    """Each table of a query is compiled; a constant of a list is only read.

    Source: https://docs.snowflake.com/en/sql-reference/constructs/values
    """
    for view in ("sync_overdue", "sync_state"):
        texts = [
            graph.one("snowflake:index/view", view).inputs["statement"]
            for graph in (few, many)
        ]
        fixed = {re.sub(r"\(VALUES.*\) AS p ", "", t, flags=re.S) for t in texts}
        assert len(fixed) == 1 and not fixed & {*texts}


@pytest.mark.parametrize("view", [state_view, overdue_view])
def test_the_views_that_name_all_tables_have_room_for_thousands(view):
    """Schemas and the database have the longest names here, too."""
    names = (f"{SCHEMA}.{number:04d}_{'t' * 58}" for number in range(2 * MANY))
    tables = [make_table(table_name=name, target_schema="X") for name in names]
    objects = SnowflakeObjects(database="D" * 255, warehouse="W", stack=STACK)
    size = len(view(objects, tables))
    assert size < 0.6 * TEXTS["snowflake:index/view:View", "statement"]


def test_one_notification_one_permission_and_one_topic_serve_all(many):
    (notification,) = many.of("aws:s3/bucketNotification")
    assert len(notification.inputs["topics"]) == 2
    assert len(many.of("aws:lambda/permission", "exporter")) == 1
    assert len(many.of("aws:sns/topic", "events")) == 1
    topics = {each.inputs["awsSnsTopicArn"] for each in many.of("snowflake:index/pipe")}
    assert len(topics) == 1


def test_the_functions_settings_fit_its_environment(many):
    functions = many.of("aws:lambda/function")
    assert len(functions) == 2
    for function in functions:
        variables = function.inputs["environment"]["variables"]
        taken = sum(len(k) + len(v) for k, v in variables.items())
        assert taken < ENVIRONMENT


def test_the_bundle_holds_a_thousand_contracts(evaluated):
    """Nothing in it is compressed: its size is what it takes when unpacked."""
    assert evaluated[MANY].zip_bytes / 1e6 + PACKAGES_MB < BUNDLE_MB / 4


def test_names_of_rules_stay_apart_though_they_are_cut(many):
    rules = many.of("aws:cloudwatch/eventRule", "table-")
    names = {each.inputs["name"] for each in rules}
    assert len(names) == MANY
    assert max(map(len, names)) <= LIMITS["aws:cloudwatch/eventRule:EventRule"].most


@pytest.mark.parametrize(
    ("tables", "region", "allowed"),
    [
        (299, "eu-west-1", None),
        (300, "eu-west-1", "301 EventBridge rules, and eu-west-1 gives an account 300"),
        (99, "eu-south-1", None),
        (
            100,
            "eu-south-1",
            "101 EventBridge rules, and eu-south-1 gives an account 100",
        ),
        (100, "af-south-1", "account 100"),
        (100, "eu-west-1", None),
    ],
)
def test_more_rules_than_an_account_has_are_told_before_anything_is_made(
    tables, region, allowed
):
    told = preflight.quota_warnings(tables, region)
    if allowed is None:
        assert told == ()
    else:
        (line,) = told
        assert allowed in line
        assert '"Number of rules"' in line


def test_the_program_says_so_and_goes_on(evaluated, many):
    rules = many.of("aws:cloudwatch/eventRule")
    assert len(rules) == MANY + 1
    (line,) = evaluated[MANY].warnings
    assert f"{len(rules)} EventBridge rules" in line
    assert evaluated[FEW[0]].warnings == []
