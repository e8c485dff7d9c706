"""The report's page and its plots, without any stack."""

import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from infra.cli import plot
from infra.cli.report import page
from runtime.contract.errors import WarehouseError
from runtime.ops.history import Day
from runtime.ops.load_progress import LoadProgress
from runtime.ops.status import LastRun, Reading, TableStatus
from tests.factories import make_spec
from tests.ops.test_history import NOON, past_run

HOSTILE = "public.<script>alert('x')</script>\"&amp;{{ 7 * 7 }}"
NOW = NOON + timedelta(hours=30)
RUNS = tuple(past_run(seq, table_name=HOSTILE) for seq in range(1, 25))
ELSEWHERE = re.compile(
    r"""(?:src|href)\s*=\s*["']?(?!["']?#)|url\(|@import|https?:|//\w"""
)


def table(**changes) -> TableStatus:
    known: dict[str, Any] = {
        "table": HOSTILE,
        "state": "refused",
        "merged_through": HOSTILE,
        "lag_seconds": 7200.0,
        "refusal": {"message": f"{HOSTILE}: is odd; mend {HOSTILE}"}
        | {"remedy": f"mend {HOSTILE}"},
        "held_by": {"pid": 1, "user": HOSTILE, "application": HOSTILE},
        "last_run": LastRun(mode="first_load", rows_quarantined=2, at=str(NOON)),
        "drift": (HOSTILE,),
        "runs": RUNS,
        "last_day": Day(runs=24, rows=1200, quarantined=3),
    }
    return TableStatus(**known | changes)


def made(*tables: TableStatus, problems: tuple = ()) -> str:
    specs = [make_spec() for _ in tables]
    return page(specs, Reading(tables=tables, problems=problems), HOSTILE, NOW)


def parsed(text: str) -> ET.Element:
    """Read the page as XML: whatever is not closed or not escaped fails."""
    return ET.fromstring(text.removeprefix("<!doctype html>"))


class Tags(HTMLParser):
    """The elements as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)


def words(text: str) -> str:
    return " ".join("".join(parsed(text).itertext()).split())


class TestPage:
    """One file, well-formed, that trusts no name."""

    def test_no_name_becomes_markup(self):
        text = made(table(), problems=(WarehouseError(f"no {HOSTILE}"),))
        assert "script" not in Tags(text).seen
        assert "<script" not in text
        assert words(text).count(HOSTILE) > 10

    def test_it_loads_nothing(self):
        text = made(table())
        assert not ELSEWHERE.search(text.replace(HOSTILE, ""))
        assert "default-src 'none'" in text
        assert not Tags(text).seen & {"link", "img", "iframe", "object", "base"}

    def test_a_failure_stands_there_with_its_remedy_once(self):
        found = words(made(table(held_by=None, drift=(), last_run=None)))
        assert f"is odd→ mend {HOSTILE}" in found

    def test_each_plot_has_a_title_and_a_description(self):
        root = parsed(made(table(), table(table="b.c")))
        drawings = list(root.iter("svg"))
        assert len(drawings) == 4
        for each in drawings:
            ids = [each[0].get("id"), each[1].get("id")]
            assert [each[0].tag, each[1].tag] == ["title", "desc"]
            assert each.get("aria-labelledby") == " ".join(map(str, ids))

    def test_no_identity_is_given_twice(self):
        root = parsed(made(table(), table()))
        ids = [each.get("id") for each in root.iter() if each.get("id")]
        assert len(ids) == len(set(ids))

    @pytest.mark.parametrize(
        ("tables", "said"),
        [
            ((), "No tables yet"),
            ((table(state="new", runs=(), last_run=None),), "No run has arrived"),
            ((table(runs=None, last_day=None, lag_seconds=None),), "did not tell"),
            (
                (
                    table(
                        load=LoadProgress(
                            chunks_done=3,
                            chunks=8,
                            rows=9,
                            started_at=str(NOON),
                            expected_end=None,
                        )
                    ),
                ),
                "3 of 8 chunks, 9 rows",
            ),
        ],
        ids=["nothing", "new", "silent", "loading"],
    )
    def test_what_is_not_there_is_said(self, tables, said):
        assert said in words(made(*tables))


class TestPlot:
    """Numbers for the drawing: 1000 wide, 300 high, from the top."""

    END = NOON + timedelta(hours=10)

    def test_durations_are_a_line_under_round_marks(self):
        points = [(NOON, -3), (NOON + timedelta(hours=5), 2700), (self.END, 5400)]
        drawn = plot.line(points, NOON, self.END)
        assert drawn.path == "M0 300L0 300L500 150L1000 0"
        assert drawn.marks[0] == (0.0, "0 s")
        assert drawn.marks[-1] == (100.0, "90 min")

    def test_counts_are_bars_by_powers_of_ten(self):
        points = [(NOON, 0.0), (NOON, 9.0), (self.END, 100.0)]
        drawn = plot.bars(points, NOON, self.END)
        assert drawn.path == "M0 300V150.3M1000 300V0"
        assert drawn.marks == ((0.0, "0"), (100.0, "100"), (52.0, "10"))

    @pytest.mark.parametrize("most", [0.0, 0.4, 59, 3600, 86400 * 900])
    def test_there_are_a_few_marks_whatever_the_size(self, most):
        for draw in (plot.line, plot.bars):
            marks = draw([(NOON, most)], NOON, NOON).marks
            assert 2 <= len(marks) <= 6
            assert len({text for _, text in marks}) == len(marks)
