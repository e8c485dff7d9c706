"""What the roles in Snowflake may do is exactly what the program's objects need."""

from collections.abc import Iterator

import pytest

from infra.permissions.grants import GRANTS, OWN_WAREHOUSE, TARGET, grants
from tests.factories import make_table
from tests.infra.recording import Graph, Recorded, run

Granted = set[tuple[str, str, str]]
# Objects that the loader makes, by their resource.
KINDS = {
    "pipe": "PIPE",
    "stageExternalS3": "STAGE",
    "streamOnTable": "STREAM",
    "table": "TABLE",
    "task": "TASK",
    "view": "VIEW",
}
DATABASE = "SHOP_DEV"


def granted(graph: Graph) -> Granted:
    """Return role, privilege and place of everything that the program grants."""
    return {
        (each.inputs["accountRoleName"].removeprefix(f"{DATABASE}_"), right, place)
        for each in graph.of("snowflake:index/grantPrivilegesToAccountRole")
        for right in each.inputs["privileges"]
        for place in [_place(each.inputs)]
    }


def _place(inputs: dict) -> str:
    if inputs.get("onAccount"):
        return "account"
    if "onAccountObject" in inputs:
        on = inputs["onAccountObject"]
        return f"{on['objectType']} {on['objectName']}"
    if "onSchema" in inputs:
        return str(inputs["onSchema"]["schemaName"])
    future = inputs["onSchemaObject"]["future"]
    return f"future {future['objectTypePlural']} {future['inSchema']}"


def loaders(graph: Graph) -> list[Recorded]:
    """Return the objects that belong to the loader."""
    return [
        each
        for each in graph.resources
        if each.provider.endswith("::snowflake-loader")
        and each.type.startswith("snowflake:")
    ]


def needed(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """Yield what the loader needs for its objects, and the reader to see them."""
    for role in ("LOADER", "READER"):
        yield role, "USAGE", f"DATABASE {DATABASE}"
    for each in loaders(graph):
        schema = f'"{DATABASE}"."{each.inputs["schema"]}"'
        kind = KINDS[each.type.partition("/")[2].rpartition(":")[0]]
        yield "LOADER", "USAGE", schema
        yield "LOADER", f"CREATE {kind}", schema
        if kind in ("TABLE", "VIEW") and each.inputs["schema"] != "LANDING":
            yield "READER", "USAGE", schema
            yield "READER", "SELECT", f"future {kind}S {schema}"
        if kind in ("PIPE", "TASK"):
            yield "LOADER", "USAGE", f"INTEGRATION {each.inputs['errorIntegration']}"
        if kind == "STAGE":
            integration = each.inputs["storageIntegration"]
            yield "LOADER", "USAGE", f"INTEGRATION {integration}"
        if kind == "TASK":
            yield "LOADER", "EXECUTE TASK", "account"
            if warehouse := each.inputs.get("warehouse"):
                yield "LOADER", "USAGE", f"WAREHOUSE {warehouse}"
            else:
                yield "LOADER", "EXECUTE MANAGED TASK", "account"


def test_each_role_has_what_its_objects_need_and_no_more(graph):
    assert granted(graph) == set(needed(graph))


def test_without_a_grant_the_test_above_fails(graph):
    every = granted(graph)
    rows = {
        (row.role.upper(), right)
        for row in grants(["PUBLIC"])
        for right in row.privileges
    }
    assert {(role, right) for role, right, _ in every} == rows
    for one in every:
        assert every - {one} != set(needed(graph)), one


def test_the_table_and_the_program_agree(graph):
    registered = {
        each.name: tuple(each.inputs["privileges"])
        for each in graph.of("snowflake:index/grantPrivilegesToAccountRole")
    }
    assert registered == {
        f"snowflake-{row.role}-{row.name}": row.privileges for row in grants(["PUBLIC"])
    }
    assert all(row.why for row in GRANTS)
    assert {row.on for row in GRANTS} >= {TARGET, OWN_WAREHOUSE}


def test_nobody_may_grant_own_or_drop(graph):
    for each in graph.of("snowflake:index/grantPrivilegesToAccountRole"):
        assert not each.inputs.get("withGrantOption")
        assert not each.inputs.get("allPrivileges")
    assert graph.of("snowflake:index/grantOwnership") == []


def test_what_moves_rows_belongs_to_the_loader(graph):
    """Its provider logs in once the role has every grant."""
    (loader,) = graph.of("pulumi:providers", "snowflake-loader")
    assert loader.inputs["role"] == "SHOP_DEV_LOADER"
    made = graph.of("snowflake:index/grantPrivilegesToAccountRole")
    missing = {each.urn for each in made} - graph.above(loader)
    assert missing == set()
    for kind in KINDS:
        of_kind = graph.of(f"snowflake:index/{kind}")
        assert of_kind
        for each in of_kind:
            assert each.provider == loader.urn, each.name


@pytest.mark.parametrize("name", ["big_one", "AURORA_SYNC_DEV"])
def test_a_table_of_its_own_warehouse_lets_the_loader_use_it(with_tables, name):
    graph = run(with_tables([make_table(warehouse=name)]))
    task = graph.one("snowflake:index/task", "table-")
    assert task.inputs["warehouse"] == name.upper()
    assert granted(graph) >= set(needed(graph))
