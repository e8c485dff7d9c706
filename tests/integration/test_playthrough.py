"""What an operator changes while all write: afterwards both sides are the same."""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import postgres
from infra.local.adapter.landscape import VAULT_ADMIN
from infra.local.parts import LocalError
from infra.local.snowflake.part import connect as connect_snowflake
from infra.local.vault import vault_client
from runtime.contract.loader import load_tables
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table
from runtime.ops import contracts
from runtime.ops.source import connect
from runtime.ops.sweep import sweep
from runtime.ops.warehouse import Warehouse
from tests.integration.conftest import Sandbox
from tests.integration.refusing import until
from tests.integration.test_verify import verified

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="", stack="local")
COLUMNS = "id INT PRIMARY KEY, note TEXT, at TIMESTAMPTZ NOT NULL DEFAULT NOW()"
ROWS = 200


def _silent(table: str, text: str) -> None:
    """Tell nobody what a sweep does."""


class Writer(threading.Thread):
    """Inserts, updates and deletes rows of its own, and sometimes commits late.

    Args:
        dsn: Where.
        name: The table, quoted.
        first: First of the ids that nobody else writes.
    """

    def __init__(self, dsn: str, name: str, first: int) -> None:
        super().__init__(daemon=True)
        self._dsn, self._name, self._next = dsn, name, first
        self._chance = random.Random(first)
        self._ids = list(range(first, first + ROWS // 2))
        self._ended = threading.Event()
        self.commits = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        """Write until told to stop."""
        self._next += ROWS
        try:
            with closing(psycopg2.connect(self._dsn)) as connection:
                while not self._ended.wait(0.02):
                    with connection, connection.cursor() as cursor:
                        for _ in range(self._chance.randint(1, 4)):
                            cursor.execute(*self._change())
                        if self._chance.random() < 0.1:
                            self._ended.wait(0.4)
                    self.commits += 1
        except psycopg2.Error as error:
            self.failure = error

    def _change(self) -> tuple[str, tuple[Any, ...]]:
        kind = self._chance.choice(("insert", "update", "update", "delete"))
        if kind == "insert" or len(self._ids) < 10:
            self._next += 1
            self._ids.append(self._next)
            return f"INSERT INTO {self._name} (id, note) VALUES (%s, 'new')", (
                self._next,
            )
        place = self._chance.randrange(len(self._ids))
        if kind == "delete":
            return f"DELETE FROM {self._name} WHERE id = %s", (self._ids.pop(place),)
        return (
            f"UPDATE {self._name} SET note = %s, at = NOW() WHERE id = %s",
            (f"w{self.commits}", self._ids[place]),
        )

    def end(self) -> None:
        """Stop, and tell what went wrong."""
        self._ended.set()
        self.join(10)
        assert self.failure is None


class Play:
    """A table with two writers at work."""

    def __init__(self, sandbox: Sandbox, table: Table) -> None:
        self.sandbox, self.table = sandbox, table
        dsn, name = postgres.aurora_dsn(sandbox.local), table.spec.source.sql
        self.writers = [Writer(dsn, name, first) for first in (1, 1_000_001)]
        for each in self.writers:
            each.start()

    @property
    def landing(self) -> str:
        return f"ANALYTICS.LANDING.PUBLIC__{self.table.spec.source.name.upper()}"

    def pipes(self) -> list[str]:
        """Return the names of the table's pipes, whatever stands behind the prefix."""
        found = self.sandbox.snowflake("SHOW PIPES IN SCHEMA ANALYTICS.LANDING")
        prefix = f"{self.landing.rpartition('.')[2]}_PIPE"
        names = [cell for row in found for cell in row if str(cell).startswith(prefix)]
        assert names
        return [f"ANALYTICS.LANDING.{name}" for name in names]

    def work(self, commits: int = 15) -> None:
        """Let each writer commit some times."""
        for each in self.writers:
            wanted = each.commits + commits
            until(lambda: each.commits >= wanted or each.failure, "writers write")

    def refresh(self) -> None:
        """Do as the operator does when a table has changed."""
        name = self.table.spec.table_name
        with closing(connect(postgres.aurora_dsn(self.sandbox.local))) as session:
            contracts.refresh(self.sandbox.config, session, [name])
        self.sandbox.tables = list(load_tables(self.sandbox.config))
        self.sandbox.deploy()
        [self.table] = [t for t in self.sandbox.tables if t.contract.table == name]

    def tick(self) -> int:
        """Run one sync, whose merge nobody waits for; return its manifest's number."""
        answer = self.sandbox.tick(self.table)
        assert answer["status"] == "done", answer
        return int(answer["seq"])

    def sweep(self) -> None:
        """Load what did not arrive, as the sweep does after a quarter of an hour."""
        with closing(connect_snowflake(self.sandbox.local, "ANALYTICS")) as session:
            assert sweep([self.table], Warehouse(session, OBJECTS), _silent) == 0

    def waits(self) -> list[Any]:
        return self.sandbox.snowflake(
            "SELECT seq, file_name FROM ANALYTICS.SYNC.SYNC_OVERDUE "
            f"WHERE table_name = '{self.table.spec.table_name}'"
        )

    def rows(self, columns: str) -> tuple[list[Any], list[Any]]:
        """Return the living rows of both sides."""
        name = self.table.spec.source
        ours = self.sandbox.snowflake(
            f"SELECT {columns} FROM ANALYTICS.PUBLIC.{name.name.upper()} "
            "WHERE _deleted_at IS NULL ORDER BY id"
        )
        theirs = self.sandbox.aurora(f"SELECT {columns} FROM {name.sql} ORDER BY id")
        return [(int(key), *rest) for key, *rest in ours], theirs

    def settle(self, columns: str) -> None:
        """End the writers; hold that both sides have the same rows, exactly."""
        for each in self.writers:
            each.end()
            assert each.commits > 30
        sandbox, table = self.sandbox, self.table
        answer = sandbox.tick(table, reconcile=True)
        assert answer["status"] == "done", answer
        sandbox.merged(table, answer["seq"])
        sandbox.quiet(table)
        ours, theirs = self.rows(columns)
        assert ours == theirs
        assert len(ours) > ROWS / 2
        assert self.waits() == []
        found = verified(sandbox, table)
        assert (found.verdict, found.missing, found.extra) == ("equal", 0, 0), found


@pytest.fixture(scope="module")
def table(sandbox: Sandbox) -> Table:
    return sandbox.table(
        COLUMNS, primary_key="id", watermark_col="at", max_delete_fraction=1.0
    )


@pytest.fixture
def play(sandbox: Sandbox, table: Table) -> Iterator[Play]:
    """Rows on both sides, and writers at work; the table as the last test left it."""
    name = table.spec.source.sql
    sandbox.aurora(f"DELETE FROM {name}")
    sandbox.aurora(
        f"INSERT INTO {name} (id, note) SELECT g + n, 'old' FROM "
        f"generate_series(1, {ROWS // 2}) AS g, (VALUES (0), (1000000)) AS v (n)"
    )
    [now] = [t for t in sandbox.tables if t.contract.table == table.contract.table]
    play = Play(sandbox, now)
    try:
        play.tick()
        yield play
    finally:
        for each in play.writers:
            each.end()


def test_a_column_is_added_while_files_of_the_old_contract_wait(play: Play) -> None:
    sandbox = play.sandbox
    for pipe in play.pipes():
        sandbox.snowflake(f"ALTER PIPE {pipe} SET PIPE_EXECUTION_PAUSED = TRUE")
    play.work()
    waiting = [play.tick()]
    name = play.table.spec.source.sql
    sandbox.aurora(f"ALTER TABLE {name} ADD COLUMN extra TEXT DEFAULT 'x'")
    sandbox.aurora(f"UPDATE {name} SET extra = 'early', at = NOW() WHERE id % 7 = 0")
    play.work()
    answer = sandbox.tick(play.table)
    assert answer["drift"] == ["extra"]
    waiting.append(answer["seq"])
    until(lambda: {seq for seq, _ in play.waits()} >= {*waiting}, "the files wait")
    play.refresh()
    for pipe in play.pipes():
        sandbox.snowflake(f"ALTER PIPE {pipe} SET PIPE_EXECUTION_PAUSED = FALSE")
    sandbox.aurora(f"UPDATE {name} SET extra = 'later', at = NOW() WHERE id % 5 = 0")
    play.work()
    play.tick()
    play.sweep()
    play.settle("id, note, extra")
    known = {extra for _, _, extra in play.rows("id, note, extra")[0]}
    assert known == {"x", "early", "later"}


def test_a_table_leaves_the_config_and_comes_back(play: Play) -> None:
    """As Pulumi has it: all goes but the target, with rows that were not merged.

    The target has to be adopted, and a column that somebody gave it meanwhile goes.
    """
    sandbox, table = play.sandbox, play.table
    sandbox.snowflake(f"ALTER TASK {play.landing}_MERGE SUSPEND")
    play.work()
    landed = play.tick()
    stream = f"SELECT SYSTEM$STREAM_HAS_DATA('{play.landing}_STREAM')"
    until(lambda: sandbox.snowflake(stream) == [(True,)], "rows have landed")
    rest = [each for each in sandbox.tables if each is not table]
    sandbox.write_config(*rest)
    sandbox.deploy()
    for pipe in play.pipes():
        sandbox.snowflake(f"DROP PIPE {pipe}")
    for kind, tail in ("TASK", "_MERGE"), ("STREAM", "_STREAM"), ("TABLE", ""):
        sandbox.snowflake(f"DROP {kind} {play.landing}{tail}")
    sandbox.snowflake(f"DROP TABLE {play.landing}_KEYS")
    target = f"ANALYTICS.PUBLIC.{table.spec.target[1]}"
    sandbox.snowflake(f"ALTER TABLE {target} ADD COLUMN by_hand INTEGER")
    kept = sandbox.snowflake(f"SELECT COUNT(*) FROM {target}")
    play.work(30)
    sandbox.write_config(*rest, table)
    assert _refused(sandbox) == ["adopt"]
    with pytest.raises(LocalError, match="already exists.*aurora-sync adopt"):
        sandbox.deploy()
    sandbox.adopt(table)
    assert _refused(sandbox) == ["drop-column"]
    sandbox.deploy()
    assert _refused(sandbox) == []
    assert sandbox.snowflake(f"SELECT COUNT(*) FROM {target}") == kept
    [row] = sandbox.snowflake(
        "SELECT COUNT(*) FROM ANALYTICS.INFORMATION_SCHEMA.COLUMNS "
        f"WHERE table_name = '{table.spec.target[1]}' AND column_name = 'BY_HAND'"
    )
    assert row == (0,)
    play.work()
    play.tick()
    until(lambda: landed in {seq for seq, _ in play.waits()}, "what was lost is known")
    play.sweep()
    columns = ", ".join(c.name for _, c in table.contract.live if c.name != "at")
    play.settle(columns)


def _refused(sandbox: Sandbox) -> list[str]:
    """Return the kinds that `plan` refuses."""
    where = ["--dir", str(sandbox.folder), "--config", str(sandbox.config)]
    result = CliRunner().invoke(app, ["plan", "--json", *where])
    plan = json.loads(result.stdout)
    found = [one["kind"] for each in plan["tables"] for one in each["refusals"]]
    found += [one["kind"] for one in plan["refusals"]]
    assert result.exit_code == bool(found), result.stderr
    return found


def test_vaults_own_password_changes_twice_while_syncs_go_on(play: Play) -> None:
    """Once by Vault itself, which no deployment undoes; once by the secret."""
    sandbox, local = play.sandbox, play.sandbox.local
    vault: Any = vault_client(local)
    [connection] = vault.list("database/config")["data"]["keys"]
    vault.write_data(f"database/rotate-root/{connection}", data={})
    known = local.secret("vault_admin_password")
    dsn = postgres.aurora_dsn(local)
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        psycopg2.connect(dsn, user=VAULT_ADMIN, password=known)
    play.tick()
    play.work()
    sandbox.deploy()
    # So that Vault must log in again, with what it knows.
    vault.write_data(f"database/reset/{connection}", data={})
    play.tick()
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        psycopg2.connect(dsn, user=VAULT_ADMIN, password=known)

    sandbox.aurora(f"ALTER ROLE {VAULT_ADMIN} PASSWORD 'another'")
    kv = vault.secrets.kv.v2
    kv.create_or_update_secret(
        "aurora-sync/aurora", {"password": "another"}, mount_point="secret"
    )
    play.work()
    sandbox.deploy()
    vault.write_data(f"database/reset/{connection}", data={})
    play.tick()
    columns = [c.name for _, c in play.table.contract.live if c.name != "at"]
    play.settle(", ".join(columns))
