"""How whatever goes wrong in a command is told: a line on stderr and a status."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, ParamSpec

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from infra.cli import INTERRUPTED
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
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            for line in told(error):
                warn(line)
            raise typer.Exit(status_of(error)) from None

    return run


class Commands(TyperGroup):
    """The commands; wrong usage of one is told in a line, as every other error."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command that the arguments name and end with its status."""
        try:
            status = super().main(*args, **kwargs | {"standalone_mode": False})
        except TyperException as error:
            status = error.exit_code
            if text := _line(error).removesuffix("."):
                context = getattr(error, "ctx", None)
                path = context.command_path if context else str(self.name)
                fact = text.replace("Value error, ", "")
                warn(f"{path}: {fact[:1].lower()}{fact[1:]}; see `{path} --help`")
        if status == 130:
            warn(INTERRUPTED)
        sys.exit(status)


def told(error: BaseException) -> list[str]:
    """Return the lines that tell a person what is wrong, one per problem."""
    if isinstance(error, ConfigErrors):
        return [_line(problem) for problem in error.problems]
    if isinstance(error, OSError) and error.strerror:
        error = SyncError(
            f"this machine refuses ({error.strerror})",
            subject=str(error.filename or "a file"),
            remedy="check the path, its rights and the free space",
        )
    if isinstance(error, SyncError):
        return [_line(error)]
    return [
        f"{type(error).__name__}: {_line(error)} "
        f"(a mistake in this program; {DEBUG}=1 shows where)"
    ]


def _line(error: BaseException) -> str:
    """A part's own words may run over several lines."""
    told = error.format_message() if isinstance(error, TyperException) else str(error)
    return " ".join(told.split())


def status_of(error: BaseException) -> int:
    """Return the exit status: 2 for what a person wrote, else 1."""
    return 2 if isinstance(error, ConfigError) else 1
