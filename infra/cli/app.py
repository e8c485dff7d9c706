"""The commands as a tree."""

import typer

from infra.cli import explain, local, tables
from infra.cli.demo.command import demo
from infra.cli.guard import Commands

app = typer.Typer(
    name="aurora-sync",
    cls=Commands,
    help="Keeps Snowflake tables equal to Aurora PostgreSQL tables, by way of S3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(local.app)
app.add_typer(tables.contract_app)
app.add_typer(tables.table_app)
for command in (tables.sync, tables.status, tables.verify, explain.explain, demo):
    app.command()(command)
