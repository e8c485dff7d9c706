"""`rebuild`: a target made anew from its files in the lake, without asking Aurora.

The last complete load and what came after it hold every row. One transaction empties
the target and takes back what the sync has noted of those files; from then on they are
files that were never merged, and the sweep loads them again, by itself too if this
command should die. Stamps order what lands, as always.

Of reconciles only the newest that was applied is repeated: what is alive by its keys is
alive, whatever older ones said. It was decided once, and is not put to the brake again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from msgspec import Struct

from runtime.contract.errors import SyncError
from runtime.contract.names import literal
from runtime.contract.snowflake_deletes import kind_part
from runtime.contract.snowflake_names import FILE_RECEIPTS, LANDING, QUARANTINE
from runtime.contract.snowflake_names import RECONCILES, SWEEPS, SYNC
from runtime.contract.snowflake_waiting import note_waiting
from runtime.contract.specs import Table
from runtime.ops.sweep import as_loader, load_again, mend
from runtime.ops.warehouse import Warehouse

_POLL_SECONDS = 1.0
_LOADS = ("first_load", "full")

Tell = Callable[[str], None]


class RebuildError(SyncError):
    """A target cannot be made anew from what the lake still has."""

    code: ClassVar[str] = "rebuild"


class Link(Struct, frozen=True, kw_only=True):
    """A manifest, as far as its place in the table's history goes.

    Attributes:
        seq: Its number.
        mode: What kind of run.
        high: What the target is complete up to with it; None while a load is not done.
        generation: History of the source that it belongs to.
        complete: Whether all of its rows have been merged.
    """

    seq: int
    mode: str
    high: str | None
    generation: int
    complete: bool


class Base(Struct, frozen=True, kw_only=True):
    """What a target is made of.

    Attributes:
        seq: First manifest of the last complete load.
        files: Files to load again.
        seal: Newest reconcile that was applied since; empty for none.
    """

    seq: int
    files: int
    seal: str = ""


def rebuild(
    table: Table,
    warehouse: Warehouse,
    exists: Callable[[str], Iterator[str]],
    *,
    seconds: float,
    tell: Tell,
) -> Base:
    """Empty a target and load all of its files again.

    Args:
        table: The table.
        warehouse: Where its target is.
        exists: Lists the keys of the bucket below a prefix.
        seconds: How long to wait for the merges.
        tell: Told what happens.

    Returns:
        What the target was made of.

    Raises:
        RebuildError: When a file or a manifest is gone, before anything is emptied; or
            when the merges take longer, which go on.
        WarehouseError: When Snowflake refuses or does not answer.
    """
    base = _base(table, warehouse, exists)
    mend(table, warehouse, lambda _, text: tell(text))
    tell(f"emptying; {base.files} files from manifest {base.seq} on follow")
    with as_loader(warehouse):
        _empty(table, warehouse, base)
    _fill(table, warehouse, seconds, tell)
    return base


def first_of_last_load(links: Sequence[Link]) -> int | None:
    """Return where the last complete load of the newest source began.

    Args:
        links: The chain, by number.

    Returns:
        The number of its first manifest; None when there is no such load.
    """
    newest = max((link.generation for link in links), default=0)
    now = [link for link in links if link.generation == newest]
    ends = [n for n, link in enumerate(now) if link.mode in _LOADS and link.high]
    if not ends:
        return None
    place = ends[-1]
    # A load commits its chunks in several links; the last one alone has a high.
    while place and _unfinished(now[place - 1], now[ends[-1]].mode):
        place -= 1
    return now[place].seq


def _unfinished(link: Link, mode: str) -> bool:
    return link.high is None and link.mode in (mode, "repair")


def _base(
    table: Table, warehouse: Warehouse, exists: Callable[[str], Iterator[str]]
) -> Base:
    """Return what the target can be made of.

    Raises:
        RebuildError: When a link or a file lacks, or rows from before may still arrive.
    """
    runs = warehouse.objects.qualified(SYNC, "SYNC_RUNS")
    name = literal(table.contract.table)
    rows = warehouse.ask(
        f"SELECT seq, mode, high, generation, complete FROM {runs} "
        f"WHERE table_name = {name} ORDER BY seq"
    )
    links = [
        Link(**{**row, **{k: int(row[k]) for k in ("seq", "generation")}})
        for row in rows
    ]
    first = first_of_last_load(links)
    if first is None:
        raise _refusal(
            table,
            "no complete load has arrived in Snowflake",
            "wait for the end of the load, which `aurora-sync status` expects",
        )
    for place, link in enumerate(links, start=links[0].seq):
        if link.seq != place or (link.seq < first and not link.complete):
            raise _refusal(
                table,
                f"manifest {min(place, link.seq)} is not merged",
                f"run `aurora-sync sweep {table.contract.table}`, and then this again",
            )
    seal = _last_seal(table, warehouse, first)
    wanted = warehouse.ask(_again(table, warehouse, first, seal))
    there = set(exists(warehouse.objects.keys(table).exports))
    gone = sorted(row["file_name"] for row in wanted if row["file_name"] not in there)
    if gone:
        raise _refusal(
            table,
            f"{len(gone)} of its {len(wanted)} files are gone from S3, such as "
            f"{gone[0]}",
            "let Aurora export every row again instead, with "
            f"`aurora-sync backfill {table.contract.table}`",
        )
    return Base(seq=first, files=len(wanted), seal=seal)


def _last_seal(table: Table, warehouse: Warehouse, first: int) -> str:
    """Return the newest seal since the base that was applied; empty for none."""
    # Or that is to be: a rebuild that died has left it approved.
    objects, name = warehouse.objects, literal(table.contract.table)
    rows = warehouse.ask(
        f"SELECT r.seal FROM {objects.qualified(SYNC, RECONCILES)} AS r "
        f"JOIN {objects.qualified(SYNC, 'SYNC_FILES')} AS f ON f.file_name = r.seal "
        f"WHERE r.table_name = {name} AND r.decision IN ('applied', 'approved') "
        f"AND f.table_name = {name} AND f.seq >= {first} "
        "ORDER BY r.stamp DESC LIMIT 1"
    )
    return str(rows[0]["seal"]) if rows else ""


def _again(table: Table, warehouse: Warehouse, first: int, seal: str) -> str:
    """Render the query of the files that are loaded again.

    Keys and seals before the last one that was applied are left as they are.
    """
    files = warehouse.objects.qualified(SYNC, "SYNC_FILES")
    name, wanted = literal(table.contract.table), [f"{kind_part('f.file_name')} = 'c'"]
    if seal:
        wanted.append(
            f"f.seq >= (SELECT MIN(s.seq) FROM {files} AS s "
            f"WHERE s.table_name = {name} AND s.file_name = {literal(seal)})"
        )
    return (
        f"SELECT f.file_name FROM {files} AS f WHERE f.table_name = {name} "
        f"AND f.seq >= {first} AND ({' OR '.join(wanted)})"
    )


def _empty(table: Table, warehouse: Warehouse, base: Base) -> None:
    """Take back what was made of the files, all of it or nothing."""
    objects, name = warehouse.objects, literal(table.contract.table)
    again = _again(table, warehouse, base.seq, base.seal)
    statements = [
        *_drained(table, warehouse),
        f"DELETE FROM {objects.qualified(*table.spec.target)}",
        *_undecide(warehouse, name, base.seal),
        # The lines that could not be read are judged again as well.
        *(
            f"DELETE FROM {objects.qualified(SYNC, each)} "
            f"WHERE table_name = {name} AND file_name IN ({again})"
            for each in (QUARANTINE, FILE_RECEIPTS)
        ),
        note_waiting(objects, table),
    ]
    warehouse.ask("BEGIN TRANSACTION")
    try:
        for statement in statements:
            warehouse.ask(statement)
    except BaseException:
        warehouse.ask("ROLLBACK")
        raise
    warehouse.ask("COMMIT")


def _drained(table: Table, warehouse: Warehouse) -> Iterator[str]:
    """Let go of what has landed and is not merged: all of it is loaded again.

    A seal among it would be applied before the rows that it deletes have come. The
    stream comes first, so that this waits for a merge that is reading it.
    """
    objects = warehouse.objects
    sweeps = objects.qualified(SYNC, SWEEPS)
    stream = objects.qualified(LANDING, objects.stream(table))
    none = f"SELECT file_name FROM {stream} WHERE 0 = 1"
    yield f"INSERT INTO {sweeps} (table_name) {none}"
    if table.spec.deletes == "reconcile":
        yield f"DELETE FROM {objects.qualified(LANDING, objects.keys_table(table))}"


def _undecide(warehouse: Warehouse, name: str, seal: str) -> Iterator[str]:
    """Let the last seal be applied once more, and those after it be judged again.

    The task drops landed keys that are older than a decision, so that none may stand
    that is newer than they.
    """
    if not seal:
        return
    reconciles = warehouse.objects.qualified(SYNC, RECONCILES)
    columns = "table_name, seal, stamp, key_count, row_count, gone_count"
    yield (
        f"INSERT INTO {reconciles} "
        f"({columns}, decision, decided_at, missing_count) "
        f"SELECT {columns}, 'approved', CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6), "
        f"missing_count FROM {reconciles} WHERE table_name = {name} "
        f"AND seal = {literal(seal)} AND decision = 'applied' LIMIT 1"
    )
    yield (
        f"DELETE FROM {reconciles} WHERE table_name = {name} "
        "AND decision <> 'approved' AND stamp >= (SELECT MAX(s.stamp) "
        f"FROM {reconciles} AS s WHERE s.seal = {literal(seal)})"
    )


def _fill(table: Table, warehouse: Warehouse, seconds: float, tell: Tell) -> None:
    """Load what waits until everything is merged; keys wait for all rows before."""
    name, deadline = table.contract.table, time.monotonic() + seconds
    loaded: dict[str, bool] = {}
    while True:
        loaded |= load_again(
            table, warehouse, lambda _, text: tell(text), but_for=loaded
        )
        now: Any = warehouse.progress([name]).get(name)
        if now is not None and now.first_bad is None:
            return
        if time.monotonic() > deadline:
            raise RebuildError(
                "its files are not all merged within the time-out",
                subject=f"table {name}",
                got=f"merged up to manifest {now.merged_seq if now else 0}",
                remedy="nothing is lost, the sweep and the merges go on; follow them "
                "with `aurora-sync status`",
            )
        tell(f"{len(loaded)} files are loaded; merging")
        time.sleep(_POLL_SECONDS)


def _refusal(table: Table, fact: str, remedy: str) -> RebuildError:
    return RebuildError(fact, subject=f"table {table.contract.table}", remedy=remedy)
