"""From the deployed contract of a table to the next one: what of it would lose data.

`contract refresh` makes no contract that is refused here, but for a column that goes;
what is written by hand, made anew from nothing, or refreshed twice without a deployment
in between may.
"""

from collections.abc import Iterator

from infra.planning.model import Refusal
from runtime.contract.columns import Column
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.contract.type_rule import grows

_RESTORE = (
    "restore the contract from version control and run `aurora-sync contract refresh`"
)


def contract_refusals(old: Table, new: Table) -> Iterator[Refusal]:
    """Find what the next contract would lose of a table.

    Args:
        old: The table as deployed.
        new: The table as it would be.
    """
    was, now = old.contract, new.contract
    name = now.table
    moved = [
        place
        for place, (one, other) in enumerate(zip(was.columns, now.columns), start=1)
        if one.attnum != other.attnum or (one.dropped and not other.dropped)
    ]
    if moved or now.width < was.width or now.base_width != was.base_width:
        what = f"place {moved[0]} holds" if moved else "their last places hold"
        yield Refusal(
            kind="file-layout",
            table=name,
            fact="files of the deployed contract would be read by another layout: "
            f"{what} another column",
            remedy=f"{_RESTORE}: places in files are append-only",
        )
        return
    yield from _columns(old, new)


def _columns(old: Table, new: Table) -> Iterator[Refusal]:
    name, places = new.contract.table, dict(old.contract.live)
    kept = {place: column for place, column in new.contract.live if place in places}
    gone = {column.target for place, column in places.items() if place not in kept}
    for place, column in kept.items():
        yield from _same_place(name, places[place], column)
    back = {
        column.target for place, column in new.contract.live if place not in places
    } & gone
    for target in sorted(back):
        yield Refusal(
            kind="column-returns",
            table=name,
            fact=f"column {target} would be another one by now under its old name: "
            "values of the old one would be taken for its own, or Snowflake refuses "
            "its type",
            remedy="deploy each `contract refresh` before the next: the first takes "
            "the column away, the second brings it back",
        )
    for target in sorted(gone - back):
        yield Refusal(
            kind="drop-column",
            table=name,
            fact=f"column {target} would leave the target with its values",
            remedy="clone the target before (CREATE TABLE … CLONE) if they are still "
            f"needed, then add --allow drop-column:{name}",
        )


def _same_place(table: str, was: Column, now: Column) -> Iterator[Refusal]:
    one, other = rule_for(was).type, rule_for(now).type
    changed = (was.target, was.mask) != (now.target, now.mask)
    if changed or (one != other and not grows(one, other)):
        yield Refusal(
            kind="column-type",
            table=table,
            fact=f"column {was.target} {one} would become {now.target} {other} in the "
            "same place of files"
            + (f", masked {now.mask or 'no more'}" if was.mask != now.mask else ""),
            remedy=f"{_RESTORE}: what has become another column takes a new place",
        )
