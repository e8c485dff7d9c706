"""A load whose function is killed again and again, and what it has cost in the end."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

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
        kills: How often the function was killed at work.
        seconds: How long it took, kills included.
        twice: Chunks that were exported again after they had been finished.
        in_vain: Files that no manifest lists: of chunks that were killed.
    """

    chunks: int
    kills: int
    seconds: float
    twice: int
    in_vain: int


@contextmanager
def small_chunks(
    scene: Scene, chunk_bytes: int, again: int = VISIBILITY_SECONDS
) -> Iterator[None]:
    """Let loads have many chunks, whose messages come again soon after a kill."""
    function, queue = scene.function["FunctionName"], scene.settings.load_queue_url
    client, sqs = scene.sandbox.aws("lambda"), scene.sandbox.aws("sqs")
    before = scene.function["Environment"]["Variables"]
    names = ["VisibilityTimeout", "RedrivePolicy"]
    stood = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    patient = json.loads(stood["RedrivePolicy"]) | {"maxReceiveCount": 1000}
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
        scene.take_back_leases()


def load_killed(scene: Scene, every: int, most: float) -> Killed:
    """Load a table for the first time, and kill whatever works on it.

    Args:
        scene: The table; it has rows and was never exported.
        every: Chunks that are finished between two kills: then at the next's export.
        most: Seconds after which it must have ended.
    """
    begun, kills, spared = time.monotonic(), 0, 0
    scene.invoke(table=scene.table.spec.table_name)
    while (state := scene.state).watermark is None or state.load or state.lease_run:
        assert time.monotonic() < begun + most, f"{kills} kills, {state}"
        time.sleep(0.01)
        if finished(scene) >= spared + every and at_work(scene):
            kills += 1
            kill(scene.sandbox.local)
            spared = finished(scene)
            # Nobody is left to give the lease back; its time goes by.
            scene.put(lease_until=int(time.time()) - 1)
    files = [
        file["key"].rpartition("/")[2]
        for key in scene.objects(scene.keys.manifests)
        for file in json.loads(_body(scene, key))["files"]
    ]
    written = [key.rpartition("/")[2] for key in scene.objects(scene.keys.exports)]
    numbers = Counter(name.rpartition("_c")[2] for name in files)
    return Killed(
        chunks=len(numbers),
        kills=kills,
        seconds=round(time.monotonic() - begun, 1),
        twice=sum(count - 1 for count in numbers.values()),
        in_vain=len(written) - len(files),
    )


def finished(scene: Scene) -> int:
    """Return how many chunks of the load are finished."""
    if not (plan := scene.state.load):
        return 0
    ledger = LedgerReader(
        scene.sandbox.aws("dynamodb"), scene.settings.ledger_table, scene.settings.stack
    )
    return len(ledger.chunks(scene.table.spec.source, plan["id"]))


def at_work(scene: Scene) -> bool:
    """Tell whether the function exports a chunk now."""
    return bool(
        scene.sandbox.aurora(
            "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE application_name LIKE "
            "%s AND state = 'active'",
            f"aurora-sync {scene.settings.stack} {scene.table.spec.source}%",
        )
    )


def kill(local: LocalStack) -> None:
    """Kill the function, wherever it runs."""
    found = []
    for each in process(local, "aws").children(recursive=True):
        # It may end by itself meanwhile.
        with suppress(psutil.NoSuchProcess):
            if each.cmdline()[-1].endswith("_worker.py"):
                found.append(each)
    for each in found:
        each.kill()
    psutil.wait_procs(found, timeout=10)


def _body(scene: Scene, key: str) -> bytes:
    s3 = scene.sandbox.aws("s3")
    answer = s3.get_object(Bucket=scene.settings.bucket, Key=key)
    body: bytes = answer["Body"].read()
    return body
