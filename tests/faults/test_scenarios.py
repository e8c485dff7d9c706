"""Scenarios by seed in the size of CI; a night is `python -m tests.faults`."""

import pytest

from tests.faults.conftest import MARKS, told
from tests.faults.scenarios import by_seed

pytestmark = MARKS
SEEDS = range(1, 13)


@pytest.mark.timeout(300)
def test_both_sides_are_equal_after_drawn_scenarios(world):
    before = world.faults
    for seed in SEEDS:
        with told(world, f"python -m tests.faults --scenarios 1 --seed {seed}"):
            by_seed(world, seed)
    # Some are drawn at steps that a run does not reach.
    assert world.faults - before >= len(SEEDS), "too few faults happened"
