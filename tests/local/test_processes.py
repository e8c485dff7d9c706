"""Parts outlive who starts them, and nothing outlives the stack."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.local.exclusive import exclusive
from infra.local.parts import HOST, Command, LocalError, LocalStack, Part
from infra.local.process_table import MARK, is_alive, marked_processes
from infra.local.processes import part_states, start_parts, stop_parts

SERVE = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(600)
"""
# A worker of its own session that holds out against SIGTERM, as a stubborn one would.
BREED = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", '''
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
'''], start_new_session=True)
"""


@pytest.fixture
def stack(tmp_path):
    stack = LocalStack(tmp_path / "stack")
    yield stack
    stop_parts(stack)


def answers(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex((HOST, port)) == 0


def make_part(name: str = "one", script: str = SERVE, **overrides) -> Part:
    """Return a part that runs a Python script with its port as argument."""
    values = {
        "ports": (name,),
        "command": lambda stack: Command(
            argv=(sys.executable, "-c", script, str(stack.port(name)))
        ),
        "is_ready": lambda stack: answers(stack.port(name)),
    }
    return Part(name=name, **{**values, **overrides})


def pid_of(stack, name: str = "one") -> int:
    return stack.read()["parts"][name]["pid"]


def family(stack) -> list[psutil.Process]:
    return list(marked_processes(stack))


def command_line(stack, script: str) -> dict:
    """Return how to run a script in a process of its own, as a command would."""
    head = (
        "import sys, time; from pathlib import Path\n"
        "from tests.local.test_processes import *\n"
        "stack = LocalStack(Path(sys.argv[1]))\n"
    )
    argv = [sys.executable, "-c", head + script, str(stack.dir)]
    return {"args": argv, "cwd": Path(__file__).parents[2]}


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_parts_start_when_their_needs_are_ready(stack):
    seen: list = []
    parts = [
        make_part("last", needs=("one", "two")),
        make_part("one"),
        make_part("two", bootstrap=lambda stack: seen.append("bootstrap two")),
    ]
    start_parts(stack, parts, lambda *progress: seen.append(progress))
    assert seen.index(("last", "starting")) > seen.index(("one", "ready"))
    assert seen.index(("last", "starting")) > seen.index(("two", "ready"))
    assert seen.index("bootstrap two") < seen.index(("two", "ready"))
    assert part_states(stack) == dict.fromkeys(("one", "two", "last"), "running")
    stop_parts(stack)
    assert part_states(stack) == dict.fromkeys(("one", "two", "last"), "dead")
    assert family(stack) == []


def test_parts_outlive_a_captured_caller_without_holding_its_output(stack):
    done = subprocess.run(
        **command_line(stack, "start_parts(stack, [make_part()])"),
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == done.stderr == b""
    process = psutil.Process(pid_of(stack))
    assert os.getsid(process.pid) == process.pid
    files = {os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)}
    assert files == {os.devnull, str(stack.log_file("one"))}
    assert {each.path for each in process.open_files()} == {str(stack.log_file("one"))}
    assert stack.log_file("one").read_text() == "listening\n"


def test_a_second_start_leaves_running_parts_alone(stack):
    calls = []
    part = make_part(bootstrap=lambda stack: calls.append(pid_of(stack)))
    start_parts(stack, [part])
    start_parts(stack, [part])
    assert calls == [pid_of(stack)]


def test_a_part_that_died_is_started_and_set_up_again_at_the_same_port(stack):
    calls = []
    part = make_part(bootstrap=lambda stack: calls.append(stack.port("one")))
    start_parts(stack, [part])
    first = pid_of(stack)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: part_states(stack) == {"one": "dead"})
    start_parts(stack, [part])
    assert pid_of(stack) != first
    assert calls == [stack.port("one")] * 2


def test_a_start_that_failed_in_the_set_up_is_completed_by_the_next(stack):
    def fail(stack):
        raise LocalError("no set-up today")

    with pytest.raises(LocalError, match="today"):
        start_parts(stack, [make_part(bootstrap=fail)])
    assert part_states(stack) == {"one": "starting"}
    first = pid_of(stack)
    start_parts(stack, [make_part()])
    assert part_states(stack) == {"one": "running"}
    assert pid_of(stack) == first


def test_an_early_death_is_told_with_the_last_lines_of_this_start(stack):
    stack.log_file("one").write_text("of another day\n")
    part = make_part(script="print('so it goes'); raise SystemExit('no\\n\\nmore')")
    with pytest.raises(LocalError) as told:
        start_parts(stack, [part])
    assert str(told.value) == (
        "local part one: it ended with status 1 before it was ready; "
        f"got 'no | more | so it goes'; read {stack.log_file('one')}"
    )


def test_a_part_that_never_answers_is_given_up(stack):
    with pytest.raises(LocalError, match="one: it is not ready after 0.3 s"):
        start_parts(
            stack, [make_part(script="import time; time.sleep(9)")], ready_seconds=0.3
        )


def test_the_failure_of_one_part_ends_the_waiting_for_the_others(stack):
    slow = make_part("slow", script="import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(LocalError, match="one: it ended"):
        start_parts(stack, [slow, make_part(script="")])
    assert time.monotonic() - started < 10


def test_workers_end_with_the_stack_even_when_their_part_was_killed(stack):
    start_parts(stack, [make_part(script=BREED + SERVE)])
    assert len(family(stack)) == 2
    os.kill(pid_of(stack), signal.SIGKILL)
    wait_until(lambda: part_states(stack) == {"one": "dead"})
    (worker,) = family(stack)
    stop_parts(stack)
    assert family(stack) == []
    assert not is_alive(worker)


def test_workers_of_a_killed_part_are_gone_before_it_starts_again(stack):
    part = make_part(script=BREED + SERVE)
    start_parts(stack, [part])
    before = set(family(stack))
    os.kill(pid_of(stack), signal.SIGKILL)
    wait_until(lambda: part_states(stack) == {"one": "dead"})
    start_parts(stack, [part])
    assert len(family(stack)) == 2
    assert before.isdisjoint(family(stack))


def test_nothing_outlives_a_start_that_was_killed_in_the_middle(stack):
    """The parts are as a start leaves them between two of its steps."""
    script = (
        "late = make_part(script=BREED + 'import time; time.sleep(60)')\n"
        "start_parts(stack, [make_part('two'), late])"
    )
    caller = subprocess.Popen(**command_line(stack, script))
    wait_until(lambda: len(family(stack)) == 3)
    caller.kill()
    caller.wait()
    with stack.locked() as state:
        del state["parts"]
    stop_parts(stack)
    assert family(stack) == []


def test_a_process_with_a_recorded_number_but_another_start_is_spared(stack):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        started = psutil.Process(stranger.pid).create_time()
        record = {"pid": stranger.pid, "create_time": started - 60, "stop_signal": 15}
        with stack.locked() as state:
            state["parts"] = {"one": record}
        assert part_states(stack) == {"one": "dead"}
        stop_parts(stack)
        assert stranger.poll() is None
        record["create_time"] = started
        with stack.locked() as state:
            state["parts"] = {"one": record}
        stop_parts(stack)
        assert stranger.wait(timeout=5) == -signal.SIGTERM


def test_processes_of_another_stack_are_spared(stack, tmp_path):
    other = LocalStack(tmp_path / "stack-2")
    start_parts(other, [make_part()])
    stop_parts(stack)
    assert part_states(other) == {"one": "running"}
    stop_parts(other)


def test_another_port_is_chosen_for_one_that_was_taken_before_the_first_start(stack):
    with socket.create_server((HOST, stack.port("one"))) as taken:
        start_parts(stack, [make_part()])
        assert stack.port("one") != taken.getsockname()[1]
    assert answers(stack.port("one"))


def test_another_port_is_chosen_when_it_is_taken_just_before_the_part_binds(stack):
    strangers: list[socket.socket] = []

    def steal(stack):
        if not strangers:
            strangers.append(socket.create_server((HOST, stack.port("one"))))

    start_parts(stack, [make_part(prepare=steal)])
    assert stack.port("one") != strangers[0].getsockname()[1]
    strangers[0].close()


def test_a_port_that_others_rely_on_is_never_changed(stack):
    start_parts(stack, [make_part()])
    port = stack.port("one")
    stop_parts(stack)
    with socket.create_server((HOST, port)):
        with pytest.raises(LocalError, match=f"listens on its port; got {port}"):
            start_parts(stack, [make_part()])
    assert stack.port("one") == port


def test_the_answer_of_a_stranger_is_not_taken_for_the_parts(stack):
    strangers: list[socket.socket] = []
    part = make_part(
        script="import time; time.sleep(60)",
        prepare=lambda stack: strangers.append(
            socket.create_server((HOST, stack.port("one")))
        ),
    )
    with pytest.raises(LocalError, match="not ready"):
        start_parts(stack, [part], ready_seconds=0.5)
    strangers[0].close()


def test_a_stack_is_held_by_one_command_at_a_time(stack):
    with exclusive(stack):
        with pytest.raises(LocalError, match=f"got 'process {os.getpid()}'"):
            with exclusive(stack):
                pass
    with exclusive(stack):
        pass


def test_the_hold_ends_with_a_killed_command_though_its_parts_live_on(stack):
    script = (
        "with exclusive(stack):\n"
        "    start_parts(stack, [make_part()]); time.sleep(60)"
    )
    caller = subprocess.Popen(**command_line(stack, script))
    wait_until(lambda: part_states(stack) == {"one": "running"})
    with pytest.raises(LocalError, match=str(caller.pid)):
        with exclusive(stack):
            pass
    caller.kill()
    caller.wait()
    with exclusive(stack):
        assert part_states(stack) == {"one": "running"}


def test_a_child_that_a_killed_command_had_just_forked_is_waited_for(stack):
    script = (
        "with exclusive(stack):\n"
        "    if os.fork() == 0: time.sleep(0.5)\n"
        "    os._exit(0)"
    )
    assert subprocess.Popen(**command_line(stack, script)).wait(10) == 0
    with exclusive(stack):
        pass


def test_the_mark_alone_never_ends_the_caller(stack):
    """A person may work in a shell that was started from a part."""
    done = subprocess.run(
        **command_line(stack, "stop_parts(stack); print('alive')"),
        env={**os.environ, MARK: str(stack.dir)},
        capture_output=True,
        timeout=20,
    )
    assert done.stdout == b"alive\n"
