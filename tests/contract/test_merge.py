"""What a table's task and the views do to rows, on the local Snowflake.

The statements are those of the deployed task and views; files land as a pipe lands
them, in the order that a test wants.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from infra.local import aws
from infra.local.parts import LocalStack
from infra.local.snowflake import part
from infra.local.snowflake.bodies import read_block
from infra.local.snowflake.part import connect
from runtime.contract.snowflake_cleaning import clear_landing
from runtime.contract.snowflake_names import (
    LANDING,
    SYNC,
    SnowflakeColumn,
    SnowflakeObjects,
    keys_columns,
    landing_columns,
    shared_tables,
    target_columns,
)
from runtime.contract.snowflake_sql import merge_block
from runtime.contract.snowflake_sweep import overdue_view
from runtime.contract.snowflake_views import views
from tests.factories import make_column, make_table
from tests.local.running import running

pytestmark = pytest.mark.integration

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="LOADS", stack="dev")
COLUMNS = (
    ("id", "integer"),
    ("moved_at", "timestamp with time zone"),
    make_column(3, "total", "numeric(4,0)", nullable=True),
    make_column(4, "note", "text", nullable=True),
)
AT = "2026-01-01 00:00:00+00"
_numbers = itertools.count(1)


class Pipeline:
    """One table's objects in Snowflake, and what a pipe and a task do to them.

    Args:
        cursor: Of a session.
        keys: Keys of the config entry.
    """

    def __init__(self, cursor: Any, **keys: Any) -> None:
        self._cursor = cursor
        name = f"public.t{next(_numbers)}"
        known = {"table_name": name, "watermark_col": "moved_at", "primary_key": "id"}
        self.table = make_table(COLUMNS, base_width=3, **known | keys)
        self.landing = OBJECTS.qualified(LANDING, OBJECTS.landing(self.table))
        self.target = OBJECTS.qualified(*self.table.spec.target)
        kept = OBJECTS.qualified(LANDING, OBJECTS.keys_table(self.table))
        self._create(self.landing, landing_columns(self.table))
        self._create(kept, keys_columns(self.table))
        self._create(self.target, target_columns(self.table))
        stream = OBJECTS.qualified(LANDING, OBJECTS.stream(self.table))
        self.run(f"CREATE STREAM {stream} ON TABLE {self.landing} APPEND_ONLY = TRUE")

    def _create(self, name: str, columns: Iterable[SnowflakeColumn]) -> None:
        typed = ", ".join(f"{each.name} {each.type}" for each in columns)
        self.run(f"CREATE TABLE {name} ({typed})")

    def run(self, sql: str) -> list[Any]:
        """Run a statement and return its rows."""
        self._cursor.execute(sql)
        return list(self._cursor.fetchall())

    def land(self, stamp: int, *rows: Any, run: str = "r", name: str = "c", **how: Any):
        """Let a file land, or lines of it; return its name.

        Args:
            stamp: Of the file's snapshot.
            rows: Values of each line, as text.
            run: The folder of the run.
            name: `c` for rows, `k` for keys, `s` for a seal.
            how: `width` of the file in columns, `first` line that lands.
        """
        width, first = how.get("width", 4), how.get("first", 1)
        folder = f"exports/dev/{self.table.spec.source.slug}/{run}"
        file = f"{folder}/{stamp:06d}_{width}_{name}000000.csv"
        for number, row in enumerate(rows, start=first):
            places = ", ".join(f"c{n}" for n in range(1, len(row) + 1))
            values = ", ".join("NULL" if v is None else f"'{v}'" for v in row)
            self.run(
                f"INSERT INTO {self.landing} (file_name, file_row, {places}) "
                f"VALUES ('{file}', {number}, {values})"
            )
        return file

    def merge(self) -> None:
        """Run the body of the task once."""
        self.run("BEGIN TRANSACTION")
        for statement in read_block(merge_block(OBJECTS, self.table)):
            self.run(statement)
        self.run("COMMIT")

    def rows(self, columns: str = "id, note") -> list[Any]:
        """Return the living rows, by key."""
        return self.run(
            f"SELECT {columns} FROM {self.target} WHERE _deleted_at IS NULL ORDER BY id"
        )

    def ids(self) -> list[int]:
        """Return the keys of the living rows."""
        return [int(row[0]) for row in self.rows("id")]

    def commit(self, seq: int, *files: tuple[str, int], **fields: Any) -> None:
        """Let a manifest arrive that promises files with so many rows."""
        name = self.table.spec.table_name
        body = {"table": name, "seq": seq, "run": "r", "mode": "incremental"}
        body |= {"generation": 1, "low": None, "high": f"2026-01-0{seq}"}
        body |= {"committed_at": "2026-01-01T00:00:00+00:00"} | fields
        body["files"] = [
            {"key": key, "rows": rows, "bytes": 1, "stamp": "1"} for key, rows in files
        ]
        self.run(
            "INSERT INTO ANALYTICS.SYNC.MANIFESTS (file_name, loaded_at, body) SELECT "
            f"'{name}/{seq}', CURRENT_TIMESTAMP()::TIMESTAMP_NTZ, "
            f"PARSE_JSON('{json.dumps(body)}')"
        )

    def receipt(self, file: str) -> tuple[Any, ...]:
        """Return rows loaded, applied, superseded, quarantined; whether complete."""
        [(*counts, complete)] = self.run(
            "SELECT rows_loaded, rows_applied, rows_superseded, rows_quarantined, "
            f"complete FROM ANALYTICS.SYNC.SYNC_FILES WHERE file_name = '{file}'"
        )
        return (*map(int, counts), complete)

    def overdue(self, column: str = "file_name") -> list[Any]:
        """Return a column of what waits to be loaded again."""
        view = overdue_view(OBJECTS, [self.table])
        found = self.run(f"SELECT {column} FROM ({view}) AS o ORDER BY seq, file_name")
        return [value for (value,) in found]

    def status(self) -> tuple[Any, ...]:
        """Return merged_seq, merged_through and the first link that is bad."""
        [(merged, through, bad)] = self.run(
            "SELECT merged_seq, merged_through, first_bad FROM "
            "ANALYTICS.SYNC.SYNC_STATUS "
            f"WHERE table_name = '{self.table.spec.table_name}'"
        )
        return (int(merged), through, None if bad is None else int(bad))

    def seal(
        self, stamp: int, *keys: int, promised: int | None = None, newer: int = 0
    ) -> None:
        """Let the keys of a reconcile land, and the seal that promises them."""
        file = self.land(stamp, *([key] for key in keys), name="k", width=1)
        rows = len(keys) if promised is None else promised
        files = [{"key": file, "rows": rows}] if rows else []
        body = json.dumps({"stamp": f"{stamp:06d}", "files": files, "newer": newer})
        self.land(stamp, [body], name="s", width=1)

    def missing(self) -> int:
        """Return how many keys the newest decision misses in the target."""
        [(found,)] = self.run(
            "SELECT MAX_BY(missing_count, stamp) FROM ANALYTICS.SYNC.RECONCILES "
            f"WHERE table_name = '{self.table.spec.table_name}'"
        )
        return int(found)

    def decisions(self) -> list[str]:
        """Return what was decided on its deletes, in order."""
        return [
            row[0]
            for row in self.run(
                "SELECT decision FROM ANALYTICS.SYNC.RECONCILES WHERE table_name = "
                f"'{self.table.spec.table_name}' ORDER BY decided_at, stamp"
            )
        ]


def row(key: int, note: str | None = "n", total: str | None = "1") -> list[Any]:
    return [key, AT, total, note]


@pytest.fixture(scope="module")
def cursor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    stack = LocalStack(tmp_path_factory.mktemp("merge"))
    with running(stack, aws.PART, part.PART), connect(stack) as connection:
        cursor = connection.cursor()
        for schema in (LANDING, SYNC, "PUBLIC"):
            cursor.execute("CREATE DATABASE IF NOT EXISTS ANALYTICS")
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS ANALYTICS.{schema}")
        for name, columns in shared_tables().items():
            typed = ", ".join(f"{each.name} {each.type}" for each in columns)
            cursor.execute(f"CREATE TABLE ANALYTICS.SYNC.{name} ({typed})")
        for name, statement in views(OBJECTS).items():
            cursor.execute(f"CREATE VIEW ANALYTICS.SYNC.{name} AS {statement}")
        yield cursor


@pytest.fixture
def shop(cursor: Any) -> Pipeline:
    """A table whose keys are not compared: half the statements."""
    return Pipeline(cursor, deletes="ignore")


@pytest.fixture
def keyed(cursor: Any) -> Pipeline:
    return Pipeline(cursor, max_delete_fraction=0.5)


# --- versions


def test_a_file_that_lands_late_takes_no_row_back(shop):
    shop.land(2, row(1, "new"))
    shop.merge()
    late = shop.land(1, row(1, "old"), row(2, "other"))
    shop.commit(1, (late, 2))
    shop.merge()
    assert shop.rows() == [(1, "new"), (2, "other")]
    assert shop.receipt(late) == (2, 1, 1, 0, True)


@pytest.mark.parametrize("runs", [("a", "b"), ("b", "a")])
def test_within_a_batch_the_stamp_decides_and_not_the_name_of_the_run(shop, runs):
    older, newer = runs
    old = shop.land(1, row(1, "old"), run=older)
    new = shop.land(2, row(1, "new"), run=newer)
    shop.commit(1, (old, 1), (new, 1))
    shop.merge()
    assert shop.rows() == [(1, "new")]
    assert shop.receipt(old) == (1, 0, 1, 0, True)
    assert shop.receipt(new) == (1, 1, 0, 0, True)


def test_a_key_is_one_row_however_it_is_written_and_however_often_it_comes(shop):
    shop.land(1, row(1, "a"), [" 01", AT, "1", "a"])
    shop.merge()
    assert len(shop.rows()) == 1


def test_a_file_without_a_newer_column_does_not_null_it(shop):
    shop.land(1, row(1, "kept"), row(2, "emptied"))
    shop.merge()
    shop.land(2, row(1)[:3], width=3)
    shop.land(2, row(2, None), run="wide")
    shop.merge()
    assert shop.rows() == [(1, "kept"), (2, None)]


# --- quarantine


def test_what_was_merged_leaves_the_landing_table_when_it_is_old(cursor):
    """Neither what is young, nor what no receipt has seen, nor what did not fit."""
    pipeline = Pipeline(cursor)
    old = pipeline.land(1, ("1", AT, "1", "a"), ("2", AT, "12345", "b"))
    pipeline.run(
        f"UPDATE {pipeline.landing} SET loaded_at = DATEADD(DAY, -31, SYSDATE())"
    )
    pipeline.merge()
    pipeline.land(2, ("3", AT, "1", "c"))
    pipeline.run(
        f"UPDATE {pipeline.landing} SET loaded_at = DATEADD(DAY, -29, SYSDATE()) "
        f"WHERE file_name <> '{old}'"
    )
    pipeline.merge()
    left = f"SELECT c1 FROM {pipeline.landing} ORDER BY c1"
    assert pipeline.run(left) == [("2",), ("3",)]
    assert pipeline.rows() == [(1, "a"), (3, "c")]
    pipeline.run(
        f"UPDATE {pipeline.landing} SET loaded_at = DATEADD(DAY, -31, SYSDATE())"
    )
    unseen = pipeline.table.spec.source.slug
    pipeline.run(
        f"INSERT INTO {pipeline.landing} (file_name, file_row, loaded_at, c1) SELECT "
        f"'exports/dev/{unseen}/r/000003_4_c000000.csv', 1, "
        "DATEADD(DAY, -31, SYSDATE()), '4'"
    )
    pipeline.run(clear_landing(OBJECTS, pipeline.table))
    assert pipeline.run(left) == [("2",), ("4",)]


def test_a_row_that_does_not_fit_is_in_quarantine_and_the_others_in_the_target(shop):
    file = shop.land(1, row(1), row(2, total="12345"), [None, AT, "1", "n"])
    shop.commit(1, (file, 3))
    shop.merge()
    assert shop.ids() == [1]
    assert shop.receipt(file) == (3, 1, 0, 2, True)
    assert shop.run(
        "SELECT key_text, column_name, value_text, stamp FROM "
        "ANALYTICS.SYNC.QUARANTINE "
        f"WHERE file_name = '{file}' ORDER BY file_row"
    ) == [("2", "total", "12345", "000001"), ("", "id", None, "000001")]


def test_a_row_in_quarantine_does_not_keep_an_older_good_one_out(shop):
    good = shop.land(1, row(1, "good"))
    bad = shop.land(2, row(1, "bad", total="x"), run="b")
    shop.commit(1, (good, 1), (bad, 1))
    shop.merge()
    assert shop.rows() == [(1, "good")]
    assert shop.receipt(good) == (1, 1, 0, 0, True)
    assert shop.receipt(bad) == (1, 0, 0, 1, True)


# --- receipts and the chain


def test_lines_count_once_however_often_they_land(shop):
    file = shop.land(1, row(1), row(2))
    shop.commit(1, (file, 4))
    shop.merge()
    shop.land(1, row(1), row(2))
    shop.merge()
    assert shop.receipt(file) == (2, 2, 0, 0, False)
    shop.land(1, row(2), row(3), row(4), first=2)
    shop.merge()
    assert shop.receipt(file) == (4, 4, 0, 0, True)


def test_lines_that_land_twice_in_one_batch_count_once(shop):
    for _ in range(2):
        file = shop.land(1, row(1), row(2))
    shop.commit(1, (file, 4))
    shop.merge()
    assert shop.receipt(file) == (2, 2, 0, 0, False)


def test_a_gap_within_a_file_is_no_line(shop):
    file = shop.land(1, row(1))
    shop.land(1, row(3), first=3)
    shop.commit(1, (file, 3))
    shop.merge()
    assert shop.receipt(file) == (2, 2, 0, 0, False)


def test_more_lines_than_promised_are_not_complete(shop):
    file = shop.land(1, row(1), row(2))
    shop.commit(1, (file, 1))
    shop.merge()
    assert not shop.receipt(file)[-1]


def test_a_link_that_is_missing_stops_what_is_merged_through(shop):
    for seq in (1, 2, 4):
        shop.commit(seq)
    assert shop.status() == (2, "2026-01-02", 4)
    shop.commit(3)
    assert shop.status() == (4, "2026-01-04", None)


def test_a_link_whose_files_are_not_merged_stops_it_too(shop):
    file = shop.land(1, row(1))
    for seq in (1, 3):
        shop.commit(seq)
    shop.commit(2, (file, 1))
    assert shop.status() == (1, "2026-01-01", 2)
    shop.merge()
    assert shop.status() == (3, "2026-01-03", None)


def test_a_link_without_a_high_moves_nothing(shop):
    shop.commit(1)
    shop.commit(2, high=None)
    assert shop.status() == (2, "2026-01-01", None)


def test_the_high_of_an_earlier_generation_is_not_merged_through(shop):
    """Of the source that was accepted since nothing is complete yet."""
    shop.commit(1)
    assert shop.status() == (1, "2026-01-01", None)
    shop.commit(2, generation=2, high=None)
    assert shop.status() == (2, None, None)
    shop.commit(3, generation=2)
    assert shop.status() == (3, "2026-01-03", None)


def test_a_manifest_that_lands_twice_is_one_link(shop):
    file = shop.land(1, row(1))
    for seq in (1, 1, 2):
        shop.commit(seq, *([(file, 1)] if seq == 1 else []))
    shop.merge()
    assert shop.status() == (2, "2026-01-02", None)


def test_a_file_that_two_links_promise_holds_both_up(shop):
    file = shop.land(1, row(1))
    for seq in (2, 1):
        shop.commit(seq, (file, 1))
    assert shop.status()[0] == 0
    shop.merge()
    assert shop.status() == (2, "2026-01-02", None)


# --- deletes


def test_a_key_that_is_gone_is_marked_under_the_seals_stamp(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 2, 3)
    keyed.merge()
    assert keyed.ids() == [2, 3]
    marked = f"SELECT _sync_stamp FROM {keyed.target} WHERE _deleted_at IS NOT NULL"
    assert keyed.run(marked) == [("000002",)]
    assert keyed.decisions() == ["applied"]


def test_a_deleted_row_does_not_come_back_with_an_older_file(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(3, 2, 3)
    keyed.merge()
    keyed.land(2, row(1), run="replayed")
    keyed.merge()
    assert keyed.ids() == [2, 3]


def test_a_row_that_is_written_after_its_delete_lives_again(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 2, 3)
    keyed.merge()
    keyed.land(3, row(1))
    keyed.merge()
    assert keyed.ids() == [1, 2, 3]


def test_a_row_above_the_seal_stays_though_its_key_is_missing(keyed):
    keyed.land(1, row(1), row(2))
    keyed.land(3, row(3), run="later")
    keyed.merge()
    keyed.seal(2, 1, 2)
    keyed.merge()
    assert keyed.ids() == [1, 2, 3]


def test_a_seal_whose_keys_have_not_all_landed_does_nothing(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 2, promised=2)
    keyed.merge()
    assert (keyed.ids(), keyed.decisions()) == ([1, 2, 3], [])
    keyed.land(2, [3], name="k", width=1, first=2)
    keyed.merge()
    assert (keyed.ids(), keyed.decisions()) == ([2, 3], ["applied"])


def test_the_same_key_line_twice_does_not_complete_a_seal(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 2, promised=2)
    keyed.land(2, [2], name="k", width=1)
    keyed.merge()
    assert (keyed.ids(), keyed.decisions()) == ([1, 2, 3], [])


def test_keys_without_a_living_row_are_counted(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.merge()
    keyed.run(f"DELETE FROM {keyed.target} WHERE id = 1")
    keyed.run(f"UPDATE {keyed.target} SET _deleted_at = _sync_at WHERE id = 2")
    keyed.seal(2, 1, 2, 3, 4)
    keyed.merge()
    assert (keyed.missing(), keyed.decisions()) == (3, ["applied"])


def test_what_is_not_due_or_in_quarantine_is_not_missing(keyed):
    keyed.land(1, row(1), row(2, "n", "12345"))
    keyed.seal(2, 1, 2, 3, 4, newer=2)
    keyed.merge()
    assert keyed.missing() == 0
    keyed.seal(3, 1, 2, 3, 4, newer=1)
    keyed.merge()
    assert keyed.missing() == 1


def test_a_loss_above_the_limit_waits_until_it_is_approved(keyed):
    keyed.land(1, row(1), row(2), row(3))
    keyed.seal(2, 3)
    keyed.merge()
    assert (keyed.ids(), keyed.decisions()) == ([1, 2, 3], ["braked"])


def test_an_empty_source_must_be_seen_twice(cursor):
    whole = Pipeline(cursor, max_delete_fraction=1.0)
    whole.land(1, row(1), row(2))
    whole.seal(2)
    whole.merge()
    assert (whole.ids(), whole.decisions()) == ([1, 2], ["unconfirmed"])
    whole.seal(3)
    whole.merge()
    assert (whole.ids(), whole.decisions()) == ([], ["unconfirmed", "applied"])


def test_keys_and_seals_are_no_rows(keyed):
    keyed.land(1, row(1))
    keyed.seal(2, 1)
    keyed.merge()
    assert keyed.rows() == [(1, "n")]


# --- what is loaded again


def test_keys_and_seals_wait_until_no_older_file_is_missing(shop):
    """A row that came after the seal which should have marked it would live."""
    rows, keys, later = shop.land(1), shop.land(2, name="k"), shop.land(3)
    shop.commit(1, (rows, 1))
    shop.commit(2, (keys, 1))
    shop.commit(3, (later, 1))
    assert shop.overdue() == [rows, later]
    shop.land(1, row(1))
    shop.merge()
    assert shop.overdue() == [keys, later]


def test_keys_and_seals_wait_until_no_older_manifest_is_missing(shop):
    keys = shop.land(2, name="k")
    shop.commit(2, (keys, 1))
    [gap] = shop.overdue("seq")
    assert int(gap) == 1
    shop.commit(1)
    assert shop.overdue() == [keys]


@pytest.mark.parametrize(("times", "minutes"), [(0, 15), (1, 30), (4, 240), (12, 7680)])
def test_what_does_not_help_is_tried_less_and_less_often(shop, times, minutes):
    file = shop.land(1)
    shop.commit(1, (file, 1))
    for _ in range(times):
        shop.run(
            "INSERT INTO ANALYTICS.SYNC.SWEEPS (table_name, file_name, problem, "
            f"swept_at) VALUES ('t', '{file}', 'denied', '2026-01-01 00:00:00')"
        )
    since = "DATEDIFF(MINUTE, '2026-01-01 00:00:00'::TIMESTAMP_NTZ, due_at)"
    assert [int(waits) for waits in shop.overdue(since)] == [minutes]
