"""From one contract to the next: which column keeps its place, and which gets another.

A column is its number in PostgreSQL. Places in files are append-only: what is gone
keeps its place as dropped, what comes takes a new one at the end. A column stays where
it is while its name and the type of its target stay, or the type only grows. One that
has become another (renamed on either side, masked otherwise, of another type, dropped
and added again) is a new column.

Snowflake changes no column's type and the target has one column of a name. So what
comes back under a name that was in use waits for the refresh after this one: until
then a deployment drops the old column, whose values would be taken for the new one's.
"""

from collections.abc import Iterator

import msgspec

from runtime.contract.columns import Column
from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.specs import TableContract, TableSpec
from runtime.contract.type_map import rule_for
from runtime.contract.type_rule import grows


def continued(
    former: TableContract, found: tuple[Column, ...], spec: TableSpec
) -> TableContract:
    """Return the contract after another one.

    Args:
        former: The contract so far.
        found: The columns that the entry asks for, as the catalog has them.
        spec: The config entry.

    Raises:
        ConfigErrors: When the key would lose its place, or the entry names a column
            that has to wait.
    """
    now = {column.attnum: column for column in found}
    staying = {
        old.attnum: now[old.attnum]
        for _, old in former.live
        if old.attnum in now and _stays(old, now[old.attnum])
    }
    ended = {old.target for _, old in former.live if old.attnum not in staying}
    coming = [column for column in found if column.attnum not in staying]
    waiting = [column for column in coming if column.target in ended]
    problems = [*_key_problems(coming, former, spec), *_role_problems(waiting, spec)]
    if problems:
        raise ConfigErrors(problems)
    kept = (
        (
            msgspec.structs.replace(old, dropped=True)
            if old.dropped or old.attnum not in staying
            else staying[old.attnum]
        )
        for old in former.columns
    )
    new = (column for column in coming if column not in waiting)
    return msgspec.structs.replace(former, columns=(*kept, *new))


def _stays(old: Column, now: Column) -> bool:
    """Whether files and target of the former column serve the one it is now."""
    if (now.name, now.target, now.mask) != (old.name, old.target, old.mask):
        return False
    try:
        one, other = rule_for(old), rule_for(now)
    except ConfigError:
        return False
    if one.type == other.type:
        return one.cast("c") == other.cast("c")
    return grows(one.type, other.type)


def _key_problems(
    coming: list[Column], former: TableContract, spec: TableSpec
) -> Iterator[ConfigError]:
    """By a column that rows in Snowflake do not have yet they would not be found."""
    for column in coming:
        if column.name in spec.key:
            was = {old.attnum: f"{old.name} {old.type}" for _, old in former.live}
            yield ConfigError(
                f"key column {column.name!r} is not one that the contract has",
                subject=spec.table_name,
                got=f"{column.name} {column.type}",
                allowed=was.get(column.attnum, ", ".join(was.values())),
                remedy="change it back at the source, or sync a view of the table: "
                "under its own name it begins anew",
            )


def _role_problems(waiting: list[Column], spec: TableSpec) -> Iterator[ConfigError]:
    """What waits is not there for one deployment, whoever needs it."""
    roles: dict[str, tuple[str | None, ...]] = {
        "watermark_col": (spec.watermark_col,),
        "deleted_col": (spec.deleted_col,),
        "clustering": spec.clustering,
        "columns": spec.columns or (),
    }
    for column in waiting:
        for role, names in roles.items():
            if column.name in names and column.name not in spec.key:
                yield ConfigError(
                    f"column {column.name!r} has become another, and {role} names it",
                    subject=spec.table_name,
                    got=column.type,
                    remedy=f"name another in {role} or none, refresh and deploy; then "
                    "take it back, refresh and deploy",
                )
