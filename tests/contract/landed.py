"""A table's objects on the local Snowflake, and what a pipe and a task do to them.

The statements are those of the deployed task and views; files land as a pipe lands
them, in the order that a test wants.
"""

import itertools
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from infra.local.snowflake.bodies import read_block
from runtime.contract.names import quote_snowflake
from runtime.contract.snowflake_names import (
    LANDING,
    SnowflakeColumn,
    SnowflakeObjects,
    keys_columns,
    landing_columns,
    target_columns,
)
from runtime.contract.snowflake_sql import merge_block
from runtime.contract.snowflake_status import TableProgress, state_view
from runtime.contract.snowflake_sweep import overdue_view
from tests.factories import make_column, make_table

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
        typed = ", ".join(
            f"{quote_snowflake(each.name)} {each.type}" for each in columns
        )
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

    def merge(self, end: str = "COMMIT") -> None:
        """Run the body of the task once; `end` it otherwise where it should fail."""
        self.run("BEGIN TRANSACTION")
        for statement in read_block(merge_block(OBJECTS, self.table)):
            self.run(statement)
        self.run(end)

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

    def nulled(self, file: str) -> int:
        """Return how many values of a file are NULL by their column's rule."""
        [(found,)] = self.run(
            "SELECT values_nulled FROM ANALYTICS.SYNC.SYNC_FILES "
            f"WHERE file_name = '{file}'"
        )
        return int(found)

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

    def progress(self) -> TableProgress:
        """Return what the status would say of the table."""
        place = "ANALYTICS.SYNC.SYNC_OVERDUE"
        overdue = overdue_view(OBJECTS, [self.table])
        self.run(f"CREATE OR REPLACE VIEW {place} AS {overdue}")
        names = [*TableProgress.__struct_fields__]
        names[0] = "table_name"
        view = state_view(OBJECTS, [self.table])
        [found] = self.run(f"SELECT {', '.join(names)} FROM ({view}) AS s")
        values = dict(zip(TableProgress.__struct_fields__, found, strict=True))
        return msgspec.convert(values, TableProgress)

    def notes(self) -> list[int]:
        """Return what was noted of rows that wait in quarantine, in order."""
        return [
            int(found)
            for (found,) in self.run(
                "SELECT rows_waiting FROM ANALYTICS.SYNC.QUARANTINE_COUNTS WHERE "
                f"table_name = '{self.table.spec.table_name}' ORDER BY counted_at"
            )
        ]

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
