"""`repair`: export again what is wrong in the target."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli import output, render
from infra.cli.guard import guarded
from infra.cli.options import (
    ConfigOption,
    DirOption,
    JsonOption,
    StackOption,
    TableArgument,
)

if TYPE_CHECKING:
    from runtime.ops.repair import Repair


@guarded
def repair(
    name: TableArgument,
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY",
            help="Rows to export again; of a key of several columns all values of one "
            "row, then those of the next. Whatever `verify` finds by default.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Longest time of export and merge, in seconds.")
    ] = 1800,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export again, by key, what is wrong in the target, and compare once more.

    Rows that only the target has are marked by a reconcile. Exit 1 when something is
    still wrong, or nothing could be compared.
    """
    from infra.cli.target import resolve
    from runtime.ops.repair import Repairing, Wishes
    from runtime.ops.selection import select_tables
    from runtime.ops.sync import SyncOutcome, Syncing

    target = resolve(stack, folder, config)
    [table] = select_tables(target.config, [name])
    ledger, exporter = target.ledger, target.exporter
    with (
        closing(target.aurora()) as connection,
        target.warehouse() as warehouse,
        output.Watch() as watch,
    ):

        def sync(wishes: Wishes) -> SyncOutcome:
            syncing = Syncing(exporter, ledger, warehouse, timeout, watch.tell, wishes)
            [outcome] = syncing.run([table])
            return outcome

        repairing = Repairing(table, connection, warehouse, sync, watch.tell)
        if keys:
            width = len(table.spec.key)
            rows = [keys[first : first + width] for first in range(0, len(keys), width)]
            state = ledger.states([table.spec.source]).get(table.spec.source)
            found = repairing.named(rows, state)
        else:
            found = repairing.whatever_is_wrong()
    if as_json:
        output.print_json(found)
    else:
        for line in told(found):
            typer.echo(line)
    if not found.sound:
        raise typer.Exit(1)


def told(found: "Repair") -> Iterator[str]:
    """Say what was repaired and what both sides are like now."""
    table = found.table
    for key in found.keys:
        yield f"{table}: exported again: {render.named(key)}"
    if found.key_count > len(found.keys):
        yield f"{table}: and {found.key_count - len(found.keys):,} more"
    if found.sync is not None:
        rows = output.plural(found.sync.rows_exported, "row")
        yield f"{table}: {output.plural(found.key_count, 'key')}, {rows} exported"
        if found.sync.error is not None:
            yield render.failed(table, found.sync.error)
    if found.reconciled:
        yield f"{table}: all keys compared, to mark what only the target has"
    for row in found.rows:
        yield f"{table}: {render.named(row.key)}: {row.verdict}"
    verdict = found.after or found.before
    if verdict is not None:
        yield f"{table}: {verdict.verdict}"
        yield from render.verdict_notes(verdict)
    if found.left_out:
        rows = output.plural(found.left_out, "row")
        yield f"{table}: {rows} more than one repair holds: run it again"
