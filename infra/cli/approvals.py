"""What waits for a person's word: `approve-deletes`, `accept-source`."""

import typer

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import (
    ConfigOption,
    DirOption,
    JsonOption,
    NamedTablesArgument,
    StackOption,
    TableArgument,
)


@guarded
def approve_deletes(
    name: TableArgument,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve deletes that waited because they are too many for max_delete_fraction."""
    from infra.cli.target import resolve
    from runtime.ops.deletes import approve
    from runtime.ops.selection import select_tables

    target = resolve(stack, folder, config)
    [table] = select_tables(target.config, [name])
    with target.warehouse() as warehouse:
        approved = approve(table, warehouse)
    if as_json:
        output.print_json(approved)
        return
    rows = output.plural(approved.gone_count, "row")
    typer.echo(
        f"{name}: {rows} of {approved.row_count:,} approved for deletion; "
        "the merge task marks them now"
    )


@guarded
def accept_source(
    names: NamedTablesArgument,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
) -> None:
    """Accept that tables are others than so far, and load them anew.

    For one that was dropped and created again or has another key, and for all of a
    restored or cloned database.
    What the new source lacks is marked as deleted by the next reconcile.
    """
    from infra.cli.target import resolve
    from runtime.ops.invoke import RefusedError
    from runtime.ops.selection import select_tables

    target = resolve(stack, folder, config)
    for table in select_tables(target.config, names):
        name = table.spec.table_name
        result = target.exporter.invoke(table.spec.source, accept_source=True)
        if result.error is not None:
            raise RefusedError(result.error)
        typer.echo(
            f"{name}: accepted; {output.plural(result.rows_exported, 'row')} exported; "
            f"follow them with `aurora-sync sync {name} --wait`"
        )
