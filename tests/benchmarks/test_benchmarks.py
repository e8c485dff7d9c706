"""The whole benchmark at its smallest, and how its figures are told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import write_docs
from tests.benchmarks.figures import Figures
from tests.benchmarks.wire import Turns

READY = b"Z\x00\x00\x00\x05I"


@pytest.mark.integration
@pytest.mark.timeout(200)
def test_a_small_run_measures_everything_but_the_peers(tmp_path: Path) -> None:
    output = tmp_path / "bench.jsonl"
    words = ["--rows", "20000", "--repeats", "1", "--no-peers"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *words, "--output", str(output)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    figures = {line.get("figure"): line for line in lines}
    assert figures["export.function"]["rows"] == 20_000
    assert figures["incremental.ours"]["rows"] == 2_000
    promises = {line["threshold"]: line for line in lines if "threshold" in line}
    # Seconds depend on the machine; these do not.
    assert promises["idle sync"]["met"]
    assert promises["memory"]["met"]
    assert promises["memory of verify"]["met"]
    assert promises["full load"]["met"] is None
    assert promises["casts of a column of each type"]["value"] > 0


def test_turns_are_counted_apart_until_the_server_is_ready() -> None:
    turns = Turns()
    for answer in (b"N", b"R\x00", b"R\x00" + READY, b"T", READY):
        turns.asked()
        turns.answered(answer)
        turns.answered(b"more of it")
    turns.asked()
    assert (turns.start, turns.work) == (3, 2)


def test_figures_are_medians_and_promises_say_whether_they_are_kept(
    tmp_path: Path,
) -> None:
    figures = Figures(tmp_path / "new" / "bench.jsonl")
    figures.start()
    assert figures.add("export.function", "s", [3.0, 1.0, 2.0], rows=7) == 2.0
    figures.skip("peer.sling", "ERROR: no such package")
    figures.judge("export", 0.8, ">= 0.9", "share")
    figures.judge("idle", 6, "<= 6", "trips")
    figures.judge("full", None, "<= 1", "seconds")
    read = Figures.read(figures.path)
    assert read.lines == figures.lines
    document = tmp_path / "doc.md"
    document.write_text("a\n<!-- figures -->\nold\n<!-- end of figures -->\nb\n")
    write_docs(figures.path, document)
    text = document.read_text()
    assert "old" not in text and text.endswith("<!-- end of figures -->\nb\n")
    assert "| export | share | 0.8 | >= 0.9 | NOT MET |" in text
    assert "| idle | trips | 6 | <= 6 | met |" in text
    assert "| full | seconds | None | <= 1 | not measured |" in text
    assert "| export.function | 2 s | 3 1 2; rows: 7 |" in text
    assert "| peer.sling | skipped | ERROR: no such package |" in text
