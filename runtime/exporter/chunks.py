"""Cut a load into chunks: small, retryable units that together cover the table.

The leading key column gives key ranges; the first and the last range are open, so
that every key belongs to exactly one. Where it has too few distinct values, block
ranges (ctid) of a plain table do the same; they hold only while the table keeps its
file, which the caller checks.
"""

import math
from typing import Any, Literal

import msgspec
from msgspec import Struct
from psycopg2 import sql
from ulid import ULID

from runtime.contract.records import Mode
from runtime.contract.specs import Table

# Blocks that are sampled for the bounds, whatever the size of the table.
_SAMPLE_BLOCKS = 2000
_BLOCK_BYTES = 8192
# A plan is one ledger item, and DynamoDB takes 400 KB; beyond, chunks grow. Each bound
# stands in it twice.
# Source: Amazon DynamoDB developer guide, quotas, item size.
MOST_CHUNKS = 3000
_MOST_BOUND_BYTES = 120_000


class Chunk(Struct, frozen=True, kw_only=True):
    """One range; None means open on that side.

    Attributes:
        kind: `key` for the leading key column, `ctid` for blocks.
        lo: Inclusive lower bound as text.
        hi: Exclusive upper bound as text.
    """

    kind: Literal["key", "ctid"] = "key"
    lo: str | None = None
    hi: str | None = None

    def condition(self, table: Table) -> sql.Composable:
        """Render the condition that selects the chunk's rows."""
        _, leading = table.keys[0]
        if self.kind == "ctid":
            column, kind = sql.Identifier("ctid"), "pg_catalog.tid"
        else:
            # The column's declared type, so that its own order and collation hold.
            column, kind = sql.Identifier(leading.name), leading.base_type
        sides = [
            sql.SQL("{} {} {}::{}").format(
                column, sql.SQL(operator), sql.Literal(bound), sql.SQL(kind)
            )
            for operator, bound in ((">=", self.lo), ("<", self.hi))
            if bound is not None
        ]
        return sql.SQL(" AND ").join(sides) if sides else sql.SQL("TRUE")


class Plan(Struct, frozen=True, kw_only=True):
    """A load under way, kept in the ledger until its last chunk is committed.

    Attributes:
        id: Identity of the plan; a ULID, which tells when it began.
        mode: What kind of run carries the plan out.
        after: Number of the last manifest before the load.
        where: Condition of a backfill, by an operator or of a partition; empty for
            every row.
        parts: Partitions whose every row it exports, by oid; None when unknown.
        above: Lower bound of the watermark; None for a first load.
        low: The watermark before the load; None for a first load.
        high: Watermark when all chunks are done; None while nothing is safe.
        fresh: Where to go on from then, while the watermark is held back.
        chunks: All ranges, in order; none when they are still to be cut.
        pieces: Least number of chunks to cut, when fewer have proved too large.
        relfilenode: File of the table when the plan was made.
        contract: Fingerprint of the columns; another one starts the load anew.
        committed: Numbers of the chunks that stand in manifests.
        queued_at: When messages of all missing chunks were last sent, in seconds since
            1970; 0 when they have not all been sent.
        stamp: Of a reconcile, a snapshot that is older than all of its keys.
    """

    id: str
    mode: Mode = "first_load"
    after: int = 0
    where: str = ""
    parts: tuple[int, ...] | None = None
    above: str | None = None
    low: str | None = None
    high: str | None = None
    fresh: str | None = None
    chunks: tuple[Chunk, ...] = (Chunk(),)
    pieces: int = 1
    relfilenode: int = 0
    contract: str
    committed: tuple[int, ...] = ()
    queued_at: int = 0
    stamp: str = ""

    @property
    def place(self) -> str:
        """Which field of the ledger's state keeps the plan."""
        return self.mode if self.mode in ("reconcile", "backfill") else "load"

    @property
    def braked(self) -> bool:
        """Whether it waits while Aurora is under strain; increments never do."""
        return self.mode in ("first_load", "full", "backfill")

    @classmethod
    def begin(cls, mode: Mode, after: int, contract: str, **more: Any) -> "Plan":
        """Return a new plan, which is still to be cut.

        It has an identity of its own: one run may begin several plans, and each has
        finished chunks.
        """
        fields = {"mode": mode, "after": after, "contract": contract, "chunks": ()}
        return cls(id=str(ULID()), **{**fields, **more})

    @classmethod
    def read(cls, raw: dict[str, Any]) -> "Plan":
        """Read a plan as the ledger keeps it."""
        return msgspec.convert(raw, cls)

    def to_ledger(self) -> dict[str, Any]:
        """Render the plan for the ledger."""
        raw: dict[str, Any] = msgspec.to_builtins(self)
        return raw


