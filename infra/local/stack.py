"""A local stack as a whole: up, deploy, status, down.

Everything of a stack is in its folder and its processes, so that several stand side
by side. Each function can be repeated: what runs stays, what stands is updated.
"""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import bundle
from infra.local import admin_sql, aurora_uploader, aws, postgres, vault
from infra.local.adapter import metrics, record
from infra.local.exclusive import exclusive
from infra.local.parts import HOST, LocalError, LocalStack, Part
from infra.local.process_table import marked_processes
from infra.local.processes import part_states, start_parts, stop_parts
from infra.local.snowflake import part as snowflake
from runtime.contract.errors import ConfigError
from runtime.contract.loader import load_specs

if TYPE_CHECKING:
    from infra.local.adapter.deployment import Deployment

# An empty stack takes half of it; a full disk speaks through its parts' logs only.
_LEAST_BYTES = 50_000_000
DEFAULT_FOLDER = bundle.ROOT / ".local"
PARTS: tuple[Part, ...] = (
    postgres.PART,
    aurora_uploader.PART,
    aws.PART,
    vault.BACKEND_PART,
    vault.PART,
    snowflake.PART,
    metrics.PART,
)

Progress = Callable[[str, str], None]


def _silent(what: str, state: str) -> None:
    """Tell nobody."""


@dataclass(kw_only=True)
class Report:
    """What `up` or `deploy` did.

    Attributes:
        seconds: Duration of each step.
        resources: How many resources stand; 0 without a deployment.
        stopped: Schedules, pipes and tasks of tables that left the config.
        missing: Tables of the config that Aurora does not have yet.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    resources: int = 0
    stopped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long the block takes."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(time.monotonic() - start, 2)


def up(
    folder: Path,
    config: Path,
    *,
    deploy: bool = True,
    progress: Progress = _silent,
) -> Report:
    """Start what does not run and deploy the program on it.

    A stack that was killed or half started is completed; what its parts stored, they
    still have.

    Args:
        folder: Folder of the stack; made when absent.
        config: The `sync_config.json`.
        deploy: False starts the parts only, and remembers the config.
        progress: Told what is being made and its state.

    Raises:
        ConfigError: Config, contracts or settings are wrong.
        LocalError: A part does not start or refuses; the others are left running.
    """
    stack, report = LocalStack(folder), Report()
    if not _is_ours(stack):
        # `down` removes the folder with all that is in it.
        raise ConfigError(
            "folder holds other things than a local stack",
            subject=str(stack.dir),
            allowed="an empty folder, or one that does not exist yet",
            remedy="name another one with --dir",
        )
    with exclusive(stack), ThreadPoolExecutor(max_workers=2) as ahead:
        free = shutil.disk_usage(stack.dir).free
        if free < _LEAST_BYTES:
            raise LocalError(
                "too little space is free",
                subject=str(stack.dir),
                got=f"{free / 1e6:.1f} MB",
                allowed=f"{_LEAST_BYTES / 1e6:.0f} MB or more",
                remedy="free some, or name a folder on another disk with --dir",
            )
        stack.put_fact("config", str(config.resolve()))
        if deploy:
            load_specs(config)
            # While the parts start, the program's libraries are read (two seconds).
            ahead.submit(_load_program)
        with report.timed("parts"):
            if "dead" in part_states(stack).values():
                # The others hold sessions with what is gone.
                stop_parts(stack)
            start_parts(stack, PARTS, progress)
        if deploy:
            _deploy(stack, config.resolve(), report, progress)
    return report


def deploy(
    folder: Path, config: Path | None = None, *, progress: Progress = _silent
) -> Report:
    """Run the program again on running parts, after a change of config or contracts.

    Args:
        folder: Folder of a running stack.
        config: The `sync_config.json`; that of the last deployment by default.
        progress: Told what is being made and its state.

    Raises:
        ConfigError: Config, contracts or settings are wrong; nothing was changed.
        LocalError: The stack does not run, or a part refuses.
    """
    stack, report = running(folder), Report()
    known = config or stack.fact("config")
    if known is None:
        raise ConfigError(
            "nothing was deployed here yet, so the config must be named",
            subject=str(stack.dir),
            remedy="add --config FILE",
        )
    with exclusive(stack):
        _deploy(stack, Path(known).resolve(), report, progress)
    return report


def down(folder: Path) -> bool:
    """End all processes of a stack and remove everything that it stored.

    Returns:
        Whether there was a stack.
    """
    stack = LocalStack(folder)
    # Its folder may have been deleted by hand; its processes run on without it.
    at_work = any(True for _ in marked_processes(stack))
    if not at_work and not (stack.dir.exists() and _is_ours(stack)):
        return False
    with exclusive(stack):
        existed = stack.exists or at_work
        stop_parts(stack)
        postgres.remove(stack)
        shutil.rmtree(stack.dir)
    return existed


def _is_ours(stack: LocalStack) -> bool:
    """Whether nobody else's things stand in the folder; it need not exist."""
    others = {path.name for path in stack.dir.glob("*")} - {".busy", ".lock"}
    return stack.exists or not others


