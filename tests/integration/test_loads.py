"""A load in chunks, through the queue and the function that consumes it."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from tests.integration.conftest import Sandbox
from tests.integration.killing import COLUMNS, ROWS, load_killed, small_chunks
from tests.integration.losing import without_action
from tests.integration.refusing import Scene, role_name, until

ROW_COUNT = 20_000
# As the local stack deploys it: load_concurrency.
WORKERS = 4


@pytest.fixture
def scene(sandbox: Sandbox) -> Scene:
    table = sandbox.table(COLUMNS)
    sandbox.aurora(ROWS.format(table.spec.source.sql, ROW_COUNT))
    return Scene(sandbox=sandbox, table=table)


# On a busy machine every killed chunk waits long for its worker to start again.
@pytest.mark.timeout(300)
def test_a_load_that_is_killed_again_and_again_ends_and_repeats_no_finished_chunk(
    scene: Scene,
) -> None:
    with small_chunks(scene, 150_000):
        found = load_killed(scene, every=2, most=240, at_most=3)
    assert found.kills == 3 and found.chunks > 10, found
    assert found.twice == 0
    assert found.in_vain <= found.kills * WORKERS
    scene.sandbox.merged(scene.table, scene.state.seq)
    assert scene.sandbox.snowflake(
        f"SELECT COUNT(1) FROM ANALYTICS.PUBLIC.{scene.table.spec.source.name.upper()}"
    ) == [(ROW_COUNT,)]


def run(sandbox: Sandbox, *args: str, status: int = 0) -> Any:
    """Run a command of the program; return its JSON."""
    where = ["--json", "--dir", str(sandbox.folder)]
    result = CliRunner().invoke(app, [*args, *where])
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


# A chunk that fails once more, on a busy machine, is put off for a minute.
@pytest.mark.timeout(300)
def test_chunks_that_were_given_up_go_back_with_redrive_and_both_sides_are_equal(
    scene: Scene,
) -> None:
    sandbox, name = scene.sandbox, scene.table.spec.table_name
    sqs, queue = sandbox.aws("sqs"), sandbox.outputs["dead_letters_url"]
    # What other tests have left.
    sqs.purge_queue(QueueUrl=queue)

    def letters() -> int:
        number = "ApproximateNumberOfMessages"
        told = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[number])
        return int(told["Attributes"][number])

    exporter, aurora = (role_name(scene.roles[each]) for each in ("exporter", "aurora"))
    with (
        small_chunks(scene, 700_000, again=3, times=1),
        without_action(sandbox, aurora, "s3:PutObject"),
        # It would put off each next time for a minute.
        without_action(sandbox, exporter, "sqs:ChangeMessageVisibility"),
    ):
        scene.invoke(table=name)
        plan = scene.state.load
        assert plan is not None
        count = len(plan["chunks"])
        assert count > 1
        until(lambda: letters() == count, "all chunks are given up", 60)
    left = run(sandbox, "letters", status=1)
    assert left["left"] == count
    assert sorted(each["chunk"] for each in left["letters"]) == [*range(count)]
    for each in left["letters"]:
        assert (each["kind"], each["table"]) == ("chunk", name)
        assert (each["plan"], len(each["run"])) == (plan["id"], 26)
    assert scene.state.load == plan
    back = run(sandbox, "letters", "--redrive")
    assert (len(back["letters"]), back["left"]) == (count, 0)
    until(lambda: scene.state.watermark and not scene.state.load, "the load ends", 180)
    sandbox.merged(scene.table, scene.state.seq)
    [verdict] = run(sandbox, "verify", "--config", str(sandbox.config), name)
    assert (verdict["verdict"], verdict["source_rows"]) == ("equal", ROW_COUNT)
    assert run(sandbox, "letters") == {"letters": [], "left": 0}
