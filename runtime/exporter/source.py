"""Aurora as the exporter sees it: one connection, short transactions, one export each.

An export transaction takes its lock before its snapshot. A session that waits for a
rewriting ALTER or a TRUNCATE with an older snapshot would find no rows afterwards and
succeed; so LOCK comes first, then the catalog is read and compared with the contract,
then Aurora itself writes the file.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from psycopg2 import sql

from runtime.contract.aurora_sql import SNAPSHOT_STAMP
from runtime.contract.dialect import DIALECT, session_options
from runtime.contract.errors import LeaseHeldError, SourceError
from runtime.contract.names import quote_postgres
from runtime.contract.records import ExportedFile
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.exporter.connecting import UserGoneError, connect
from runtime.exporter.credentials import DatabaseUser
from runtime.exporter.drift import compare
from runtime.exporter.source_errors import TooLargeError, told

LOCK_SECONDS = 30

_OPEN = sql.SQL("""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL statement_timeout = {left};
LOCK TABLE {table} IN ACCESS SHARE MODE;
SELECT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended({lock}, 0)),
  {stamp},
  CASE WHEN c.relkind IN ('r', 'p', 'm')
    THEN pg_catalog.pg_current_snapshot()::pg_catalog.text END,
  c.oid::pg_catalog.int8, c.relfilenode::pg_catalog.int8,
  (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attname,
      pg_catalog.format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)
   FROM pg_catalog.pg_attribute AS a
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  c.relkind IN ('v', 'm') OR EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
      AND i.indpred IS NULL AND i.indexprs IS NULL
      AND (SELECT pg_catalog.array_agg(k::pg_catalog.int4 ORDER BY k)
           FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[])
             WITH ORDINALITY AS u(k, place) WHERE place <= i.indnkeyatts)
        = {key}::pg_catalog.int4[])
    AND NOT EXISTS (
      SELECT 1 FROM pg_catalog.pg_attribute AS a
      WHERE a.attrelid = c.oid AND a.attnum = ANY ({key}::pg_catalog.int4[])
        AND NOT a.attnotnull),
  CASE WHEN c.relkind = 'p' THEN ARRAY(
    SELECT t.relid::pg_catalog.oid::pg_catalog.int8
    FROM pg_catalog.pg_partition_tree(c.oid) AS t
    WHERE t.isleaf AND t.relid <> c.oid ORDER BY 1) END
FROM pg_catalog.pg_class AS c
WHERE c.oid = {name}::pg_catalog.regclass
""")

_EXPORT = """
SELECT rows_uploaded, files_uploaded, bytes_uploaded
FROM aws_s3.query_export_to_s3(%(query)s,
  aws_commons.create_s3_uri(%(bucket)s, %(key)s, %(region)s),
  options := %(options)s, kms_key := %(kms_key)s)
