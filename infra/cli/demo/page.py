"""What the demonstration shows: an account for people, facts for machines."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

_WIDTH = 100
_INDENT = 3
_NEXT = (
    "status",
    'local sql aurora "UPDATE shop.products SET price = price + 1"',
    "sync shop.products --wait",
    'local sql snowflake "SELECT sku, price FROM ANALYTICS.SHOP.PRODUCTS LIMIT 3"',
    "explain shop.products SKU-0001",
    "local down",
)


class Page:
    """Prints chapters as they happen; keeps their facts.

    Args:
        quiet: Print nothing: somebody wants the facts only.
    """

    def __init__(self, quiet: bool) -> None:
        self._console = Console(quiet=quiet, highlight=False, soft_wrap=False)
        if self._console.width > _WIDTH or not self._console.is_terminal:
            self._console.width = _WIDTH
        self._began = time.monotonic()
        self.chapters: list[dict[str, Any]] = []

    @property
    def seconds(self) -> float:
        """Time since the page was opened."""
        return round(time.monotonic() - self._began, 1)

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.chapters.append({"title": title, "began_seconds": self.seconds})
        heading = (
            f"[bold]{len(self.chapters)}  {title}[/]  [dim]{self.seconds:.0f} s[/]"
        )
        self._console.print()
        self._console.print(Rule(heading, align="left", style="dim"))

    def fact(self, **facts: Any) -> None:
        """Keep what a machine wants to know of this chapter."""
        self.chapters[-1].update(facts)

    def say(self, text: str, style: str = "") -> None:
        """Print a paragraph."""
        self._print(Text(text, style=style))

    def lines(self, lines: Iterable[str], style: str = "") -> None:
        """Print lines as they are, however long."""
        for line in lines:
            text = Text(" " * _INDENT + line, style=style)
            self._console.print(text, no_wrap=True, overflow="ignore", crop=False)

    def command(self, text: str) -> None:
        """Print the command that does what happens now."""
        self.lines([f"$ {text}"], "cyan")

    def grid(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; a cell that begins with `!` is bad news, with `+` good."""
        grid = Grid(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for place, column in enumerate(columns):
            cells = [row[place].replace(",", "") for row in rows]
            right = bool(cells) and all(cell.isdigit() for cell in cells)
            grid.add_column(
                column, justify="right" if right else "left", overflow="fold"
            )
        for row in rows:
            grid.add_row(*map(_cell, row))
        self._print(grid)

    def end(self, kept: Path | None) -> None:
        """Say how long it took, and what is left.

        Args:
            kept: Folder of the stack when it was left up.
        """
        self._console.print()
        self._console.print(Rule(style="dim"))
        if kept is None:
            self.say(
                f"Took {self.seconds:.0f} s. The stack is down again, and everything"
                " it stored is removed. KEEP=1 make demo leaves it up to try more."
            )
            return
        self.say(f"Took {self.seconds:.0f} s. The stack is up; to go on with it:")
        self.command(f"export AURORA_SYNC_DIR={kept}")
        for text in _NEXT:
            self.command(f".venv/bin/aurora-sync {text}")

    def _print(self, what: Any) -> None:
        self._console.print(Padding(what, (0, 0, 0, _INDENT), expand=False))


def _cell(text: str) -> Text:
    styles = {"!": "bold red", "+": "bold green"}
    style = styles.get(text[:1])
    return Text(text[1:], style=style) if style else Text(text)
