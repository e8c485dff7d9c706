"""A run exports what is due, commits it by its manifest, and says what it did."""

from dataclasses import replace

import pytest

from runtime.contract.errors import (
    CredentialError,
    DriftError,
    FencedError,
    LeaseHeldError,
    SourceError,
)
from runtime.contract.names import LakeKeys
from runtime.contract.records import fingerprint
from runtime.exporter.run import run_table
from runtime.exporter.source_errors import TooLargeError
from tests.exporter.conftest import EXACT, ORDERS, Scene, fill_many
from tests.exporter.test_source import facts


@pytest.fixture
def orders(scene):
    return scene.table(ORDERS, **EXACT)


def insert(scene: Scene, first: int, last: int, ago: str = "0 s") -> None:
    scene.sql(
        f"INSERT INTO orders SELECT n, 's', NOW() - interval '{ago}' "
        f"FROM generate_series({first}, {last}) AS n"
    )


def keys(first: int, last: int) -> list[str]:
    return sorted(str(number) for number in range(first, last + 1))


# --- loads and increments


def test_the_first_run_loads_every_row(scene, orders):
    insert(scene, 1, 5, "2 years")
    result = scene.run(orders)
    assert (result.status, result.mode, result.seq) == ("done", "first_load", 1)
    assert (result.rows_exported, len(result.files)) == (5, 1)
    (manifest,) = scene.manifests(orders)
    assert scene.exported(manifest) == keys(1, 5)
    assert manifest.files == result.files
    assert manifest.run == result.run
    assert manifest.high == result.high == scene.state(orders).watermark
    assert manifest.contract == fingerprint(orders)
    assert manifest.source is not None
    assert manifest.source["oid"] == scene.value("SELECT 'orders'::regclass::int8")
    assert manifest.source["xmax"] in manifest.files[0].stamp


def test_the_next_run_exports_what_has_changed_since(scene, orders):
    insert(scene, 1, 5)
    first = scene.run(orders)
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id = 2")
    insert(scene, 6, 6)
    result = scene.run(orders)
    assert (result.mode, result.low) == ("incremental", first.high)
    assert scene.exported(scene.manifests(orders)[-1]) == ["2", "6"]


def test_a_run_with_nothing_to_export_writes_no_file(scene, orders):
    insert(scene, 1, 5)
    scene.run(orders)
    result = scene.run(orders)
    assert (result.rows_exported, result.files) == (0, ())
    manifest = scene.manifests(orders)[-1]
    assert manifest.seq == result.seq == 2
    assert manifest.files == ()
    assert manifest.high == scene.state(orders).watermark


def test_an_empty_table_is_loaded_too(scene, orders):
    result = scene.run(orders)
    assert (result.status, result.files) == ("done", ())
    assert scene.state(orders).watermark == result.high
    insert(scene, 1, 1)
    assert scene.run(orders).rows_exported == 1


def test_a_run_that_moves_nothing_writes_a_manifest_only_for_the_heartbeat(
    scene, orders
):
    scene.session("BEGIN")
    scene.run(orders)
    scene.run(orders)
    assert scene.run(orders).seq is None
    chain = len(scene.manifests(orders))
    assert scene.run(orders, heartbeat_seconds=0).seq == chain + 1
    assert scene.run(orders).seq is None


def test_frequent_runs_do_not_silence_the_heartbeat(scene, orders):
    """The silence is that between manifests, not between runs."""
    scene.session("BEGIN")
    scene.run(orders)
    scene.run(orders)
    last = scene.state(orders).last_run
    assert last["committed_at"] <= last["at"]
    long_ago = last | {"committed_at": "2020-01-01T00:00:00+00:00"}
    with scene.ledger(orders).lease("by hand") as lease:
        lease.save(last_run=long_ago)
    assert scene.run(orders, heartbeat_seconds=10**10).seq is None
    assert scene.run(orders).seq is not None
    assert scene.run(orders).seq is None


def test_a_larger_margin_does_not_move_the_watermark_back(scene, orders):
    scene.run(orders)
    before = scene.state(orders).watermark
    result = scene.run(scene.table(lookback="PT0S", margin="PT1H"))
    assert result.high < before
    assert scene.state(orders).watermark == before
    assert scene.manifests(orders)[-1].high == before


