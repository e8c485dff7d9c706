"""A load in chunks, through the queue and the function that consumes it."""

import pytest

from tests.integration.conftest import Sandbox
from tests.integration.killing import COLUMNS, ROWS, load_killed, small_chunks
from tests.integration.refusing import Scene

ROW_COUNT = 10_000
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
    with small_chunks(scene, 75_000):
        found = load_killed(scene, every=2, most=240, at_most=3)
    assert found.kills == 3 and found.chunks > 10, found
    assert found.twice == 0
    assert found.in_vain <= found.kills * WORKERS
    scene.sandbox.merged(scene.table, scene.state.seq)
    assert scene.sandbox.snowflake(
        f"SELECT COUNT(1) FROM ANALYTICS.PUBLIC.{scene.table.spec.source.name.upper()}"
    ) == [(ROW_COUNT,)]
