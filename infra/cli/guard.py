"""How whatever goes wrong in a command is told: a line on stderr and a status."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from infra.cli.output import warn
from runtime.contract.errors import ConfigError, ConfigErrors, SyncError

DEBUG = "AURORA_SYNC_DEBUG"

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a command's errors into lines on stderr; never a stack trace.

    Args:
        command: The command's function, whose signature is its options.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except typer.Exit:
            raise
        except BrokenPipeError:
            # Whoever read our output has seen enough; Python would complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (Exception, KeyboardInterrupt) as error:
            if os.environ.get(DEBUG):
                raise
            for line in told(error):
                warn(line)
            raise typer.Exit(status_of(error)) from None

    return run


def told(error: BaseException) -> list[str]:
    """Return the lines that tell a person what is wrong, one per problem."""
    if isinstance(error, KeyboardInterrupt):
        return ["interrupted; what was begun goes on by itself"]
    if isinstance(error, ConfigErrors):
        return [_line(problem) for problem in error.problems]
    if isinstance(error, SyncError):
        return [_line(error)]
    return [
        f"{type(error).__name__}: {_line(error)} "
        f"(a mistake in this program; {DEBUG}=1 shows where)"
    ]


def _line(error: BaseException) -> str:
    """A part's own words may run over several lines."""
    return " ".join(str(error).split())


def status_of(error: BaseException) -> int:
    """Return the exit status: 2 for what a person wrote, 130 for Ctrl-C, else 1."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 2 if isinstance(error, ConfigError) else 1