def test_the_ledger_keeps_a_summary_of_the_run(scene, orders):
    insert(scene, 1, 5)
    result = scene.run(orders)
    state = scene.state(orders)
    assert state.last_run["run"] == result.run
    assert state.last_run["rows_exported"] == 5
    assert state.last_run["files"] == 1
    assert state.last_run["bytes"] == result.bytes
    assert state.contract == fingerprint(orders)
    assert state.source["oid"] == scene.value("SELECT 'orders'::regclass::int8")


def test_every_attempt_writes_under_a_prefix_of_its_own(scene, orders):
    for number in range(3):
        insert(scene, number, number)
        scene.run(orders)
    links = scene.manifests(orders)
    prefix = LakeKeys(stack=scene.name, table=orders.spec.source).exports
    for link in links:
        (file,) = link.files
        assert file.key == f"{prefix}{link.run}/{file.stamp}_3_c000000.csv"
    assert len({link.run for link in links}) == len(links) == 3


def test_a_key_that_is_updated_twice_has_the_newer_row_under_the_higher_stamp(
    scene, orders
):
    insert(scene, 1, 1)
    scene.run(orders)
    for status in ("newer", "newest"):
        scene.sql(f"UPDATE orders SET status = '{status}', updated_at = NOW()")
        scene.run(orders)
    stamped = [
        (link.files[0].stamp, scene.rows(link)[0][1])
        for link in scene.manifests(orders)
    ]
    assert [status for _, status in sorted(stamped)] == ["s", "newer", "newest"]


def test_a_name_in_mixed_case_is_no_other_table(scene):
    quoted = 'public."Order Lines"'
    ddl = ORDERS.replace("public.orders", quoted)
    table = scene.table(ddl, table_name="public.Order Lines", **EXACT)
    scene.sql(f"INSERT INTO {quoted} VALUES (1, 's')")
    assert scene.run(table).rows_exported == 1


# --- chunks


@pytest.fixture
def many(scene, orders):
    fill_many(scene)
    return orders


def test_a_large_table_is_loaded_in_chunks_by_who_takes_their_messages(scene, many):
    first = scene.run(many, chunk_bytes=16_384)
    assert (first.status, first.files, first.seq) == ("more", (), None)
    messages = scene.messages()
    assert {each.plan for each in messages} == {first.plan}
    (result,) = scene.work(many, *messages)
    assert result.status == "done"
    assert len(result.files) > 3
    assert result.seq == 1
    assert scene.exported(*scene.manifests(many)) == keys(1, 400)
    assert scene.state(many).load is None


def test_what_is_finished_is_committed_before_the_load_ends(scene, many):
    insert(scene, 401, 401)
    first = scene.run(many, chunk_bytes=32_768)
    one, *rest = scene.messages()
    assert scene.work(many, one) == []
    second = scene.run(many)
    assert (second.status, second.mode, len(second.files)) == ("more", "first_load", 1)
    (last,) = scene.work(many, *rest)
    partial, complete = scene.manifests(many)
    assert partial.high is None
    assert complete.high == last.high == second.high == scene.state(many).watermark
    assert first.plan == second.plan
    assert scene.exported(partial, complete) == keys(1, 401)
    assert not {f.key for f in partial.files} & {f.key for f in complete.files}


def test_rows_that_change_during_a_load_arrive_after_it(scene, many):
    scene.run(many, chunk_bytes=32_768)
    scene.sql("UPDATE orders SET status = 'new', updated_at = NOW()")
    insert(scene, 0, 0)
    scene.work(many)
    scene.run(many)
    latest = {row[0]: row[1] for row in scene.rows(*scene.manifests(many)[-1:])}
    assert latest == {str(n): "new" if n else "s" for n in range(401)}


