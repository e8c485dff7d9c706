"""`status`, `watch` and `report` on one local stack in trouble: refused, held, silent.

Tests of one module run in order: what stops Snowflake comes last.
"""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from infra.cli import render
from infra.cli.status import load_bar, notes, short
from infra.cli.watch import sparkline, view
from runtime.ops.deletes import Decision
from runtime.ops.load_progress import LoadProgress
from runtime.ops.status import LastRun, Reading, TableStatus
from tests.cli.conftest import SCRIPT, Local, aurora_sync, process
from tests.cli.test_report import ELSEWHERE, HOSTILE, parsed, table
from tests.cli.test_tables import NOTHING, ORDERS, WIDE
from tests.ops.test_history import past_run

ALTERNATE_SCREEN, NORMAL_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
SECONDS = 20


@pytest.fixture(scope="module")
def troubled(local: Local) -> Iterator[Local]:
    """Orders are held back, wide is refused, nothing has never run or is current."""
    local.run("sync", ORDERS, WIDE, "--wait")
    local.aurora("UPDATE public.orders SET status = 'x', updated_at = NOW()")
    local.aurora("ALTER TABLE public.wide RENAME COLUMN f8 TO f9")
    local.run("sync", WIDE, status=1)
    with closing(local.connect()) as writer, writer.cursor() as cursor:
        cursor.execute("SELECT 1")
        time.sleep(1.5)
        local.run("sync", ORDERS, "--wait")
        yield local
        writer.rollback()
    local.run("local", "up", "--no-deploy")
    local.aurora("ALTER TABLE public.wide RENAME COLUMN f9 TO f8")
    local.run("sync", ORDERS, WIDE, "--wait")


def stop_snowflake(local: Local) -> None:
    local_parts = local.parts.read()["parts"]
    snowflake = psutil.Process(local_parts["snowflake"]["pid"])
    snowflake.kill()
    snowflake.wait(10)


class TestStatus:
    """For people; what programs get is held elsewhere."""

    def test_a_refused_table_shows_its_remedy(self, troubled):
        (line,) = troubled.run("status", WIDE).stdout.splitlines()[2:3]
        assert line.startswith(f"{WIDE}: ") and "column 'f8' is not what" in line
        refusal = troubled.data("status", WIDE)[0]["refusal"]
        assert line.endswith(f"; {refusal['remedy']}")

    def test_one_table_shows_its_last_runs(self, troubled):
        text = troubled.run("status", ORDERS).stdout
        assert "watermark held back by pid" in text
        grid = text[text.index("Run ") :].splitlines()
        (found,) = troubled.data("status", ORDERS)
        # The newest first; who used this stack before may have run it more often.
        last = [str(run["seq"]) for run in reversed(found["runs"])][:10]
        assert [line.split()[0] for line in grid[1:]] == last
        assert found["runs"][-1]["seq"] == max(run["seq"] for run in found["runs"])
        assert found["last_day"]["rows"] >= 100

    def test_runs_are_not_read_for_many(self, troubled):
        assert {each["runs"] for each in troubled.data("status")} == {None}


def test_the_report_tells_what_status_tells(troubled, tmp_path):
    page = tmp_path / "report.html"
    result = troubled.run("report", "--output", page)
    assert result.stdout.strip() == str(page)
    text = page.read_text()
    words = " ".join("".join(parsed(text).itertext()).split())
    assert not ELSEWHERE.search(text)
    assert "column 'f8' is not what" in words and "held back by pid" in words
    assert all(name in words for name in (ORDERS, WIDE, NOTHING))


class Terminal:
    """A command on a terminal of its own, 100 by 30."""

    def __init__(self, *arguments: str | Path) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        slave = self.slave
        self.process = subprocess.Popen(
            [SCRIPT, *map(str, arguments)],
            # os.login_tty would close the slave; Ctrl-C needs a controlling terminal.
            preexec_fn=lambda: os.login_tty(os.dup(slave)),
        )

    def until(self, text: str) -> None:
        """Read until a text has been shown."""
        deadline = time.monotonic() + SECONDS
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, (text, self.seen[-2000:])
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)

    def key(self, key: bytes) -> int:
        """Press a key that ends the command; return its status."""
        os.write(self.master, key)
        self.until(NORMAL_SCREEN.decode())
        return self.process.wait(SECONDS)


@contextmanager
def watching(local: Local) -> Iterator[Terminal]:
    made = Terminal("watch", "--interval", "1", "--dir", local.folder)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        os.close(made.master)
        os.close(made.slave)


class TestWatch:
    """The whole terminal, until a key."""

    def test_it_needs_a_terminal(self, troubled):
        result = troubled.run("watch", status=2)
        assert result.stdout == ""
        assert result.stderr == "watch: needs a terminal; use `aurora-sync status`\n"

    def test_a_key_ends_it_and_the_terminal_is_as_before(self, troubled):
        with watching(troubled) as terminal:
            terminal.until(NOTHING)
            assert ALTERNATE_SCREEN in terminal.seen
            assert terminal.key(b"q") == 0
            assert termios.tcgetattr(terminal.slave) == terminal.before

    def test_a_side_that_goes_down_is_told_and_watched_on(self, troubled):
        with watching(troubled) as terminal:
            terminal.until("held back by pid")
            stop_snowflake(troubled)
            terminal.until("Could not connect to Snowflake")
            terminal.until("unknown")
            assert terminal.key(b"\x03") == 0
            assert termios.tcgetattr(terminal.slave) == terminal.before
            assert b"Traceback" not in terminal.seen


