"""The command `aurora-sync`: the only place where all parts of the house meet.

Data goes to stdout, everything else to stderr. Exit 0: ok; 1: a problem was found;
2: wrong usage or configuration; 130: interrupted. What a command needs is imported
when it runs, so that help comes at once.
"""

from infra.cli.app import app, main

__all__ = ["app", "main"]
