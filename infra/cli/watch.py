"""`watch`: the status on a whole terminal, read again and again."""

import math
import os
import select
import sys
import termios
import threading
import time
import tty
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from infra.cli import output
from infra.cli.guard import guarded, told
from infra.cli.options import ConfigOption, DirOption, StackOption, TablesArgument
from infra.cli.status import HEADINGS, STYLES, below, row
from runtime.contract.errors import ConfigError, SyncError
from runtime.contract.loader import load_specs

if TYPE_CHECKING:
    from infra.cli.target import Target
    from runtime.contract.specs import TableSpec
    from runtime.ops.status import Reading, TableStatus
    from runtime.ops.warehouse import Warehouse

_LEVELS = "▁▂▃▄▅▆▇█"
_RUNS = 12
_FRAME_SECONDS = 0.5
_FIGURES = 64


@guarded
def watch(
    names: TablesArgument = None,
    interval: Annotated[
        float, typer.Option(min=1, help="Time between two readings, in seconds.")
    ] = 5.0,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
) -> None:
    """Show how far each table is, on the whole terminal, until q or Ctrl-C.

    Each reading asks Snowflake, whose warehouse stays awake meanwhile.
    """
    from infra.cli.target import resolve
    from runtime.ops.selection import select_specs

    path = resolve(stack, folder, config).config
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            "needs a terminal", subject="watch", remedy="use `aurora-sync status`"
        )

    def target() -> "Target":
        return resolve(stack, folder, config, whole=False)

    specs = select_specs(load_specs(path), names or (), path)
    reader = _Reader(target, specs, interval)
    reader.start()
    console, title = Console(highlight=False), stack or "local"
    try:
        with _single_keys(), Live(console=console, screen=True) as live:
            while not _quits():
                if reader.failure is not None:
                    raise reader.failure
                live.update(view(reader.latest, title, console.size), refresh=True)
    except KeyboardInterrupt:
        return


class _Reader(threading.Thread):
    """Reads beside the screen, which must answer keys while a side does not answer."""

    def __init__(
        self,
        target: "Callable[[], Target]",
        specs: "Sequence[TableSpec]",
        interval: float,
    ) -> None:
        super().__init__(daemon=True)
        self.latest: Reading | None = None
        self.failure: Exception | None = None
        self._target, self._specs, self._interval = target, specs, interval

    def run(self) -> None:
        while self.failure is None:
            # A connection is kept until it fails.
            with ExitStack() as opened:
                warehouse = cache(
                    lambda: opened.enter_context(self._target().warehouse())
                )
                while self._read(warehouse):
                    time.sleep(self._interval)
            time.sleep(self._interval)

    def _read(self, warehouse: Callable[[], "Warehouse"]) -> bool:
        """Read once; tell whether all sides answered."""
        from runtime.ops.status import Reading, read_status

        try:
            # Asked for anew: a stack that is gone must not be written to.
            ledger = self._target().ledger
            self.latest = read_status(self._specs, lambda: ledger, warehouse, _RUNS)
        except SyncError as error:
            before = self.latest.tables if self.latest else ()
            self.latest = Reading(tables=before, problems=(error,))
        except Exception as error:  # told by the main thread
            self.failure = error
            return False
        return not self.latest.problems


def view(reading: "Reading | None", title: str, size: ConsoleDimensions) -> Group:
    """Return what the screen shows: the most urgent tables first, as many as fit.

    Args:
        reading: The last reading; None before the first.
        title: Name of the stack.
        size: Columns and lines of the terminal.
    """
    if reading is None:
        return Group(Text(f"{title}: reading", "dim"))
    urgency = list(STYLES)
    tables = sorted(reading.tables, key=lambda each: urgency.index(each.state))
    counts: Counter[str] = Counter(each.state for each in tables)
    head = Text.assemble((title, "bold"), "  ")
    for state in (each for each in urgency if each in counts):
        head.append(f"{counts[state]} {state}  ", STYLES[state])
    head.append(f"{datetime.now(UTC):%H:%M:%S} UTC, q ends", "dim")
    cut: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"}
    wrong = [line for error in reading.problems for line in told(error)]
    lines = [Text(line, "red", **cut) for line in wrong]
    lines += [Text(line, **cut) for each in tables for line in below(each)]
    lines = lines[: max(1, size.height // 2 - 2)]
    room = max(1, size.height - len(lines) - 5)
    rows = [(*row(each), sparkline(each)) for each in tables[:room]]
    grid = output.grid((*HEADINGS, "Runs"), rows)
    for column in grid.columns:
        column.no_wrap = True
    # Names give way, not figures.
    grid.columns[0].max_width = max(12, size.width - _FIGURES)
    more = len(tables) - len(rows)
    rest = [Text(f"{more} more, less urgent", "dim")] if more else []
    return Group(head, "", grid, *rest, "", *lines)


def sparkline(status: "TableStatus") -> str:
    """Return the rows of the last runs as small bars, the newest on the right."""
    rows = [run.rows_exported for run in (status.runs or ())[-_RUNS:]]
    # By their logarithm: beside a first load every other run would be nothing.
    steps = (len(_LEVELS) - 1) / math.log1p(max(rows, default=0) or 1)
    return "".join(_LEVELS[round(steps * math.log1p(each))] for each in rows)


def _quits() -> bool:
    """Wait a moment for a key; tell whether it ends the watch."""
    ready, _, _ = select.select([sys.stdin], [], [], _FRAME_SECONDS)
    # Nothing to read although it is ready: the terminal has gone.
    return bool(ready) and os.read(sys.stdin.fileno(), 64)[:1] in (b"", b"q", b"Q")


@contextmanager
def _single_keys() -> Iterator[None]:
    """Get keys without Enter, and leave the terminal as it was."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
