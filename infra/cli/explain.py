"""`explain`: one row's way, for people."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import (
    ConfigOption,
    DirOption,
    JsonOption,
    StackOption,
    TableArgument,
)

if TYPE_CHECKING:
    from runtime.ops.explain import Explanation, Version


@guarded
def explain(
    name: TableArgument,
    key: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY",
            help="The row's key: a value for each column, in the config's order.",
        ),
    ],
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one row's way: run, file, line, load, merge, target; exit 1 if it is lost.

    A row that the next run takes along is not lost.
    """
    from infra.cli.target import resolve
    from runtime.ops.explain import Explaining
    from runtime.ops.selection import select_tables

    target = resolve(stack, folder, config)
    [table] = select_tables(target.config, [name])
    state = target.ledger.states([table.spec.source]).get(table.spec.source)
    with closing(target.aurora()) as connection, target.warehouse() as warehouse:
        found = Explaining(table, key, connection, warehouse, state).explanation()
    if as_json:
        output.print_json(found)
    else:
        for line in told(found):
            typer.echo(line)
    if not found.sound:
        raise typer.Exit(1)


def told(found: "Explanation") -> Iterator[str]:
    """Say it hop by hop."""
    key = ", ".join(f"{name}={value}" for name, value in found.key.items())
    yield f"{found.table} {key}: {found.verdict}"
    here = (
        f"has it, watermark {found.watermark}" if found.in_source else "has no such row"
    )
    yield f"  Aurora     {here}"
    yield f"  exported   everything up to {found.exported_through or 'nothing yet'}"
    if found.held_by is not None:
        yield f"             held back by {output.holder(found.held_by)}"
    for version in found.versions:
        yield from _version(version)
    there = "has it" if found.in_target else "has no such row"
    differs = f", different in {', '.join(found.differs)}" if found.differs else ""
    yield f"  Snowflake  {found.target} {there}{differs}"


def _version(version: "Version") -> Iterator[str]:
    run = "a run" if version.run is None else f"run {version.run}"
    mode = f", {version.mode.replace('_', ' ')}" if version.mode else ""
    above = f", above {version.low}" if version.low else ""
    on = f", on to {version.high}" if version.high else ""
    yield f"  {run}{mode}{above}{on}"
    yield f"    {version.file}"
    yield f"    line {version.line}, watermark {version.watermark}"
    yield f"    stamp {version.stamp}"
    moments = (
        ("committed", version.committed_at),
        ("loaded", version.loaded_at),
        ("merged", version.merged_at),
    )
    yield "    " + ", ".join(f"{name} {at}" for name, at in moments if at)
    why = f": {version.reason}" if version.reason else ""
    yield f"    {version.fate}{why}"
