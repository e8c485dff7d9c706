"""`rebuild`: a target made anew from its files in S3."""

from collections.abc import Iterator
from typing import Annotated

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
def rebuild(
    name: TableArgument,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before the target is emptied.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Longest time of loads and merges, in seconds.")
    ] = 3600,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Empty a target and fill it from its files in S3; Aurora is not asked.

    Until its files are merged again the target lacks rows. Nothing is emptied when a
    file is gone; whatever interrupts the command, the sweep goes on.
    """
    from infra.cli.target import resolve
    from runtime.ops.findings import deployed_settings
    from runtime.ops.rebuild import rebuild as run
    from runtime.ops.selection import select_tables

    target = resolve(stack, folder, config)
    [table] = select_tables(target.config, [name])
    settings, s3 = deployed_settings(target), target.client("s3")
    if not yes:
        typer.confirm(f"Empty the target of {name} and load it again?", abort=True)

    def keys(prefix: str) -> Iterator[str]:
        pages = s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=settings.bucket, Prefix=prefix):
            yield from (each["Key"] for each in page.get("Contents", ()))

    with target.warehouse() as warehouse, output.Watch() as watch:
        base = run(
            table,
            warehouse,
            keys,
            seconds=timeout,
            tell=lambda text: watch.tell(name, text),
        )
    if as_json:
        output.print_json(base)
        return
    files = output.plural(base.files, "file")
    typer.echo(
        f"{name}: made anew from {files}, from manifest {base.seq} on; "
        f"compare both sides with `aurora-sync verify {name}`"
    )
