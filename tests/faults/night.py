"""One process of a night, which `python -m tests.faults` lets pytest run."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.conftest import MARKS
from tests.faults.scenarios import by_seed

pytestmark = MARKS


@pytest.mark.timeout(0)
def a_night(world):
    """Go through many seeds; a failure is told and the next seed begun."""
    first, count = (int(n) for n in os.environ["FAULTS_SEEDS"].split(":"))
    report_file = Path(os.environ["FAULTS_REPORT"])
    failed: dict[int, str] = {}
    begun = time.monotonic()
    for done, seed in enumerate(range(first, first + count), start=1):
        try:
            by_seed(world, seed)
        except Exception as error:
            failed[seed] = "\n".join((*world.log, f"{type(error).__name__}: {error}"))
        hits = [[*cell, n] for cell, n in world.hits.items()]
        report: dict[str, Any] = {"done": done, "seconds": time.monotonic() - begun}
        report |= {"hits": hits, "failed": failed}
        partial = report_file.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(report))
        partial.replace(report_file)
    assert not failed