def running(folder: Path) -> LocalStack:
    """Return the stack of a folder, all of whose parts run.

    Raises:
        LocalError: There is none, or some part is dead.
    """
    stack = LocalStack(folder)
    states = part_states(stack) if stack.exists else {}
    dead = sorted(
        part.name for part in PARTS if states.get(part.name, "dead") != "running"
    )
    if dead:
        raise LocalError(
            "the local stack does not run",
            subject=str(stack.dir),
            got="no stack" if not states else f"not running: {', '.join(dead)}",
            remedy="run `aurora-sync local up`",
        )
    return stack


def status(folder: Path) -> dict[str, Any]:
    """Return parts, their states and addresses, and what is deployed."""
    stack = LocalStack(folder)
    if not stack.exists:
        return {"folder": str(stack.dir), "state": "down", "parts": {}}
    states = part_states(stack)
    parts = {part.name: states.get(part.name, "dead") for part in PARTS}
    sound = all(state == "running" for state in parts.values())
    return {
        "folder": str(stack.dir),
        "state": "running" if sound else "broken",
        "parts": parts,
        "ports": stack.read().get("ports", {}),
        "config": stack.fact("config"),
        "resources": len(record.resources(stack.dir)),
        "outputs": stack.fact("outputs"),
    }


def describe(folder: Path) -> dict[str, Any]:
    """Return how other programs reach the parts of a running stack.

    Raises:
        LocalError: The stack does not run.
    """
    from infra.local.adapter import landscape

    stack = running(folder)
    return {
        "aurora_dsn": postgres.aurora_dsn(stack),
        "snowflake": {
            "host": HOST,
            "port": stack.port("snowflake"),
            "user": snowflake.USER,
            "password": stack.secret("snowflake_password"),
            "account": snowflake.ACCOUNT,
            "database": landscape.SNOWFLAKE_DATABASE,
        },
        "aws_endpoint": stack.url("aws"),
        "vault_addr": stack.url("vault"),
        "bucket": landscape.bucket_name(stack),
    }


def run_sql(folder: Path, where: str, statement: str) -> list[dict[str, Any]]:
    """Run one statement on `aurora` or `snowflake`; see `admin_sql.run`."""
    return admin_sql.run(running(folder), where, statement)


def _load_program() -> None:
    from infra.local.adapter import deployment

    deployment.load_program()


def _deploy(
    stack: LocalStack, config: Path, report: Report, progress: Progress
) -> None:
    specs = load_specs(config)
    with ThreadPoolExecutor(max_workers=1) as aside:
        progress("bundle", "building")
        with report.timed("bundle and libraries"):
            package = aside.submit(
                bundle.build,
                config,
                stack.dir / "exporter.zip",
                python=f"{sys.version_info.major}.{sys.version_info.minor}",
                platform=None,
            )
            from infra.local.adapter import deployment, landscape

            report.missing = admin_sql.grant(stack, specs, landscape.VAULT_ADMIN)
            for table in report.missing:
                progress(f"table {table}", "not in Aurora yet, no rights given")
            zip_file = package.result()
        progress("bundle", "ready")
    with report.timed("program"):
        done: Deployment = deployment.run(stack, config, zip_file, progress)
    stack.put_fact("config", str(config))
    report.resources, report.stopped = done.resources, done.stopped
    for stopped in report.stopped:
        progress(stopped, "stopped: its table left the config")
