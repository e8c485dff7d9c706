"""How results read to people: rows of a table and lines below it."""

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.cli.output import holder, plural, size

if TYPE_CHECKING:
    from runtime.ops.contracts import Refreshed
    from runtime.ops.status import LastRun
    from runtime.ops.suggest import Proposal
    from runtime.ops.sync import SyncOutcome
    from runtime.ops.verify import Verdict

DEPLOY = "deploy to put it in force: `aurora-sync local deploy`, or `pulumi up`"
# Of the lookback; what comes later still is not seen.
LATE_SHARE = 0.5
VERDICTS = tuple(
    "Table|Verdict|Source rows|Target rows|Source checksum|Target checksum|Missing"
    "|Extra|Different".split("|")
)


class Note(NamedTuple):
    """What a person should know of a table, and do."""

    table: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.table}: {self.what}; {self.remedy}"


def refreshed(result: "Refreshed") -> str:
    """Say what became of a contract."""
    news = [f"new column {name}" for name in result.added]
    news += [f"gone: {name}" for name in result.dropped if name not in result.waiting]
    news += [
        f"{name} has become another column: it comes back with the next refresh, once "
        "this one is deployed"
        for name in result.waiting
    ]
    more = f" ({', '.join(news)})" if news else ""
    columns = plural(result.columns, "column")
    return f"{result.table}: {result.file} {result.change}, {columns}{more}"


def proposal(found: "Proposal") -> str:
    """Say what is proposed for a table, or why nothing is."""
    if found.entry is None:
        what = "in the config" if found.state == "present" else "not yet: "
        return f"{found.table}: {what}{'; '.join(found.notes)}"
    key = found.entry["primary_key"]
    columns = key if isinstance(key, str) else ", ".join(key)
    mark = found.entry.get("watermark_col")
    how = "mode full" if mark is None else f"watermark {mark}"
    return f"{found.table}: key {columns}; {how}, {'; '.join(found.notes)}"


def synced(outcome: "SyncOutcome") -> Iterator[str]:
    """Say what a sync did for a table; failures are told elsewhere."""
    if outcome.status == "failed":
        return
    what = "no change"
    if outcome.rows_exported:
        mode = (outcome.mode or "").replace("_", " ")
        what = (
            f"{mode}, {plural(outcome.rows_exported, 'row')} exported in "
            f"{plural(outcome.files, 'file')} ({size(outcome.bytes)})"
        )
    merged = f", merged through {outcome.merged_through}"
    yield f"{outcome.table}: {what}{merged if outcome.status == 'merged' else ''}"
    if outcome.keys_exported is not None:
        yield f"{outcome.table}: {plural(outcome.keys_exported, 'key')} compared"
    if outcome.held_by is not None:
        yield str(held(outcome.table, outcome.held_by))
    yield from map(str, misfits(outcome.table, outcome))
    yield from map(str, drift(outcome.table, outcome.drift))


def held(table: str, held_by: Mapping[str, Any]) -> Note:
    """Say who holds a table's watermark back, and that nothing is lost."""
    alarm = ", longer than max_holdback" if held_by.get("too_long") else ""
    what = f"watermark held back by {holder(held_by)}{alarm}"
    remedy = "rows go on being exported, and the watermark follows when it ends"
    return Note(table, what, remedy)


def late(table: str, run: "LastRun | None") -> Iterator[Note]:
    """Warn before rows come so late that the lookback no longer reaches them."""
    if run is not None and run.lookback_used > LATE_SHARE:
        what = (
            f"{plural(run.late_rows, 'row')} came late, up to "
            f"{run.lookback_used:.0%} of the lookback"
        )
        yield Note(table, what, "set a longer lookback: later ones are not seen")


def misfits(table: str, run: "SyncOutcome | LastRun") -> Iterator[Note]:
    """Say what became of values that do not fit."""
    if run.rows_quarantined:
        what = f"{plural(run.rows_quarantined, 'row')} in quarantine"
        yield Note(table, what, "see table SYNC.QUARANTINE in Snowflake")
    if run.values_nulled:
        what = f"{plural(run.values_nulled, 'value')} that did not fit became NULL"
        yield Note(table, what, 'as "misfits" has it; with text they would be kept')


