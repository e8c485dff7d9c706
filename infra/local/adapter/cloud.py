"""Pulumi's engine of a local stack: every registered resource is made for real.

The engine is Pulumi's own test double (mocks) with effects. It has no memory, so each
handler finds what it made before by name, and updates it. Nothing that holds data is
ever dropped.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pulumi
import requests
from botocore.exceptions import BotoCoreError, ClientError
from hvac.exceptions import VaultError
from pulumi.output import Unknown
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs
from snowflake.connector.errors import Error as SnowflakeError

from infra.local.adapter import (
    aws_compute,
    aws_identity,
    aws_lake,
    aws_network,
    aws_watch,
    snowflake,
    snowflake_account,
    vault,
)
from infra.local.adapter.record import Resource
from infra.local.adapter.retained import adopted
from infra.local.adapter.site import Call, Handler, Inputs, Site
from infra.local.parts import LocalError

_MODULES = (
    aws_network,
    aws_identity,
    aws_lake,
    aws_compute,
    aws_watch,
    vault,
    snowflake_account,
    snowflake,
)
HANDLERS: dict[str, Handler] = {
    kind: handler for module in _MODULES for kind, handler in module.HANDLERS.items()
}
CALLS: dict[str, Call] = {
    **aws_network.CALLS,
    **aws_identity.CALLS,
    **vault.CALLS,
    **snowflake_account.CALLS,
}
# What stops when its table leaves the config. All else stays: it may hold data.
# An alarm of a group without tables would keep its last state for good.
STOPPERS: dict[str, Callable[[Site, Inputs], bool]] = {
    "aws:cloudwatch/eventRule:EventRule": aws_compute.disable_rule,
    "aws:cloudwatch/metricAlarm:MetricAlarm": aws_watch.delete_alarm,
    "snowflake:index/pipe:Pipe": snowflake.pause_pipe,
    "snowflake:index/task:Task": snowflake.suspend_task,
}
# What replaces an older one under another name, which goes when all else stands.
REPLACERS: dict[str, Callable[[Site, Inputs], None]] = {
    "snowflake:index/pipe:Pipe": snowflake.drop_older_pipes,
}
# A property that holds a secret arrives as {_SECRET: …, "value": …}.
UNKNOWN = "[known after the deployment]"
_SECRET = "4dabf18193072939515e22adb298388d"
_REFUSALS = (
    BotoCoreError,
    ClientError,
    SnowflakeError,
    VaultError,
    requests.RequestException,
)

Progress = Callable[[str, str], None]


class LocalCloud(pulumi.runtime.Mocks):
    """Makes what the program registers.

    Args:
        site: Where to build.
        progress: Told type and name of each resource that stands.
    """

    def __init__(self, site: Site, progress: Progress) -> None:
        self._site = site
        self._progress = progress
        self._lock = threading.Lock()
        self.made: dict[tuple[str, str], Resource] = {}
        self._given_up = threading.Event()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end the program between two resources, not within asyncio's work.

        A second one ends it anywhere.

        Raises:
            KeyboardInterrupt: When somebody interrupted.
        """

        def give_up(number: int, frame: Any) -> None:
            signal.signal(number, signal.default_int_handler)
            self._given_up.set()

        former: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                former[number] = signal.signal(number, give_up)
        try:
            yield
        finally:
            for each, handler in former.items():
                signal.signal(each, handler)
            if self._given_up.is_set():
                raise KeyboardInterrupt from None

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Make or update one resource; several run at once.

        Raises:
            LocalError: The type is unknown, the name was taken in this deployment, or
                a part refuses.
        """
        if self._given_up.is_set():
            raise LocalError(
                "was not begun after the interruption",
                subject=f"resource {args.name}",
                remedy="deploy again",
            )
        if not args.custom:
            return f"{args.name}-id", {}
        inputs = plain(args.inputs)
        if args.typ.startswith("pulumi:providers:"):
            self._provider(args.typ, inputs)
            made, outputs = f"{args.name}-id", {}
        else:
            handler = _known(HANDLERS, args.typ, f"resource {args.name}")
            with _told(args.typ, args.name):
                self._adopt(args, inputs)
                made, outputs = handler(self._site, args.name, inputs)
        self._record(
            Resource(
                type=args.typ,
                name=args.name,
                id=made,
                inputs=shown(args.inputs),
                outputs=shown(outputs),
            )
        )
        # The inputs go back as they came, so that secrets stay secret.
        return made, {**args.inputs, **outputs}

    def call(
        self, args: MockCallArgs
    ) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        """Answer one of the providers' functions.

        Raises:
            LocalError: The function is unknown, or a part refuses.
        """
        answer = _known(CALLS, args.token, "the program")
        with _told(args.token, ""):
            return answer(self._site, plain(args.args)), []

    def note_options(self, kind: str, name: str, options: tuple[str, ...]) -> None:
        """Note what the registration of a resource asked of the engine."""
        with self._lock:
            if (kind, name) in self.made:
                made = self.made[kind, name]
                self.made[kind, name] = replace(made, options=options)

    def _adopt(self, args: MockResourceArgs, inputs: Inputs) -> None:
        """Let what is imported be updated, as what stood before."""
        known = adopted(self._site, args.typ, args.name, inputs, args.resource_id)
        if known is not None:
            with self._lock:
                before = {**self._site.before, (args.typ, args.name): known}
                self._site = replace(self._site, before=before)

    def _provider(self, kind: str, inputs: Inputs) -> None:
        # Inputs of providers that are no texts arrive as JSON.
        if kind == "pulumi:providers:aws" and "defaultTags" in inputs:
            tags = json.loads(inputs["defaultTags"])["tags"]
            with self._lock:
                self._site = replace(self._site, tags=tags)

    def _record(self, resource: Resource) -> None:
        key = (resource.type, resource.name)
        with self._lock:
            if key in self.made:
                raise LocalError(
                    "two resources of one type have the same name",
                    subject=f"{resource.type} {resource.name}",
                    remedy="name one of them otherwise in the program",
                )
            self.made[key] = resource
            # One call at a time, so that lines of a terminal stay whole.
            self._progress(resource.type, resource.name)


def _known(table: dict[str, Any], kind: str, subject: str) -> Any:
    if kind not in table:
        raise LocalError(
            "the local stack does not know how to make this",
            subject=subject,
            got=kind,
            remedy="add a handler to infra/local/adapter",
        )
    return table[kind]


@contextmanager
def _told(kind: str, name: str) -> Iterator[None]:
    try:
        yield
    except _REFUSALS as error:
        raise LocalError(
            f"a part refuses ({error})",
            subject=f"{kind} {name}".rstrip(),
            remedy="run `aurora-sync local status`; its logs are in the stack's folder",
        ) from error
    except KeyError as error:
        raise LocalError(
            "the program leaves out what is needed to make this",
            subject=f"{kind} {name}".rstrip(),
            got=f"no {error.args[0]}",
            remedy="set it in the program, or make its handler do without",
        ) from error


def plain(value: Any) -> Any:
    """Return a value as it was written, for the handlers alone.

    Secrets are in the open, and whole numbers, which Pulumi sends as floats, whole.
    """
    if isinstance(value, dict):
        if _SECRET in value:
            return plain(value["value"])
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def shown(value: Any) -> Any:
    """Return a value for `resources.json`: JSON, without what is secret or unknown."""
    if isinstance(value, dict):
        if _SECRET in value:
            return "[secret]"
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, pulumi.FileArchive):
        return str(value.path)
    if isinstance(value, Unknown):
        return UNKNOWN
    return value
