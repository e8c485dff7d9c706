"""Take each enforced permission from the table and deploy: its test must not pass.

    python -m tests.mutants.permissions [--only PATTERN] [--jobs N] [--page]

For the rows that the local stack enforces. The tests that they name take the right
from what is deployed already, in continuous integration; here it is missing from the
table, so that the program deploys without it. Each takes a stack of its own, so this is
run by hand; docs/SECURITY.md says when it last was. Rows held by the graph are taken
away in `tests/infra/test_permissions.py`, within a second.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from infra.permissions import ROWS
from tests.mutants.__main__ import Verdict, hunt
from tests.mutants.catalogue import ROOT, Mutant

_TABLE = """ROWS: tuple[Row, ...] = (
    *roles.ROWS,
    *snowflake_roles.ROWS,
    *resources.ROWS,
)
"""
_LESS = """from dataclasses import replace

ROWS: tuple[Row, ...] = tuple(
    left
    for row in (*roles.ROWS, *snowflake_roles.ROWS, *resources.ROWS)
    for left in [
        replace(
            row,
            actions={{
                action: held
                for action, held in row.actions.items()
                if (row.policy.name, row.sid, action) != {taken}
            }},
        )
    ]
    if left.actions
)
"""
_ERROR = re.compile(r"^ERROR (tests/\S+::\S+)", re.M)
_MARKED = re.compile(r"(?s)(<!-- removal -->\n).*(<!-- end of removal -->)")


def permissions() -> Iterator[Mutant]:
    """Yield a mutant for each action that the local stack enforces."""
    for row in ROWS:
        for action, held in row.actions.items():
            if held.by == "behaviour":
                yield Mutant(
                    rule=row.policy.name,
                    breaks=f"{row.sid} lacks {action}",
                    file="infra/permissions/__init__.py",
                    old=_TABLE,
                    new=_LESS.format(taken=(row.policy.name, row.sid, action)),
                    tests=(held.test,),
                )


def noticed(verdict: Verdict) -> str:
    """Return the test that failed, or that could not even be set up.

    Its set-up deploys and syncs once, which passes with the whole table.
    """
    found = verdict.killer or "".join(_ERROR.findall(verdict.problem)[:1])
    return found.rpartition("::")[2].partition("[")[0]


def told(verdicts: Sequence[Verdict], seconds: float) -> str:
    """Return the result as lines of a page."""
    killed = sum(1 for verdict in verdicts if noticed(verdict))
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}: {killed} of {len(verdicts)} noticed in "
        f"{seconds:.0f} s.",
        "",
        "| Policy | Taken from the table | Noticed by |",
        "| --- | --- | --- |",
    ]
    for verdict in verdicts:
        name = noticed(verdict)
        where = "" if verdict.killer else ", whose deployment or first sync fails"
        by = f"`{name}`{where}" if name else "nobody"
        lines.append(f"| `{verdict.mutant.rule}` | {verdict.mutant.breaks} | {by} |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Take them away one by one; 0 when a test noticed each."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.permissions")
    parser.add_argument("--only", default="", help="pattern of policy and action")
    parser.add_argument("--jobs", type=int, default=2, help="stacks at a time")
    parser.add_argument(
        "--page", action="store_true", help="write the result to docs/SECURITY.md"
    )
    asked = parser.parse_args()
    chosen = [
        each
        for each in permissions()
        if re.search(asked.only, f"{each.rule} {each.breaks}")
    ]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="permissions-") as name:
        verdicts = hunt(chosen, Path(name), asked.jobs)
    text = told(verdicts, time.monotonic() - started)
    if asked.page:
        path = ROOT / "docs" / "SECURITY.md"
        page = _MARKED.sub(lambda found: found[1] + text + found[2], path.read_text())
        path.write_text(page)
    else:
        print(text)
    left = [verdict for verdict in verdicts if not noticed(verdict)]
    for verdict in left:
        print(f"{verdict.mutant.rule} {verdict.mutant.breaks}: {verdict.problem}")
    return 1 if left or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