"""


class Relation(Struct, frozen=True, kw_only=True):
    """The table as an export transaction found it.

    Attributes:
        stamp: Stamp of the transaction's snapshot, without the generation.
        snapshot: The snapshot itself; None when rows have no xmin, as in a view.
        oid: Identity of the relation.
        relfilenode: Identity of its file; changes when it is rewritten.
        drift: Columns that the contract lacks.
        parts: Its partitions that hold rows, by oid; None when it is not partitioned.
    """

    stamp: str
    snapshot: str | None
    oid: int
    relfilenode: int
    drift: tuple[str, ...]
    parts: tuple[int, ...] | None = None


class Source:
    """One connection to the writer.

    Args:
        settings: Where Aurora is.
        user: The leased database user.
        deadline: When work must have ended, by `time.monotonic`.
        application_name: Shown in pg_stat_activity: stack, table and run.
    """

    def __init__(
        self,
        settings: ExporterSettings,
        user: DatabaseUser,
        deadline: float,
        application_name: str,
    ) -> None:
        self._settings = settings
        self._deadline = deadline
        self._user, self._name = user, application_name
        self._connection = self._connect()
        self._connection.autocommit = True
        self.cursor: Any = self._connection.cursor()

    def _connect(self) -> Any:
        return connect(self._settings, self._user, self._name, self._options())

    def _options(self) -> str:
        """Session settings in the start-up packet: no round trip of their own.

        Without client_connection_check_interval an export goes on after the function
        was killed; row_security off turns hidden rows into an error.
        """
        return (
            f"{session_options()} -c row_security=off"
            f" -c statement_timeout={self._left()}"
            f" -c lock_timeout={LOCK_SECONDS * 1000}"
            f" -c idle_in_transaction_session_timeout={LOCK_SECONDS * 1000}"
            " -c client_connection_check_interval=1000"
        )

    def _left(self) -> int:
        """Milliseconds until the deadline."""
        return max(1000, int((self._deadline - time.monotonic()) * 1000))

    def close(self) -> None:
        """Close the connection; an open transaction ends with it."""
        self._connection.close()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Tell refusals of a user that is gone as such.

        A role that is dropped leaves its session open, but without rights, and Aurora
        tells of rights alone. Whether the user may still come in says which it is.

        Raises:
            UserGoneError: When the leased user was revoked meanwhile.
        """
        try:
            yield
        except SourceError as error:
            if error.retryable:
                raise
            try:
                self._connect().close()
            except UserGoneError as gone:
                raise gone from error
            except SourceError:
                pass
            raise

    @contextmanager
    def snapshot(self, table: Table, lock: str) -> Iterator[Relation]:
        """Hold one export transaction: locked, checked, one snapshot.

        Args:
            table: The table to read.
            lock: Text whose hash is the advisory lock; holds the stack's name.

        Yields:
            The table as it is in the snapshot.

        Raises:
            LeaseHeldError: When another session exports this table.
            DriftError: When the table no longer matches its contract.
        """
        source = table.spec.source
        with told(str(source)):
            try:
                self.cursor.execute(
                    _OPEN.format(
                        stamp=sql.SQL(SNAPSHOT_STAMP),
                        left=sql.Literal(self._left()),
                        table=sql.Identifier(source.schema, source.name),
                        lock=sql.Literal(lock),
                        name=sql.Literal(source.sql),
                        key=sql.Literal(sorted(c.attnum for _, c in table.keys)),
                    )
                )
                locked, stamp, shown, oid, file, *rest = self.cursor.fetchone()
                columns, keyed, parts = rest
                if not locked:
                    raise _without_lease(str(source))
                yield Relation(
                    stamp=stamp,
                    snapshot=shown,
                    oid=oid,
                    relfilenode=file,
                    drift=compare(table, columns, keyed),
                    parts=None if parts is None else tuple(parts),
                )
                self.cursor.execute("COMMIT")
            except BaseException:
                self._connection.close()
                raise

    def export(
        self, table: Table, query: sql.Composable, key: str, stamp: str, columns: int
    ) -> ExportedFile | None:
        """Let Aurora write a query's rows to one object.

        Args:
            table: The table that the rows are of.
            query: What to write; see `select`.
            key: Object key; must never have been used before.
            stamp: Stamp of the open transaction's snapshot.
            columns: Number of columns of the query.

        Returns:
            The object, or None when no row was selected.

        Raises:
            TooLargeError: When the rows do not fit the time left or one object.
            ExportError: When Aurora could not write to S3.
        """
        with told(f"{table.spec.source} -> s3://{self._settings.bucket}/{key}", True):
            self.cursor.execute(
                _EXPORT,
                {
                    "query": query.as_string(self._connection),
                    "bucket": self._settings.bucket,
                    "key": key,
                    "region": self._settings.region,
                    "options": DIALECT.copy_options,
                    "kms_key": self._settings.kms_key_arn,
                },
            )
            rows, files, size = self.cursor.fetchone()
        if files > 1:
            raise TooLargeError(
                "the rows do not fit one object",
                subject=str(table.spec.source),
                got=f"{files} parts",
                remedy="the next run exports smaller chunks",
            )
        if rows == 0:
            return None
        return ExportedFile(
            key=key, rows=rows, bytes=size, stamp=stamp, columns=columns
        )


def _without_lease(source: str) -> LeaseHeldError:
    """A session that has the lock though we have the lease: no run that soon ends."""
    error = LeaseHeldError(
        "another session exports this table without the lease",
        subject=source,
        remedy="find it in pg_locks, locktype advisory, and end it",
    )
    error.times = 2
    return error


def select(
    table: Table, condition: sql.Composable, keys_only: bool = False
) -> sql.Composable:
    """Render the query of an export: every contract column, in file order.

    Args:
        table: The table.
        condition: Which rows.
        keys_only: Leave all but the key empty, up to its last column.
    """
    width = table.key_width if keys_only else table.contract.width
    kept = {place for place, _ in (table.keys if keys_only else table.contract.live)}
    columns = [
        rule_for(c).export(quote_postgres(c.name)) if place in kept else "NULL"
        for place, c in enumerate(table.contract.columns[:width], start=1)
    ]
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ".join(columns)),
        sql.Identifier(table.spec.source.schema, table.spec.source.name),
        condition,
    )
