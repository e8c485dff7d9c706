"""Files: each chunk in a transaction of its own, under its own stamp."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from psycopg2 import sql

from runtime.contract.aurora_sql import full_stamp
from runtime.contract.errors import ExportError, SourceUnavailableError
from runtime.contract.names import LakeKeys
from runtime.contract.records import ExportedFile, LedgerState, Manifest, Mode
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.exporter import chunks, identity, selection
from runtime.exporter.chunks import Chunk, Plan
from runtime.exporter.selection import Noticed
from runtime.exporter.source import Relation, Source, select

# In the names of objects: the first letter tells Snowflake what they carry.
_LETTERS = {"reconcile": "k", "backfill": "cb"}


class RewrittenError(SourceUnavailableError):
    """The table was rewritten during its load: ranges of blocks are void."""

    code: ClassVar[str] = "rewritten"


@dataclass(kw_only=True)
class Exports:
    """What exports files.

    Attributes:
        table: The table.
        settings: The exporter's settings.
        run: Identity of the attempt, a folder of its own in the lake.
        lock: Text of the advisory lock that each transaction takes.
        state: What the ledger knew of the source before.
        source: The connection to Aurora.
        started: When the attempt began, by `time.monotonic`.
        seconds: How long it may take.
        fence: Called in each export transaction once it has its snapshot; raises when
            nobody waits for the export any more.
        relation: The table as the last export transaction found it.
        noticed: What was seen beside the rows.
    """

    table: Table
    settings: ExporterSettings
    run: str
    lock: str
    state: LedgerState
    source: Source
    started: float
    seconds: float
    fence: Callable[[], None] = lambda: None
    relation: Relation | None = None
    noticed: Noticed | None = None

    @property
    def identity(self) -> dict[str, Any] | None:
        """Identity of the source relation, as seen now or by the last run."""
        if self.relation is None:
            return self.state.source
        known = self.state.source
        return identity.identity(self.table, self.settings, self.relation, known)

    def half_the_time_is_left(self) -> bool:
        """Whether more work may begin."""
        return time.monotonic() < self.started + self.seconds / 2

    def cut(self, plan: Plan) -> Plan:
        """Cut the table into the plan's chunks."""
        ranges = chunks.cut(
            self.source.cursor,
            self.table,
            chunk_bytes=self.settings.chunk_bytes,
            at_least=plan.pieces,
            part=plan.parts[0] if plan.parts and plan.where else 0,
            where=plan.where,
        )
        plan = msgspec.structs.replace(plan, chunks=ranges)
        if plan.mode == "incremental" or plan.where:
            if ranges[0].kind == "key":
                return plan
        with self._snapshot() as relation:
            # Ranges of blocks hold only for the file that they were cut from.
            plan = msgspec.structs.replace(
                plan, relfilenode=relation.relfilenode, stamp=self._stamp(relation)
            )
            if not plan.where:
                plan = msgspec.structs.replace(plan, parts=relation.parts)
        return plan

    def file(self, plan: Plan, number: int) -> ExportedFile | None:
        """Export one chunk in one transaction: lock, catalog check, snapshot, file.

        Raises:
            TooLargeError: When it does not fit the time left or one object.
            RewrittenError: When its range is void by now.
        """
        keys_only, chunk = plan.mode == "reconcile", plan.chunks[number]
        # A run may export for several plans, and all under the same stamp while nobody
        # writes: a second object of the same name would take the first one's place.
        part = f"{plan.parts[0]}-" if plan.parts and plan.where else ""
        tag = f"{_LETTERS.get(plan.mode, 'c')}{part}{number:06d}"
        width = self.table.key_width if keys_only else self.table.contract.width
        query = select(self.table, self._condition(plan, chunk), keys_only)
        with self._snapshot() as relation:
            if chunk.kind == "ctid" and relation.relfilenode != plan.relfilenode:
                raise RewrittenError(
                    "the table was rewritten during its load",
                    subject=str(self.table.spec.source),
                    remedy="the load is cut anew by itself",
                )
            if plan.mode == "incremental" and number == 0:
                self.notice(self.state.watermark, self.state.snapshot)
            return self._written(query, relation, width, tag)

    def _condition(self, plan: Plan, chunk: Chunk) -> sql.Composable:
        rows = (
            selection.finite(self.table)
            if plan.above is None
            else selection.newer_than(self.table, plan.above, self.state.snapshot)
        )
        parts = [chunk.condition(self.table), rows]
        if plan.where:
            # A line of its own: it may end in a comment.
            parts.append(sql.SQL("\n").join([sql.SQL(plan.where), sql.SQL("")]))
        return sql.SQL(" AND ").join(sql.SQL("({})").format(part) for part in parts)

    def rows(self, condition: sql.Composable) -> ExportedFile | None:
        """Export some rows in one transaction: lock, catalog check, snapshot, file."""
        query = select(self.table, condition)
        with self._snapshot() as relation:
            return self._written(query, relation, self.table.contract.width, "c000000")

    def notice(self, watermark: str | None = None, since: str | None = None) -> None:
        """Look at what goes beside the rows; see `selection.notice`."""
        self.noticed = selection.notice(
            self.source.cursor, self.table, watermark, since
        )

    def seal(self, plan: Plan, files: tuple[ExportedFile, ...]) -> ExportedFile:
        """Write the one row that lists a reconcile's key files.

        It comes last and by the same way, so that the keys act only when all are there.
        """
        promised = [{"key": file.key, "rows": file.rows} for file in files]
        body = msgspec.json.encode({"stamp": plan.stamp, "files": promised}).decode()
        state, source = self.state, self.table.spec.source
        # What the next run would export: it may be among the keys, and not yet there.
        newer: sql.Composable = sql.SQL("TRUE")
        if state.watermark is not None and not self.table.spec.is_full:
            newer = selection.newer_than(self.table, state.watermark, state.snapshot)
        query = sql.SQL(
            "SELECT ({}::pg_catalog.jsonb || pg_catalog.jsonb_build_object('newer', "
            "(SELECT pg_catalog.count(1) FROM {} WHERE {})))::pg_catalog.text"
        ).format(sql.Literal(body), sql.Identifier(source.schema, source.name), newer)
        with self._snapshot() as relation:
            file = self._written(query, relation, 1, "s000000")
        if file is None:
            raise ExportError(
                "Aurora exported a seal without its one row",
                subject=f"table {source}",
                remedy="nothing; the next reconcile seals anew",
            )
        return file

    def manifest(
        self,
        seq: int,
        mode: Mode,
        contract: str,
        files: tuple[ExportedFile, ...],
        *,
        low: str | None = None,
        high: str | None = None,
    ) -> Manifest:
        """Return a link of the table's chain, which promises files.

        Args:
            seq: Its number in the chain.
            mode: What kind of run.
            contract: Fingerprint of the columns.
            files: Every object that has rows and that no other link promises.
            low: Watermark that the run read above.
            high: Watermark that the target is complete up to with them.
        """
        return Manifest(
            table=str(self.table.spec.source),
            seq=seq,
            run=self.run,
            mode=mode,
            generation=self.state.generation,
            low=low,
            high=high,
            contract=contract,
            source=self.identity or {},
            files=files,
            committed_at=datetime.now(UTC).isoformat(),
        )

    @contextmanager
    def _snapshot(self) -> Iterator[Relation]:
        """Hold one export transaction, on what was exported so far."""
        with self.source.snapshot(self.table, self.lock) as relation:
            identity.check(self.table, self.state.source, relation)
            self.fence()
            self.relation = relation
            yield relation

    def _written(
        self, query: sql.Composable, relation: Relation, width: int, tag: str
    ) -> ExportedFile | None:
        stamp = self._stamp(relation)
        lake = LakeKeys(stack=self.settings.stack, table=self.table.spec.source)
        key = lake.export_key(self.run, stamp, width, tag)
        return self.source.export(self.table, query, key, stamp, width)

    def _stamp(self, relation: Relation) -> str:
        return full_stamp(self.state.generation, relation.stamp)
