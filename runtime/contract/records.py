"""What the exporter writes down: manifests in the lake, state in the ledger.

A manifest is a run's commit point; the ledger follows it and can be rebuilt from it.
"""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import msgspec
from msgspec import Struct

from runtime.contract.columns import Column
from runtime.contract.names import SourceName
from runtime.contract.specs import Table

MANIFEST_VERSION = 1
STATE_KEY = "STATE"

Mode = Literal["incremental", "first_load", "full", "backfill", "reconcile", "repair"]
# Of how many rows one event may ask for by key.
MOST_KEYS = 1000


class ExportedFile(Struct, frozen=True, kw_only=True):
    """One object that Aurora wrote.

    Attributes:
        key: Key in the bucket.
        rows: Rows in it, as aws_s3 counted them.
        bytes: Its size.
        stamp: Stamp of the snapshot it shows.
        columns: Number of contract columns in it.
    """

    key: str
    rows: int
    bytes: int
    stamp: str
    columns: int


class Finished(Struct, frozen=True, kw_only=True):
    """What became of a chunk.

    Attributes:
        file: What was written; None when the chunk has no rows.
        problem: Code of the error for which the load must be cut anew.
    """

    file: ExportedFile | None = None
    problem: str = ""


class Manifest(Struct, frozen=True, kw_only=True):
    """The commit of one run; `manifests/<stack>/<table>/<seq>.json`.

    Attributes:
        table: Source table.
        seq: Place in the table's chain, from 1 without gaps.
        run: Identity of the attempt that wrote it.
        mode: What kind of run.
        generation: Opened anew when the source is another database.
        low: Watermark the run read above, before lookback; None for a first load.
        high: Watermark the target is complete up to once these files are merged;
            None while a first load is unfinished, of a reconcile, a backfill and a
            repair.
        contract: Fingerprint of the columns.
        source: Identity of the source relation.
        files: Every object of the run that has rows.
        committed_at: ISO time of the commit, UTC.
    """

    table: str
    seq: int
    run: str
    mode: Mode
    generation: int
    low: str | None
    high: str | None
    contract: str
    source: dict[str, Any]
    files: tuple[ExportedFile, ...]
    committed_at: str
    version: int = MANIFEST_VERSION

    @property
    def prev(self) -> int:
        """The manifest before this one; 0 before the first."""
        return self.seq - 1

    def to_json(self) -> bytes:
        """Render for the lake; `prev` stands in it for readers."""
        return msgspec.json.encode({**msgspec.to_builtins(self), "prev": self.prev})


class LedgerState(Struct, frozen=True, kw_only=True):
    """The ledger's item of one table (sort key STATE).

    Attributes:
        generation: Grows when another source was accepted; first part of stamps.
        seq: Number of the last manifest that the ledger followed.
        watermark: Watermark up to which everything has been exported, as text with
            microseconds; None until the first load is complete.
        high: The commit-safe high that the last run read.
        fresh: While held back: the watermark above which exports went on.
        lease_run: Run that holds the lease; empty when free.
        lease_token: Fencing token; grows with every lease.
        lease_until: End of the lease, seconds since 1970.
        held_by: Who holds the watermark back; empty when nobody does.
        load: Plan of an unfinished first load; None otherwise.
        backfill: Plan of an unfinished backfill, beside which increments go on.
        reconcile: Plan of an unfinished reconcile; None otherwise.
        waits_for: What a load waits for, to spare Aurora.
        waits_until: Until then nobody looks again, in seconds since 1970.
        reconciled_at: When the keys were last compared, or the first load ended.
        last_run: Summary of the last finished run.
        refusal: The last error, until a run succeeds.
        contract: Fingerprint of the columns that every exported row has by now.
        source: Identity of the source relation when last seen.
        snapshot: Of the last incremental run, as pg_snapshot prints it; None after a
            load, and where rows do not tell who wrote them.
        candidate: Of an id watermark: `value` and `at` of the sequence's position that
            waits until the transactions open at that time have ended.
        drift: Columns that the contract lacks.
    """

    generation: int = 1
    seq: int = 0
    watermark: str | None = None
    high: str | None = None
    fresh: str | None = None
    lease_run: str = ""
    lease_token: int = 0
    lease_until: int = 0
    held_by: dict[str, Any] | None = None
    load: dict[str, Any] | None = None
    backfill: dict[str, Any] | None = None
    reconcile: dict[str, Any] | None = None
    waits_for: str = ""
    waits_until: int = 0
    reconciled_at: str | None = None
    last_run: dict[str, Any] | None = None
    refusal: dict[str, Any] | None = None
    contract: str | None = None
    source: dict[str, Any] | None = None
    snapshot: str | None = None
    candidate: dict[str, Any] | None = None
    drift: tuple[str, ...] = ()