def test_chunks_without_rows_are_done_as_well(scene, many):
    with facts(scene, aws_s3_part_bytes=10_000):
        scene.load(many, chunk_bytes=16_384)
        insert(scene, 1000, 1400)
        first, *_ = scene.load(many)
    assert first.status == "more"
    assert scene.state(many).load is None
    empty = [link for link in scene.manifests(many) if not link.files]
    assert empty or len(scene.manifests(many)) > 1


def test_what_is_too_large_for_one_file_goes_on_in_smaller_chunks(scene, many):
    scene.run(many)
    scene.sql("UPDATE orders SET updated_at = NOW()")
    before = scene.state(many).watermark
    with facts(scene, aws_s3_part_bytes=20_000):
        first, *more = scene.load(many)
        assert (first.status, first.seq) == ("more", None)
        assert scene.state(many).watermark == more[-1].high > before
        assert {result.mode for result in [first, *more]} == {"incremental"}
    link = scene.manifests(many)[-1]
    assert link.low == before
    assert len(link.files) > 4
    assert scene.exported(link) == keys(1, 400)


def test_rows_below_the_watermark_are_no_part_of_an_increment_in_chunks(scene, many):
    scene.run(many)
    scene.sql("UPDATE orders SET updated_at = NOW() WHERE order_id > 150")
    with facts(scene, aws_s3_part_bytes=20_000):
        scene.load(many)
    assert scene.exported(scene.manifests(many)[-1]) == keys(151, 400)


def test_while_held_back_an_increment_in_chunks_moves_the_fresh_marker(scene, many):
    scene.run(many)
    scene.session("BEGIN")
    scene.run(many)
    scene.sql("UPDATE orders SET updated_at = NOW()")
    with facts(scene, aws_s3_part_bytes=20_000):
        assert len(scene.load(many)) > 1
        assert scene.run(many).status == "done"


def test_what_can_be_cut_no_smaller_fails_in_the_end(scene, many):
    """Going on for ever would look like success."""
    scene.sql("CREATE VIEW public.v AS SELECT * FROM orders")
    view = scene.table(table_name="public.v", **EXACT)
    with facts(scene, aws_s3_part_bytes=1000):
        with pytest.raises(TooLargeError):
            scene.load(view)
    assert scene.state(view).refusal["code"] == "too_large"


def test_a_chunk_that_is_too_large_leads_to_smaller_ones(scene, orders):
    scene.sql(
        "INSERT INTO orders SELECT n, repeat('x', 400), "
        "'2020-01-01' FROM generate_series(301, 400) AS n"
    )
    scene.sql(
        "INSERT INTO orders SELECT n, 'short', '2020-01-01' "
        "FROM generate_series(1, 300) AS n"
    )
    with facts(scene, aws_s3_part_bytes=20_000):
        first, *_ = scene.load(orders, chunk_bytes=16_384)
    assert first.status == "more"
    assert set(scene.exported(*scene.manifests(orders))) == set(keys(1, 400))


def test_a_ledger_that_was_lost_is_rebuilt_from_the_chain(scene, orders):
    insert(scene, 1, 5)
    scene.run(orders)
    scene.run(orders)
    scene.lose_ledger(orders)
    insert(scene, 6, 6)
    result = scene.run(orders)
    assert (result.mode, result.seq) == ("incremental", 3)
    assert scene.exported(scene.manifests(orders)[-1]) == ["6"]


FEW = """
CREATE TABLE public.orders (
  status TEXT NOT NULL,
  order_id BIGINT NOT NULL,
  updated_at TIMESTAMPTZ DEFAULT NOW(),
  PRIMARY KEY (status, order_id)
)
"""


@pytest.fixture
def blocks(scene):
    """A table whose leading key column cannot be cut, loaded by blocks."""
    table = scene.table(FEW, **EXACT, primary_key=["status", "order_id"])
    scene.sql(
        "INSERT INTO orders SELECT 's', n, '2020-01-01' "
        "FROM generate_series(1, 2000) AS n"
    )
    return table


def second(scene: Scene, *manifests) -> list[str]:
    return sorted(row[1] for row in scene.rows(*manifests))


def test_a_load_by_blocks_covers_the_table(scene, blocks):
    scene.load(blocks, chunk_bytes=32_768)
    assert len(scene.manifests(blocks)[0].files) > 2
    assert second(scene, *scene.manifests(blocks)) == keys(1, 2000)


