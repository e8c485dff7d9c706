"""Partitions that are attached bring rows which are older than the watermark."""

import pytest

from runtime.exporter.loads import Loads
from tests.exporter.conftest import EXACT

TABLE = """
CREATE TABLE public.orders (order_id BIGINT NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), "Größe %" TEXT NOT NULL,
  PRIMARY KEY (order_id, "Größe %")) PARTITION BY LIST ("Größe %")
"""
KEY = {"primary_key": ["order_id", "Größe %"]}


@pytest.fixture
def orders(scene):
    """One partition with rows 1 to 3, loaded."""
    table = scene.table(TABLE, **EXACT, **KEY)
    attach(scene, "a", 1, 3)
    scene.load(table)
    assert scene.exported(*scene.manifests(table)) == ["1", "2", "3"]
    return table


def attach(scene, part: str, first: int, last: int) -> None:
    """Make a table of old rows a partition."""
    name, part = f'public."part {part}"', part.replace("'", "''")
    scene.sql(f"CREATE TABLE {name} (LIKE public.orders INCLUDING ALL)")
    scene.sql(
        f"INSERT INTO {name} SELECT g, '2001-01-01', '{part}' "
        f"FROM generate_series({first}, {last}) AS g"
    )
    scene.sql(
        f"ALTER TABLE public.orders ATTACH PARTITION {name} FOR VALUES IN ('{part}')"
    )


def exported_since(scene, table, before: int) -> list[str]:
    return scene.exported(*scene.manifests(table)[before:])


def test_each_attached_partition_is_exported_once_and_alone(scene, orders):
    attach(scene, "it's %", 11, 12)
    attach(scene, "c", 21, 22)
    before = len(scene.manifests(orders))
    scene.run(orders)
    assert exported_since(scene, orders, before) == ["11", "12", "21", "22"]
    links = scene.manifests(orders)[before:]
    assert [link.mode for link in links if link.files] == ["backfill"] * 2
    keys = [file.key for link in links for file in link.files]
    assert len(set(keys)) == len(keys) == 2
    after = len(scene.manifests(orders))
    scene.run(orders)
    assert exported_since(scene, orders, after) == []
    assert scene.state(orders).backfill is None


def test_one_that_is_detached_and_comes_back_is_exported_again(scene, orders):
    scene.sql('ALTER TABLE public.orders DETACH PARTITION public."part a"')
    scene.run(orders)
    part = 'public."part a"'
    scene.sql(f"INSERT INTO {part} VALUES (4, '2001-01-01', 'a')")
    scene.sql(f"ALTER TABLE public.orders ATTACH PARTITION {part} FOR VALUES IN ('a')")
    before = len(scene.manifests(orders))
    scene.run(orders)
    assert exported_since(scene, orders, before) == ["1", "2", "3", "4"]


def test_one_that_comes_while_the_load_is_under_way_is_none_of_it(scene):
    table = scene.table(TABLE, **EXACT, **KEY)
    attach(scene, "a", 1, 400)
    scene.run(table, chunk_bytes=8192)
    first, *rest = scene.messages()
    scene.work(table, first)
    attach(scene, "b", 1, 2)
    scene.work(table, *rest)
    while scene.state(table).load is not None:
        scene.load(table)
    before = len(scene.manifests(table))
    scene.run(table)
    assert exported_since(scene, table, before) == ["1", "2"]


def test_it_is_exported_though_the_run_dies_or_the_ledger_is_lost(
    scene, orders, monkeypatch
):
    attach(scene, "b", 11, 12)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("runtime.exporter.loads.Loads.advance", once_more_than(1))
        scene.run(orders)
    scene.lose_ledger(orders)
    before = len(scene.manifests(orders))
    scene.run(orders)
    assert exported_since(scene, orders, before) == ["11", "12"]


def once_more_than(times: int):
    """Let a method work so many times, then fail."""
    whole, calls = Loads.advance, []

    def advance(self, plan):
        calls.append(plan)
        return whole(self, plan) if len(calls) <= times else 1 / 0

    return advance


def test_a_large_one_is_cut_by_its_own_keys(scene, orders):
    attach(scene, "b", 1001, 1400)
    before = len(scene.manifests(orders))
    scene.load(orders, chunk_bytes=8192)
    files = [file for link in scene.manifests(orders)[before:] for file in link.files]
    assert sum(file.rows for file in files) == 400
    assert len(files) > 2 and max(file.rows for file in files) < 250


def test_an_empty_one_costs_no_file(scene, orders):
    scene.sql(
        "CREATE TABLE public.later PARTITION OF public.orders FOR VALUES IN ('z')"
    )
    before = len(scene.manifests(orders))
    scene.run(orders)
    assert exported_since(scene, orders, before) == []
    assert len(scene.state(orders).source["parts"]) == 2