class TestSilence:
    """Snowflake is down since the last test of `watch`; the ledger is not."""

    def test_what_is_known_is_shown(self, troubled, tmp_path):
        result = troubled.run("status", ORDERS, WIDE, status=1)
        (told,) = result.stderr.splitlines()
        assert told.startswith("local Snowflake: ")
        states = [line.split()[1] for line in result.stdout.splitlines()[1:3]]
        assert states == ["unknown", "refused"]
        assert "watermark held back by pid" in result.stdout

    def test_the_page_is_written_and_says_what_it_lacks(self, troubled, tmp_path):
        page = tmp_path / "report.html"
        troubled.run("report", "--output", page, status=1)
        words = "".join(parsed(page.read_text()).itertext())
        assert "Incomplete:" in words and "Snowflake did not tell its runs" in words


def shown(*tables: TableStatus, width: int = 80, height: int = 24) -> list[str]:
    console = Console(width=width, height=height, highlight=False, no_color=True)
    reading = Reading(tables=tables, problems=())
    with console.capture() as capture:
        console.print(view(reading, "local", console.size))
    return capture.get().splitlines()


class TestScreen:
    """What the screen shows, whatever the names and their number."""

    def test_it_fits_and_the_most_urgent_come_first(self):
        calm = [table(table=f"s.{'t' * 60}{n}", state="current") for n in range(60)]
        lines = shown(*calm, table(table="s.bad"))
        assert len(lines) <= 24 and max(map(len, lines)) <= 80
        assert next(line for line in lines if "s." in line).startswith("s.bad")
        assert any(line.endswith("more, less urgent") for line in lines)

    def test_names_are_no_markup(self):
        lines = shown(table(table="s.[red]x[/red]", state="current"), width=200)
        assert any("s.[red]x[/red]" in line for line in lines)

    def test_runs_are_bars_of_equal_weight_for_each_power_of_ten(self):
        runs = [past_run(n, rows_exported=10**n - 1) for n in (0, 1, 2, 3, 4)]
        assert sparkline(table(runs=tuple(runs))) == "▁▃▅▆█"
        assert sparkline(table(runs=())) == ""
        assert sparkline(table(runs=(past_run(1, rows_exported=0),))) == "▁"


def test_a_remedy_is_told_once():
    (note,) = notes(table(held_by=None, last_run=None, drift=()))
    assert note == render.Note(HOSTILE, "is odd", f"mend {HOSTILE}")


@pytest.mark.parametrize(("used", "told"), [(0.5, 0), (0.51, 1)])
def test_rows_later_than_half_the_lookback_are_told(used, told):
    run = LastRun(mode="incremental", late_rows=2, lookback_used=used)
    calm = {"refusal": None, "held_by": None, "drift": ()}
    found = list(notes(table(table="a.b", last_run=run, **calm)))
    assert len(found) == told
    if told:
        assert found[0].what == "2 rows came late, up to 51% of the lookback"


def test_a_holder_beyond_max_holdback_is_told():
    held_by = {"pid": 4, "user": "app", "age_seconds": 9.0, "too_long": True}
    calm = {"refusal": None, "last_run": None, "drift": ()}
    (note,) = notes(table(table="a.b", held_by=held_by, **calm))
    assert note.what.endswith("open for 9 s), longer than max_holdback")


def test_deletes_that_wait_are_told():
    waiting = Decision(
        table_name="a.b",
        seal="s",
        stamp="1",
        key_count=60,
        row_count=100,
        gone_count=40,
        decision="braked",
        decided_at="now",
    )
    calm = {"refusal": None, "held_by": None, "last_run": None, "drift": ()}
    (note,) = notes(table(table="a.b", deletes=waiting, **calm))
    assert "deletes of 40 of 100 rows wait" in note.what
    assert "`aurora-sync approve-deletes a.b`" in note.remedy
    assert aurora_sync("approve-deletes", "--help").exit_code == 0


def test_keys_that_the_target_has_lost_are_told():
    lost = Decision(
        table_name="a.b",
        seal="s",
        stamp="1",
        key_count=60,
        row_count=58,
        gone_count=0,
        decision="applied",
        decided_at="now",
        missing_count=2,
    )
    calm = {"refusal": None, "held_by": None, "last_run": None, "drift": ()}
    (note,) = notes(table(table="a.b", deletes=lost, **calm))
    assert (
        note.what == "2 keys of Aurora had no row in the target at the last reconcile"
    )
    assert "`aurora-sync repair a.b`" in note.remedy


def test_a_load_shows_its_bar_and_its_end():
    load = LoadProgress(
        chunks_done=6, chunks=12, rows=1000, started_at="", expected_end="x"
    )
    told = load_bar(load)
    assert told.count("━") == told.count("╌") == 12
    assert told.endswith("6 of 12 chunks, 1,000 rows, ends about x UTC")


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2020-05-06 07:08:09.123+00", "2020-05-06"),
        ("2020-05-06", "2020-05-06"),
        ("17", "17"),
        (None, "-"),
    ],
)
def test_times_of_other_days_lose_their_clock(moment, text):
    assert short(moment) == text


def test_a_stack_that_does_not_run_is_one_line(tmp_path):
    result = process("report", "--dir", tmp_path / "none")
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
