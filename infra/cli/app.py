"""The commands as a tree."""

import typer

from infra.cli import explain, local, tables
from infra.cli.admin import admin
from infra.cli.adopt import adopt
from infra.cli.approvals import accept_source, approve_deletes
from infra.cli.backfill import backfill
from infra.cli.demo.command import demo
from infra.cli.doctor import doctor
from infra.cli.guard import Commands
from infra.cli.plan import plan
from infra.cli.letters import letters
from infra.cli.rebuild import rebuild
from infra.cli.repair import repair
from infra.cli.report import report
from infra.cli.status import status
from infra.cli.sweep import sweep
from infra.cli.verify import verify
from infra.cli.watch import watch

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
app.command()(plan)
app.command()(adopt)
app.command()(tables.sync)
app.command()(status)
app.command()(watch)
app.command()(report)
app.command()(verify)
app.command()(repair)
app.command()(rebuild)
app.command()(sweep)
app.command()(letters)
app.command()(explain.explain)
app.command()(backfill)
app.command()(approve_deletes)
app.command()(accept_source)
app.command()(admin)
app.command()(demo)
app.command()(doctor)
