"""A fault of every kind at every step of the protocol, each at least once."""

import pytest

from tests.faults.conftest import MARKS, told
from tests.faults.faulty import CELLS
from tests.faults.scenarios import cell

pytestmark = MARKS


@pytest.mark.parametrize("step", CELLS)
def test_no_fault_at_a_step_loses_doubles_or_revives_a_row(world, step):
    for kind in CELLS[step]:
        before = world.hits[step, kind]
        with told(world, f"{kind} at {step}"):
            cell(world, step, kind)
            assert world.hits[step, kind] > before, "the fault was never reached"
