"""A real PostgreSQL for the operator commands; a schema of its own for each test."""

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
import pytest

from infra.local import postgres
from infra.local.parts import LocalStack
from runtime.contract.specs import TableContract, TableSpec
from runtime.ops.catalog import read_relation
from runtime.ops.discover import contract_of
from runtime.ops.source import connect
from tests.factories import make_spec
from tests.local.running import running

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/ops/" in item.path.as_posix() and "stack" in getattr(
            item, "fixturenames", ()
        ):
            item.add_marker(pytest.mark.integration)


@dataclass(kw_only=True)
class Source:
    """A schema in PostgreSQL, and the operator's session on it.

    Attributes:
        schema: The schema; `{s}` in a test's SQL stands for it.
        admin: An autocommit connection of the superuser.
        session: A session as the commands open it.
        config: Path of a config file beside which contracts stand.
    """

    schema: str
    admin: Any
    session: Any
    config: Path
    _open: list[Any] = field(default_factory=list)

    def sql(self, *statements: str) -> None:
        """Run statements as the superuser."""
        with self.admin.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.replace("{s}", self.schema))

    def spec(self, table: str = "t", **keys: Any) -> TableSpec:
        """Return the spec of a table in the schema; key `id`, watermark `at`."""
        return make_spec(
            **{
                "table_name": f"{self.schema}.{table}",
                "primary_key": "id",
                "watermark_col": "at",
            }
            | keys
        )

    def discover(
        self, former: TableContract | None = None, table: str = "t", **keys: Any
    ) -> TableContract:
        """Freeze a table of the schema."""
        with self.session.cursor() as cursor:
            try:
                spec = self.spec(table, **keys)
                return contract_of(
                    read_relation(cursor, spec.source), spec, former, "file"
                )
            finally:
                self.session.rollback()

    def write_config(self, *entries: dict[str, Any]) -> None:
        """Write the config; each entry is completed like `spec`."""
        specs = [
            {"primary_key": "id", "watermark_col": "at"}
            | entry
            | {"table_name": f"{self.schema}.{entry['table_name']}"}
            for entry in entries
        ]
        self.config.write_text(json.dumps({"tables": specs}, indent=2) + "\n")

    def contract(self, table: str) -> TableContract:
        """Read a contract's file."""
        path = self.config.parent / "contracts" / f"{self.schema}.{table}.json"
        return msgspec.json.decode(path.read_bytes(), type=TableContract)


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run PostgreSQL for all tests of the operator commands."""
    stack = LocalStack(tmp_path_factory.mktemp("ops"))
    try:
        with running(stack, postgres.PART):
            yield stack
    finally:
        postgres.remove(stack)


@pytest.fixture
def source(stack: LocalStack, tmp_path: Path) -> Iterator[Source]:
    """An empty schema, and a folder for config and contracts."""
    dsn, schema = postgres.aurora_dsn(stack), f"s{next(_numbers):03d}"
    with closing(psycopg2.connect(dsn)) as admin, closing(connect(dsn)) as session:
        admin.autocommit = True
        source = Source(
            schema=schema,
            admin=admin,
            session=session,
            config=tmp_path / "sync_config.json",
        )
        source.sql("CREATE SCHEMA {s}")
        yield source
        source.sql("DROP SCHEMA {s} CASCADE")
