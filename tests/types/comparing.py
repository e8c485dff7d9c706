"""All types at once: drawn, stored, synced and compared."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.exporter.conftest import Scene
from tests.types.drawing import draw, draw_one, simplest
from tests.types.filling import fill, tables
from tests.types.judge import Column, Difference
from tests.types.kinds import Kind, Value
from tests.types.world import DrawnTable

_COLUMNS = 13
_SHOWN, _MADE_SMALL, _TRIED = 5, 2, 60


@dataclass
class Outcome:
    """What comparisons have found so far.

    Attributes:
        compared: How many values of each type were compared.
        misfits: How many of them did not fit.
        seen: Types and literals.
        found: What differed, in words, by type.
        failing: A column of each such type.
    """

    compared: Counter[str] = field(default_factory=Counter)
    misfits: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, str]] = field(default_factory=set)
    found: dict[str, list[str]] = field(default_factory=dict)
    failing: dict[str, Column] = field(default_factory=dict)

    def edges(self, kinds: Sequence[Kind]) -> dict[str, int]:
        """Return how many edges of each type were compared."""
        return {
            kind.declared: len(
                {
                    e.literal
                    for e in kind.edges
                    if (kind.declared, e.literal) in self.seen
                }
            )
            for kind in kinds
        }

    def unseen(self, kinds: Sequence[Kind]) -> list[tuple[str, str]]:
        """Return the edges that were not compared."""
        edges = ((kind.declared, edge.literal) for kind in kinds for edge in kind.edges)
        return [edge for edge in edges if edge not in self.seen]


def compare_all(
    scene: Scene,
    folder: Path,
    kinds: Sequence[Kind],
    count: int,
    seed: int,
    outcome: Outcome,
) -> None:
    """Draw tables that have each type once, and so many values for each column.

    Args:
        scene: The source and its surroundings.
        folder: For the local Snowflakes.
        kinds: The types.
        count: How many values of each are drawn; its edges come on top.
        seed: The same draws the same.
        outcome: Is added to.
    """
    schemas = draw_one(tables(kinds, _COLUMNS), seed)
    for number, columns in enumerate(schemas):
        values = [
            [*column.kind.edges, *draw(column.kind.drawn, count, seed)]
            for column in columns
        ]
        rows = fill(columns, values, random.Random(seed))
        table = DrawnTable(scene, folder / f"t{seed}_{number}", columns, seed)
        try:
            judge = table.compare(rows)
        finally:
            table.close()
        outcome.compared += judge.compared
        outcome.misfits += judge.misfits
        outcome.seen |= judge.seen
        if judge.miscounted:
            outcome.found.setdefault("receipts", []).append(judge.miscounted)
        for difference in judge.differences:
            name = difference.column.kind.declared
            outcome.found.setdefault(name, []).append(str(difference))
            outcome.failing.setdefault(name, difference.column)


def told(scene: Scene, folder: Path, outcome: Outcome) -> str:
    """Return some differences of each type in words, with the simplest one."""
    lines = []
    for number, (name, found) in enumerate(outcome.found.items()):
        lines += found[:_SHOWN]
        columns = outcome.failing.get(name)
        if columns and number < _MADE_SMALL:
            lines.append(_smallest(scene, folder / f"small_{number}", columns))
        lines.append(f"{name}: {len(found)} in all")
    return "\n".join(lines)


def _smallest(scene: Scene, folder: Path, column: Column) -> str:
    """Look for the simplest value of a column's type that differs."""
    table = DrawnTable(scene, folder, [column], 0)
    known: dict[str, list[Difference]] = {}

    def fails(value: Value) -> bool:
        # Small enough is soon; a run takes a third of a second.
        if value.literal not in known and len(known) < _TRIED:
            known[value.literal] = table.compare([(value,)]).differences
        return bool(known.get(value.literal))

    try:
        found = simplest(column.kind, fails)
    finally:
        table.close()
    if found is None:
        return "no drawn value of it differs alone"
    return f"the simplest: {known[found.literal][0]}"
