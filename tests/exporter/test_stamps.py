"""A higher stamp never shows an older row, however many write at once."""

import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2

from tests.exporter.conftest import Scene

KEYS = 20
WRITERS = 6
READERS = 3
SECONDS = 3.0


def write(scene: Scene, stop: threading.Event, seed: int) -> None:
    """Raise the version of random rows, in transactions of all kinds."""
    chance = random.Random(seed)
    cursor = scene.connect().cursor()
    update = "UPDATE rows SET version = version + 1 WHERE key = %s"
    while not stop.is_set():
        cursor.execute("BEGIN")
        try:
            for key in sorted(chance.sample(range(KEYS), chance.randint(1, 3))):
                if chance.random() < 0.3:
                    cursor.execute("SAVEPOINT inner_one")
                cursor.execute(update, (key,))
            if chance.random() < 0.2:
                time.sleep(chance.random() / 100)
            if chance.random() < 0.1:
                name = f"{scene.name}-{seed}"
                cursor.execute("PREPARE TRANSACTION %s", (name,))
                cursor.execute("COMMIT PREPARED %s", (name,))
            else:
                cursor.execute(chance.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
        except psycopg2.errors.DeadlockDetected:
            cursor.execute("ROLLBACK")


def read(scene: Scene, table, deadline: float, number: int):
    """Take snapshots as exports do; returns stamp and versions of each."""
    found = []
    with scene.source() as source:
        while time.monotonic() < deadline:
            with source.snapshot(table, f"reader {number}") as relation:
                source.cursor.execute(
                    "SELECT pg_catalog.array_agg(version ORDER BY key) FROM public.rows"
                )
                found.append((relation.stamp, source.cursor.fetchone()[0]))
    return found


def test_stamps_order_the_contents_of_snapshots_under_concurrent_writers(scene):
    table = scene.table(
        "CREATE TABLE public.rows (key INT PRIMARY KEY, version INT NOT NULL, "
        "updated_at TIMESTAMPTZ DEFAULT NOW())",
        table_name="public.rows",
        primary_key="key",
    )
    scene.sql(f"INSERT INTO rows SELECT n, 0 FROM generate_series(0, {KEYS - 1}) AS n")
    stop, deadline = threading.Event(), time.monotonic() + SECONDS
    with ThreadPoolExecutor(WRITERS + READERS) as pool:
        writers = [pool.submit(write, scene, stop, seed) for seed in range(WRITERS)]
        readers = [
            pool.submit(read, scene, table, deadline, number)
            for number in range(READERS)
        ]
        snapshots = sorted(one for reader in readers for one in reader.result())
        stop.set()
        for writer in writers:
            writer.result()
    assert len(snapshots) > 300
    assert len({tuple(versions) for _, versions in snapshots}) > 100
    for (low, older), (high, newer) in itertools.pairwise(snapshots):
        if low == high:
            assert older == newer
        for before, after in zip(older, newer, strict=True):
            assert before <= after


def test_a_stamp_is_made_of_digits_of_fixed_width(scene):
    """Texts of the same form are compared as the numbers they are."""
    table = scene.table(
        "CREATE TABLE public.rows (key INT PRIMARY KEY, updated_at TIMESTAMPTZ)",
        table_name="public.rows",
        primary_key="key",
    )
    scene.session("BEGIN", "SELECT pg_current_xact_id()")
    scene.sql("INSERT INTO rows VALUES (1)")
    with scene.source() as source, source.snapshot(table, "lock") as relation:
        source.cursor.execute("SELECT pg_current_snapshot()::text")
        _, xmax, running = source.cursor.fetchone()[0].split(":")
    assert running.count(",") == 0
    assert relation.stamp == f"{int(xmax):020d}-{10**9 - 1:010d}"