def test_a_table_that_is_rewritten_during_a_load_by_blocks_is_loaded_anew(
    scene, blocks
):
    how = {"chunk_bytes": 32_768}
    scene.run(blocks, **how)
    first, *others = scene.messages()
    scene.work(blocks, first, **how)
    scene.sql("DELETE FROM orders WHERE order_id <= 500")
    # The rows that are left move to where the finished chunk has been.
    scene.sql("VACUUM FULL orders")
    scene.work(blocks, *others, **how)
    results = scene.load(blocks, **how)
    assert results[-1].status == "done"
    assert second(scene, *scene.manifests(blocks)) == keys(501, 2000)


# --- contracts that change


def widen(scene: Scene):
    scene.sql("ALTER TABLE orders ADD note TEXT DEFAULT 'n'")
    return scene.table(**EXACT)


def test_columns_that_the_contract_lacks_are_reported(scene, orders):
    scene.run(orders)
    scene.sql("ALTER TABLE orders ADD note TEXT")
    assert scene.run(orders).drift == ("note",)
    assert scene.state(orders).drift == ("note",)


def test_a_changed_contract_exports_every_row_again(scene, orders):
    insert(scene, 1, 5, "2 years")
    scene.run(orders)
    result = scene.run(widen(scene))
    assert (result.mode, result.rows_exported) == ("incremental", 5)
    assert result.files[0].columns == 4
    assert scene.manifests(orders)[-1].mode == "backfill"
    after = scene.run(scene.table(**EXACT))
    assert (after.mode, after.rows_exported) == ("incremental", 0)


def test_a_changed_contract_ends_a_load_under_the_old_one(scene, many):
    how = {"chunk_bytes": 32_768}
    scene.run(many, **how)
    scene.work(many, scene.messages()[0])
    before = len(scene.manifests(many))
    wide = widen(scene)
    scene.load(wide, **how)
    later = scene.manifests(many)[before:]
    assert scene.exported(*later) == keys(1, 400)
    assert {file.columns for link in later for file in link.files} == {4}


def test_a_load_for_new_columns_that_must_start_again_is_not_forgotten(scene, blocks):
    """Until it is complete, old rows lack the new columns."""
    how = {"chunk_bytes": 32_768}
    key = {"primary_key": ["status", "order_id"]}
    scene.load(blocks)
    scene.sql("ALTER TABLE orders ADD note TEXT DEFAULT 'n'")
    wide = scene.table(**EXACT, **key)
    assert scene.run(wide, **how).status == "more"
    scene.sql("VACUUM FULL orders")
    before = scene.state(wide).contract
    scene.load(wide, **how)
    assert scene.state(wide).contract != before
    files = [link for link in scene.manifests(wide) if link.mode == "backfill"]
    assert second(scene, *files) == keys(1, 2000)


def test_another_watermark_zone_exports_every_row_again(scene):
    """The old watermark means another moment, maybe one that is still to come."""
    naive = ORDERS.replace("TIMESTAMPTZ", "TIMESTAMP")
    east = scene.table(naive, **EXACT, watermark_timezone="Etc/GMT-14")
    scene.run(east)
    utc = scene.table(**EXACT, watermark_timezone="UTC")
    scene.sql("INSERT INTO orders VALUES (1, 's')")
    scene.run(utc)
    scene.sql("INSERT INTO orders VALUES (2, 's')")
    scene.run(utc)
    assert set(scene.exported(*scene.manifests(utc))) == {"1", "2"}


# --- refusals


def test_a_refusal_is_noted_with_its_run_and_cleared_by_the_next_success(scene, orders):
    scene.run(orders)
    scene.sql("ALTER TABLE orders RENAME status TO state")
    with pytest.raises(DriftError) as caught:
        scene.run(orders)
    refusal = scene.state(orders).refusal
    assert refusal["code"] == "drift"
    assert refusal["message"] == str(caught.value)
    assert refusal["run"]
    assert refusal["at"]
    scene.sql("ALTER TABLE orders RENAME state TO status")
    scene.run(orders)
    assert scene.state(orders).refusal is None


