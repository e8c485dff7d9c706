"""Event loops for Pulumi's runtime in this process, closed when it is done.

It makes its own, one for itself and one for each thread it works in, and leaves them to
the garbage collector, which complains about their sockets wherever it happens to run.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def event_loops() -> Iterator[None]:
    """Lend Pulumi its event loops, for itself and each of its threads."""
    loops = [asyncio.new_event_loop()]

    def start_thread() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    executor = ThreadPoolExecutor(initializer=start_thread)
    loops[0].set_default_executor(executor)
    asyncio.set_event_loop(loops[0])
    try:
        yield
    finally:
        executor.shutdown(cancel_futures=True)
        asyncio.set_event_loop(None)
        for loop in loops:
            loop.close()
