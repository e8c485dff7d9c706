"""Every word that an operator can meet has an entry in the runbook."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from runtime.contract.records import RunResult
from runtime.ops.status import State
from tests.golden import errors

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "RUNBOOK.md").read_text()
ANCHOR = re.compile(r"\(#([a-z0-9-]+)\)")


def entries(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under a heading: word to its other cells."""
    _, _, rest = PAGE.partition(f"\n### {heading}\n")
    section = re.split(r"\n##+ ", rest)[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.M)
    return {word: [cell.strip() for cell in cells.split(" | ")] for word, cells in rows}


def constants(folder: str) -> Iterator[ast.AST]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text()))


def metrics() -> set[str]:
    """Return the names that the function measures: beside a unit, or given as name."""
    found: set[str] = set()
    for node in constants("runtime/exporter"):
        if isinstance(node, ast.Tuple) and "MetricUnit." in ast.unparse(node):
            first = node.elts[0]
            found |= {str(first.value)} if isinstance(first, ast.Constant) else set()
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_metric"):
            named = {each.arg: each.value for each in node.keywords}["name"]
            found |= {str(named.value)} if isinstance(named, ast.Constant) else set()
    return found


def alarms() -> set[str]:
    """Return the names of alarms: first argument of each alarm's resource."""
    return {
        ast.unparse(node.args[0]).strip("'\"")
        for node in constants("infra/components")
        if isinstance(node, ast.Call) and "Alarm" in ast.unparse(node.func)
    }


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
    "Metrics": metrics() | alarms(),
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
