"""A load whose function is killed again and again, and what it has cost in the end."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psutil

from infra.local.parts import LocalStack
from runtime.ops.ledger import LedgerReader
from tests.integration.refusing import Scene
from tests.local.running import process

# What a chunk takes here stays below it, and what was killed soon comes again.
VISIBILITY_SECONDS = 6
ROWS = """
INSERT INTO {} SELECT g, MD5(g::TEXT) || REPEAT('-', 60), NOW() - INTERVAL '60 days'
FROM GENERATE_SERIES(1, {}) AS g
"""
COLUMNS = "order_id BIGINT PRIMARY KEY, note TEXT, updated_at TIMESTAMPTZ NOT NULL"


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What became of a load.

    Attributes:
        chunks: Chunks of its plan.
        kills: How often all that ran of the function was killed.
        seconds: How long it took, kills included.
        twice: Files of chunks that had been finished when a kill came, and after it.
        in_vain: Files that no manifest lists: of chunks that were killed.
    """

    chunks: int
    kills: int
    seconds: float
    twice: int
    in_vain: int


@contextmanager
def small_chunks(
    scene: Scene, chunk_bytes: int, again: int = VISIBILITY_SECONDS, times: int = 1000
) -> Iterator[None]:
    """Let loads have many chunks, whose messages come again soon after a kill.

    Args:
        scene: The table.
        chunk_bytes: Wanted size of a chunk.
        again: Seconds after which a message that was not answered comes again.
        times: After how many times a message is given up.
    """
    function, queue = scene.function["FunctionName"], scene.settings.load_queue_url
    client, sqs = scene.sandbox.aws("lambda"), scene.sandbox.aws("sqs")
    before = scene.function["Environment"]["Variables"]
    names = ["VisibilityTimeout", "RedrivePolicy"]
    stood = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    patient = json.loads(stood["RedrivePolicy"]) | {"maxReceiveCount": times}
    changes = {
        "VisibilityTimeout": str(again),
        "RedrivePolicy": json.dumps(patient),
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=changes)
    client.update_function_configuration(
        FunctionName=function,
        Environment={"Variables": before | {"SYNC_CHUNK_BYTES": str(chunk_bytes)}},
    )
    try:
        yield
    finally:
        client.update_function_configuration(
            FunctionName=function, Environment={"Variables": before}
        )
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=stood)
        kill(scene.sandbox.local)
        # Who was killed at work does not give the lease back.
        scene.put(lease_until=int(time.time()) - 1)
        scene.take_back_leases()


def load_killed(
    scene: Scene, every: int, most: float, at_most: int | None = None
) -> Killed:
    """Load a table for the first time, and kill whatever works on it.

    Args:
        scene: The table; it has rows and was never exported.
        every: Chunks that are finished between two kills.
        most: Seconds after which it must have ended.
        at_most: How often to kill; as often as it comes if not given.
    """
    begun, kills, spared = time.monotonic(), 0, 0
    settled: dict[str, int] = {}
    scene.invoke(table=scene.table.spec.table_name)
    while (state := scene.state).watermark is None or state.load or state.lease_run:
        assert time.monotonic() < begun + most, f"{kills} kills, {state}"
        time.sleep(0.01)
        if kills == at_most or len(finished(scene, state.load)) < spared + every:
            continue
        kills += bool(kill(scene.sandbox.local))
        # Nobody is left to give the lease back; its time goes by.
        scene.put(lease_until=int(time.time()) - 1)
        written, done = exports(scene), finished(scene, scene.state.load)
        spared = len(done)
        for chunk in done:
            settled.setdefault(chunk, written[chunk])
    written, links = exports(scene), scene.lake.after(0)
    promised = Counter(_chunk(file.key) for link in links for file in link.files)
    return Killed(
        chunks=len(promised),
        kills=kills,
        seconds=round(time.monotonic() - begun, 1),
        twice=sum(written[chunk] - count for chunk, count in settled.items()),
        in_vain=written.total() - promised.total(),
    )


def finished(scene: Scene, plan: dict[str, Any] | None) -> list[str]:
    """Return the chunks of a plan that are finished; none of no plan."""
    if plan is None:
        return []
    ledger = LedgerReader(
        scene.sandbox.aws("dynamodb"), scene.settings.ledger_table, scene.settings.stack
    )
    found = ledger.chunks(scene.table.spec.source, plan["id"])
    return [_chunk(file.key) for file in found if file]


def exports(scene: Scene) -> Counter[str]:
    """Count the objects of each chunk."""
    return Counter(_chunk(key) for key in scene.objects(scene.keys.exports))


def _chunk(key: str) -> str:
    return key.rpartition("_")[2]


def workers(local: LocalStack) -> list[psutil.Process]:
    """Return the processes that run the exporter; the checker's are not among them."""
    found = []
    for each in process(local, "aws").children(recursive=True):
        # It may end by itself meanwhile.
        with suppress(psutil.NoSuchProcess):
            name = each.environ().get("AWS_LAMBDA_FUNCTION_NAME", "")
            if each.cmdline()[-1].endswith("_worker.py") and "checker" not in name:
                found.append(each)
    return found


def kill(local: LocalStack) -> int:
    """Kill the function, wherever it runs; return how many processes that were."""
    found = workers(local)
    for each in found:
        each.kill()
    psutil.wait_procs(found, timeout=10)
    return len(found)
