"""The program as a local stack would run it next, without making anything."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from infra import bundle
from infra.local.adapter import landscape
from infra.local.adapter.cloud import CALLS, plain
from infra.local.adapter.deployment import load_program
from infra.local.adapter.record import Resource
from infra.local.adapter.site import Sessions, Site
from infra.local.parts import LocalStack
from infra.planning.recording import Recording, recording, run
from infra.stack import StackSettings
from runtime.contract.errors import ConfigError

Graph = Mapping[tuple[str, str], Resource]


class _Standing(Mocks):
    """Answers as the last deployment's resources do; of new ones nothing is known."""

    def __init__(self, site: Site, standing: Graph) -> None:
        self._site = site
        self._standing = standing

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        known = self._standing.get((args.typ, args.name))
        if not args.custom or args.typ.startswith("pulumi:providers:"):
            return f"{args.name}-id", {}
        if known is None:
            return None, dict(args.inputs)
        return known.id, {**known.outputs, **args.inputs}

    def call(
        self, args: MockCallArgs
    ) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        return CALLS[args.token](self._site, plain(args.args)), []


def planned(stack: LocalStack, config: Path, standing: Graph) -> Recording:
    """Return what the program registers with a config.

    Args:
        stack: A stack whose parts run and where something is deployed.
        config: The `sync_config.json`.
        standing: Resources of its last deployment.

    Raises:
        ConfigError: Config, contracts or settings are wrong, or nothing is deployed.
    """
    prepared = stack.fact("landscape")
    if prepared is None:
        raise ConfigError(
            "nothing is deployed on it by this version",
            subject=f"local stack {stack.dir}",
            remedy="run `aurora-sync local deploy`",
        )
    sessions = Sessions(stack)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "exporter.zip"
        given = landscape.settings(stack, prepared, config, package)
        _pack(config, package, StackSettings.read(given, landscape.STACK))
        mocks = _Standing(Site(stack=stack, sessions=sessions), standing)
        program = load_program()
        try:
            with recording(mocks, given, landscape.STACK, preview=True) as made:
                run(program.deploy)
        finally:
            sessions.close()
    return made


def _pack(config: Path, package: Path, settings: StackSettings) -> None:
    """Write a bundle of our own files alone, which the program checks."""
    target = bundle.Target(
        python=settings.function.runtime.removeprefix("python"),
        machine=settings.function.architecture,
    )
    files = bundle.project_files(config)
    files["bundle.json"] = json.dumps(asdict(target), sort_keys=True).encode()
    bundle.write(files, package)
