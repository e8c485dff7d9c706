"""Peak resident memory of processes while something runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

_EVERY_SECONDS = 0.02


def family(pid: int) -> int:
    """Return the resident bytes of a process and all it has started."""
    process = psutil.Process(pid)
    return sum(_resident(each) for each in [process, *process.children(recursive=True)])


def functions(pid: int) -> int:
    """Return the resident bytes of the largest function of the emulated AWS.

    MiniStack runs each function in a process of its own below its own one.
    """
    children = psutil.Process(pid).children()
    return max((_resident(each) for each in children), default=0)


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


@contextmanager
def peak(read: Callable[[int], int], pid: int) -> Iterator[list[int]]:
    """Watch memory while the block runs.

    Yields:
        A list whose only item is the peak so far, in bytes.
    """
    found = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_EVERY_SECONDS):
            with suppress(psutil.Error):
                found[0] = max(found[0], read(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
