"""Commands about tables: contracts and sync; on any stack."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli import output, render
from infra.cli.guard import guarded
from infra.cli.options import (
    ConfigOption,
    DirOption,
    JsonOption,
    StackOption,
    TableArgument,
    TablesArgument,
)
from runtime.contract.loader import load_specs
from runtime.contract.names import SourceName

if TYPE_CHECKING:
    from infra.cli.target import Target

contract_app = typer.Typer(
    name="contract",
    help="The frozen columns of each table, which both sides agree on.",
    no_args_is_help=True,
)
table_app = typer.Typer(
    name="table", help="The list of tables to sync.", no_args_is_help=True
)
_TIMEOUT = 1800.0


@contract_app.callback()
def contract() -> None:
    """Keep `refresh` a command of its own: a group of one would swallow its name."""


@table_app.callback()
def table() -> None:
    """Keep `add` a command of its own."""


@contract_app.command()
@guarded
def refresh(
    names: TablesArgument = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read tables' columns and keys from Aurora and write contracts/ beside the config.

    All or nothing: with any problem in any table no file is changed.
    """
    from runtime.ops import contracts

    target = _target(stack, folder, config)
    with closing(target.aurora()) as connection:
        results = contracts.refresh(target.config, connection, names or ())
    if as_json:
        output.print_json(results)
        return
    for result in results:
        typer.echo(render.refreshed(result))
    if any(result.change != "unchanged" for result in results):
        output.warn(render.DEPLOY)


@table_app.command("add")
@guarded
def add_table(
    name: TableArgument,
    key: Annotated[
        list[str],
        typer.Option(help="Columns of a unique key: COL[,COL], or several --key."),
    ],
    watermark: Annotated[
        str | None,
        typer.Option(help="Column that moves forward whenever a row is written."),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="incremental, or full: every row with each run."),
    ] = None,
    watermark_unit: Annotated[
        str | None,
        typer.Option(help="s, ms or us: unit of an integer watermark that is a time."),
    ] = None,
    id_lookback: Annotated[
        int | None,
        typer.Option(help="The watermark is a sequence's id; so many are read again."),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="hourly, daily, rate(5 minutes) or cron(0 * * * ? *)."),
    ] = None,
    watermark_timezone: Annotated[
        str | None,
        typer.Option(help="Zone of a watermark without one, such as Europe/Berlin."),
    ] = None,
    lookback: Annotated[
        str | None,
        typer.Option(help="How far each run reads back; a duration such as PT5M."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Column to leave behind; may be given several times."),
    ] = None,
    target_table: Annotated[
        str | None, typer.Option(help="Table in Snowflake; else named as the source.")
    ] = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a table to the config and freeze its contract, if Aurora agrees."""
    from runtime.ops import contracts
    from runtime.ops.suggest import completed

    columns = [column for part in key for column in part.split(",")]
    entry: dict[str, Any] = {
        "table_name": name,
        "watermark_col": watermark,
        "mode": mode,
        "watermark_unit": watermark_unit,
        "id_lookback": id_lookback,
        "primary_key": columns[0] if len(columns) == 1 else columns,
        "schedule": schedule,
        "watermark_timezone": watermark_timezone,
        "lookback": lookback,
        "exclude": exclude or None,
        "target_table": target_table,
    }
    entry = {key: value for key, value in entry.items() if value is not None}
    target = _target(stack, folder, config)
    with closing(target.aurora()) as connection:
        entry = completed(connection, entry, SourceName.parse(name))
        (result,) = contracts.add(target.config, connection, [entry])
    if watermark_unit is None and "watermark_unit" in entry:
        output.warn(f"{watermark}: times in {entry['watermark_unit']}, by its values")
    if as_json:
        output.print_json(result)
        return
    typer.echo(f"{result.table}: added to {target.config}")
    typer.echo(render.refreshed(result))
    output.warn(render.DEPLOY)


@table_app.command("suggest")
@guarded
def suggest_tables(
    names: TablesArgument = None,
    schema: Annotated[
        str | None, typer.Option(help="Only tables of this schema.")
    ] = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Add what is proposed to the config, with contracts."
        ),
    ] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose entries for the tables of Aurora: key, watermark, and what they rest on.

    Exit 1 when no table can be synced, or one of those named.
    """
    from runtime.ops import contracts
    from runtime.ops.suggest import suggest

    target = _target(stack, folder, config)
    specs = load_specs(target.config) if target.config.exists() else ()
    with closing(target.aurora()) as connection:
        found = suggest(connection, specs, names or (), schema)
        entries = [each.entry for each in found if each.entry is not None]
        if write and entries:
            contracts.add(target.config, connection, entries)
    if as_json:
        output.print_json(found)
    else:
        for each in found:
            typer.echo(render.proposal(each))
    if write and entries:
        output.warn(f"{output.plural(len(entries), 'table')} added to {target.config}")
        output.warn(render.DEPLOY)
    elif entries:
        output.warn("`--write` adds what is proposed to the config")
    refused = [each for each in found if each.state == "refused"]
    if len(refused) == len(found) or (names and refused):
        raise typer.Exit(1)


@guarded
def sync(
    names: TablesArgument = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait for another run of the table to end, and until all that was "
            "exported is merged.",
        ),
    ] = False,
    reconcile: Annotated[
        bool,
        typer.Option(
            "--reconcile", help="Compare all keys now, so that deletes come over."
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(min=1, help="Longest time for all tables together, in seconds."),
    ] = _TIMEOUT,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run tables now; exit 1 when one failed, was refused or did not merge (--wait)."""
    from contextlib import ExitStack

    from runtime.ops.selection import select_tables
    from runtime.ops.sync import Syncing

    target = _target(stack, folder, config)
    tables = select_tables(target.config, names or ())
    with ExitStack() as open_ones:
        warehouse = open_ones.enter_context(target.warehouse()) if wait else None
        watch = open_ones.enter_context(output.Watch())
        syncing = Syncing(
            target.exporter,
            target.ledger,
            warehouse,
            timeout,
            watch.tell,
            [{"reconcile": reconcile}],
        )
        outcomes = syncing.run(tables)
    if as_json:
        output.print_json(outcomes)
    else:
        for outcome in outcomes:
            for line in render.synced(outcome):
                typer.echo(line)
    for outcome in outcomes:
        if outcome.error is not None:
            output.warn(render.failed(outcome.table, outcome.error))
        elif as_json and outcome.held_by is not None:
            output.warn(str(render.held(outcome.table, outcome.held_by)))
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _target(stack: str | None, folder: Path | None, config: Path | None) -> "Target":
    from infra.cli.target import resolve

    return resolve(stack, folder, config)
