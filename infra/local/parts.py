"""What a local stack is made of: its folder, ports, secrets and parts.

A stack is one folder. Everything that must outlive the command that wrote it
(ports, generated secrets, process identities, facts that parts share) stands in
`stack.json` of that folder, readable by its owner only.
"""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from runtime.contract.errors import ConfigError, SyncError

HOST = "127.0.0.1"
# A part that runs takes a connection at once.
CONNECT_SECONDS = 10
AWS_ACCOUNT = "111122223333"
AWS_REGION = "eu-west-1"


class LocalError(SyncError):
    """A part of the local stack does not start, answer or end."""

    code: ClassVar[str] = "local"


@dataclass(frozen=True, kw_only=True)
class Command:
    """How a part's process is started.

    Attributes:
        argv: Program and arguments.
        env: The whole environment; nothing is inherited.
        user: Name of the operating-system user to run as when we are root.
        stop_signal: Signal number that ends the part in good order.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: int = 15


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process of the stack.

    Attributes:
        name: Telling name, also of its folder and log file.
        ports: Names of the TCP ports it listens on.
        needs: Names of the parts that must be ready before it starts.
        prepare: Makes files before the start (for example `initdb`).
        command: Gives the command line.
        is_ready: Cheap health check; returns False while down, never raises.
        bootstrap: Runs once after the first readiness (users, extensions).
    """

    name: str
    ports: tuple[str, ...]
    command: Callable[["LocalStack"], Command]
    is_ready: Callable[["LocalStack"], bool]
    needs: tuple[str, ...] = ()
    prepare: Callable[["LocalStack"], None] = lambda stack: None
    bootstrap: Callable[["LocalStack"], None] = lambda stack: None


class LocalStack:
    """The state of one stack, kept in its folder.

    Args:
        folder: Where everything of the stack lives; created when absent.
    """

    def __init__(self, folder: Path) -> None:
        self.dir = folder.resolve()

    @property
    def state_file(self) -> Path:
        """Where the state stands."""
        return self.dir / "stack.json"

    @property
    def exists(self) -> bool:
        """Whether a stack has been started here and not taken down."""
        return self.state_file.exists()

    def part_dir(self, name: str) -> Path:
        """Return the folder of a part, creating it."""
        path = self.dir / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log_file(self, name: str) -> Path:
        """Return the file that receives a part's output."""
        return self.part_dir("logs") / f"{name}.log"

    def port(self, name: str) -> int:
        """Return the TCP port of that name, choosing a free one at first use."""
        return int(self._stored("ports", name, free_port))

    def secret(self, name: str) -> str:
        """Return the secret of that name, generating it at first use."""
        return str(self._stored("secrets", name, lambda: secrets.token_urlsafe(24)))

    def fact(self, name: str, default: Any = None) -> Any:
        """Return a fact shared between parts, or the default."""
        return self.read().get("facts", {}).get(name, default)

    def put_fact(self, name: str, value: Any) -> None:
        """Store a JSON value under a name for other parts to read."""
        with self.locked() as state:
            state.setdefault("facts", {})[name] = value

    def url(self, port_name: str) -> str:
        """Return the http address of a port."""
        return f"http://{HOST}:{self.port(port_name)}"

    def read(self) -> dict[str, Any]:
        """Return the whole state; empty when there is no stack."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
            if not isinstance(state, dict):
                raise ValueError("no object")
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ConfigError(
                f"is damaged ({error})",
                subject=str(self.state_file),
                remedy="remove it, then run `aurora-sync local down` with this --dir",
            ) from error
        return state

    @contextmanager
    def locked(self) -> Iterator[dict[str, Any]]:
        """Change the state under a lock; written atomically on success.

        Yields:
            The state as a dictionary to change in place.
        """
        self.dir.mkdir(parents=True, exist_ok=True)
        with (self.dir / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read()
            yield state
            draft = self.state_file.with_suffix(".new")
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as out:
                json.dump(state, out, indent=1)
            draft.replace(self.state_file)

    def _stored(self, group: str, name: str, make: Callable[[], Any]) -> Any:
        known = self.read().get(group, {})
        if name in known:
            return known[name]
        with self.locked() as state:
            return state.setdefault(group, {}).setdefault(name, make())


def free_port() -> int:
    """Return a TCP port that is free on the loopback address now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