def cut(
    cursor: Any,
    table: Table,
    *,
    chunk_bytes: int,
    at_least: int = 1,
    part: int = 0,
    where: str = "",
) -> tuple[Chunk, ...]:
    """Cut a table into chunks of about equal size.

    Args:
        cursor: Cursor on the source.
        table: The table.
        chunk_bytes: Wanted size of a chunk; the heap's size stands for the file's.
        at_least: Least number of chunks, when fewer have proved too large.
        part: A partition, by oid, when only that is to be cut.
        where: The partition's condition; reading it by name would need its own right.

    Returns:
        The ranges in order; one open range for a small table.
    """
    cursor.execute(
        """
        SELECT c.relkind::pg_catalog.text,
          pg_catalog.pg_relation_size(c.oid)::pg_catalog.int8,
          COALESCE(pg_catalog.sum(pg_catalog.pg_table_size(t.relid)),
            pg_catalog.pg_table_size(c.oid))::pg_catalog.int8
        FROM pg_catalog.pg_class AS c
        LEFT JOIN pg_catalog.pg_partition_tree(c.oid) AS t ON t.isleaf
        WHERE c.oid = COALESCE(NULLIF(%s, 0)::pg_catalog.oid, %s::pg_catalog.regclass)
        GROUP BY c.relkind, c.oid
        """,
        (part, table.spec.source.sql),
    )
    kind, own, size = cursor.fetchone()
    wanted = min(MOST_CHUNKS, max(at_least, math.ceil(size / chunk_bytes)))
    if wanted == 1 or kind not in ("r", "p"):
        return (Chunk(),)
    bounds = _key_bounds(cursor, table, size, wanted, where if part else "")
    if kind == "r" and not part and len(bounds) < (wanted - 1) / 2:
        # Of the rows' own blocks: long values lie in another relation.
        step = max(1, math.ceil(own / _BLOCK_BYTES / wanted))
        return _ranges("ctid", [f"({step * n},0)" for n in range(1, wanted)])
    return _ranges("key", bounds)


def _key_bounds(
    cursor: Any, table: Table, size: int, wanted: int, where: str
) -> list[str]:
    percent = min(100.0, 100.0 * _SAMPLE_BLOCKS * _BLOCK_BYTES / max(size, 1))
    cursor.execute(
        sql.SQL("""
            SELECT found.bound::pg_catalog.text AS edge FROM (
              SELECT pg_catalog.unnest(pg_catalog.percentile_disc(
                {shares}::pg_catalog.float8[]) WITHIN GROUP (ORDER BY {key})) AS bound
              FROM {table} TABLESAMPLE SYSTEM ({percent}) WHERE {where}
            ) AS found
            WHERE found.bound IS NOT NULL
            GROUP BY found.bound ORDER BY found.bound
            """).format(
            key=sql.Identifier(table.keys[0][1].name),
            table=sql.Identifier(table.spec.source.schema, table.spec.source.name),
            # No parameters beside them: a name may hold a percent sign.
            shares=sql.Literal([n / wanted for n in range(1, wanted)]),
            percent=sql.Literal(percent),
            where=sql.SQL(where or "TRUE"),
        ),
    )
    bounds = [bound for (bound,) in cursor.fetchall()]
    while len(msgspec.json.encode(bounds)) > _MOST_BOUND_BYTES:
        bounds = bounds[::2]
    return bounds


def _ranges(kind: Literal["key", "ctid"], bounds: list[str]) -> tuple[Chunk, ...]:
    edges = [None, *bounds, None]
    return tuple(
        Chunk(kind=kind, lo=lo, hi=hi) for lo, hi in zip(edges, edges[1:], strict=False)
    )