def state_to_item(state: LedgerState) -> dict[str, Any]:
    """Render a state as ledger attributes: numbers, texts, and JSON texts.

    Absent values are left out, so that conditions can test for existence.
    """
    item = {}
    for name, value in msgspec.to_builtins(state).items():
        if isinstance(value, (dict, list)):
            item[name] = msgspec.json.encode(value).decode()
        elif value is not None:
            item[name] = value
    return item


def state_from_item(item: Mapping[str, Any]) -> LedgerState:
    """Read the attributes that `state_to_item` wrote.

    Args:
        item: The item as boto3's DynamoDB table resource returns it; attributes of
            other writers are ignored.
    """
    raw = {}
    for field in msgspec.structs.fields(LedgerState):
        value = item.get(field.name)
        if isinstance(value, str) and value[:1] in ("{", "["):
            value = msgspec.json.decode(value)
        if value is not None:
            raw[field.name] = int(value) if isinstance(value, Decimal) else value
    return msgspec.convert(raw, LedgerState)


def ledger_key(stack: str, source: SourceName) -> str:
    """Return the partition key of a table's items in the ledger."""
    return f"{stack}#{source.slug}"


def fingerprint(table: Table) -> str:
    """Return a short digest of what a table's rows become, and one of its watermark.

    With the same second part, a watermark that was read under another contract still
    means the same.
    """
    spec = table.spec
    columns = [_shape(column) for column in table.contract.columns]
    mark: list[Any] = ["full"]
    if not spec.is_full:
        moment = table.watermark
        mark = [moment.attnum, moment.base_type, spec.watermark_timezone]
    # Only where there is something to say: a new fingerprint loads a table anew.
    mark += [spec.watermark_unit] if spec.watermark_unit else []
    mark += ["id"] if spec.id_lookback is not None else []
    filtered = [table.contract.where] if table.contract.where else []
    return f"{_digest(columns, spec.key, *filtered)}.{_digest(*mark)[:8]}"


def _shape(column: Column) -> tuple[Any, ...]:
    own = column.misfit, column.mask, column.rename
    plain = column.attnum, column.base_type, column.kind, column.dropped
    return plain if own == ("fail", None, None) else (*plain, *own)


def same_watermark(one: str | None, other: str) -> bool:
    """Tell whether watermarks of two fingerprints' contracts mean the same."""
    return one is not None and one.partition(".")[2] == other.partition(".")[2]


def mixed(contract: str) -> str:
    """Return the fingerprint of rows that do not all have a contract's columns.

    It is no table's, but watermarks of them mean what that contract's mean.
    """
    return f".{contract.partition('.')[2]}"


def _digest(*parts: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


class RunResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one invocation of the exporter answers.

    Attributes:
        status: `done`; `more` (chunks of a load are in the queue); `busy` (another
            run holds the lease, once); `failed` with `error` when the caller asked to
            be told instead of a raise.
        table: Source table.
        run: Identity of the attempt.
        mode: What kind of run.
        seq: Manifest that was committed; None when nothing was.
        low: Watermark read above.
        high: Commit-safe high.
        held_by: Who holds the watermark back.
        null_rows: Rows whose watermark is NULL or infinite; None when not looked for.
        late_rows: Rows that became visible since the run before, though their
            watermark is at or below the ledger's.
        lateness: How far the lowest of them lies below, in seconds; of ids, in ids.
        lookback_used: The same as a share of the lookback.
        files: Objects committed by this invocation.
        rows_exported: Their rows.
        bytes: Their size.
        reconcile_seq: Manifest of a reconcile that this invocation completed; None
            when none was.
        keys_exported: Its keys.
        plan: Identity of the load whose chunks are in the queue.
        after: Number of the last manifest before a load that has several.
        seconds: Duration of the invocation.
        drift: Columns at the source that the contract lacks.
        error: The error as `SyncError.as_dict` tells it.
    """

    status: Literal["done", "more", "busy", "failed"]
    table: str
    run: str = ""
    mode: Mode = "incremental"
    seq: int | None = None
    low: str | None = None
    high: str | None = None
    held_by: dict[str, Any] | None = None
    null_rows: int | None = None
    late_rows: int = 0
    lateness: float = 0.0
    lookback_used: float = 0.0
    files: tuple[ExportedFile, ...] = ()
    rows_exported: int = 0
    bytes: int = 0
    reconcile_seq: int | None = None
    keys_exported: int = 0
    plan: str = ""
    after: int | None = None
    seconds: float = 0.0
    drift: tuple[str, ...] = ()
    error: dict[str, Any] | None = None
