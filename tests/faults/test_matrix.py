"""A fault of every kind at every step of the protocol, each at least once."""

import pytest

from tests.faults.conftest import MARKS, told
from tests.faults.faulty import CELLS
from tests.faults.scenarios import EVENTS, QUEUES, cell, lake_cell, queue_cell

pytestmark = MARKS


@pytest.mark.parametrize("step", CELLS)
def test_no_fault_at_a_step_loses_doubles_or_revives_a_row(world, step):
    for kind in CELLS[step]:
        before = world.hits[step, kind]
        with told(world, f"{kind} at {step}"):
            cell(world, step, kind)
            assert world.hits[step, kind] > before, "the fault was never reached"


@pytest.mark.parametrize("how", EVENTS)
def test_no_order_or_loss_of_events_does(world, how):
    before = world.hits["events", how]
    with told(world, how):
        lake_cell(world, how)
        assert world.hits["events", how] > before, "it never happened"


@pytest.mark.parametrize("how", QUEUES)
def test_no_order_or_loss_of_messages_does(world, how):
    before = world.hits["queue", how]
    with told(world, how):
        queue_cell(world, how)
        assert world.hits["queue", how] > before, "it never happened"


def test_no_task_that_fails_does(world):
    for number in range(world.warehouse.statements + 1):
        with told(world, f"fails after {number}"):
            lake_cell(world, "all", number)
            assert world.hits["merge", f"fails after {number}"], "it did not fail"
