"""`status`: a line per table, and below it what needs a person."""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from infra.cli import output, render
from infra.cli.guard import guarded, told
from infra.cli.options import (
    ConfigOption,
    DirOption,
    JsonOption,
    StackOption,
    TablesArgument,
)
from infra.cli.output import age, plural, size
from runtime.contract.errors import ConfigError
from runtime.contract.loader import load_specs

if TYPE_CHECKING:
    from runtime.contract.specs import TableSpec
    from runtime.ops.history import PastRun
    from runtime.ops.load_progress import LoadProgress
    from runtime.ops.status import Reading, TableStatus

HEADINGS = ("Table", "State", "Lag", "Last run", "Rows", "Rows/s")
RUNS = ("Run", "Mode", "Above", "Up to", "Rows", "Files", "Size", "Committed", "Merged")
STYLES = {
    "refused": "bold red",
    "unknown": "magenta",
    "behind": "yellow",
    "held": "yellow",
    "loading": "cyan",
    "running": "cyan",
    "current": "green",
    "new": "dim",
}
_LAST_RUNS = 10
_BAR = 24


@guarded
def status(
    names: TablesArgument = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far each table is, and who or what holds it up.

    Of a single table its last ten runs too. When AWS or Snowflake does not answer, the
    rest is shown all the same; exit 1 then.
    """
    most = _LAST_RUNS if len(names or ()) == 1 else 0
    _, found = read(names, config, stack, folder, most)
    if as_json:
        output.print_json(found.tables)
    else:
        output.print_grid(HEADINGS, [row(each) for each in found.tables])
        for each in found.tables:
            for line in below(each):
                typer.echo(line)
            if each.runs:
                typer.echo(f"\nMerged through {each.merged_through}; {_day(each)}")
                output.print_grid(RUNS, [_run(run) for run in reversed(each.runs)])
    tell_silence(found)


def read(
    names: list[str] | None,
    config: Path | None,
    stack: str | None,
    folder: Path | None,
    runs: int,
) -> "tuple[tuple[TableSpec, ...], Reading]":
    """Return the tables asked for and how they are.

    Args:
        names: Source tables; none means all.
        config: `--config`.
        stack: `--stack`.
        folder: `--dir`.
        runs: How many of each table's last runs to read too.
    """
    from infra.cli.target import resolve
    from runtime.ops.selection import select_specs
    from runtime.ops.status import read_status

    target = resolve(stack, folder, config, whole=False)
    specs = load_specs(target.config)
    if names or specs:
        specs = select_specs(specs, names or (), target.config)
    with ExitStack() as opened:
        try:
            found = read_status(
                specs,
                lambda: target.ledger,
                lambda: opened.enter_context(target.warehouse()),
                runs,
            )
        except ConfigError:
            resolve(stack, folder, config)
            raise
    if len(found.problems) > 1:
        # Of a local stack that does not run at all, that is the one thing to say.
        resolve(stack, folder, config)
    return specs, found


def tell_silence(found: "Reading") -> None:
    """Say which sides did not answer, and end with a problem if there are any."""
    for problem in found.problems:
        for line in told(problem):
            output.warn(line)
    if found.problems:
        raise typer.Exit(1)


def row(status: "TableStatus") -> tuple[str | Text, ...]:
    """Return a table's cells, in the order of `HEADINGS`."""
    run = status.last_run
    cells = ("-", "-", "-")
    if run is not None:
        pace = "-" if run.rows_per_second is None else f"{run.rows_per_second:,.0f}"
        cells = (ago(run.at), f"{run.rows_exported:,}", pace)
    state = Text(status.state, STYLES[status.state])
    return (render.shown(status.table), state, age(status.lag_seconds), *cells)


def notes(status: "TableStatus") -> Iterator[render.Note]:
    """Return what needs a person's attention."""
    table, refusal = status.table, status.refusal
    if refusal is not None:
        message, remedy = render.failed(table, refusal), refusal.get("remedy", "")
        what = message.removesuffix(f"; {remedy}").removeprefix(f"{table}: ")
        yield render.Note(table, what, remedy or "see the function's log")
    if status.held_by is not None:
        yield render.held(table, status.held_by)
    if status.last_run is not None:
        yield from render.misfits(table, status.last_run)
    yield from render.late(table, status.last_run)
    yield from render.drift(table, status.drift)
    if status.deletes is not None and status.deletes.decision == "braked":
        gone, of = status.deletes.gone_count, status.deletes.row_count
        what = f"deletes of {gone:,} of {plural(of, 'row')} wait for approval"
        run = f"`aurora-sync approve-deletes {shlex.quote(table)}`"
        yield render.Note(table, what, f"let them go ahead with {run}")
    if status.deletes is not None and status.deletes.missing_count:
        keys = plural(status.deletes.missing_count, "key")
        what = f"{keys} of Aurora had no row in the target at the last reconcile"
        run = f"`aurora-sync repair {shlex.quote(table)}`"
        yield render.Note(table, what, f"send what is still missing with {run}")


def below(status: "TableStatus") -> Iterator[str]:
    """Return the lines below the grid: how far a load is, and what to do."""
    if status.load is not None:
        yield f"{status.table}: {load_bar(status.load)}"
    yield from map(str, notes(status))


def load_bar(load: "LoadProgress") -> str:
    """Say how far a load is, and when it ends."""
    if load.waits_for:
        return f"load waits: {load.waits_for}; it goes on by itself"
    if not load.chunks:
        return f"load of {ago(load.started_at)} is being cut into smaller chunks"
    filled = _BAR * load.chunks_done // load.chunks
    end = f", ends about {short(load.expected_end)} UTC" if load.expected_end else ""
    return (
        f"{'━' * filled}{'╌' * (_BAR - filled)} {load.chunks_done:,} of "
        f"{plural(load.chunks, 'chunk')}, {plural(load.rows, 'row')}{end}"
    )


def _day(status: "TableStatus") -> str:
    day = status.last_day
    if day is None:
        return "last 24 hours unknown"
    return f"last 24 hours: {plural(day.rows, 'row')} in {plural(day.runs, 'run')}"


def _run(run: "PastRun") -> tuple[str, ...]:
    merged = run.seconds_to_merge
    return (
        str(run.seq),
        run.mode.replace("_", " "),
        short(run.low),
        short(run.high),
        f"{run.rows_exported:,}",
        str(run.files),
        size(run.bytes),
        short(run.committed_at.isoformat(" ")),
        "not yet" if merged is None else f"+{merged:.1f} s",
    )


def short(moment: str | None) -> str:
    """Return a time in few letters: of today the clock, else the day too."""
    found = re.match(r"(\d{4})-(\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d))?", moment or "")
    if found is None:
        return moment or "-"
    year, day, clock, seconds = found.groups()
    now = datetime.now(UTC)
    if clock and f"{year}-{day}" == f"{now:%Y-%m-%d}":
        return f"{clock}{seconds}"
    return f"{day} {clock or ''}".strip() if year == f"{now:%Y}" else f"{year}-{day}"


def ago(moment: str | None) -> str:
    """Return how long ago a time with zone was."""
    if moment is None:
        return "-"
    passed = datetime.now(UTC) - datetime.fromisoformat(moment)
    return f"{age(max(0.0, passed.total_seconds()))} ago"
