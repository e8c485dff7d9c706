"""Runs the very Pulumi program on a local stack."""

import gc
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import pulumi
from pulumi.runtime import set_all_config, set_mocks
from pulumi.runtime import mocks as pulumi_mocks
from pulumi.runtime.settings import get_root_resource

from infra.local.adapter import landscape
from infra.local.adapter.cloud import REPLACERS, STOPPERS, LocalCloud, Progress
from infra.local.adapter.hosting import hosted
from infra.local.adapter.record import Resource, options_of, resources, write
from infra.local.adapter.retained import note, retained
from infra.local.adapter.site import Sessions, Site
from infra.local.parts import LocalStack
from infra.stack import PROJECT

_loading = Lock()


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What a deployment did.

    Attributes:
        resources: How many resources stand.
        stopped: Schedules, pipes and tasks of tables that the config no longer has.
        outputs: The program's exports.
    """

    resources: int
    stopped: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)


def load_program() -> Any:
    """Return the program's module; the first call reads the providers' libraries.

    They are a million objects that stay to the end: left out of garbage collection,
    the reading takes two thirds of the time, and the end of the process none.
    """
    with _loading:
        gc.disable()
        try:
            return import_module("infra.program")
        finally:
            gc.freeze()
            gc.enable()


def run(
    stack: LocalStack, config: Path, bundle: Path, progress: Progress
) -> Deployment:
    """Make all resources of the program in the stack's parts.

    Args:
        stack: A stack whose parts run.
        config: The `sync_config.json` to deploy.
        bundle: The function's zip.
        progress: Told type and name of each resource that stands.

    Raises:
        ConfigError: Settings, tables or bundle are wrong; nothing was made.
        LocalError: A part refuses; what was made stays, and the next run goes on.
    """
    before = {(one.type, one.name): one for one in resources(stack.dir)}
    sessions = Sessions(stack)
    try:
        site = Site(
            stack=stack,
            sessions=sessions,
            before={key: asdict(one) for key, one in before.items()},
            retained=retained(stack),
        )
        prepared = landscape.prepare(site)
        stack.put_fact("landscape", prepared)
        given = landscape.settings(stack, prepared, config, bundle)
        cloud = LocalCloud(site, progress)
        try:
            with cloud.interruptible(), hosted():
                outputs = _execute(cloud, given)
        except BaseException:
            # What stood before may stand still.
            write(stack.dir, {**before, **cloud.made}.values())
            raise
        for one in cloud.made.values():
            if one.type in REPLACERS:
                REPLACERS[one.type](site, one.inputs)
        stopped = _stop_vanished(site, before, cloud.made)
        note(site, before, cloud.made)
        write(stack.dir, cloud.made.values())
        stack.put_fact("outputs", outputs)
    finally:
        sessions.close()
    return Deployment(resources=len(cloud.made), stopped=stopped, outputs=outputs)


class _Monitor(pulumi_mocks.MockMonitor):
    """Tells the cloud what mocks are not told: a registration's options."""

    mocks: LocalCloud

    def RegisterResource(self, request: Any) -> Any:
        """Make a resource and note its options."""
        mocks: Any = super()  # It has no annotations.
        answer = mocks.RegisterResource(request)
        self.mocks.note_options(request.type, request.name, options_of(request))
        return answer


def _execute(cloud: LocalCloud, given: Mapping[str, str]) -> dict[str, Any]:
    """Run the program to its end and return its exports."""
    program = load_program()
    set_mocks(
        cloud,
        project=PROJECT,
        stack=landscape.STACK,
        preview=False,
        monitor=_Monitor(cloud),
    )
    set_all_config({f"{PROJECT}:{key}": value for key, value in given.items()})
    outputs: dict[str, Any] = {}

    def run_program() -> pulumi.Output[None]:
        program.deploy()
        exports = getattr(get_root_resource(), "outputs", {})
        return pulumi.Output.all(**exports).apply(outputs.update)

    completely: Any = pulumi_mocks.test
    completely(run_program)()
    return outputs


def _stop_vanished(
    site: Site,
    before: Mapping[tuple[str, str], Resource],
    made: Mapping[tuple[str, str], Resource],
) -> tuple[str, ...]:
    stopped = []
    for key, resource in before.items():
        if (
            key not in made
            and resource.type in STOPPERS
            and STOPPERS[resource.type](site, resource.inputs)
        ):
            stopped.append(f"{resource.type.rpartition(':')[2]} {resource.name}")
    return tuple(stopped)
