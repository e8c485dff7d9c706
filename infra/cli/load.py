"""`aurora-sync local load`: somebody's own database, on the local stack."""

import sys
from typing import Annotated

import typer

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import DirOption, JsonOption

_SHOWN = 5


@guarded
def load(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="postgresql://user@host/database (password: PGPASSWORD or ~/.pgpass), "
            "or a dump: plain SQL (.gz too), or pg_dump's custom, tar or directory "
            "format.",
        ),
    ],
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a database or a dump into the local Aurora, all or nothing.

    A database is only read. Owners and rights are left out.
    """
    from infra.local import load as loading
    from infra.local.stack import DEFAULT_FOLDER, running

    try:
        with output.Watch() as watch:
            loaded = loading.load(
                running(folder or DEFAULT_FOLDER),
                source,
                lambda what, state: watch.tell(what, state, passing=True),
            )
    except KeyboardInterrupt:
        output.warn("interrupted; nothing was loaded")
        sys.exit(130)
    if loaded.missing:
        missing = ", ".join(loaded.missing)
        output.warn(f"extensions that the local server lacks: {missing}")
    if loaded.failed:
        output.warn(f"left out for want of them: {'; '.join(loaded.failed[:_SHOWN])}")
    if len(loaded.failed) > _SHOWN:
        output.warn(f"and {len(loaded.failed) - _SHOWN:,} more such failures")
    if as_json:
        output.print_json(loaded)
        return
    tables, size = output.plural(loaded.tables, "table"), output.size(loaded.bytes)
    typer.echo(f"loaded: {tables} ({size} of SQL)")
    output.warn("next: `aurora-sync table suggest`")
