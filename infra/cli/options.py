"""Options that several commands share, written once."""

from pathlib import Path
from typing import Annotated

import typer

DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        envvar="AURORA_SYNC_DIR",
        help="Folder of the local stack; .local in the checkout by default.",
        file_okay=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The sync_config.json; that of the local stack's last deployment by "
        "default, else config/sync_config.json of the checkout.",
        dir_okay=False,
    ),
]
StackOption = Annotated[
    str | None,
    typer.Option("--stack", help="The deployed stack; the local one by default."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")
]
TableArgument = Annotated[
    str, typer.Argument(metavar="TABLE", help="Source table as schema.table.")
]
NamedTablesArgument = Annotated[
    list[str],
    typer.Argument(metavar="TABLE…", help="Source tables as schema.table."),
]
TablesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TABLE", help="Source tables as schema.table; all by default."
    ),
]
