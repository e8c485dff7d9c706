"""`aurora-sync local load`: somebody's own database, on the local stack."""

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
    from infra.local.stack import DEFAULT_FOLDER

    try:
        with output.Watch() as watch:
            loaded = loading.load(
                folder or DEFAULT_FOLDER,
                source,
                lambda what, state: watch.tell(what, state, passing=True),
            )
    except KeyboardInterrupt:
        output.warn("interrupted; nothing was loaded")
        raise typer.Exit(130) from None
    if loaded.missing:
        failed = output.plural(len(loaded.failed), "object")
        output.warn(
            f"extensions that the local server lacks: {', '.join(loaded.missing)}; "
            f"{failed} could not be made for want of them"
        )
        for fact in loaded.failed[:_SHOWN]:
            output.warn(f"  {fact}")
    if as_json:
        output.print_json(loaded)
        return
    tables, size = output.plural(loaded.tables, "table"), output.size(loaded.bytes)
    typer.echo(f"loaded: {tables} ({size} of SQL)")
    output.warn("next: `aurora-sync table suggest`")
