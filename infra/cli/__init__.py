"""The command `aurora-sync`: the only place where all parts of the house meet.

Data goes to stdout, everything else to stderr. Exit 0: ok; 1: a problem was found;
2: wrong usage or configuration; 130: interrupted. What a command needs is imported
when it runs, so that help comes at once.
"""

import signal
import sys

INTERRUPTED = "interrupted; what was begun goes on by itself"


def main() -> None:
    """Run the command line and end the process with its status."""
    # Whoever ends us politely gets the same good order as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from infra.cli.app import app

        app(prog_name="aurora-sync")
    except KeyboardInterrupt:
        # While the program was read, before any command could tell it.
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)
