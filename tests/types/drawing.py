"""Hypothesis as a source of many values, and as what makes a failing one small.

A table holds hundreds of values, more than one example of hypothesis may draw. So it
is asked for values first; only when one of them fails, the same strategy looks for the
simplest that fails as well.
"""

from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.types.kinds import Kind, Value

_AT_ONCE = 40


def draw_one(strategy: st.SearchStrategy[Any], seed: int) -> Any:
    """Return one large value, the same one for the same seed."""
    # The first of all examples is the simplest there is.
    return _drawn(strategy, 3, seed, at_once=1)[-1]


def draw(strategy: st.SearchStrategy[Any], count: int, seed: int) -> list[Any]:
    """Return so many values, the same ones for the same seed."""
    # What is left out are the simplest ones, with which it begins.
    return _drawn(strategy, count, seed)[-count:]


def _drawn(
    strategy: st.SearchStrategy[Any], count: int, seed: int, at_once: int = _AT_ONCE
) -> list[Any]:
    found: list[Any] = []
    some = st.lists(strategy, min_size=at_once, max_size=at_once)

    @hypothesis.seed(seed)
    @settings(
        max_examples=-(-count // at_once) + 1,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(some)
    def collect(values: list[Any]) -> None:
        found.extend(values)

    collect()
    return found


def simplest(
    kind: Kind, fails: Callable[[Value], bool], most: int = 60
) -> Value | None:
    """Return the simplest value that still fails; None when none is found again."""
    quiet = settings(
        max_examples=most,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    try:
        found: Value = hypothesis.find(kind.drawn, fails, settings=quiet)
    except hypothesis.errors.NoSuchExample:
        return None
    return found
