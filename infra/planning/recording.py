"""Runs the Pulumi program without an engine and notes what it registers."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockMonitor, Mocks

from infra.local.adapter.hosting import hosted
from infra.local.adapter.record import options_of
from infra.stack import PROJECT


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One registered resource.

    Attributes:
        inputs: What the program set, in the provider's spelling, secrets marked.
        options: What the registration asked of the engine.
        needs: URNs of the resources it waits for.
        import_id: The provider's id of what stands and is taken over; or empty.
        ignored: Inputs whose changes are left alone.
    """

    urn: str
    type: str
    name: str
    provider: str
    parent: str
    custom: bool
    inputs: dict[str, Any]
    options: frozenset[str]
    needs: frozenset[str]
    import_id: str = ""
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Everything a program registered; several threads add to it."""

    resources: list[Registered] = field(default_factory=list)

    def order(self) -> dict[str, int]:
        """Return how many resources stand one before the other, by URN.

        To wait for a component is to wait for what is in it.
        """
        by_urn = {each.urn: each for each in self.resources}
        children: dict[str, list[str]] = {}
        for each in self.resources:
            children.setdefault(each.parent, []).append(each.urn)
        found: dict[str, int] = {}

        def place(urn: str) -> int:
            if urn not in found:
                found[urn] = 0
                needs = by_urn[urn].needs if urn in by_urn else frozenset()
                inner = [one for need in needs for one in children.get(need, ())]
                before = [place(each) for each in (*needs, *inner)]
                found[urn] = 1 + max(before, default=0)
            return found[urn]

        for urn in by_urn:
            place(urn)
        return found


class _Monitor(MockMonitor):
    """Notes what mocks are not told: parents, dependencies and options."""

    def __init__(self, mocks: Mocks, recording: Recording) -> None:
        super().__init__(mocks)
        self._recording = recording
        self._lock = threading.Lock()

    def RegisterResource(self, request: Any) -> Any:
        """Note a resource and let the mocks answer."""
        mocks: Any = super()  # It has no annotations.
        answer = mocks.RegisterResource(request)
        if request.type == "pulumi:pulumi:Stack":
            return answer
        inputs = pulumi.runtime.rpc.deserialize_properties(request.object)
        with self._lock:
            self._recording.resources.append(
                Registered(
                    urn=answer.urn,
                    type=request.type,
                    name=request.name,
                    provider=request.provider.rpartition("::")[0],
                    parent=request.parent,
                    custom=request.custom,
                    inputs=inputs,
                    options=frozenset(options_of(request)),
                    needs=frozenset(request.dependencies),
                    import_id=request.importId,
                    ignored=frozenset(request.ignoreChanges),
                )
            )
        return answer


@contextmanager
def recording(
    mocks: Mocks, values: Mapping[str, str], stack: str, *, preview: bool = False
) -> Iterator[Recording]:
    """Let a program that runs meanwhile be noted.

    Args:
        mocks: Answer for providers.
        values: Settings by key, without the project's name.
        stack: Name of the stack.
        preview: Whether outputs that the mocks do not tell are unknown, as in a
            preview, and not absent.
    """
    made = Recording()
    monitor = _Monitor(mocks, made)
    with hosted():
        pulumi.runtime.set_mocks(
            mocks, project=PROJECT, stack=stack, preview=preview, monitor=monitor
        )
        pulumi.runtime.set_all_config(
            {f"{PROJECT}:{key}": value for key, value in values.items()}
        )
        try:
            yield made
        finally:
            pulumi.runtime.set_all_config({})


def run(program: Callable[[], Any]) -> None:
    """Run a program to its end, all that it has begun included.

    Raises:
        Exception: Whatever the program raised, as it was.
    """
    completely: Any = pulumi.runtime.test
    completely(program)()