def failed(table: str, error: Mapping[str, Any]) -> str:
    """Say why a table failed, and name it once."""
    message = " ".join(str(error.get("message", "failed")).split())
    return message if message.startswith(f"{table}:") else f"{table}: {message}"


def drift(table: str, columns: tuple[str, ...]) -> Iterator[Note]:
    """Say which columns stay behind."""
    if columns:
        what = f"not in the contract: {', '.join(columns)}"
        run = f"`aurora-sync contract refresh {shlex.quote(table)}`"
        yield Note(table, what, f"to sync them run {run} and deploy")


def verdict_row(verdict: "Verdict") -> tuple[str, ...]:
    """Return a table's cells, in the order of `VERDICTS`."""
    counts = (verdict.missing, verdict.extra, verdict.different)
    return (
        verdict.table,
        verdict.verdict,
        _count(verdict.source_rows),
        _count(verdict.target_rows),
        verdict.source_checksum or "-",
        verdict.target_checksum or "-",
        *map(_count, counts),
    )


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def verdict_notes(verdict: "Verdict") -> Iterator[str]:
    """Say what was compared how, and show rows that differ."""
    table = verdict.table
    if verdict.error is not None:
        yield failed(table, verdict.error)
        return
    if verdict.verdict == "inconclusive":
        why = (
            "no rows on either side" if verdict.merged_through else "nothing is merged"
        )
        why = "no row is due yet" if verdict.newer_rows else why
        why = "a load is under way" if verdict.loading else why
        yield f"{table}: {why}, so nothing was compared"
    else:
        compared = len(verdict.by_checksum) + len(verdict.by_value)
        by_value = ", ".join(verdict.by_value)
        how = f" ({by_value} value by value)" if by_value else ""
        yield f"{table}: compared {plural(compared, 'column')}{how}"
    yield from _left_out(verdict)
    if verdict.extra:
        yield str(_extra(verdict))
    where = {"missing": "missing in the target", "extra": "only in the target"}
    for sample in verdict.samples:
        fact = where.get(sample.kind) or f"differs in {', '.join(sample.columns)}"
        yield f"{table}: {named(sample.key)}: {fact}"
    if verdict.missing or verdict.different:
        run = f"`aurora-sync repair {shlex.quote(table)}`"
        yield str(Note(table, "wrong in the target", f"to export it again run {run}"))


def _left_out(verdict: "Verdict") -> Iterator[str]:
    """Say which rows were not judged, and why."""
    for rows, why in (
        (verdict.newer_rows, f"not due yet (newer than {verdict.merged_through})"),
        (verdict.changed_rows, "changed since the comparison began"),
        (verdict.excluded_rows, "of the source left out by null_watermark"),
    ):
        if rows:
            yield f"{verdict.table}: {plural(rows, 'row')} {why}"


def _extra(verdict: "Verdict") -> Note:
    """Say what becomes of rows that only the target has."""
    table, rows = verdict.table, plural(verdict.extra or 0, "row")
    if verdict.deletes == "ignore":
        return Note(
            table, f"ghosts possible: {rows} only in the target", "deletes: ignore"
        )
    run = f"`aurora-sync sync {shlex.quote(table)} --reconcile`"
    if verdict.deletes == "soft_column":
        run = f"`aurora-sync repair {shlex.quote(table)}`"
    return Note(table, f"{rows} only in the target", f"to mark what is gone run {run}")


def named(key: Mapping[str, str]) -> str:
    """A row's key: each column with its text."""
    return ", ".join(f"{column}={shown(text)}" for column, text in key.items())


def shown(value: str) -> str:
    """A key's text; line breaks and the like must not tear the line apart."""
    plain = value.isprintable() and value == value.strip() != ""
    return value if plain else repr(value)