@pytest.mark.parametrize("loaded", [False, True])
def test_a_missing_grant_is_told_and_noted(scene, orders, loaded):
    if loaded:
        scene.run(orders)
    scene.sql("REVOKE SELECT ON orders FROM aurora_sync_exporter")
    with pytest.raises(SourceError, match="permission denied") as caught:
        scene.run(orders)
    assert caught.value.subject == "public.orders"
    assert scene.state(orders).refusal["code"] == "source"


@pytest.mark.parametrize("loaded", [False, True])
def test_a_table_that_is_gone_is_told_and_noted(scene, orders, loaded):
    if loaded:
        scene.run(orders)
    scene.sql("DROP TABLE orders")
    with pytest.raises(DriftError, match="gone"):
        scene.run(orders)
    assert scene.state(orders).refusal["code"] == "drift"


def test_a_vault_that_refuses_is_told_and_the_lease_released(real_vault, scene, orders):
    with pytest.raises(CredentialError):
        scene.run(orders, vault_role="nobody")
    state = scene.state(orders)
    assert state.refusal["code"] == "credential"
    assert state.lease_run == ""
    scene.run(orders)


def test_no_leased_user_stays_behind(real_vault, scene, orders):
    leased = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'"
    scene.run(orders)
    scene.sql("ALTER TABLE orders RENAME status TO state")
    with pytest.raises(DriftError):
        scene.run(orders)
    assert scene.value(leased) == 0


# --- runs that meet


def test_a_second_run_at_the_same_time_is_told_that_one_is_under_way(scene, orders):
    with scene.ledger(orders).lease("other"):
        with pytest.raises(LeaseHeldError, match="run other"):
            scene.run(orders)
    assert scene.run(orders).status == "done"


def test_a_session_that_exports_the_table_without_the_lease_is_a_failure(scene, orders):
    """Whoever holds the lock though we hold the lease is no run that soon ends."""
    with scene.source() as source:
        with source.snapshot(orders, f"{scene.name}#public.orders"):
            with pytest.raises(LeaseHeldError) as caught:
                scene.run(orders)
    assert caught.value.times > 1


class Meeting:
    """An S3 client that lets something happen at the commit, before or after it."""

    def __init__(self, s3, before=None, after=None) -> None:
        self._s3, self._before, self._after = s3, before, after

    def __getattr__(self, name: str):
        return getattr(self._s3, name)

    def put_object(self, **request):
        if self._before:
            self._before()
        answer = self._s3.put_object(**request)
        if self._after:
            self._after()
        return answer


def overtaken(scene: Scene, table):
    """Let the lease end, and another run do all its work."""

    def overtake():
        scene.expire(table)
        scene.run(table)

    return overtake


def test_a_run_that_was_overtaken_before_its_manifest_changes_nothing(scene, orders):
    scene.run(orders)
    insert(scene, 1, 3)
    slow = Meeting(scene.around.s3, before=overtaken(scene, orders))
    with pytest.raises(FencedError, match="another run committed"):
        run_table(orders, replace(scene.around, s3=slow), 60)
    state = scene.state(orders)
    assert state.seq == 2
    assert state.refusal is None
    assert scene.exported(scene.manifests(orders)[-1]) == keys(1, 3)
    insert(scene, 4, 4)
    scene.run(orders)
    assert scene.exported(scene.manifests(orders)[-1]) == keys(4, 4)


def test_the_manifest_of_a_run_that_was_overtaken_later_counts(scene, orders):
    scene.run(orders)
    insert(scene, 1, 3)
    slow = Meeting(scene.around.s3, after=overtaken(scene, orders))
    with pytest.raises(FencedError, match="newer run took over"):
        run_table(orders, replace(scene.around, s3=slow), 60)
    links = scene.manifests(orders)
    assert [link.seq for link in links] == [1, 2, 3]
    assert scene.exported(links[1]) == keys(1, 3)
    assert links[2].low == links[1].high
    state = scene.state(orders)
    assert (state.seq, state.watermark) == (3, links[2].high)
    assert state.refusal is None
