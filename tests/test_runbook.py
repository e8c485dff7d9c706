"""Every word that an operator can meet has an entry in the runbook."""

import re
from pathlib import Path
from typing import get_args

import pytest

from infra.alarms import alarms, kinds
from runtime.contract import metrics
from runtime.contract.records import RunResult
from runtime.ops.status import State
from tests.golden import errors
from tests.infra.test_observability import watched

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "RUNBOOK.md").read_text()
ANCHOR = re.compile(r"\(#([a-z0-9-]+)\)")


def entries(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under a heading: word to its other cells."""
    _, _, rest = PAGE.partition(f"\n### {heading}\n")
    section = re.split(r"\n##+ ", rest)[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.M)
    return {word: [cell.strip() for cell in cells.split(" | ")] for word, cells in rows}


def decisions() -> set[str]:
    text = (ROOT / "runtime/contract/snowflake_deletes.py").read_text()
    words = set(re.findall(r"THEN '(\w+)'|ELSE '(\w+)'|decision = '(\w+)'", text))
    return {word for found in words for word in found if word}


WORDS = {
    "States of `status`": set(get_args(State)),
    "Answers of a run": set(get_args(RunResult.__annotations__["status"])),
    "Decisions on deletes": decisions(),
    "Errors by code": {
        kind.code for kind in errors.kinds(errors.modules()).values() if kind.code
    }
    | {"error"},
    "Metrics": {*metrics.RUN, *metrics.CHECK, *metrics.LOOK},
    "Alarms": kinds(alarms(watched("A"))),
}


@pytest.mark.parametrize("heading", WORDS)
def test_every_word_has_its_entry_and_no_entry_is_left_over(heading):
    assert len(WORDS[heading]) >= 4
    assert set(entries(heading)) == WORDS[heading]


@pytest.mark.parametrize("heading", WORDS)
def test_an_entry_says_meaning_place_and_what_to_do(heading):
    for word, cells in entries(heading).items():
        assert len(cells) == 3, word
        meaning, _, remedy = cells
        assert meaning and remedy, word


def test_every_way_within_the_page_leads_somewhere():
    headings = re.findall(r"^##+ (.*)$", PAGE, re.M)
    known = {
        re.sub(r"[^a-z0-9 _-]", "", each.lower()).replace(" ", "-") for each in headings
    }
    assert {anchor for anchor in ANCHOR.findall(PAGE)} - known == set()
