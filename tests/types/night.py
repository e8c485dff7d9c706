"""One process of a night, which `python -m tests.types` lets pytest run."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from tests.types.comparing import Outcome, compare_all, told
from tests.types.conftest import MARKS
from tests.types.values import KINDS

pytestmark = MARKS


@pytest.mark.timeout(0)
def a_night(scene, tmp_path):
    """Go through rounds of other tables and other values; tell of all that differs."""
    first, rounds, values = (int(n) for n in os.environ["TYPES_ROUNDS"].split(":"))
    report = Path(os.environ["TYPES_REPORT"])
    outcome, begun = Outcome(), time.monotonic()
    for number in range(rounds):
        compare_all(scene, tmp_path, KINDS, values, first + number, outcome)
        found = {
            "done": number + 1,
            "seconds": time.monotonic() - begun,
            "compared": outcome.compared,
            "misfits": outcome.misfits,
            "edges": outcome.edges(KINDS),
            "differences": told(scene, tmp_path, outcome) if outcome.found else "",
        }
        partial = report.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(found))
        partial.replace(report)
        if outcome.found:
            break
    assert not outcome.found
