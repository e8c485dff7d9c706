"""Starting, finding and ending the processes of a local stack.

Parts outlive the command that starts them, so their identity stands in `stack.json`
the moment they exist. Every process also carries the stack's folder in its
environment, as do its children: what no record names (a start that was killed in
the middle, workers of a part that was killed) is found by that mark.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from graphlib import TopologicalSorter
from typing import Any

import psutil

from infra.local.parts import Command, LocalError, LocalStack, Part
from infra.local.process_table import (
    MARK,
    as_user,
    kill,
    listens,
    marked_processes,
    port_is_taken,
    process_of,
    recorded,
    records,
    wait_for_end,
)

READY_SECONDS = 60.0
_GRACE_SECONDS = 10.0
_ATTEMPTS = 3

Progress = Callable[[str, str], None]


def start_parts(
    stack: LocalStack,
    parts: Sequence[Part],
    on_progress: Progress = lambda name, state: None,
    ready_seconds: float = READY_SECONDS,
) -> None:
    """Start the parts that do not run yet, each as soon as its needs are ready.

    Safe to repeat: running parts stay, an interrupted start is completed. To be
    called within `exclusive`. When one part fails, the others are left running, for
    a look at them or for `stop_parts`.

    Args:
        stack: The stack.
        parts: The parts, with all that they need.
        on_progress: Told the name and `starting` or `ready`, from this thread.
        ready_seconds: How long each part may take until it is ready.

    Raises:
        LocalError: A part ended early, was not ready in time, or its port is taken.
    """
    # What an interrupted start or a part that was killed has left.
    kill(set(marked_processes(stack)) - recorded(stack))
    known = {part.name: part for part in parts}
    order = TopologicalSorter({part.name: part.needs for part in parts})
    order.prepare()
    given_up = threading.Event()
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(max_workers=len(parts) or 1) as pool:
        try:
            while order.is_active():
                for name in order.get_ready():
                    on_progress(name, "starting")
                    start = _Start(stack, known[name], ready_seconds, given_up)
                    running[pool.submit(start.run)] = name
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    done.result()
                    on_progress(running[done], "ready")
                    order.done(running.pop(done))
        finally:
            given_up.set()


def stop_parts(stack: LocalStack) -> None:
    """End every process of the stack, whatever state the stack is in.

    To be called within `exclusive`.

    Raises:
        LocalError: Some process does not even end when killed.
    """
    family = recorded(stack) | set(marked_processes(stack))
    roots = [
        (process, record["stop_signal"])
        for record in records(stack).values()
        if (process := process_of(record)) is not None
    ]
    for process, stop_signal in roots:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(stop_signal)
    wait_for_end([process for process, _ in roots], _GRACE_SECONDS)
    # Once more, for what was born in the meantime.
    for _ in range(3):
        kill(family)
        family = set(marked_processes(stack))
        if not family:
            return
    raise LocalError(
        "some processes cannot be ended",
        subject=str(stack.dir),
        got=", ".join(str(process.pid) for process in family),
        remedy="end them yourself, then run `aurora-sync local down` again",
    )


def part_states(stack: LocalStack) -> dict[str, str]:
    """Return `starting`, `running` or `dead` of every part that was ever started."""
    return {
        name: (
            "dead"
            if process_of(record) is None
            else "running" if record.get("ready_pid") == record["pid"] else "starting"
        )
        for name, record in records(stack).items()
    }


class _Start:
    """One part on its way to be ready; the arguments are those of `start_parts`."""

    def __init__(
        self, stack: LocalStack, part: Part, seconds: float, given_up: threading.Event
    ) -> None:
        self._stack = stack
        self._part = part
        self._seconds = seconds
        self._given_up = given_up
        self._subject = f"local part {part.name}"

    def run(self) -> None:
        """Start the part unless it runs, wait until it is ready, bootstrap it."""
        if process_of(self._record) is None:
            self._start()
        else:
            self._wait(None, 0)
        record = self._record
        if record.get("ready_pid") != record["pid"]:
            self._part.bootstrap(self._stack)
            try:
                root = psutil.Process(record["pid"])
                self._put(ready_pid=root.pid, exe=root.exe(), cwd=root.cwd())
            except psutil.NoSuchProcess:
                raise self._failure("it ended while it was set up", 0) from None

    @property
    def _record(self) -> dict[str, Any]:
        return records(self._stack).get(self._part.name, {})

    def _put(self, **values: Any) -> None:
        with self._stack.locked() as state:
            state.setdefault("parts", {}).setdefault(self._part.name, {}).update(values)

    def _start(self) -> None:
        log = self._stack.log_file(self._part.name)
        for attempt in range(1, _ATTEMPTS + 1):
            self._settle_ports()
            self._part.prepare(self._stack)
            seen = log.stat().st_size if log.exists() else 0
            process = self._spawn(self._part.command(self._stack))
            try:
                self._wait(process, seen)
            except LocalError:
                # Someone may have taken the port between our look and the part's.
                if attempt < _ATTEMPTS and process.poll() is not None:
                    if any(map(port_is_taken, self._ports.values())):
                        continue
                raise
            return

    @property
    def _ports(self) -> dict[str, int]:
        return {name: self._stack.port(name) for name in self._part.ports}

    def _settle_ports(self) -> None:
        """Choose other ports for those that are taken, unless others rely on them."""
        for name, port in self._ports.items():
            while port_is_taken(port):
                if "ready_pid" in self._record:
                    raise LocalError(
                        "another process listens on its port",
                        subject=self._subject,
                        got=port,
                        remedy="end that process, or take the stack down and up again",
                    )
                with self._stack.locked() as state:
                    del state["ports"][name]
                port = self._stack.port(name)

    def _spawn(self, command: Command) -> subprocess.Popen[bytes]:
        with self._stack.log_file(self._part.name).open("ab") as log:
            try:
                process = subprocess.Popen(
                    command.argv,
                    env={**command.env, MARK: str(self._stack.dir)},
                    cwd=self._stack.part_dir(self._part.name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    umask=0o077,
                    **as_user(command.user),
                )
            except OSError as error:
                raise LocalError(
                    f"its program cannot be run ({error.strerror})",
                    subject=self._subject,
                    got=command.argv[0],
                    remedy="install the project with its extra 'local' again",
                ) from error
        self._put(
            pid=process.pid,
            create_time=psutil.Process(process.pid).create_time(),
            stop_signal=command.stop_signal,
        )
        # Reaped if it ends while we are here; afterwards it is no child of ours.
        threading.Thread(target=process.wait, daemon=True).start()
        return process

    def _wait(self, process: subprocess.Popen[bytes] | None, seen: int) -> None:
        deadline = time.monotonic() + self._seconds
        while True:
            if process is not None and process.poll() is not None:
                fact = f"it ended with status {process.returncode} before it was ready"
            elif self._part.is_ready(self._stack) and listens(
                process_of(self._record), self._ports.values()
            ):
                # It answers, and not a stranger on its port.
                return
            elif time.monotonic() > deadline:
                fact = f"it is not ready after {self._seconds:g} s"
            elif self._given_up.wait(0.05):
                fact = "its start was given up"
            else:
                continue
            raise self._failure(fact, seen)

    def _failure(self, fact: str, seen: int) -> LocalError:
        """Make the error that ends with the log's last lines after `seen` bytes."""
        log = self._stack.log_file(self._part.name)
        text = log.read_bytes()[seen:].decode(errors="replace")
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        return LocalError(
            fact,
            subject=self._subject,
            got=" | ".join(lines[-3:]),
            remedy=f"read {log}",
        )
