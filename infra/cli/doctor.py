"""`doctor`: findings for people, the worst of each part first."""

import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.text import Text

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import (
    ConfigOption,
    DirOption,
    JsonOption,
    StackOption,
    TablesArgument,
)

if TYPE_CHECKING:
    from runtime.ops.findings import Finding

PARTS = {
    "source": "Aurora",
    "tables": "Tables",
    "stack": "Stack",
    "snowflake": "Snowflake",
}
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_PROMPTS = {"aurora": "aurora>", "snowflake": "snowflake>", "shell": "$"}
# Facts that are worth a line although nothing is wrong with them.
_SHOWN = ("server", "size")
_INDENT = 11


@guarded
def doctor(
    names: TablesArgument = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check what syncs need, and tell what to run where something lacks; exit 1 then.

    Reads only, and goes on where a part cannot be reached.
    """
    from infra.cli.target import resolve
    from runtime.ops.doctor import diagnose

    target = resolve(stack, folder, config, whole=False)
    with output.Watch() as watch:
        found = diagnose(target, names or (), partial(watch.tell, passing=True))
    if as_json:
        output.print_json(found)
    else:
        show(found)
    if any(each.severity == "error" for each in found):
        raise typer.Exit(1)


def show(findings: "Sequence[Finding]") -> None:
    """Print findings: what is wrong in full, what is well as a number."""
    width = None if sys.stdout.isatty() else output.WIDE
    console = Console(width=width, highlight=False)
    for part, title in PARTS.items():
        mine = [each for each in findings if each.part == part]
        console.print(Text(title, style="bold"), Text(_counted(mine), style="dim"))
        for each in mine:
            if each.severity == "ok" and each.check in _SHOWN:
                _print(console, f"{each.subject}: {each.fact}", 2, "dim")
        for severity in _STYLES:
            for each in mine:
                if each.severity == severity:
                    _show(console, each)
        console.print()
    console.print(Text(_counted(findings), style="bold"))


def _show(console: Console, finding: "Finding") -> None:
    head = Text.assemble(
        (f"  {finding.severity:<{_INDENT - 2}}", _STYLES[finding.severity]),
        (finding.subject, "bold"),
        f"  {finding.check}",
    )
    console.print(head, soft_wrap=True)
    _print(console, finding.fact, _INDENT)
    for each in finding.remedy:
        if finding.where == "person":
            _print(console, f"→ {each}", _INDENT)
            continue
        end = "" if finding.where == "shell" else ";"
        # Never broken into lines: it is meant to be copied.
        line = Text.assemble(
            " " * _INDENT, (f"{_PROMPTS[finding.where]} ", "dim"), (each + end, "green")
        )
        console.print(line, soft_wrap=True)


def _print(console: Console, text: str, indent: int, style: str = "") -> None:
    margin = " " * indent
    lines = textwrap.wrap(text, console.width - indent, break_long_words=False)
    told = "\n".join(margin + line for line in lines)
    console.print(Text(told, style=style), soft_wrap=True)


def _counted(findings: "Sequence[Finding]") -> str:
    """Return `1 error, 2 notes, 31 ok`."""
    counts = Counter[str](each.severity for each in findings)
    told = [output.plural(counts[name], name) for name in _STYLES if counts[name]]
    told += [f"{counts['ok']} ok"] if counts["ok"] else []
    return ", ".join(told) or "not examined"
