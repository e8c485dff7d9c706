"""Chunks partition a table: every row belongs to exactly one, whatever the key."""

import threading

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from runtime.exporter.chunks import Chunk, Plan, cut
from tests.exporter.conftest import Scene
from tests.factories import make_table

STAMPED = "updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()"


def chunks_of(scene: Scene, table, chunk_bytes: int = 10**9, at_least: int = 1):
    with scene.source() as source:
        return cut(source.cursor, table, chunk_bytes=chunk_bytes, at_least=at_least)


def counts(scene: Scene, table, chunks) -> list[int]:
    """Return the rows of each chunk, after checking that no row is in two or none."""
    with scene.source() as source:
        conditions = [
            chunk.condition(table).as_string(source.cursor) for chunk in chunks
        ]
        name = table.spec.source.sql
        belongs = " + ".join(f"({condition})::int" for condition in conditions)
        source.cursor.execute(
            f"SELECT count(*) FILTER (WHERE {belongs} IS DISTINCT FROM 1), count(*) "
            f"FROM {name}"
        )
        wrong, total = source.cursor.fetchone()
        assert wrong == 0
        found = []
        for condition in conditions:
            source.cursor.execute(f"SELECT count(*) FROM {name} WHERE {condition}")
            found += source.cursor.fetchone()
        assert sum(found) == total
        return found


