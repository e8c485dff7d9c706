"""The part `snowflake` of a local stack, and connections to it."""

import sys
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import snowflake.connector
from snowflake.connector import SnowflakeConnection

from infra.local.parts import HOST, Command, LocalStack, Part

ACCOUNT = "local"
USER = "LOCAL"


def connect(stack: LocalStack, database: str | None = None) -> SnowflakeConnection:
    """Return a connection to the stack's Snowflake; in UTC, as everywhere here.

    Args:
        stack: A stack whose part `snowflake` is ready.
        database: Current database of the session.
    """
    options: dict[str, Any] = {"database": database} if database else {}
    return snowflake.connector.connect(
        account=ACCOUNT,
        user=USER,
        password=stack.secret("snowflake_password"),
        host=HOST,
        port=stack.port("snowflake"),
        protocol="http",
        login_timeout=20,
        network_timeout=30,
        socket_timeout=600,
        session_parameters={"CLIENT_TELEMETRY_ENABLED": False},
        **options,
    )


def _command(stack: LocalStack) -> Command:
    return Command(
        argv=(sys.executable, "-m", "infra.local.snowflake.server", str(stack.dir)),
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(stack.part_dir("snowflake")),
            # fakesnow makes a folder there with every start and leaves it.
            "TMPDIR": str(stack.part_dir("snowflake/tmp")),
        },
    )


def _prepare(stack: LocalStack) -> None:
    stack.secret("snowflake_password")


def is_ready(stack: LocalStack) -> bool:
    """Whether the stack's Snowflake answers."""
    try:
        with urlopen(stack.url("snowflake") + "/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


PART = Part(
    name="snowflake",
    ports=("snowflake",),
    needs=("aws",),
    prepare=_prepare,
    command=_command,
    is_ready=is_ready,
)
