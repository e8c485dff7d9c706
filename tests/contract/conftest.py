"""The local Snowflake, once for all tests of what its statements do."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.local import aws
from infra.local.parts import LocalStack
from infra.local.snowflake import part
from infra.local.snowflake.part import connect
from runtime.contract.snowflake_names import LANDING, SYNC, shared_tables
from runtime.contract.snowflake_views import views
from tests.contract.landed import OBJECTS, Pipeline
from tests.local.running import running


@pytest.fixture(scope="package")
def cursor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    stack = LocalStack(tmp_path_factory.mktemp("merge"))
    with running(stack, aws.PART, part.PART), connect(stack) as connection:
        cursor = connection.cursor()
        for schema in (LANDING, SYNC, "PUBLIC"):
            cursor.execute("CREATE DATABASE IF NOT EXISTS ANALYTICS")
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS ANALYTICS.{schema}")
        for name, columns in shared_tables().items():
            typed = ", ".join(f"{each.name} {each.type}" for each in columns)
            cursor.execute(f"CREATE TABLE ANALYTICS.SYNC.{name} ({typed})")
        for name, statement in views(OBJECTS).items():
            cursor.execute(f"CREATE VIEW ANALYTICS.SYNC.{name} AS {statement}")
        yield cursor


@pytest.fixture
def shop(cursor: Any) -> Pipeline:
    """A table whose keys are not compared: half the statements."""
    return Pipeline(cursor, deletes="ignore")


@pytest.fixture
def keyed(cursor: Any) -> Pipeline:
    return Pipeline(cursor, max_delete_fraction=0.5)
