"""Parts started one by one, for tests of single parts."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from infra.local.parts import LocalStack, Part


def start(stack: LocalStack, part: Part) -> subprocess.Popen:
    """Start a part and wait until it is ready; bootstraps it as well."""
    part.prepare(stack)
    command = part.command(stack)
    with stack.log_file(part.name).open("ab") as log:
        process = subprocess.Popen(
            command.argv,
            env=dict(command.env),
            cwd=stack.part_dir(part.name),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 30
    while not part.is_ready(stack):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(stack.log_file(part.name).read_text())
        time.sleep(0.05)
    part.bootstrap(stack)
    return process


def stop(process: subprocess.Popen) -> None:
    """End a part in good order."""
    process.terminate()
    process.wait(timeout=20)


@contextmanager
def running(stack: LocalStack, *parts: Part) -> Iterator[dict[str, subprocess.Popen]]:
    """Start parts in this order; end whatever runs under their names at the end."""
    processes: dict[str, subprocess.Popen] = {}
    try:
        for part in parts:
            processes[part.name] = start(stack, part)
        yield processes
    finally:
        for process in processes.values():
            stop(process)
