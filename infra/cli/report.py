"""`report`: one page for people without a terminal; it needs nothing beside itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import jinja2
import typer

from infra.cli import output, plot, status
from infra.cli.guard import guarded, told
from infra.cli.options import ConfigOption, DirOption, StackOption, TablesArgument
from infra.cli.render import Note

if TYPE_CHECKING:
    from runtime.contract.specs import TableSpec
    from runtime.ops.status import Reading, TableStatus

MOST_RUNS = 500
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the page shows of one table.

    Attributes:
        status: How it is.
        notes: What needs a person.
        begin: Left edge of its plots; None without runs.
        lag: How far the target was behind, over time.
        worst: Largest lag in it, in seconds.
        rows: Rows of each run.
    """

    status: "TableStatus"
    notes: tuple[Note, ...]
    begin: datetime | None = None
    lag: plot.Plot | None = None
    worst: float = 0.0
    rows: plot.Plot | None = None


@guarded
def report(
    names: TablesArgument = None,
    to: Annotated[
        Path,
        typer.Option("--output", help="The file to write.", dir_okay=False),
    ] = Path("aurora-sync-report.html"),
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
) -> None:
    """Write a web page: how each table is, its lag and its runs over time, failures.

    One file that loads nothing from elsewhere. When AWS or Snowflake does not answer,
    it shows the rest; exit 1 then.
    """
    from runtime.ops.files import write_all

    specs, found = status.read(names, config, stack, folder, MOST_RUNS)
    text = page(specs, found, stack or "local", datetime.now(UTC))
    write_all({to: text.encode()})
    typer.echo(to)
    status.tell_silence(found)


def page(
    specs: "Sequence[TableSpec]", found: "Reading", stack: str, now: datetime
) -> str:
    """Return the page.

    Args:
        specs: The tables.
        found: How they are, in the same order, with their last runs.
        stack: Name of the deployment.
        now: When that was read, in UTC.
    """
    entries = [
        _entry(spec, each, now) for spec, each in zip(specs, found.tables, strict=True)
    ]
    counts: Counter[str] = Counter(each.state for each in found.tables)
    template = files("infra.cli").joinpath("report.html.j2").read_text("utf-8")
    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).from_string(template)
    return made.render(
        stack=stack,
        now=now,
        entries=entries,
        states=[(each, counts[each]) for each in status.STYLES if counts[each]],
        oldest=max(
            (each for each in found.tables if each.lag_seconds is not None),
            key=lambda each: each.lag_seconds or 0.0,
            default=None,
        ),
        days=[each.last_day for each in found.tables if each.last_day is not None],
        problems=[line for error in found.problems for line in told(error)],
        most=MOST_RUNS,
        listed=_LISTED,
        age=output.age,
        size=output.size,
        plural=output.plural,
        ago=status.ago,
        short=status.short,
    )


def _entry(spec: "TableSpec", found: "TableStatus", now: datetime) -> Entry:
    from runtime.ops.history import lag_over_time

    notes, runs = tuple(status.notes(found)), found.runs
    if not runs:
        return Entry(status=found, notes=notes)
    begin = runs[0].committed_at
    lags = lag_over_time(spec, runs, now)
    moved = [(run.committed_at, float(run.rows_exported)) for run in runs]
    return Entry(
        status=found,
        notes=notes,
        begin=begin,
        lag=plot.line(lags, begin, now) if lags else None,
        worst=max((seconds for _, seconds in lags), default=0.0),
        rows=plot.bars(moved, begin, now),
    )
