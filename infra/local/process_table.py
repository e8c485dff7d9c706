"""Processes of the machine: which belong to a local stack, and as whom they run."""

import os
import pwd
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import psutil

from infra.local.parts import HOST, LocalStack

# Name of the environment variable that holds the folder of a process's stack.
MARK = "AURORA_SYNC_STACK"
# The start of a process is counted from the time of boot, which follows corrections
# of the clock. No process number is given anew this fast.
_SAME_START_SECONDS = 2.0
_KILL_SECONDS = 5.0


def records(stack: LocalStack) -> dict[str, dict[str, Any]]:
    """Return what `stack.json` knows of the parts' processes, by part."""
    found: dict[str, dict[str, Any]] = stack.read().get("parts", {})
    return found


def is_alive(process: psutil.Process) -> bool:
    """Tell whether it still runs; one that only waits for its parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Return when none of the processes is alive, or after that time.

    Not psutil's own waiting: it waits for zombies too, and the first process of a
    container may never collect them.
    """
    deadline = time.monotonic() + seconds
    while any(map(is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)


def process_of(record: dict[str, Any]) -> psutil.Process | None:
    """Return the living process of a record; never another with the same number."""
    try:
        process = psutil.Process(record["pid"])
        started = process.create_time()
    except (KeyError, psutil.NoSuchProcess):
        return None
    same = abs(started - record["create_time"]) < _SAME_START_SECONDS
    return process if same and is_alive(process) else None


def with_descendants(process: psutil.Process) -> set[psutil.Process]:
    """Return the process and all below it; nothing when it has ended."""
    try:
        return {process, *process.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def recorded(stack: LocalStack) -> set[psutil.Process]:
    """Return the parts' living processes and all that descends from them."""
    roots = [process_of(record) for record in records(stack).values()]
    return {each for root in roots if root for each in with_descendants(root)}


def marked_processes(stack: LocalStack) -> Iterator[psutil.Process]:
    """Yield every process that carries the stack's mark, except this one and above.

    A backend of PostgreSQL overwrites its environment with its title: without any
    environment a process is known by program and working folder of a part.
    """
    homes = {(each.get("exe"), each.get("cwd")) for each in records(stack).values()}
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if environment:
                marked = environment.get(MARK) == str(stack.dir)
            else:
                marked = (process.exe(), process.cwd()) in homes
            if marked and process.pid not in ours and is_alive(process):
                yield process


def kill(processes: set[psutil.Process]) -> None:
    """Kill the processes and wait until they are gone, 5 s at most."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for_end(processes, _KILL_SECONDS)


def listens(root: psutil.Process | None, ports: Iterable[int]) -> bool:
    """Tell whether the process, or one below it, listens at all these ports."""
    heard = set()
    for process in with_descendants(root) if root else ():
        with suppress(psutil.Error):
            connections = process.net_connections("tcp")
            heard |= {each.laddr.port for each in connections if not each.raddr}
    return heard.issuperset(ports)


def port_is_taken(port: int) -> bool:
    """Tell whether some process listens on the loopback address at that port."""
    with socket.socket() as probe:
        # As servers do: what remains of closed connections does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def as_user(name: str | None) -> dict[str, Any]:
    """Return what makes `subprocess` run a program as that user, if we are root."""
    if name is None or os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
