"""`adopt`: a table comes back whose target stayed in Snowflake."""

import shlex
from collections.abc import Iterator, Sequence

import typer

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import ConfigOption, DirOption, NamedTablesArgument, StackOption


@guarded
def adopt(
    names: NamedTablesArgument,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
) -> None:
    """Let the next deployment take over targets that stand in Snowflake.

    For tables that left the config, whose targets stayed, and that are in it again.
    A local stack notes it; of another one the commands are printed that tell Pulumi.
    Exit 1 when a target is not there: a deployment makes it.
    """
    from infra.cli.target import LocalTarget, resolve
    from infra.local.adapter.retained import ADOPT
    from infra.planning.standing import standing_columns
    from runtime.contract.errors import ConfigError
    from runtime.ops.selection import select_tables

    target = resolve(stack, folder, config)
    tables = select_tables(target.config, names)
    with target.warehouse() as warehouse:
        there = standing_columns(tables, warehouse)
        objects = warehouse.objects
    for table in tables:
        if table.spec.target not in there:
            raise ConfigError(
                f"has no target {objects.qualified(*table.spec.target)} in Snowflake",
                subject=f"table {table.spec.table_name}",
                remedy="deploy it; there is nothing to adopt",
            )
    wanted = [table.spec.table_name for table in tables]
    if isinstance(target, LocalTarget):
        target.parts.put_fact(ADOPT, wanted)
        for table in tables:
            full = objects.qualified(*table.spec.target)
            typer.echo(
                f"{table.spec.table_name}: the next deployment takes over {full}"
            )
        output.warn(f"`{target.deploy}` does it; `aurora-sync plan` shows it before")
        return
    for line in commands(wanted, str(stack)):
        typer.echo(line)


def commands(names: Sequence[str], stack: str) -> Iterator[str]:
    """Return what takes targets over on a stack in the cloud, line by line.

    Source: https://www.pulumi.com/docs/iac/cli/commands/pulumi_config_set/

    Args:
        names: The source tables.
        stack: The stack's name.
    """
    there = f"--stack {shlex.quote(stack)}"
    for number, name in enumerate(names):
        key = shlex.quote(f"aurora-sync:adopt[{number}]")
        yield f"pulumi config set --path {key} {shlex.quote(name)} {there}"
    yield f".ci/pulumi up {shlex.quote(stack)}"
    yield f"pulumi config rm aurora-sync:adopt {there}"
