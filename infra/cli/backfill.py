"""`aurora-sync backfill`: rows once more, beside what goes on."""

from typing import Annotated, Any

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


@guarded
def backfill(
    name: TableArgument,
    where: Annotated[
        str,
        typer.Option(
            help="Only these rows: an SQL condition that Aurora runs as it stands, "
            "with the exporter's rights to read."
        ),
    ] = "",
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export rows of a table again; its watermark stays and its increments go on."""
    from infra.cli.target import resolve
    from runtime.ops.invoke import RefusedError
    from runtime.ops.selection import select_tables

    target = resolve(stack, folder, config)
    [table] = select_tables(target.config, [name])
    result: Any = target.exporter.invoke(table.spec.source, backfill=where)
    if result.error is not None:
        raise RefusedError(result.error)
    if as_json:
        output.print_json(result)
        return
    rows = output.plural(result.rows_exported, "row")
    if result.status == "more":
        rows = "its chunks are under way"
    typer.echo(f"{name}: {rows}; follow them with `aurora-sync status {name}`")
