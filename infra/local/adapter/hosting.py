"""What Pulumi's language host has for a program, in this process.

Pulumi's runtime makes event loops of its own, one for itself and one for each thread it
works in, and leaves them to the garbage collector, which complains about their sockets
wherever it happens to run.
"""

import asyncio
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def hosted() -> Iterator[None]:
    """Lend Pulumi its event loops, for itself and each of its threads.

    Nothing is collected meanwhile: see `infra.program.main`.
    """
    loops = [asyncio.new_event_loop()]

    def start_thread() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    executor = ThreadPoolExecutor(initializer=start_thread)
    loops[0].set_default_executor(executor)
    asyncio.set_event_loop(loops[0])
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        executor.shutdown(cancel_futures=True)
        asyncio.set_event_loop(None)
        for loop in loops:
            loop.close()
