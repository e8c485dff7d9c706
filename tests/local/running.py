"""Parts that run for the length of a test, and the stopping of a single one."""

from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from infra.local.parts import LocalStack, Part
from infra.local.processes import start_parts, stop_parts


@contextmanager
def running(stack: LocalStack, *parts: Part) -> Iterator[LocalStack]:
    """Start parts; end all of the stack's at the end, whatever happened."""
    try:
        start_parts(stack, parts)
        yield stack
    finally:
        stop_parts(stack)


def process(stack: LocalStack, name: str) -> psutil.Process:
    """Return the process of a part."""
    return psutil.Process(stack.read()["parts"][name]["pid"])


def stop_part(stack: LocalStack, name: str) -> None:
    """End one part in good order; `start_parts` starts it again."""
    found = process(stack, name)
    found.terminate()
    found.wait(timeout=20)


def unscheduled(stack: LocalStack) -> None:
    """Have a stack that is about to start begin no run by its schedules.

    Runs are the tests' own: one that a schedule began would hold the lease, or have
    taken the rows already. The demo's tests show that schedules run. The checker's
    alone is looked at, which changes nothing.
    """
    stack.put_fact("scheduled_rules", "aurora-sync_local_checker")
