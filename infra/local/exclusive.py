"""One command at a time starts or ends the parts of a local stack."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import psutil

from infra.local.parts import LocalError, LocalStack

_FORKED_SECONDS = 5.0


@contextmanager
def exclusive(stack: LocalStack) -> Iterator[None]:
    """Hold the stack against other commands that start or end its parts.

    The lock ends with the process that holds it, however that ends.

    Raises:
        LocalError: Another command holds it.
    """
    held = False
    while not held:
        stack.dir.mkdir(parents=True, exist_ok=True)
        with (stack.dir / ".busy").open("a+") as lock:
            if holder := _holder(lock):
                raise LocalError(
                    "another command is starting or ending this stack",
                    subject=str(stack.dir),
                    got=f"process {holder}",
                    remedy="wait until it has ended",
                )
            # The holder before us may have removed the folder, and the lock with it.
            held = os.path.exists(lock.name) and os.path.samestat(
                os.stat(lock.name), os.fstat(lock.fileno())
            )
            if held:
                lock.truncate(0)
                lock.write(str(os.getpid()))
                lock.flush()
                yield


def _holder(lock: TextIO) -> str:
    """Take the lock, or return who has it.

    A child that a killed command had just forked has it too, until it runs its program.
    """
    deadline = time.monotonic() + _FORKED_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return ""
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read()
        over = holder.isdigit() and not psutil.pid_exists(int(holder))
        if not over or time.monotonic() > deadline:
            return holder or "unknown"
        time.sleep(0.02)
