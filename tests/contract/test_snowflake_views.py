"""The views are Snowflake's SQL and name what the shared tables hold."""

import pytest
from sqlglot import exp, parse_one

from runtime.contract.snowflake_names import SnowflakeObjects, shared_tables
from runtime.contract.snowflake_views import views

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="LOADS", stack="dev")
NAMES = ["SYNC_FILES", "SYNC_RUNS", "SYNC_STATUS"]


def parse(name: str, objects: SnowflakeObjects = OBJECTS) -> exp.Select:
    parsed = parse_one(views(objects)[name], dialect="snowflake")
    assert isinstance(parsed, exp.Select)
    assert not parsed.find(exp.Command)
    return parsed


def test_there_is_a_view_for_files_runs_and_status_in_that_order():
    assert list(views(OBJECTS)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_view_is_snowflakes_sql(name):
    parse(name)
    parse(name, SnowflakeObjects(database='say "x"', warehouse="w", stack="dev"))


@pytest.mark.parametrize("name", NAMES)
def test_a_view_reads_what_exists_before_it(name):
    parsed = parse(name)
    own = {cte.alias for cte in parsed.find_all(exp.CTE)}
    before = {*shared_tables(), *NAMES[: NAMES.index(name)]}
    for table in parsed.find_all(exp.Table):
        if table.name and table.name not in own:
            assert (table.catalog, table.db) == ("ANALYTICS", "SYNC")
            assert table.name in before


@pytest.mark.parametrize("name", NAMES)
def test_a_view_names_its_columns(name):
    """A star would change with the table, and not be the same on both sides."""
    assert not list(parse(name).find_all(exp.Star))
    assert len(parse(name).named_selects) == len(set(parse(name).named_selects)) > 3


def test_a_manifest_that_is_loaded_twice_counts_once():
    """Pipes load at least once: a refresh may bring the same file again."""
    for name in ("SYNC_FILES", "SYNC_RUNS"):
        assert "QUALIFY ROW_NUMBER() OVER (" in views(OBJECTS)[name]


def test_status_is_that_of_the_unbroken_chain():
    assert set(parse("SYNC_STATUS").named_selects) == {
        "table_name",
        "last_seq",
        "merged_seq",
        "merged_through",
        "first_bad",
    }
