"""What was measured: a JSON line per figure at once, and a table of all at the end."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


class Figures:
    """The figures of one run, or of a file of an earlier one.

    Args:
        path: The file of JSON lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []

    @classmethod
    def read(cls, path: Path) -> "Figures":
        """Return the figures of an earlier run."""
        read = cls(path)
        read.lines = [json.loads(line) for line in path.read_text().splitlines()]
        return read

    def start(self) -> None:
        """Begin a file of our own."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def add(self, figure: str, unit: str, samples: list[float], **more: Any) -> float:
        """Write a figure; its value is the median of the samples, which is returned."""
        value = round(median(samples), 4)
        shown = [round(each, 4) for each in samples]
        self._write({"figure": figure, "value": value, "unit": unit} | more, shown)
        return value

    def skip(self, figure: str, reason: str) -> None:
        """Say that a figure is missing, and why."""
        self._write({"figure": figure, "skipped": " ".join(reason.split())[-300:]})

    def judge(self, figure: str, value: float | None, bound: str, what: str) -> None:
        """Write whether the product keeps a promise.

        Args:
            figure: Name of the promise.
            value: What was measured; None when nothing could be compared.
            bound: `>= 0.9` or `<= 6`.
            what: What the value is.
        """
        relation, limit = bound.split()
        met = None
        if value is not None:
            at_most = value <= float(limit)
            met = at_most if relation == "<=" else value >= float(limit)
            value = round(value, 3)
        line = {"threshold": figure, "value": value, "bound": bound, "met": met}
        self._write(line | {"what": what})

    def _write(self, line: dict[str, Any], samples: list[float] | None = None) -> None:
        line |= {"samples": samples} if samples else {}
        self.lines.append(line)
        with self.path.open("a") as out:
            out.write(json.dumps(line) + "\n")

    def rows(self) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        """Return figures and promises as people read them."""
        figures: list[tuple[str, ...]] = [
            (each["figure"], _value(each), _details(each))
            for each in self.lines
            if "figure" in each
        ]
        promises: list[tuple[str, ...]] = [
            (each["threshold"], each["what"], str(each["value"]), each["bound"])
            + ({True: "met", False: "NOT MET", None: "not measured"}[each["met"]],)
            for each in self.lines
            if "threshold" in each
        ]
        return figures, promises

    def show(self) -> None:
        """Print both tables."""
        figures, promises = self.rows()
        grids = (FIGURES, figures), (PROMISES, promises)
        for columns, rows in grids:
            grid = Table(*columns)
            for row in rows:
                grid.add_row(*row)
            Console(soft_wrap=True).print(grid)

    def markdown(self) -> str:
        """Return both tables for a document."""
        figures, promises = self.rows()
        lines = []
        for columns, rows in (PROMISES, promises), (FIGURES, figures):
            lines += ["", _bar(columns), _bar("---" for _ in columns)]
            lines += [_bar(row) for row in rows]
        return "\n".join([*lines, ""])


FIGURES = ("figure", "value", "samples and conditions")
PROMISES = ("promise", "what", "got", "bound", "verdict")


def _bar(cells: Any) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _value(line: dict[str, Any]) -> str:
    return "skipped" if "skipped" in line else f"{line['value']:g} {line['unit']}"


def _details(line: dict[str, Any]) -> str:
    if "skipped" in line:
        return str(line["skipped"])
    shown = [f"{each:g}" for each in line["samples"]] if "samples" in line else []
    known = ("figure", "value", "unit", "samples")
    more = [f"{name}: {value}" for name, value in line.items() if name not in known]
    return "; ".join(([" ".join(shown)] if len(shown) > 1 else []) + more)