KEYS = {
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "numeric": "NUMERIC(20,4)",
    "text": "TEXT",
    "text_c": 'TEXT COLLATE "C"',
    "text_unicode": "TEXT COLLATE pg_unicode_fast",
    "varchar": "VARCHAR(20)",
    "padded": "CHAR(12)",
    "name": "NAME",
    "uuid": "UUID",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "bytea": "BYTEA",
    "boolean": "BOOLEAN",
    "inet": "INET",
    "domain": "public.code",
    "enum": "public.mood",
}
_TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=0, max_size=10
)
VALUES = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "numeric": st.decimals("-1e15", "1e15", places=4),
    "text": _TEXTS,
    "text_c": _TEXTS,
    "text_unicode": _TEXTS,
    "varchar": _TEXTS,
    "padded": _TEXTS,
    "name": _TEXTS,
    "uuid": st.uuids().map(str),
    "date": st.dates().map(str) | st.sampled_from(["infinity", "0044-03-15 BC"]),
    "timestamp": st.datetimes().map(str) | st.just("-infinity"),
    "timestamptz": st.datetimes().map(lambda moment: f"{moment}+05:53"),
    "bytea": st.binary(max_size=8),
    "boolean": st.booleans(),
    "inet": st.ip_addresses().map(str),
    "domain": _TEXTS,
    "enum": st.sampled_from(["low", "middling", "high"]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_ranges_partition_the_table_whatever_keys_there_are(scene, kind):
    scene.sql("CREATE DOMAIN public.code AS TEXT COLLATE \"C\" CHECK (VALUE <> 'x')")
    scene.sql("CREATE TYPE public.mood AS ENUM ('low', 'middling', 'high')")
    table = scene.table(
        f"CREATE TABLE public.t (k {KEYS[kind]}, n INT, {STAMPED}, PRIMARY KEY (k, n))",
        table_name="public.t",
        primary_key=["k", "n"],
    )
    writer = scene.session()

    @settings(max_examples=8, deadline=None, database=None)
    @given(
        st.lists(VALUES[kind], min_size=1, max_size=40),
        st.integers(1, 12),
    )
    def partition(keys, wanted):
        writer.execute("TRUNCATE public.t")
        writer.execute(
            f"INSERT INTO public.t SELECT DISTINCT k::{KEYS[kind].split(' ')[0]}, 0 "
            "FROM unnest(%s) AS k ON CONFLICT DO NOTHING",
            (keys,),
        )
        counts(scene, table, chunks_of(scene, table, at_least=wanted))

    partition()


ORDERLY = f"CREATE TABLE public.t (k INT PRIMARY KEY, {STAMPED})"


@pytest.fixture
def numbers(scene):
    table = scene.table(ORDERLY, table_name="public.t", primary_key="k")
    scene.sql("INSERT INTO public.t SELECT n FROM generate_series(1, 20000) AS n")
    return table


def test_a_small_table_is_one_open_range(scene, numbers):
    assert chunks_of(scene, numbers) == (Chunk(),)
    assert counts(scene, numbers, (Chunk(),)) == [20000]


def test_the_size_wanted_decides_how_many(scene, numbers):
    size = scene.value("SELECT pg_table_size('public.t')")
    found = chunks_of(scene, numbers, chunk_bytes=size // 5 + 1)
    assert len(found) == 5
    assert {chunk.kind for chunk in found} == {"key"}
    rows = counts(scene, numbers, found)
    assert max(rows) < 2 * min(rows)


def test_more_are_cut_when_fewer_have_proved_too_large(scene, numbers):
    assert len(chunks_of(scene, numbers, at_least=9)) == 9


def test_first_and_last_range_are_open(scene, numbers):
    first, *_, last = found = chunks_of(scene, numbers, at_least=3)
    assert first.lo is None
    assert last.hi is None
    scene.sql("INSERT INTO public.t VALUES (-5), (0), (2000000000)")
    assert sum(counts(scene, numbers, found)) == 20003


def test_rows_that_come_while_chunks_are_cut_belong_to_exactly_one(scene, numbers):
    stop = threading.Event()

    def insert():
        writer = scene.session()
        number = 20000
        while not stop.is_set():
            number += 1
            writer.execute("INSERT INTO public.t VALUES (%s), (%s)", (number, -number))

    thread = threading.Thread(target=insert)
    thread.start()
    try:
        cuts = [chunks_of(scene, numbers, at_least=n) for n in range(2, 12)]
    finally:
        stop.set()
        thread.join()
    for found in cuts:
        counts(scene, numbers, found)


FEW = f"CREATE TABLE public.t (a TEXT, b INT, {STAMPED}, PRIMARY KEY (a, b))"
PAIR = {"table_name": "public.t", "primary_key": ["a", "b"]}


def test_a_composite_key_is_cut_by_its_leading_column(scene):
    table = scene.table(FEW, **PAIR)
    scene.sql("INSERT INTO public.t SELECT n % 100, n FROM generate_series(1, 9999) n")
    found = chunks_of(scene, table, at_least=4)
    assert {chunk.kind for chunk in found} == {"key"}
    assert all(counts(scene, table, found))


def test_few_distinct_leading_values_are_cut_by_blocks(scene):
    table = scene.table(FEW, **PAIR)
    scene.sql("INSERT INTO public.t SELECT 'one', n FROM generate_series(1, 9999) n")
    found = chunks_of(scene, table, at_least=4)
    assert {chunk.kind for chunk in found} == {"ctid"}
    rows = counts(scene, table, found)
    assert len(rows) == 4
    assert all(rows)
    scene.sql("INSERT INTO public.t SELECT 'two', n FROM generate_series(1, 9999) n")
    assert sum(counts(scene, table, found)) == 2 * 9999


def test_blocks_are_those_of_the_rows_not_of_what_is_stored_aside(scene):
    """Long values lie in a table of their own: its blocks hold none of the rows."""
    table = scene.table(FEW.replace("b INT", "b INT, long BYTEA"), **PAIR)
    scene.sql("ALTER TABLE public.t ALTER long SET STORAGE EXTERNAL")
    scene.sql(
        "INSERT INTO public.t SELECT 'one', n, "
        "decode(repeat('ab', 9000), 'hex') FROM generate_series(1, 1000) n"
    )
    found = chunks_of(scene, table, at_least=4)
    assert {chunk.kind for chunk in found} == {"ctid"}
    assert max(counts(scene, table, found)) < 400


def test_a_partitioned_table_is_cut_by_key_over_all_partitions(scene):
    table = scene.table(
        f"CREATE TABLE public.t (k INT, {STAMPED}, PRIMARY KEY (k)) "
        "PARTITION BY RANGE (k)",
        table_name="public.t",
        primary_key="k",
    )
    for number in range(4):
        lo, hi = number * 1000, (number + 1) * 1000
        scene.sql(
            f"CREATE TABLE public.t{number} PARTITION OF public.t "
            f"FOR VALUES FROM ({lo}) TO ({hi})"
        )
    scene.sql("INSERT INTO public.t SELECT n FROM generate_series(0, 3999) AS n")
    size = scene.value(
        "SELECT sum(pg_table_size(relid)) FROM pg_partition_tree('public.t')"
    )
    found = chunks_of(scene, table, chunk_bytes=int(size) // 3 + 1)
    assert len(found) == 3
    assert {chunk.kind for chunk in found} == {"key"}
    assert all(counts(scene, table, found))
    scene.sql("CREATE TABLE public.rest PARTITION OF public.t DEFAULT")
    scene.sql("INSERT INTO public.t VALUES (-1), (999999)")
    assert sum(counts(scene, table, found)) == 4002


def test_a_partitioned_table_has_no_blocks_of_its_own(scene):
    table = scene.table(FEW + " PARTITION BY LIST (a)", **PAIR)
    scene.sql("CREATE TABLE public.one PARTITION OF public.t FOR VALUES IN ('one')")
    scene.sql("INSERT INTO public.t SELECT 'one', n FROM generate_series(1, 9999) n")
    found = chunks_of(scene, table, at_least=8)
    assert {chunk.kind for chunk in found} == {"key"}
    counts(scene, table, found)


@pytest.mark.parametrize("partitioned", ["", " PARTITION BY LIST (a)"])
def test_an_empty_table_can_be_cut(scene, partitioned):
    table = scene.table(FEW + partitioned, **PAIR)
    counts(scene, table, chunks_of(scene, table, at_least=8))


def test_a_view_cannot_be_cut(scene, numbers):
    scene.sql("CREATE VIEW public.v AS SELECT k, updated_at FROM public.t")
    view = scene.table(table_name="public.v", primary_key="k")
    assert chunks_of(scene, view, chunk_bytes=1, at_least=8) == (Chunk(),)


def test_hostile_names_are_cut_like_others(scene):
    name = "we\"ird%s {0} \\ ';--"
    quoted = name.replace('"', '""')
    table = scene.table(
        f'CREATE TABLE public."{quoted}" ("k%(x)s{{}}" INT PRIMARY KEY, {STAMPED})',
        table_name=f'public."{quoted}"',
        primary_key="k%(x)s{}",
    )
    scene.session().execute(
        f'INSERT INTO public."{quoted}" SELECT n FROM generate_series(1, 999) AS n'
    )
    found = chunks_of(scene, table, at_least=5)
    assert len(found) == 5
    assert all(counts(scene, table, found))


@pytest.mark.parametrize(
    ("key", "least"), [("gen_random_uuid()", 2999), ("repeat('\\', 500) || n", 100)]
)
def test_a_plan_fits_one_ledger_item_however_long_the_keys_are(scene, key, least):
    """DynamoDB takes 400 KB."""
    table = scene.table(
        ORDERLY.replace("INT", "TEXT"), table_name="public.t", primary_key="k"
    )
    scene.sql(f"INSERT INTO public.t SELECT {key} FROM generate_series(1, 9999) AS n")
    found = chunks_of(scene, table, chunk_bytes=1)
    assert least <= len(found) <= 3000
    everything = tuple(range(len(found)))
    plan = Plan(id="x" * 26, chunks=found, contract="c" * 16, committed=everything)
    assert len(msgspec.json.encode(plan.to_ledger())) < 390_000


def test_a_plan_survives_the_ledger():
    plan = Plan(
        id="plan",
        above="2026-01-01",
        low="2026-01-02",
        high=None,
        chunks=(Chunk(hi="5"), Chunk(lo="5", hi="(9,0)"), Chunk(kind="ctid", lo="x")),
        pieces=8,
        relfilenode=16400,
        contract="c",
        committed=(0, 2),
    )
    assert Plan.read(plan.to_ledger()) == plan


def test_an_open_range_is_true():
    assert Chunk().condition(make_table()) == sql.SQL("TRUE")
