"""Start and end the parts of a stack: detached, recorded, and never left behind.

A part runs in a session of its own with its output in a file, so that it outlives
the command that started it. It is found again by pid and start time, or, had the
starter died before writing these down, by a marker in its environment.
"""

import fcntl
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from infra.local.parts import LocalStack, Part
from runtime.contract.errors import SyncError

MARKER = "AURORA_SYNC_STACK"
START_SECONDS = 60
STOP_SECONDS = 8
_LOG_LINES = 5


class LocalError(SyncError):
    """The local stack cannot do what was asked."""

    code = "local"


@contextmanager
def exclusive(stack: LocalStack) -> Iterator[None]:
    """Let only one command at a time start or end parts of a stack.

    The lock lies beside the folder, because `down` removes the folder itself.

    Raises:
        LocalError: When another command is at it.
    """
    stack.dir.parent.mkdir(parents=True, exist_ok=True)
    path = stack.dir.with_name(f".{stack.dir.name}.lock")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalError(
                "another command starts or ends this stack",
                subject=str(stack.dir),
                remedy="wait for it to end, or stop it",
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def start_parts(
    stack: LocalStack,
    parts: Sequence[Part],
    on_progress: Callable[[str, str], None] = lambda part, state: None,
) -> None:
    """Start parts, each as soon as those it needs are ready, and bootstrap them.

    Args:
        stack: Where they belong.
        parts: All of them; `needs` may only name one another.
        on_progress: Told the name of a part and what it is doing.

    Raises:
        LocalError: When one does not become ready; the others go on, the caller ends
            them.
    """
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        started: dict[str, Future[None]] = {}

        def start(part: Part) -> None:
            for name in part.needs:
                started[name].result()
            _start(stack, part, on_progress)

        for part in _by_need(parts):
            started[part.name] = pool.submit(start, part)
    for future in started.values():
        future.result()


def _by_need(parts: Sequence[Part]) -> list[Part]:
    ordered: list[Part] = []
    while len(ordered) < len(parts):
        names = {part.name for part in ordered}
        ready = [p for p in parts if p not in ordered and names.issuperset(p.needs)]
        if not ready:
            raise ValueError("parts need one another in a circle, or one is missing")
        ordered += ready
    return ordered


def _start(
    stack: LocalStack, part: Part, on_progress: Callable[[str, str], None]
) -> None:
    on_progress(part.name, "starting")
    part.prepare(stack)
    process = _spawn(stack, part)
    deadline = time.monotonic() + START_SECONDS
    while not part.is_ready(stack):
        if process.poll() is not None:
            raise LocalError(
                f"part {part.name} ended while starting",
                subject=str(stack.dir),
                got=_last_lines(stack.log_file(part.name)),
                remedy=f"see {stack.log_file(part.name)}, then `aurora-sync local up`",
            )
        if time.monotonic() > deadline:
            raise LocalError(
                f"part {part.name} is not ready after {START_SECONDS} s",
                subject=str(stack.dir),
                got=_last_lines(stack.log_file(part.name)),
                remedy=f"see {stack.log_file(part.name)}, then `aurora-sync local up`",
            )
        time.sleep(0.05)
    part.bootstrap(stack)
    on_progress(part.name, "ready")


def _spawn(stack: LocalStack, part: Part) -> "subprocess.Popen[bytes]":
    command = part.command(stack)
    with stack.log_file(part.name).open("ab") as log:
        try:
            process = subprocess.Popen(
                command.argv,
                env={**command.env, MARKER: str(stack.dir)},
                cwd="/" if command.user else stack.part_dir(part.name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=command.user,
                group=pwd.getpwnam(command.user).pw_gid if command.user else None,
                extra_groups=[] if command.user else None,
            )
        except OSError as error:
            raise LocalError(
                f"part {part.name} cannot be started ({error.strerror})",
                subject=command.argv[0],
                remedy="run `make setup` again",
            ) from error
    with stack.locked() as state:
        state.setdefault("parts", {})[part.name] = {
            "pid": process.pid,
            "started": _started(process.pid),
            "stop_signal": command.stop_signal,
        }
    return process


def _started(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _last_lines(log: Path) -> str:
    try:
        return " | ".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    except OSError:
        return ""


def part_states(stack: LocalStack) -> dict[str, str]:
    """Return `running` or `dead` for every part that was started."""
    parts = stack.read().get("parts", {})
    return {
        name: "running" if _process(entry) else "dead" for name, entry in parts.items()
    }


def _process(entry: dict[str, float]) -> psutil.Process | None:
    """Return the recorded process; a reused pid has another start time."""
    try:
        process = psutil.Process(int(entry["pid"]))
        if process.create_time() != entry["started"]:
            return None
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def stop_parts(stack: LocalStack) -> None:
    """End every process of the stack and all it has started.

    Parts are asked in good order first; what remains after some seconds is killed.
    """
    asked: dict[int, psutil.Process] = {}
    for entry in stack.read().get("parts", {}).values():
        process = _process(entry)
        if process is not None:
            asked |= {child.pid: child for child in _descendants(process)}
            asked[process.pid] = process
            with suppress(psutil.NoSuchProcess):
                process.send_signal(int(entry.get("stop_signal", signal.SIGTERM)))
    psutil.wait_procs(list(asked.values()), timeout=STOP_SECONDS)
    left = {**asked, **_marked(stack)}
    for process in left.values():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(left.values()), timeout=STOP_SECONDS)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _marked(stack: LocalStack) -> dict[int, psutil.Process]:
    """Processes that carry the stack's marker, with their descendants."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) == str(stack.dir):
                found[process.pid] = process
                found |= {child.pid: child for child in _descendants(process)}
    return found
