"""Rows that are exported again by their keys: what `verify` found wrong.

They go the way of all rows: a file under the stamp of its snapshot, so that the merge
takes nothing back, and a manifest, so that receipts cover it. It has neither low nor
high: which rows the next run reads stays as it was.
"""

import time
from collections.abc import Sequence

from psycopg2 import sql

from runtime.contract.errors import ConfigError
from runtime.contract.records import RunResult, fingerprint
from runtime.contract.specs import Table
from runtime.exporter import selection
from runtime.exporter.exports import Exports
from runtime.exporter.lake import Lake
from runtime.exporter.ledger import Lease


def send_again(
    exports: Exports, lease: Lease, lake: Lake, keys: Sequence[Sequence[str]]
) -> RunResult:
    """Export rows by key, and commit them; a key without a row exports nothing.

    Args:
        exports: Makes files.
        lease: The right to change the table's ledger.
        lake: Where manifests go.
        keys: A text for each column of the key, as PostgreSQL reads it.

    Raises:
        ConfigError: When a key has another number of columns.
        SourceError: When PostgreSQL cannot read a key.
    """
    table = exports.table
    file = exports.rows(_among(table, keys))
    files, seq = ((file,) if file else ()), None
    if file is not None:
        manifest = exports.manifest(
            lease.state.seq + 1, "repair", fingerprint(table), files
        )
        lake.commit(manifest)
        seq = manifest.seq
        lease.save(seq=seq, source=exports.identity)
    return RunResult(
        status="done",
        table=str(table.spec.source),
        run=exports.run,
        mode="repair",
        seq=seq,
        files=files,
        rows_exported=sum(each.rows for each in files),
        bytes=sum(each.bytes for each in files),
        seconds=round(time.monotonic() - exports.started, 3),
    )


def _among(table: Table, keys: Sequence[Sequence[str]]) -> sql.Composable:
    """Render the condition of rows with one of the keys.

    Values are literals of the driver's quoting: the export takes its query as a text,
    which has no room for parameters.
    """
    columns = [column for _, column in table.keys]
    for key in keys:
        if len(key) != len(columns):
            raise ConfigError(
                "has a key of another number of columns",
                subject=f"table {table.spec.source}",
                got=", ".join(key),
                allowed=f"a value for each of {', '.join(table.spec.key)}",
                remedy="give the key's values in this order",
            )
    values = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(column.base_type))
                for column, text in zip(columns, key, strict=True)
            )
        )
        for key in keys
    ]
    return sql.SQL("({}) AND ({}) IN (VALUES {})").format(
        selection.finite(table),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
        sql.SQL(", ").join(values),
    )
