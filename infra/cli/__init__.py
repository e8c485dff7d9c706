"""The command `aurora-sync`: the only place where all parts of the house meet.

Data goes to stdout, everything else to stderr. Exit 0: ok; 1: a problem was found;
2: wrong usage or configuration; 130: interrupted. What a command needs is imported
when it runs, so that help comes at once.
"""

import _thread
import signal
import sys
import threading
from typing import Any

INTERRUPTED = "interrupted; what was begun goes on by itself"
_SOON_SECONDS = 0.01


def main() -> None:
    """Run the command line and end the process with its status."""
    # Whoever ends us politely gets the same good order as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _unraisable
    try:
        from infra.cli.app import app

        app(prog_name="aurora-sync")
    except KeyboardInterrupt:
        # While the program was read, before any command could tell it.
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)


def _unraisable(told: Any) -> None:
    """Deliver an interruption again that came within a destructor or callback.

    Nothing can be raised from there, nor from here: Python would print it and go on.
    """
    if issubclass(told.exc_type, KeyboardInterrupt):
        threading.Timer(_SOON_SECONDS, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(told)
