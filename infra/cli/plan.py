"""`plan`: what a deployment would change, and what of it would lose data."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import ConfigOption, DirOption, JsonOption, StackOption

_STREAM = "StreamOnTable"
_PLACE = "; it loses its place: run `aurora-sync sweep` afterwards"


@guarded
def plan(
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="KIND[:TABLE]",
            help="What may lose data: a kind that the plan refuses, of all tables or "
            "of one. May be given more than once.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a deployment would change in AWS, in Snowflake and in the data.

    Nothing is changed. Exit 1 when something would lose data and is not allowed.
    """
    from infra.cli.target import LOCAL, LocalTarget, resolve
    from infra.planning.gather import plan_of
    from infra.planning.model import allowing

    target = resolve(stack, folder, config)
    parts = target.parts if isinstance(target, LocalTarget) else None
    found = plan_of(target, target.config, stack or LOCAL, parts)
    found = allowing(found, allow or ())
    if as_json:
        output.print_json(found)
    else:
        typer.echo("\n".join(lines(found)))
    if found.refused:
        raise typer.Exit(1)


def lines(plan: Any) -> Iterator[str]:
    """Render a plan for people.

    Args:
        plan: The `infra.planning.model.Plan`.
    """
    unchanged = [each for each in plan.tables if each.change == "unchanged"]
    for table in plan.tables:
        # A change by hand is worth telling of a table that stays as it is.
        if table.change != "unchanged" or table.notes:
            yield from _table(table)
    if unchanged:
        yield f"unchanged: {output.plural(len(unchanged), 'table')}"
    yield from _resources(plan.resources)
    yield from _costs(plan.tables)
    for text in plan.unknown:
        yield f"not looked at: {text}"
    for refusal in _refusals(plan):
        where = f"{refusal.table}: " if refusal.table else ""
        word = "allowed" if refusal.allowed else "refused"
        yield f"{word} ({refusal.kind}): {where}{refusal.fact}; {refusal.remedy}"
    if not plan.changes:
        yield "nothing changes"
    elif plan.refused:
        count = output.plural(len(plan.refused), "change")
        yield f"{count} would lose data or fail: mend, or say --allow KIND[:TABLE]"


def _refusals(plan: Any) -> list[Any]:
    return [*plan.refusals, *(one for each in plan.tables for one in each.refusals)]


def _table(table: Any) -> Iterator[str]:
    yield f"{table.table}: {table.change}"
    for title, texts in (
        ("entry", table.settings),
        ("runs", table.statements),
        ("then", table.steps),
        ("note", table.notes),
    ):
        for text in texts:
            yield f"  {title}  {text}"
    if table.backfill is not None:
        yield f"  rows  {_backfill(table.backfill)}"


def _backfill(backfill: Any) -> str:
    told = f"all come again ({backfill.reason})"
    if backfill.reason == "first load":
        told = "first load"
    if backfill.bytes is None:
        return f"{told}; how many is unknown"
    size = output.size(backfill.bytes)
    if backfill.rows is not None:
        size = f"{output.plural(backfill.rows, 'row')}, {size}"
    return f"{told}: about {size}; {_cost(backfill.cost)}"


def _cost(cost: Any) -> str:
    most = (
        f" to {cost.most:,.2f}" if f"{cost.most:.2f}" != f"{cost.dollars:.2f}" else ""
    )
    return f"{cost.credits:,.3f} credits, {cost.dollars:,.2f}{most} dollars"


def _costs(tables: Sequence[Any]) -> Iterator[str]:
    costs = [each.backfill.cost for each in tables if each.backfill]
    known = [cost for cost in costs if cost is not None]
    if len(known) > 1:
        credits, dollars = (
            sum(getattr(cost, key) for cost in known) for key in ("credits", "dollars")
        )
        yield (
            f"rows that come again cost about {credits:,.3f} credits, "
            f"{dollars:,.2f} dollars"
        )


def _resources(changes: Sequence[Any]) -> Iterator[str]:
    """Tell them in their order: what files need stands before the files come."""
    if changes:
        yield "in this order, as the program's resources wait for each other:"
    for number, change in enumerate(changes, start=1):
        keys = f" ({', '.join(change.keys)})" if change.keys else ""
        kind = change.type.rpartition(":")[2]
        anew = kind == _STREAM and change.action in ("update", "replace")
        more = _PLACE if anew else ""
        yield f"  {number:>3}. {change.action:<7} {kind} {change.name}{keys}{more}"
