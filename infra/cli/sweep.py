"""`sweep`: loads again, now, what was exported and is not merged."""

import typer

from infra.cli.guard import guarded
from infra.cli.options import ConfigOption, DirOption, StackOption, TablesArgument


@guarded
def sweep(
    names: TablesArgument = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
) -> None:
    """Load again, now, what was exported and is not merged; any file may come twice.

    A stale stream is made anew; a suspended task and a paused pipe go on. Exit 1 when
    a file cannot be loaded.
    """
    from infra.cli.target import resolve
    from runtime.ops.selection import select_tables
    from runtime.ops.sweep import sweep as run

    target = resolve(stack, folder, config)
    tables = select_tables(target.config, names or [])
    with target.warehouse() as warehouse:
        failed = run(
            tables, warehouse, lambda name, text: typer.echo(f"{name}: {text}")
        )
    if failed:
        raise typer.Exit(1)
