"""Where handlers build: the stack, its tags, and what stood there before."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from snowflake.connector import DictCursor, SnowflakeConnection

from infra.local import aws
from infra.local.parts import AWS_ACCOUNT, AWS_REGION, LocalStack
from infra.local.snowflake.part import connect

Inputs = dict[str, Any]
# Physical id, and the outputs that are more than the inputs.
Made = tuple[str, dict[str, Any]]

# Finds again what has no name of its own in AWS (a VPC, a key).
NAME_TAG = "local-stack:resource"

_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Sessions:
    """Connections to the stack's Snowflake, one per thread.

    Args:
        stack: A stack whose part `snowflake` runs.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._own = threading.local()
        self._lock = threading.Lock()
        self._open: list[SnowflakeConnection] = []

    def run(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = connect(self._stack)
            self._own.connection = connection
            # The connector's first fetch of a process sets up a log of its C++ part:
            # with two at once one waits for the interpreter, which the other one holds
            # while it waits for the log, and the process stands still for good.
            with self._lock, connection.cursor() as first:
                self._open.append(connection)
                first.execute("SELECT 1")
                first.fetchall()
        with connection.cursor(DictCursor) as cursor:
            cursor.execute(statement)
            rows: list[dict[str, Any]] = cursor.fetchall()
            return rows

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()


@dataclass(frozen=True, kw_only=True)
class Site:
    """What every handler is given.

    Attributes:
        stack: A stack whose parts run.
        sessions: Connections to its Snowflake.
        tags: Tags of every AWS resource, from the provider.
        before: Inputs and id of the last deployment, by type and name.
        retained: Last inputs of what left it and stays, by type and full name.
    """

    stack: LocalStack
    sessions: Sessions
    tags: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    retained: Mapping[tuple[str, str], Inputs] = field(default_factory=dict)

    def aws(self, service: str) -> Any:
        """Return a client of the emulated AWS with the deployer's rights."""
        return aws.client(self.stack, service)

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement on the local Snowflake and return its rows."""
        return self.sessions.run(statement)

    def tag_list(self, inputs: Inputs, name: str = "") -> list[dict[str, str]]:
        """Return a resource's tags as most services want them.

        Args:
            inputs: Inputs of the resource, whose own tags win.
            name: Logical name, for what is found again by it.
        """
        tags = {**self.tags, **(inputs.get("tags") or {})}
        if name:
            tags[NAME_TAG] = name
        return [{"Key": key, "Value": value} for key, value in tags.items()]


Handler = Callable[[Site, str, Inputs], Made]
Call = Callable[[Site, Inputs], dict[str, Any]]


def arn(service: str, resource: str) -> str:
    """Return the ARN of a resource of the emulated account and region."""
    return f"arn:aws:{service}:{AWS_REGION}:{AWS_ACCOUNT}:{resource}"


def snake(key: str) -> str:
    """Return a provider's name of a property (camelCase) in snake_case."""
    return _CAPITAL.sub(r"_\1", key).lower()


def given(**values: Any) -> dict[str, Any]:
    """Return the keywords that have a value; boto3 refuses None."""
    return {key: value for key, value in values.items() if value is not None}
