"""Files of one run: each chunk in a transaction of its own, under its own stamp.

A chunk that is finished is noted in the ledger at once, so that a run that dies, or
has no time left, loses one chunk at most.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from psycopg2 import sql

from runtime.contract.aurora_sql import full_stamp
from runtime.contract.errors import SourceUnavailableError
from runtime.contract.names import LakeKeys
from runtime.contract.records import ExportedFile, Manifest, Mode, ledger_key
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.exporter import chunks, identity, selection
from runtime.exporter.chunks import Chunk, Plan
from runtime.exporter.ledger import Lease
from runtime.exporter.selection import Noticed
from runtime.exporter.source import Relation, Source, select
from runtime.exporter.source_errors import TooLargeError


@dataclass(kw_only=True)
class Exports:
    """What a run exports with.

    Attributes:
        table: The table.
        settings: The exporter's settings.
        run: Identity of the run, a folder of its own in the lake.
        lease: The right to change the table's ledger.
        source: The connection to Aurora.
        started: When the run began, by `time.monotonic`.
        seconds: How long it may take.
        relation: The table as the last export transaction found it.
        noticed: What was seen beside the rows.
    """

    table: Table
    settings: ExporterSettings
    run: str
    lease: Lease
    source: Source
    started: float
    seconds: float
    relation: Relation | None = None
    noticed: Noticed | None = None

    @property
    def identity(self) -> dict[str, Any] | None:
        """Identity of the source relation, as this run or the last one saw it."""
        seen = self.relation
        if seen is None:
            return self.lease.state.source
        return identity.identity(self.table, self.settings, seen)

    def half_the_time_is_left(self) -> bool:
        """Whether more work may begin."""
        return time.monotonic() < self.started + self.seconds / 2

    def _cut(self, plan: Plan) -> Plan:
        """Cut the table into the plan's chunks; a single one needs no ledger entry."""
        ranges = chunks.cut(
            self.source.cursor,
            self.table,
            chunk_bytes=self.settings.chunk_bytes,
            at_least=plan.pieces,
        )
        plan = msgspec.structs.replace(plan, chunks=ranges)
        if ranges[0].kind == "ctid" or plan.keys_only:
            with self._snapshot() as relation:
                # Ranges of blocks hold only for the file that they were cut from.
                plan = msgspec.structs.replace(
                    plan, relfilenode=relation.relfilenode, stamp=self._stamp(relation)
                )
        if len(ranges) > 1:
            self.lease.save(**{plan.place: plan.to_ledger()})
        return plan

    def cut_smaller(self, plan: Plan, error: TooLargeError) -> None:
        """Not one chunk fitted: the next invocation goes on with smaller ones.

        Raises:
            TooLargeError: When the table cannot be cut any smaller.
        """
        if plan.pieces >= chunks.MOST_CHUNKS:
            raise error
        pieces = max(8, 4 * len(plan.chunks), 4 * plan.pieces)
        smaller = msgspec.structs.replace(
            plan, id=self.run, chunks=(), pieces=pieces, committed=()
        )
        self.lease.save(**{plan.place: smaller.to_ledger()})

    def advance(self, plan: Plan) -> tuple[Plan, dict[int, ExportedFile | None]] | None:
        """Export chunks that are still missing, as many as the time allows.

        Returns:
            The plan, cut by now, and all its finished chunks: number to file, None when
            empty. None when not one chunk fitted: the next invocation has smaller ones.

        Raises:
            TooLargeError: When the table cannot be cut any smaller.
        """
        try:
            if not plan.chunks:
                plan = self._cut(plan)
            return plan, self._finished(plan)
        except TooLargeError as error:
            self.cut_smaller(plan, error)
            return None

    def _finished(self, plan: Plan) -> dict[int, ExportedFile | None]:
        ledger, several = self.lease.ledger, len(plan.chunks) > 1
        done = ledger.chunks(plan.notes) if several else {}
        longest, fresh = 0.0, 0
        for number, chunk in enumerate(plan.chunks):
            if number in done:
                continue
            begun = time.monotonic()
            if fresh and begun + longest > self.started + self.seconds:
                break
            try:
                done[number] = self.file(plan, number, chunk)
            except TooLargeError:
                if fresh:
                    break
                raise
            if several:
                ledger.finish_chunk(plan.notes, number, done[number])
            longest = max(longest, time.monotonic() - begun)
            fresh += 1
        return done

    def file(self, plan: Plan, number: int, chunk: Chunk) -> ExportedFile | None:
        """One export transaction: lock, catalog check, snapshot, file."""
        state = self.lease.state
        rows = (
            selection.finite(self.table)
            if plan.above is None
            else selection.newer_than(self.table, plan.above, state.snapshot)
        )
        condition = sql.SQL("({}) AND ({})").format(chunk.condition(self.table), rows)
        query = select(self.table, condition, plan.keys_only)
        width, tag = self.table.contract.width, f"c{number:06d}"
        if plan.keys_only:
            width, tag = self.table.key_width, f"k{number:06d}"
        with self._snapshot() as relation:
            if chunk.kind == "ctid" and relation.relfilenode != plan.relfilenode:
                self.lease.save(**{plan.place: None})
                raise SourceUnavailableError(
                    "the table was rewritten during its load",
                    subject=str(self.table.spec.source),
                    remedy="the next run starts the load anew",
                )
            if plan.mode == "incremental" and number == 0:
                self.notice(state.watermark, state.snapshot)
            return self._written(query, relation, width, tag)

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
        state, source = self.lease.state, self.table.spec.source
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
        assert file is not None  # one row
        return file

    def manifest(
        self,
        mode: Mode,
        contract: str,
        files: tuple[ExportedFile, ...],
        *,
        low: str | None = None,
        high: str | None = None,
    ) -> Manifest:
        """Return the next link of the table's chain, which promises files of this run.

        Args:
            mode: What kind of run.
            contract: Fingerprint of the columns.
            files: Every object of the run that has rows.
            low: Watermark that the run read above.
            high: Watermark that the target is complete up to with them.
        """
        state = self.lease.state
        return Manifest(
            table=str(self.table.spec.source),
            seq=state.seq + 1,
            run=self.run,
            mode=mode,
            generation=state.generation,
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
        with self.source.snapshot(self.table, self._lock) as relation:
            identity.check(self.table, self.lease.state.source, relation)
            self.relation = relation
            yield relation

    def _written(
        self, query: sql.Composable, relation: Relation, width: int, tag: str
    ) -> ExportedFile | None:
        stamp, lake = self._stamp(relation), self._lake
        key = lake.export_key(self.run, stamp, width, tag)
        return self.source.export(self.table, query, key, stamp, width)

    @property
    def _lake(self) -> LakeKeys:
        return LakeKeys(stack=self.settings.stack, table=self.table.spec.source)

    @property
    def _lock(self) -> str:
        return ledger_key(self.settings.stack, self.table.spec.source)

    def _stamp(self, relation: Relation) -> str:
        return full_stamp(self.lease.state.generation, relation.stamp)
