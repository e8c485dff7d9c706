"""Drawn values laid out as the rows of drawn tables."""

import random
from collections.abc import Sequence

from hypothesis import strategies as st

from tests.types.judge import Column, Row
from tests.types.kinds import MISFIT, Kind, Value

RULES = ("fail", "text", "null")
_NULL_SHARE, _SECOND_MISFIT_SHARE = 0.04, 0.1


def tables(kinds: Sequence[Kind], size: int) -> st.SearchStrategy[list[list[Column]]]:
    """Return a strategy of schemas that together have each type once, in any order."""

    def built(order: list[Kind], drawn: list[tuple[bool, str]]) -> list[list[Column]]:
        columns = [
            Column(f"c{n}", kind, nullable, rule if _can_misfit(kind) else "fail")
            for n, (kind, (nullable, rule)) in enumerate(zip(order, drawn, strict=True))
        ]
        return [columns[at : at + size] for at in range(0, len(columns), size)]

    each = st.tuples(st.booleans(), st.sampled_from(RULES))
    many = st.lists(each, min_size=len(kinds), max_size=len(kinds))
    return st.builds(built, st.permutations(kinds), many)


def _can_misfit(kind: Kind) -> bool:
    return any(value.held is MISFIT for value in kind.edges)


def fill(
    columns: Sequence[Column], values: Sequence[list[Value]], chance: random.Random
) -> list[Row]:
    """Return rows in which each value stands where it can be seen.

    A row that waits in quarantine hides all of its values but one: so a value that
    makes it wait stands beside some that fit, or beside another one now and then.

    Args:
        columns: Of the table.
        values: Of each column.
        chance: Decides the rest.
    """
    fitting, failing = [], []
    for column, drawn in zip(columns, values, strict=True):
        fails = [v for v in drawn if v.held is MISFIT and column.misfit == "fail"]
        failing.append(fails)
        fitting.append([value for value in drawn if value not in set(fails)])

    def any_of(place: int) -> Value | None:
        if columns[place].nullable and chance.random() < _NULL_SHARE:
            return None
        return chance.choice(fitting[place])

    every = range(len(columns))
    rows = []
    for number in range(max(map(len, fitting))):
        rows.append(
            [
                (
                    fitting[place][number]
                    if number < len(fitting[place])
                    else any_of(place)
                )
                for place in every
            ]
        )
    for place, fails in enumerate(failing):
        for value in fails:
            row = [any_of(other) for other in every]
            row[place] = value
            # One behind it hides itself alone.
            later = [other for other in every if other > place and failing[other]]
            if later and chance.random() < _SECOND_MISFIT_SHARE:
                other = chance.choice(later)
                row[other] = chance.choice(failing[other])
            rows.append(row)
    rows += [[any_of(place) for place in every] for _ in range(10)]
    chance.shuffle(rows)
    return [tuple(row) for row in rows]
