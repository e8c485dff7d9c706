"""A pipe and a stream are replaced while rows are written, exported and loaded."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from typer.testing import CliRunner

from infra.cli.app import app
from infra.local import postgres
from infra.local.snowflake.part import connect
from runtime.contract.loader import load_tables
from runtime.contract.snowflake_names import LANDING
from runtime.contract.snowflake_pipes import copy_statement
from runtime.contract.specs import Table
from runtime.ops import contracts
from runtime.ops.source import connect as connect_source
from runtime.ops.sweep import sweep
from runtime.ops.warehouse import Warehouse
from tests.integration.conftest import OBJECTS, Sandbox
from tests.integration.refusing import until

DDL = "id BIGINT PRIMARY KEY, note TEXT, at TIMESTAMPTZ NOT NULL DEFAULT NOW()"


@contextmanager
def written(sandbox: Sandbox, table: Table) -> Iterator[threading.Lock]:
    """Write rows and run syncs all the while; their failures fail the test.

    Who holds the lock lets no run begin: the emulator kills one whose function is
    replaced, and its lease would stand for minutes.
    """
    over, failures = threading.Event(), list[BaseException]()
    between = threading.Lock()
    name = table.spec.source.sql

    def write() -> None:
        number = 1000
        while not over.is_set():
            number += 1
            sandbox.aurora(f"INSERT INTO {name} (id, note) VALUES ({number}, 'new')")
            sandbox.aurora(
                f"UPDATE {name} SET note = note || '!', at = NOW() "
                f"WHERE id IN ({number % 20}, {number - 1})"
            )

    def tick() -> None:
        while not over.wait(0.2):
            with between:
                sandbox.tick(table)

    def kept(work: object) -> None:
        try:
            assert callable(work)
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=kept, args=(work,)) for work in (write, tick)]
    for thread in threads:
        thread.start()
    try:
        yield between
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def refreshed(sandbox: Sandbox, table: Table) -> Table:
    """Freeze the columns that Aurora has now, and deploy them."""
    with closing(connect_source(postgres.aurora_dsn(sandbox.local))) as session:
        contracts.refresh(sandbox.config, session, [table.spec.table_name])
    sandbox.tables = list(load_tables(sandbox.config))
    sandbox.deploy()
    [found] = [each for each in sandbox.tables if each.spec == table.spec]
    return found


def swept(sandbox: Sandbox, table: Table) -> list[str]:
    """Do what `aurora-sync sweep` does; return what it says."""
    told: list[str] = []
    with closing(connect(sandbox.local, "ANALYTICS")) as connection:
        place = Warehouse(connection, OBJECTS)
        assert sweep([table], place, lambda _, text: told.append(text)) == 0
    return told


def equal(sandbox: Sandbox, table: Table) -> None:
    """Both sides are equal, by the command that compares them."""
    where = ["--dir", str(sandbox.folder), "--config", str(sandbox.config)]
    name = table.spec.table_name
    result = CliRunner().invoke(app, ["verify", name, "--json", *where])
    [found] = json.loads(result.stdout)
    assert (result.exit_code, found["verdict"]) == (0, "equal"), found
    assert found["newer_rows"] == 0


def pipes(sandbox: Sandbox, table: Table) -> list[str]:
    return [
        f"ANALYTICS.LANDING.{row[1]}"
        for row in sandbox.snowflake("SHOW PIPES IN SCHEMA ANALYTICS.LANDING")
        if row[1].startswith(OBJECTS.pipes(table))
    ]


def wide(sandbox: Sandbox, table: Table) -> list[tuple[str, int]]:
    """Return the landed files of the newer contract, and how often they have landed."""
    return sandbox.snowflake(
        "SELECT file_name, MAX(times) FROM ("
        "SELECT file_name, file_row, COUNT(file_row) AS times "
        f"FROM ANALYTICS.LANDING.{OBJECTS.landing(table)} "
        f"WHERE SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2) = "
        f"'{table.contract.width}' "
        "GROUP BY file_name, file_row) AS n GROUP BY file_name"
    )


def settled(sandbox: Sandbox, table: Table) -> int:
    """Export what is left, chunks of loads included; return the last manifest."""
    while (answer := sandbox.tick(table))["status"] in ("more", "busy"):
        time.sleep(0.2)
    assert answer["status"] == "done", answer
    state = sandbox.snowflake(
        "SELECT MAX(seq) FROM ANALYTICS.SYNC.SYNC_RUNS "
        f"WHERE table_name = '{table.spec.table_name}'"
    )
    return int(answer.get("seq") or state[0][0])


def test_nothing_is_lost_or_read_wrongly_while_pipe_and_stream_are_replaced(sandbox):
    older = sandbox.table(DDL, primary_key="id", watermark_col="at")
    name = older.spec.source.sql
    landing = OBJECTS.qualified(LANDING, OBJECTS.landing(older))
    sandbox.aurora(f"INSERT INTO {name} SELECT g, 'n' FROM generate_series(1, 50) g")
    sandbox.sync(older)

    # Its files are with a pipe that goes before it has loaded them.
    old_pipe = sandbox.pipe(older)
    sandbox.snowflake(f"ALTER PIPE {old_pipe} SET PIPE_EXECUTION_PAUSED = TRUE")
    sandbox.aurora(f"UPDATE {name} SET note = 'in flight', at = NOW() WHERE id < 5")
    in_flight = sandbox.tick(older)
    assert in_flight["rows_exported"] >= 4
    with written(sandbox, older) as between:
        sandbox.aurora(f"ALTER TABLE {name} ADD COLUMN extra TEXT DEFAULT 'x'")
        with between:
            newer = refreshed(sandbox, older)
        assert pipes(sandbox, newer) == [sandbox.pipe(newer)] != [old_pipe]
        # In the cloud the older pipe goes at the end of the deployment, when the
        # function exports by the new contract already.
        topics = sandbox.aws("sns").list_topics()["Topics"]
        arns = [each["TopicArn"] for each in topics]
        [topic] = [arn for arn in arns if arn.endswith("-files")]
        sandbox.snowflake(
            f"CREATE PIPE {old_pipe} AUTO_INGEST = TRUE "
            f"AWS_SNS_TOPIC = '{topic}' "
            f"AS {copy_statement(OBJECTS, older)}"
        )
        until(lambda: len(pipes(sandbox, newer)) == 2, "two versions stand")
        until(lambda: len(wide(sandbox, newer)) > 1, "rows come by the new contract")
        # What has landed and is not merged yet, it no longer shows.
        sandbox.snowflake(
            f"CREATE OR REPLACE STREAM {landing}_STREAM ON TABLE {landing} "
            "APPEND_ONLY = TRUE"
        )
    settled(sandbox, newer)
    sandbox.snowflake(f"DROP PIPE {old_pipe}")
    # The older pipe left alone what it does not know.
    assert {times for _, times in wide(sandbox, newer)} == {1}
    assert any(in_flight["files"][0]["key"] in line for line in swept(sandbox, newer))
    sandbox.merged(newer, settled(sandbox, newer))
    equal(sandbox, newer)
