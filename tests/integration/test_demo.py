"""The demonstration, as `make demo` runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local import stack

SCRIPT = Path(sys.executable).with_name("aurora-sync")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "demo"
    # Of a demonstration that stopped half-way.
    stack.down(tmp_path / "demo" / "stack")


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(SCRIPT), "demo", "--dir", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # So that a group's signal reaches it as Ctrl-C does.
        start_new_session=True,
    )


def left_over(folder: Path) -> list[int]:
    """Processes that name the folder."""
    found = psutil.process_iter(["cmdline"])
    return [p.pid for p in found if str(folder) in " ".join(p.info["cmdline"] or ())]


@pytest.mark.timeout(300)
def test_the_usual_cursor_loses_an_order_and_this_one_does_not(folder: Path) -> None:
    told = demo(folder, "--json")
    out, errors = told.communicate(timeout=280)
    assert told.returncode == 0, errors
    chapters = {each["title"]: each for each in json.loads(out)["chapters"]}
    late = chapters["A transaction stays open across a sync"]
    assert late["lost_by_usual"] == [20001]
    assert late["arrived"] == [20001, 20002]
    assert chapters["First load"]["rows"] == 93_504
    verdicts = chapters["Updates and a soft delete"]["verdicts"]
    assert {each["verdict"] for each in verdicts} == {"equal"}
    [verdict] = chapters["A hard delete"]["verdicts"]
    assert (verdict["verdict"], verdict["source_rows"]) == ("equal", 49_998)
    assert chapters["Values that usually get hurt"]["hurt"] == 5
    assert chapters["By itself, on schedule"]["scheduled"]["rows_exported"] == 500
    explained = chapters["Where did order 20001 come from?"]["explanation"]
    assert explained["verdict"] == "equal on both sides"
    assert not folder.exists()
    assert left_over(folder) == []


@pytest.mark.timeout(120)
def test_ctrl_c_leaves_nothing(folder: Path) -> None:
    told = demo(folder)
    assert told.stderr is not None
    for line in told.stderr:
        if line.startswith("postgres: ready"):
            break
    os.killpg(told.pid, signal.SIGINT)
    out, errors = told.communicate(timeout=60)
    assert told.returncode == 130, errors
    assert "Traceback" not in errors
    assert not folder.exists()
    assert left_over(folder) == []


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("final final 2")
    told = demo(tmp_path)
    _, errors = told.communicate(timeout=60)
    assert told.returncode == 2
    assert "holds other things than a demonstration" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
