"""Tables of mode full: every run loads all rows, then compares all keys."""

import threading

import pytest

from runtime.contract.errors import LeaseHeldError, SourceError
from runtime.exporter.exports import Exports
from runtime.exporter.full import read_now
from runtime.exporter.lake import Lake
from tests.exporter.conftest import Scene

STOCK = """
CREATE TABLE public.stock (item BIGINT PRIMARY KEY, note TEXT)
"""
FULL = {"table_name": "public.stock", "primary_key": "item", "watermark_col": None}


@pytest.fixture
def stock(scene):
    table = scene.table(STOCK, mode="full", **FULL)
    fill(scene, 1, 3)
    return table


def fill(scene: Scene, first: int, last: int) -> None:
    scene.sql(
        "INSERT INTO stock SELECT n, repeat('x', 100)"
        f" FROM generate_series({first}, {last}) AS n"
    )


def rows_and_keys(scene: Scene, table) -> tuple[list[str], list[str]]:
    """Return what the last load and the last comparison of keys have exported."""
    load, keys = scene.manifests(table)[-2:]
    *files, seal = keys.files
    found = [
        scene.around.s3.get_object(Bucket="lake-of-tests", Key=f.key) for f in files
    ]
    lines = b"".join(each["Body"].read() for each in found).decode().split()
    assert seal.key.rsplit("_", 1)[1].startswith("s")
    return scene.exported(load), sorted(lines)


def test_every_run_exports_every_row_and_every_key(scene, stock):
    first = scene.run(stock)
    assert (first.mode, first.rows_exported, first.keys_exported) == ("full", 3, 3)
    scene.sql("UPDATE stock SET note = 'changed' WHERE item = 2")
    scene.sql("DELETE FROM stock WHERE item = 1")
    second = scene.run(stock)
    assert (second.rows_exported, second.keys_exported) == (2, 2)
    assert rows_and_keys(scene, stock) == (["2", "3"], ["2", "3"])
    assert ["2", "changed"] in scene.rows(scene.manifests(stock)[-2])


def test_a_row_that_was_deleted_lies_below_the_seal(scene, stock):
    """So that it is marked: the seal's stamp is above that of every row before."""
    scene.run(stock)
    scene.sql("DELETE FROM stock WHERE item = 1")
    scene.run(stock)
    load, keys = scene.manifests(stock)[-2:]
    assert max(file.stamp for file in load.files) <= keys.files[-1].stamp
    before, _ = scene.manifests(stock)[:2]
    assert before.files[0].stamp < keys.files[-1].stamp


def test_the_high_is_the_time_before_the_load(scene, stock):
    before = scene.value("SELECT clock_timestamp()::text")
    result = scene.run(stock)
    after = scene.value("SELECT clock_timestamp()::text")
    assert before < result.high < after
    assert scene.state(stock).watermark == result.high


def test_an_open_transaction_holds_nothing_and_its_rows_come_with_the_next_run(
    scene, stock
):
    session = scene.session("BEGIN", "INSERT INTO stock VALUES (9, 'late')")
    assert scene.run(stock).rows_exported == 3
    assert scene.state(stock).held_by is None
    session.execute("COMMIT")
    assert scene.run(stock).rows_exported == 4


def test_deletes_that_are_ignored_need_no_keys(scene):
    table = scene.table(STOCK, mode="full", deletes="ignore", **FULL)
    fill(scene, 1, 3)
    assert scene.run(table).reconcile_seq is None
    assert [each.mode for each in scene.manifests(table)] == ["full"]


def test_a_load_that_stops_goes_on_and_then_compares_keys(scene, stock):
    fill(scene, 4, 400)
    small = {"chunk_bytes": 16_384}
    results = scene.load(stock, **small)
    assert results[0].status == "more" and results[-1].status == "done"
    everything = sorted(str(n) for n in range(1, 401))
    modes = [each.mode for each in scene.manifests(stock)]
    assert modes[-1] == "reconcile" and set(modes[:-1]) == {"full"}
    assert scene.exported(*scene.manifests(stock)[:-1]) == everything
    assert scene.state(stock).load is None and scene.state(stock).reconcile is None


def test_keys_that_are_left_come_before_the_next_load(scene, stock, monkeypatch):
    """Else a table whose keys take several runs would never be compared."""
    fill(scene, 4, 400)
    scene.run(stock)
    with scene.ledger(stock).lease("r") as lease:
        plan = {"id": "p", "contract": lease.state.contract, "chunks": []}
        lease.save(reconcile={**plan, "mode": "reconcile"})
    before = len(scene.manifests(stock))
    result = scene.run(stock)
    assert (result.rows_exported, result.keys_exported) == (0, 400)
    assert [each.mode for each in scene.manifests(stock)[before:]] == ["reconcile"]
    assert scene.run(stock).rows_exported == 400


def test_of_two_runs_at_once_one_works(scene, stock):
    fill(scene, 4, 2000)
    refused, done = [], []

    def run() -> None:
        try:
            done.append(scene.run(stock, chunk_bytes=10_000_000))
        except LeaseHeldError as error:
            refused.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) + len(refused) == 2
    assert {each.rows_exported for each in done} == {2000}
    assert len(scene.manifests(stock)) == 2 * len(done)


def test_a_run_that_dies_before_its_manifest_is_done_again(scene, stock, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "commit", die)
        with pytest.raises(Killed):
            scene.run(stock)
    assert scene.manifests(stock) == ()
    assert scene.run(stock).rows_exported == 3


def test_a_run_that_dies_before_its_keys_is_done_again(scene, stock, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Exports, "seal", die)
        with pytest.raises(Killed):
            scene.run(stock)
    assert [each.mode for each in scene.manifests(stock)] == ["full"]
    result = scene.run(stock)
    assert (result.rows_exported, result.keys_exported) == (3, 3)


def test_a_mode_that_changes_begins_with_a_load(scene, stock):
    scene.run(stock)
    scene.sql("ALTER TABLE stock ADD COLUMN updated_at TIMESTAMPTZ DEFAULT NOW()")
    other = scene.table(**FULL | {"watermark_col": "updated_at"})
    assert scene.run(other).mode == "first_load"
    assert scene.run(other).mode == "incremental"
    assert scene.run(stock).mode == "full"


def test_a_reader_is_refused(scene):
    class Reader:
        def execute(self, _: str) -> None:
            pass

        def fetchone(self) -> tuple[bool, str]:
            return True, "2026-11-23 00:00:00+00"

    with pytest.raises(SourceError, match="reader, not the writer"):
        read_now(Reader())


def test_a_ledger_that_was_lost_is_rebuilt(scene, stock):
    scene.run(stock)
    seq = scene.state(stock).seq
    key = {"pk": scene.item(stock)["pk"], "sk": "STATE"}
    scene.around.ledger_table.delete_item(Key=key)
    assert scene.run(stock).seq == seq + 1
