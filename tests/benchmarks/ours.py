"""Our own figures: exports beside a bare COPY, memory, cold start, round trips."""

import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
from botocore.credentials import Credentials

from infra.local.aurora_put import S3
from infra.local.parts import AWS_REGION
from runtime.contract.dialect import DIALECT, session_options
from runtime.contract.settings import HANDLER
from runtime.exporter import chunks
from runtime.exporter.chunks import Chunk
from runtime.exporter.source import select
from tests.benchmarks import memory
from tests.benchmarks.figures import Figures
from tests.benchmarks.ground import Ground
from tests.benchmarks.wire import counted

_BLOCK_BYTES = 2**18
_MB = 1e6


def exports(ground: Ground, figures: Figures, repeats: int) -> None:
    """All rows through the function, beside a bare COPY of the same SELECT.

    Pairs take turns (A B A B), so that what else the machine does meets both.
    """
    ground.export("small")
    # The first export after a start reads the libraries; it belongs to neither size.
    small = _peak(ground, "small")[1]
    names = ("export.function", "export.copy_to_s3", "export.copy_to_nothing")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    peaks, files = [], 0
    whole = _copies(ground, (Chunk(),))
    for _ in range(repeats):
        took, peak, files = _peak(ground, "exported")
        seconds[names[0]].append(took)
        peaks.append(peak)
        seconds[names[1]].append(timed(lambda: to_s3(ground, *whole[0])))
        seconds[names[2]].append(timed(lambda: _to_nothing(ground, *whole[0])))
    for name, taken in seconds.items():
        figures.add(name, "s", taken, rows=ground.rows)
    figures.add("export.function_files", "files", [files], streams="one at a time")
    # Two at once, for who wonders what a second stream would bring.
    halves = _copies(ground, _cut(ground, 2))
    pairs = [timed(lambda: _together(ground, halves)) for _ in range(2)]
    figures.add("export.copy_to_s3_two_streams", "s", pairs, rows=ground.rows)
    figures.add("memory.function_small", "MB", [small / _MB], rows=20_000)
    figures.add(
        "memory.function", "MB", [peak / _MB for peak in peaks], rows=ground.rows
    )
    ratios = [
        bare / mine for mine, bare in zip(*list(seconds.values())[:2], strict=True)
    ]
    ratio = figures.add("export.ratio", "", ratios)
    figures.judge("export", ratio, ">= 0.9", "rows per second against a bare COPY")
    largest = max(*peaks, small) / _MB
    figures.judge("memory", largest, "<= 120", "function's peak, MB")
    figures.judge(
        "memory is flat", max(peaks) / small, "<= 1.1", "all rows / 20,000 rows"
    )


def _peak(ground: Ground, name: str) -> tuple[float, int, int]:
    """Export everything; return seconds, the function's peak bytes and the files."""
    ground.forget(name)
    with memory.peak(memory.functions, ground.pid("aws")) as found:
        begun = time.monotonic()
        result = ground.export(name)
        took = time.monotonic() - begun
    expected = 20_000 if name == "small" else ground.rows
    if result.rows_exported != expected:
        raise RuntimeError(f"{name}: {result.rows_exported} rows exported")
    return took, found[0], len(result.files)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that work takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _cut(ground: Ground, pieces: int) -> tuple[Chunk, ...]:
    with psycopg2.connect(ground.dsn) as connection, connection.cursor() as cursor:
        table = ground.table("exported")
        return chunks.cut(cursor, table, chunk_bytes=2**40, at_least=pieces)


def _copies(ground: Ground, ranges: tuple[Chunk, ...]) -> list[tuple[str, str]]:
    """Return a name and a COPY statement for each range."""
    table = ground.table("exported")
    with psycopg2.connect(ground.dsn) as connection:
        queries = [
            select(table, chunk.condition(table)).as_string(connection)
            for chunk in ranges
        ]
    options = DIALECT.copy_options
    return [
        (f"bench/{number}.csv", f"COPY ({query}) TO STDOUT WITH ({options})")
        for number, query in enumerate(queries)
    ]


def _psql(ground: Ground, statement: str) -> tuple[list[str], dict[str, str]]:
    words = ["psql", "-X", "-q", "-d", ground.dsn, "-c", statement]
    return words, os.environ | {"PGOPTIONS": session_options()}


def _to_nothing(ground: Ground, _: str, statement: str) -> None:
    words, environment = _psql(ground, statement)
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)


def to_s3(ground: Ground, key: str, statement: str) -> None:
    """Stream psql's output into one PUT, as lean as our own way to S3."""
    own = ground.parts.fact("aws_keys")["admin"]
    user = Credentials(own["access_key_id"], own["secret_access_key"])
    s3 = S3(ground.parts.url("aws"), AWS_REGION, user)
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    words, environment = _psql(ground, statement)
    put = s3.begin(ground.output("bucket"), key, {})
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as psql:
        assert psql.stdout is not None
        while size := psql.stdout.readinto(buffer):  # type: ignore[attr-defined]
            put.send(buffer[:size])
    if psql.returncode:
        raise RuntimeError(f"psql ended with {psql.returncode}")
    put.finish()
    put.close()


def _together(ground: Ground, copies: list[tuple[str, str]]) -> None:
    with ThreadPoolExecutor(len(copies)) as pool:
        for done in [pool.submit(to_s3, ground, *each) for each in copies]:
            done.result()


def round_trips(ground: Ground, figures: Figures) -> None:
    """Count what a sync with nothing to do asks Aurora."""
    ground.export("small")
    with counted(ground) as found:
        result = ground.export("small")
    if result.rows_exported or len(found) != 1:
        raise RuntimeError(f"not idle: {result.rows_exported} rows, {len(found)} lines")
    figures.add("idle.round_trips", "", [found[0].work], start_up=found[0].start)
    figures.judge(
        "idle sync", found[0].work, "<= 6", "round trips to Aurora after the log-in"
    )


def cold_import(bundle: Path, figures: Figures, repeats: int) -> None:
    """CPU of importing the handler from the bundle in a fresh process."""
    module = HANDLER.rpartition(".")[0]
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
        code = f"import sys; sys.path.insert(0, {folder!r}); import {module}"
        # Nothing of this environment: neither packages nor settings.
        plain = [sys.executable, "-I", "-S"]
        bare = [_cpu([*plain, "-B", "-c", code]) for _ in range(3)]
        _cpu([*plain, "-c", code])
        kept = [_cpu([*plain, "-c", code]) for _ in range(repeats)]
    figures.add("cold_import.without_bytecode", "s CPU", bare)
    seconds = figures.add("cold_import", "s CPU", kept, byte_code="kept")
    figures.judge("cold import", seconds, "<= 0.4", "CPU seconds, user + system")


def _cpu(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env={}, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
