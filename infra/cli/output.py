"""What people and programs get to see: data on stdout, progress on stderr."""

import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

# Where nobody watches, no line is cut to a terminal's width.
WIDE = 240


def print_json(value: Any) -> None:
    """Print data for programs; stdout holds nothing else then."""
    text = msgspec.json.encode(value)
    typer.echo(msgspec.json.format(text, indent=2).decode())


def print_grid(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table for people; columns that hold numbers only are right-aligned.

    Args:
        columns: Headings.
        rows: Cells.
    """
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
    console.print(grid(columns, rows))


def grid(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Grid:
    """Return a table for people; columns that hold numbers only are right-aligned."""
    made = Grid(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        cells = [str(row[place]) for row in rows]
        numeric = all(cell.replace(",", "").isdigit() for cell in cells if cell != "-")
        made.add_column(column, justify="right" if numeric and cells else "left")
    for row in rows:
        # As it is: square brackets in a name are no markup.
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made


def warn(text: str) -> None:
    """Print a line for people on stderr."""
    typer.echo(text, err=True)


class Watch:
    """Shows what is going on: live on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, str] = {}
        self._live: Live | None = None

    def __enter__(self) -> "Watch":
        if sys.stderr.isatty():
            console = Console(stderr=True, highlight=False)
            self._live = Live(
                console=console, transient=True, get_renderable=self._lines
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, subject: str, text: str, passing: bool = False) -> None:
        """Say what happens to something; by any thread.

        Args:
            subject: A table, part or resource.
            text: What happens to it.
            passing: Whether it is worth a line only where lines go away again.
        """
        with self._lock:
            if self._latest.get(subject) == text:
                return
            self._latest.pop(subject, None)
            self._latest[subject] = text
        if self._live is None and not passing:
            warn(f"{subject}: {text}")

    def _lines(self) -> Text:
        """The last few: a terminal has only so many lines."""
        with self._lock:
            latest = list(self._latest.items())[-12:]
        return Text("\n".join(f"{subject}: {text}" for subject, text in latest))


def plural(count: int, noun: str) -> str:
    """Return `1 row`, `2,000 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    amount, unit = float(count), "bytes"
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"


def age(seconds: float | None) -> str:
    """Return a duration as people read it."""
    if seconds is None:
        return "-"
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def holder(held_by: Mapping[str, Any]) -> str:
    """Say who holds a watermark back."""
    old = f"for {age(held_by.get('age_seconds'))}"
    if "prepared" in held_by:
        who = f"prepared transaction {held_by['prepared']}"
        return f"{who} (user {held_by.get('user')}, open {old})"
    details = [f"user {held_by.get('user')}", held_by.get("application") or ""]
    details += [held_by.get("state") or "", f"open {old}"]
    return f"pid {held_by.get('pid')} ({', '.join(each for each in details if each)})"
