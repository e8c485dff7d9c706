"""What runs for a night: processes of pytest that are no part of `make test`."""

import os
import subprocess
import sys
from pathlib import Path


def begin(night: Path, settings: dict[str, str]) -> subprocess.Popen[str]:
    """Start a process for one share of a night.

    Args:
        night: The file whose function `a_night` does the work.
        settings: Environment variables that tell it which share.

    Returns:
        The process; what it prints comes from its standard output.
    """
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.Popen(
        [*pytest, "-o", "python_functions=a_night", str(night)],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
