"""The commands as a tree."""

import typer

from infra.cli import explain, local, tables

app = typer.Typer(
    name="aurora-sync",
    help="Keeps Snowflake tables equal to Aurora PostgreSQL tables, by way of S3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(local.app)
app.add_typer(tables.contract_app)
app.add_typer(tables.table_app)
for command in (tables.sync, tables.status, tables.verify, explain.explain):
    app.command()(command)


def main() -> None:
    """Run the command line and end the process with its status."""
    app(prog_name="aurora-sync")
