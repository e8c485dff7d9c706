"""What lasts: a server that restarts, a pipe that is paused, a task that fails on."""

import pytest

from tests.faults.conftest import MARKS, told
from tests.faults.outages import LEAST, OUTAGES

pytestmark = MARKS


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.__name__)
def test_no_outage_loses_doubles_or_revives_a_row(world, outage):
    with told(world, outage.__name__):
        happened = outage(world)
        assert happened >= LEAST[outage], "it did not happen often enough"
