"""Plots as plain numbers: an SVG path in a box of 1000 by 300, and marks beside it.

The marks are text of the page, not of the drawing, which stretches with the screen.
A library would bring megabytes, or scripts, for two kinds of plot.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from infra.cli.output import age

Points = Sequence[tuple[datetime, float]]
WIDTH, HEIGHT = 1000, 300
_MARKS = 4
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(1, 5, 15, 30, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 30 * _DAY),
)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawn plot.

    Attributes:
        path: The drawing, for the attribute `d` of an SVG path.
        marks: Marks of the vertical axis: height in percent, and text.
        filled: Whether the area below it is filled.
    """

    path: str
    marks: tuple[tuple[float, str], ...]
    filled: bool


def line(points: Points, begin: datetime, end: datetime) -> Plot:
    """Draw durations in seconds, at least one, as the area under a line."""
    most = max(seconds for _, seconds in points)
    step = next((s for s in _STEPS if most <= s * _MARKS), math.ceil(most / _MARKS))
    top = step * max(1, math.ceil(most / step))
    marks = [(value, age(value)) for value in range(0, top + 1, step)]
    spots = _place(points, begin, end, lambda seconds: seconds / top)
    edge = [(spots[0][0], HEIGHT), *spots]
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in edge)
    return Plot(path=path, marks=_marks(marks, top, lambda v: v / top), filled=True)


def bars(points: Points, begin: datetime, end: datetime) -> Plot:
    """Draw counts, at least one, as bars; powers of ten are equally far apart."""
    most = max(1.0, *(count for _, count in points))
    top = 10 ** max(1, math.ceil(math.log10(most)))
    tens = [10**power for power in range(1, round(math.log10(top)) + 1)]
    every = math.ceil(len(tens) / _MARKS)
    marks = [(value, f"{value:,}") for value in tens[::-1][::every]]

    def share(count: float) -> float:
        return math.log10(1 + count) / math.log10(1 + top)

    spots = _place(points, begin, end, share)
    path = "".join(f"M{x:g} {HEIGHT}V{y:g}" for x, y in spots if y < HEIGHT)
    return Plot(path=path, marks=_marks([(0, "0"), *marks], top, share), filled=False)


def _place(
    points: Points, begin: datetime, end: datetime, share: Callable[[float], float]
) -> list[tuple[float, float]]:
    width = max(1.0, (end - begin).total_seconds())
    return [
        (
            round(WIDTH * (moment - begin).total_seconds() / width, 1),
            round(HEIGHT * (1 - share(max(0.0, value))), 1),
        )
        for moment, value in points
    ]


def _marks(
    values: Sequence[tuple[float, str]], top: float, share: Callable[[float], float]
) -> tuple[tuple[float, str], ...]:
    return tuple((round(100 * share(v), 1), text) for v, text in values if v <= top)
