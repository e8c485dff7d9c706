"""Two databases with tables of the same names share nothing."""

from collections.abc import Iterator

import pytest

from runtime.contract.names import LakeKeys
from runtime.contract.records import ledger_key
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.snowflake_pipes import copy_statement, manifest_copy_statement
from runtime.contract.snowflake_sql import merge_block, task_condition
from runtime.contract.snowflake_sweep import overdue_view
from runtime.contract.snowflake_views import views
from tests.factories import make_table

TABLE = make_table()
ONE = SnowflakeObjects(database="FIRST_DB", warehouse="W", stack="stack-one")
OTHER = SnowflakeObjects(database="SECOND_DB", warehouse="W", stack="stack-two")


def statements(objects: SnowflakeObjects) -> dict[str, str]:
    return {
        "copy": copy_statement(objects, TABLE),
        "copy of manifests": manifest_copy_statement(objects),
        "condition": task_condition(objects, TABLE),
        "merge": merge_block(objects, TABLE),
        "overdue": overdue_view(objects, [TABLE]),
    } | views(objects)


@pytest.mark.parametrize("name", statements(ONE))
def test_a_statement_names_the_objects_of_its_own_database_only(name):
    one, other = statements(ONE)[name], statements(OTHER)[name]
    assert "FIRST_DB." in one and "SECOND_DB." not in one
    assert (
        one.replace("FIRST_DB", "SECOND_DB").replace("stack-one", "stack-two") == other
    )


def places(objects: SnowflakeObjects) -> Iterator[str]:
    keys = LakeKeys(stack=objects.stack, table=TABLE.spec.source)
    yield from objects.stage_urls("bucket").values()
    yield from (keys.exports, keys.manifests)
    yield ledger_key(objects.stack, TABLE.spec.source)
    yield from (objects.loader, objects.reader)


def test_files_ledger_and_roles_are_told_apart_by_stack_and_database():
    one, other = list(places(ONE)), list(places(OTHER))
    assert len({*one, *other}) == len(one) + len(other)
    assert not [place for place in one if place.startswith(tuple(other))]
