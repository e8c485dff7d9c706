"""Scenarios by seed: the size of CI here, of a night by `python -m tests.faults`."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.conftest import MARKS, told
from tests.faults.scenarios import by_seed

pytestmark = MARKS
FIRST, COUNT = (int(n) for n in os.environ.get("FAULTS_SEEDS", "1:12").split(":"))
# Where one of the processes of a night tells how far it is.
REPORT = os.environ.get("FAULTS_REPORT")


@pytest.mark.skipif(REPORT is not None, reason="the night has its own seeds")
@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_both_sides_are_equal_after_a_drawn_scenario(world, seed):
    with told(world, f"python -m tests.faults --scenarios 1 --seed {seed}"):
        by_seed(world, seed)


@pytest.mark.skipif(REPORT is None, reason="the size of a night")
@pytest.mark.timeout(0)
def test_a_night(world):
    """Go through many seeds; a failure is told and the next seed begun."""
    assert REPORT is not None
    failed: dict[int, str] = {}
    begun = time.monotonic()
    for done, seed in enumerate(range(FIRST, FIRST + COUNT), start=1):
        try:
            by_seed(world, seed)
        except Exception as error:
            failed[seed] = "\n".join((*world.log, f"{type(error).__name__}: {error}"))
        hits = [[*cell, n] for cell, n in world.hits.items()]
        report: dict[str, Any] = {"done": done, "seconds": time.monotonic() - begun}
        report |= {"hits": hits, "failed": failed}
        partial = Path(REPORT + ".part")
        partial.write_bytes(msgspec.json.encode(report))
        partial.replace(REPORT)
    assert not failed
