"""Are both sides the same: `verify`."""

from contextlib import closing

import typer

from infra.cli import output, render
from infra.cli.guard import guarded
from infra.cli.options import (
    ConfigOption,
    DirOption,
    JsonOption,
    StackOption,
    TablesArgument,
)


@guarded
def verify(
    names: TablesArgument = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the rows of both sides; exit 1 on a difference or with nothing compared.

    Rows up to the watermark that the target has merged through are compared, while
    both sides move; what is newer is counted and left alone.
    """
    from infra.cli.target import resolve
    from runtime.ops import verify as verifying
    from runtime.ops.selection import select_tables

    target = resolve(stack, folder, config)
    tables = select_tables(target.config, names or ())
    with closing(target.aurora()) as connection, target.warehouse() as warehouse:
        with output.Watch() as watch:
            found = verifying.verify(tables, connection, warehouse, watch.tell)
    if as_json:
        output.print_json(found)
    else:
        output.print_grid(render.VERDICTS, [render.verdict_row(v) for v in found])
        for verdict in found:
            for line in render.verdict_notes(verdict):
                typer.echo(line)
    if not verifying.sound(found):
        raise typer.Exit(1)
