"""Loading of single files, and the memory of what was loaded.

The memory is a table beside the target table. A load commits its rows and its entry
there together, so events may come twice or before a crash. As in Snowpipe a file is
remembered by its name: one that failed is not tried again by its pipe.
"""

import threading
from pathlib import Path
from typing import Any

import duckdb
from botocore.exceptions import ClientError
from fakesnow.instance import FakeSnow
from snowflake.connector.errors import Error as SnowflakeError

from infra.local.parts import LocalStack
from infra.local.snowflake.copy import Copy, location, read_copy, storage
from infra.local.snowflake.files import fetched, rows_view
from infra.local.snowflake.objects import Catalog
from infra.local.snowflake.reader import Name, Reader
from infra.local.snowflake.streams import HIDDEN, Streams, Touched, patiently
from runtime.contract.errors import WarehouseError

# `pipe` is empty for files that COPY statements loaded.
LOADS_DDL = """_LOADS (pipe VARCHAR, table_name VARCHAR, location VARCHAR,
    file VARCHAR, state VARCHAR, row_count BIGINT, error VARCHAR,
    received_at TIMESTAMP, loaded_at TIMESTAMP)"""


class Loads:
    """Loads files and remembers them.

    Args:
        stack: The local stack.
        catalog: Stages, formats and integrations.
        snow: The repaired fakesnow.
        streams: Fed by loads.
        folder: For temporary files.
    """

    def __init__(
        self,
        stack: LocalStack,
        catalog: Catalog,
        snow: FakeSnow,
        streams: Streams,
        folder: Path,
    ) -> None:
        self._stack = stack
        self._catalog = catalog
        self._snow = snow
        self._streams = streams
        self._folder = folder
        self._registering = threading.Lock()
        # Compression takes half of a load's time, and nothing here is kept for long.
        snow.duck_conn.execute("SET force_compression = 'uncompressed'")

    def check(self, copy: Copy) -> None:
        """Check that a COPY's stage, table and columns exist.

        Raises:
            ProgrammingError: The stage does not.
            duckdb.Error: Table or columns do not.
        """
        location(copy.stage, copy.path, self._catalog)
        duck = self._snow.duck_conn.cursor()
        duck.execute(f"SELECT {copy.columns} FROM {copy.table.sql} LIMIT 0")

    def register(self, pipe: Name, table: Name, url: str, key: str) -> bool:
        """Note a file that a pipe is to load; False when it was noted before."""
        with self._registering:
            if self._files(pipe.database, "pipe = ? AND file = ?", pipe.sql, key):
                return False
            self._write(
                pipe.database,
                "INSERT INTO {} VALUES (?, ?, ?, ?, 'PENDING', NULL, NULL,"
                " now()::TIMESTAMP, NULL)",
                *(pipe.sql, table.sql, url, key),
            )
            return True

    def pending(self, pipe: Name) -> list[str]:
        """Return the files a pipe has yet to load, oldest first."""
        where = "pipe = ? AND state = 'PENDING' ORDER BY received_at"
        return self._files(pipe.database, where, pipe.sql)

    def forget(self, pipe: Name) -> None:
        """Forget the files of a pipe."""
        self._write(pipe.database, "DELETE FROM {} WHERE pipe = ?", pipe.sql)

    def forget_table(self, table: Name) -> None:
        """Forget which files COPY statements loaded into a table."""
        sql = "DELETE FROM {} WHERE pipe = '' AND table_name = ?"
        self._write(table.database, sql, table.sql)

    def forget_schema(self, schema: Name) -> None:
        """Forget which files COPY statements loaded into a schema's tables."""
        sql = "DELETE FROM {} WHERE pipe = '' AND starts_with(table_name, ?)"
        self._write(schema.database, sql, schema.sql + ".")

    def copy(self, reader: Reader) -> list[dict[str, Any]]:
        """Run a COPY statement that names its files; return its result rows.

        Raises:
            WarehouseError: A file fails and the statement does not skip it.
        """
        copy = read_copy(reader, self._catalog)
        if not copy.files or copy.pattern:
            reader.refuse("FILES = ('…') without PATTERN")
        bucket, folder = location(copy.stage, copy.path, self._catalog)
        done = self._files(
            copy.table.database,
            "pipe = '' AND state = 'LOADED' AND table_name = ?",
            copy.table.sql,
        )
        rows = []
        for file in copy.files:
            row = {"file": f"s3://{bucket}/{folder}{file}", "status": "LOAD_SKIPPED"}
            if copy.force or folder + file not in done:
                count, reason = self.load("", copy, folder + file)
                if reason and not copy.skip_file:
                    raise WarehouseError(f"cannot load: {reason}", subject=file)
                row["status"] = "LOAD_FAILED" if reason else "LOADED"
                row |= {"rows_loaded": str(count), "first_error": reason}
            rows.append(row)
        return rows

    def load(self, pipe: str, copy: Copy, key: str) -> tuple[int, str]:
        """Load one file, whole or not at all.

        Args:
            pipe: Name of the pipe as SQL text; empty for a COPY statement.
            copy: What to load it by.
            key: The object.

        Returns:
            Its number of rows, and why it failed, if it did.

        Raises:
            botocore.exceptions.BotoCoreError: S3 or STS cannot be asked; the file
                keeps its state.
        """
        bucket, _ = location(copy.stage, copy.path, self._catalog)
        try:
            s3 = storage(copy.stage, self._catalog, self._stack)
            with fetched(s3, bucket, key, copy.format, self._folder) as path:
                return patiently(lambda: self._insert(path, pipe, copy, key)), ""
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise
            reason = f"failed to access the file: {error}"
        except (SnowflakeError, WarehouseError, duckdb.Error) as error:
            reason = str(error)
        duck = self._snow.duck_conn.cursor()
        patiently(lambda: self._outcome(duck, pipe, copy, key, None, reason))
        return 0, reason

    def _insert(self, path: Path, pipe: str, copy: Copy, key: str) -> int:
        touched = Touched(appended={copy.table})
        with self._snow.connect(copy.table.database, copy.table.schema) as session:
            duck = session._duck_conn
            duck.execute(rows_view(path, key, copy.format, copy.fields))
            with self._streams.transaction(duck, touched):
                count = session.cursor().execute(copy.statement).rowcount or 0
                self._outcome(duck, pipe, copy, key, count, None)
        return count

    def _outcome(
        self,
        duck: duckdb.DuckDBPyConnection,
        pipe: str,
        copy: Copy,
        key: str,
        count: int | None,
        reason: str | None,
    ) -> None:
        table = _table(copy.table.database)
        state = "LOADED" if reason is None else "LOAD_FAILED"
        known = duck.execute(
            f"UPDATE {table} SET state = ?, row_count = ?, error = ?,"
            " loaded_at = now()::TIMESTAMP"
            " WHERE pipe = ? AND table_name = ? AND file = ?",
            (state, count, reason, pipe, copy.table.sql, key),
        ).fetchone()
        if not pipe and known == (0,):
            url = self._catalog.get("STAGE", copy.stage)["URL"]
            duck.execute(
                f"INSERT INTO {table} VALUES"
                " ('', ?, ?, ?, ?, ?, ?, NULL, now()::TIMESTAMP)",
                (copy.table.sql, url, key, state, count, reason),
            )

    def _files(self, database: str, where: str, *values: str) -> list[str]:
        sql = f"SELECT file FROM {_table(database)} WHERE {where}"
        found = self._snow.duck_conn.cursor().execute(sql, values).fetchall()
        return [file for (file,) in found]

    def _write(self, database: str, sql: str, *values: str) -> None:
        duck = self._snow.duck_conn.cursor()
        patiently(lambda: duck.execute(sql.format(_table(database)), values))


def _table(database: str) -> str:
    return Name("", database, HIDDEN).sql + "._LOADS"
