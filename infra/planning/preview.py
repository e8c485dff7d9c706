"""Pulumi's own preview of a stack in the cloud, where its command line is at hand."""

import shutil
import subprocess

from infra.planning.model import ResourceChange
from infra.planning.resources import PreviewError, previewed
from infra.stack import ROOT

_SECONDS = 1800


def preview(stack: str) -> tuple[ResourceChange, ...] | None:
    """Return what Pulumi says that a deployment would do.

    It asks the providers and changes nothing.

    Args:
        stack: The stack.

    Returns:
        The changes; None where there is no Pulumi command line.

    Raises:
        PreviewError: When the preview fails.
    """
    command = shutil.which("pulumi")
    if command is None:
        return None
    arguments = ["preview", "--json", "--non-interactive", "--stack", stack]
    try:
        done = subprocess.run(
            [command, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(stack, f"no end after {_SECONDS} s") from error
    if done.returncode != 0:
        told = done.stderr or done.stdout
        raise _failed(stack, " ".join(told.split())[-500:])
    return previewed(done.stdout)


def _failed(stack: str, why: str) -> PreviewError:
    return PreviewError(
        f"the preview fails ({why})",
        subject=f"stack {stack}",
        remedy=f"run `pulumi preview --stack {stack}` and mend what it says",
    )
