"""Scenarios by seed in the size of CI; a night is `python -m tests.faults`."""

import pytest

from tests.faults.conftest import MARKS, told
from tests.faults.scenarios import by_seed

pytestmark = MARKS


@pytest.mark.parametrize("seed", range(1, 13))
def test_both_sides_are_equal_after_a_drawn_scenario(world, seed):
    with told(world, f"python -m tests.faults --scenarios 1 --seed {seed}"):
        by_seed(world, seed)
