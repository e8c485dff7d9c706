"""`aurora-sync local …`: the same program on parts of this machine."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.load import load
from infra.cli.options import ConfigOption, DirOption, JsonOption

app = typer.Typer(
    name="local",
    help="Run everything on this machine: Aurora, AWS, Vault and Snowflake stand-ins.",
    no_args_is_help=True,
)
app.command()(load)

_TOLD_EVERY = 25


class Place(str, Enum):
    """Where `local sql` runs a statement."""

    AURORA = "aurora"
    SNOWFLAKE = "snowflake"


@app.command()
@guarded
def up(
    config: ConfigOption = None,
    folder: DirOption = None,
    no_deploy: Annotated[
        bool, typer.Option("--no-deploy", help="Start the parts only.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the parts in the background and deploy the Pulumi program on them."""
    from infra.bundle import CONFIG
    from infra.local import stack
    from infra.local.parts import LocalStack

    place = folder or stack.DEFAULT_FOLDER
    chosen = config or Path(LocalStack(place).fact("config") or CONFIG)
    with output.Watch() as watch:
        report = stack.up(place, chosen, deploy=not no_deploy, progress=progress(watch))
    if as_json:
        output.print_json(stack.describe(place))
        return
    _print_report(report)
    _print_addresses(stack.describe(place), place)


@app.command()
@guarded
def deploy(
    config: ConfigOption = None, folder: DirOption = None, as_json: JsonOption = False
) -> None:
    """Run the Pulumi program again, after a change of the config or a contract."""
    from infra.local import stack

    place = folder or stack.DEFAULT_FOLDER
    with output.Watch() as watch:
        report = stack.deploy(place, config, progress=progress(watch))
    if as_json:
        output.print_json(stack.describe(place))
    else:
        _print_report(report)


@app.command()
@guarded
def down(folder: DirOption = None) -> None:
    """End the parts and remove everything they stored."""
    from infra.local import stack

    place = folder or stack.DEFAULT_FOLDER
    existed = stack.down(place)
    typer.echo(f"{place}: {'down' if existed else 'there was no stack'}")


@app.command()
@guarded
def status(folder: DirOption = None, as_json: JsonOption = False) -> None:
    """Show the parts of a local stack; exit 1 unless all of them run."""
    from infra.local import stack

    found = stack.status(folder or stack.DEFAULT_FOLDER)
    if as_json:
        output.print_json(found)
    else:
        typer.echo(f"{found['folder']}: {found['state']}")
        ports: dict[str, int] = found.get("ports", {})
        for part, state in found["parts"].items():
            port = f"port {ports[part]}" if part in ports else ""
            typer.echo(f"  {part:<14} {state:<9} {port}".rstrip())
        if found.get("config"):
            typer.echo(f"deployed: {found['config']}")
    if found["state"] != "running":
        raise typer.Exit(1)


@app.command()
@guarded
def sql(
    place: Annotated[Place, typer.Argument(metavar="aurora|snowflake", help="Where.")],
    statement: Annotated[
        str, typer.Argument(metavar="SQL", help="Exactly one statement.")
    ],
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run one statement on the local Aurora (as superuser) or Snowflake."""
    from infra.local import stack

    rows = stack.run_sql(folder or stack.DEFAULT_FOLDER, place.value, statement)
    if as_json:
        output.print_json(rows)
    elif rows:
        output.print_grid(list(rows[0]), [[_cell(v) for v in r.values()] for r in rows])
    else:
        output.warn("no rows")


def progress(watch: output.Watch) -> Callable[[str, str], None]:
    """Return what tells parts one by one, and how many resources there are."""
    resources: set[tuple[str, str]] = set()

    def tell(what: str, state: str) -> None:
        if ":" not in what:
            watch.tell(what, state)
            return
        resources.add((what, state))
        count = len(resources)
        text = f"{output.plural(count, 'resource')}, {state}"
        watch.tell("deploying", text, passing=count % _TOLD_EVERY != 0)

    return tell


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _print_report(report: Any) -> None:
    for step, seconds in report.seconds.items():
        output.warn(f"{step}: {seconds:.1f} s")
    if report.resources:
        typer.echo(f"deployed: {output.plural(report.resources, 'resource')}")
    for table in report.missing:
        output.warn(
            f"{table}: not in Aurora yet; create it, then `aurora-sync local deploy`"
        )


def _print_addresses(found: dict[str, Any], place: Path) -> None:
    typer.echo(f"aurora     {found['aurora_dsn']}")
    snowflake = found["snowflake"]
    typer.echo(
        f"snowflake  http://{snowflake['host']}:{snowflake['port']} "
        f"user {snowflake['user']}, database {snowflake['database']}"
    )
    typer.echo(f"aws        {found['aws_endpoint']}")
    typer.echo(f"vault      {found['vault_addr']}")
    typer.echo(f"bucket     {found['bucket']}")
    typer.echo(f"folder     {place}")
