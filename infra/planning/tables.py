"""A table as deployed beside the table as it would be."""

from collections.abc import Iterator, Sequence

import msgspec

from infra.planning.contracts import contract_refusals
from infra.planning.model import Backfill, Refusal, TablePlan
from runtime.contract.names import quote_snowflake, quote_snowflake_column
from runtime.contract.records import fingerprint
from runtime.contract.snowflake_names import (
    LANDING,
    SnowflakeColumn,
    SnowflakeObjects,
    keys_columns,
    landing_columns,
    target_columns,
)
from runtime.contract.snowflake_pipes import pipe_name
from runtime.contract.snowflake_sql import merge_block
from runtime.contract.specs import Table

Columns = Sequence[SnowflakeColumn]
# Keys of an entry that are told in other words than `key: before -> now`.
_TOLD = frozenset({"table_name", "columns", "exclude", "rename", "masks", "misfits"})


def compare(
    old: Sequence[Table], new: Sequence[Table], objects: SnowflakeObjects
) -> tuple[TablePlan, ...]:
    """Return what becomes of each table, by name.

    Args:
        old: The tables as deployed.
        new: The tables as they would be.
        objects: Where the sync lives in Snowflake.
    """
    before = {table.spec.source: table for table in old}
    after = {table.spec.source: table for table in new}
    return tuple(
        (
            _compared(before.get(source), after[source], objects)
            if source in after
            else _removed(before[source], objects)
        )
        for source in sorted({*before, *after}, key=str)
    )


def _compared(old: Table | None, new: Table, objects: SnowflakeObjects) -> TablePlan:
    return _added(new, objects) if old is None else _changed(old, new, objects)


def _added(table: Table, objects: SnowflakeObjects) -> TablePlan:
    target = objects.qualified(*table.spec.target)
    return TablePlan(
        table=table.contract.table,
        change="new",
        statements=tuple(
            f"CREATE TABLE {place}" for place in (*_places(table, objects), target)
        ),
        steps=(
            f"pipe {_landing(objects, pipe_name(objects, table))}: made",
            f"stream {_landing(objects, objects.stream(table))}: made",
            f"task {_landing(objects, objects.task(table))}: made",
            f"schedule {table.spec.schedule_expression}: made",
        ),
        backfill=Backfill(reason="first load"),
    )


def _removed(table: Table, objects: SnowflakeObjects) -> TablePlan:
    keys, target = objects.keys(table), objects.qualified(*table.spec.target)
    return TablePlan(
        table=table.contract.table,
        change="removed",
        statements=tuple(f"DROP TABLE {place}" for place in _places(table, objects)),
        steps=(
            f"schedule {table.spec.schedule_expression}: stops",
            f"pipe {_landing(objects, pipe_name(objects, table))}: goes",
            f"stream {_landing(objects, objects.stream(table))}: goes",
            f"task {_landing(objects, objects.task(table))}: goes",
        ),
        notes=(
            f"to drop its data as well, by hand: DROP TABLE {target}; and the objects "
            f"below {keys.exports} and {keys.manifests} of the bucket",
        ),
    )


def _changed(old: Table, new: Table, objects: SnowflakeObjects) -> TablePlan:
    settings = tuple(_settings(old, new))
    statements = tuple(_statements(old, new, objects))
    steps = tuple(_steps(old, new, objects))
    reasons = _reasons(old, new)
    refusals = (*_spec_refusals(old, new), *contract_refusals(old, new))
    same = not (settings or statements or steps or reasons or refusals)
    unlike = msgspec.to_builtins(old) != msgspec.to_builtins(new)
    return TablePlan(
        table=new.contract.table,
        change="unchanged" if same and not unlike else "changed",
        statements=statements,
        steps=steps,
        settings=settings,
        notes=tuple(_notes(old, new, refusals)),
        backfill=Backfill(reason=", ".join(reasons)) if reasons else None,
        refusals=refusals,
    )


def _landing(objects: SnowflakeObjects, name: str) -> str:
    return objects.qualified(LANDING, name)


def _places(table: Table, objects: SnowflakeObjects) -> tuple[str, ...]:
    """Return the tables that rows pass on their way to the target."""
    names = [objects.landing(table)]
    if table.spec.deletes == "reconcile":
        names.append(objects.keys_table(table))
    return tuple(_landing(objects, name) for name in names)


def _statements(old: Table, new: Table, objects: SnowflakeObjects) -> Iterator[str]:
    """Render the DDL as the provider sends it: by the columns' names."""
    landing = _landing(objects, objects.landing(new))
    yield from _altered(landing, landing_columns(old), landing_columns(new))
    keys = _landing(objects, objects.keys_table(new))
    kept = [each.spec.deletes == "reconcile" for each in (old, new)]
    if all(kept):
        yield from _altered(keys, keys_columns(old), keys_columns(new))
    elif any(kept):
        yield f"{'DROP' if kept[0] else 'CREATE'} TABLE {keys}"
    target = objects.qualified(*new.spec.target)
    if _moves(old, new):
        yield f"CREATE TABLE {target}"
        return
    if old.spec.target != new.spec.target:
        yield f"ALTER TABLE {objects.qualified(*old.spec.target)} RENAME TO {target}"
    yield from _altered(target, target_columns(old), target_columns(new))


def _moves(old: Table, new: Table) -> bool:
    """Whether the target would be another one: its provider renames in its schema only.

    Source: https://github.com/snowflakedb/terraform-provider-snowflake,
    pkg/resources/table.go
    """
    return old.spec.target[0] != new.spec.target[0]


def _altered(table: str, old: Columns, new: Columns) -> Iterator[str]:
    before = {column.name: column for column in old}
    after = {column.name: column for column in new}
    for name, column in before.items():
        quoted = quote_snowflake(name)
        if name not in after:
            yield f"ALTER TABLE {table} DROP COLUMN {quoted}"
        elif after[name].type != column.type:
            kind = after[name].type
            yield f"ALTER TABLE {table} ALTER COLUMN {quoted} SET DATA TYPE {kind}"
    for name, column in after.items():
        if name not in before:
            own = f"{quote_snowflake(name)} {column.type}"
            yield f"ALTER TABLE {table} ADD COLUMN {own}"


def _steps(old: Table, new: Table, objects: SnowflakeObjects) -> Iterator[str]:
    former, next_ = pipe_name(objects, old), pipe_name(objects, new)
    if former != next_:
        yield (
            f"pipe {_landing(objects, former)}: {_landing(objects, next_)} is made "
            "first, and it goes last; what it has not loaded by then, the sweep loads"
        )
    task = _landing(objects, objects.task(new))
    if _task(old, objects) != _task(new, objects):
        yield f"task {task}: altered in place; its stream keeps its place"
    if old.spec.schedule_expression != new.spec.schedule_expression:
        yield (
            f"schedule {old.spec.schedule_expression}: "
            f"becomes {new.spec.schedule_expression}"
        )
    if _clustering(old) != _clustering(new):
        yield (
            f"clustering ({_clustering(old) or 'none'}): "
            f"becomes ({_clustering(new) or 'none'})"
        )


def _task(table: Table, objects: SnowflakeObjects) -> tuple[object, ...]:
    spec = table.spec
    return merge_block(objects, table), spec.warehouse, spec.merge_interval


def _clustering(table: Table) -> str:
    columns = [table.contract.column(name) for name in table.spec.clustering]
    return ", ".join(quote_snowflake_column(c.target) for c in columns if c)


def _settings(old: Table, new: Table) -> Iterator[str]:
    before, after = msgspec.to_builtins(old.spec), msgspec.to_builtins(new.spec)
    for key in after:
        if key not in _TOLD and before[key] != after[key]:
            yield f"{key}: {_shown(before[key])} -> {_shown(after[key])}"


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _reasons(old: Table, new: Table) -> list[str]:
    """Say why all rows of a table come again; nothing when they do not."""
    if fingerprint(old) == fingerprint(new):
        return []
    was, now = dict(old.contract.live), dict(new.contract.live)
    added = [column.target for place, column in now.items() if place not in was]
    gone = [column.target for place, column in was.items() if place not in now]
    found = [f"new column {name}" for name in added]
    found += [f"column {name} goes" for name in gone]
    found += [
        f"column {column.target} changes"
        for place, column in now.items()
        if place in was
        and msgspec.structs.replace(was[place], nullable=column.nullable) != column
    ]
    if old.contract.where != new.contract.where:
        found.append("another where")
    return found or ["key, watermark or mode changes"]


def _notes(old: Table, new: Table, refusals: Sequence[Refusal]) -> Iterator[str]:
    if any(one.kind == "drop-column" for one in refusals):
        yield (
            "a column that only has become another one (renamed, masked otherwise, of "
            "another type) comes back with a second `contract refresh` after this "
            "deployment, and is filled from all rows"
        )
    if old.contract.where != new.contract.where:
        stays = {
            "reconcile": "leave with the next reconcile, within max_delete_fraction",
            "soft_column": "stay in the target",
            "ignore": "stay in the target",
        }
        yield f"rows that where no longer takes {stays[new.spec.deletes]}"
    if old.spec.target != new.spec.target and not _moves(old, new):
        yield (
            f"its rows and grants go along to {new.spec.target[1]}; views and queries "
            f"of {old.spec.target[1]} have to follow"
        )
    if old.spec.deletes == "reconcile" != new.spec.deletes:
        yield "rows deleted in Aurora are no longer found by comparing keys"


def _spec_refusals(old: Table, new: Table) -> Iterator[Refusal]:
    was, now, name = old.spec, new.spec, new.contract.table
    if _moves(old, new):
        places = [".".join(spec.target) for spec in (was, now)]
        yield Refusal(
            kind="target",
            table=name,
            fact=f"the target would be {places[1]}: {places[0]} stays behind with its "
            "rows, which nobody updates any more, and only rows that change come to "
            "the new one",
            remedy="set target_schema back; or allow it and run `aurora-sync backfill "
            f"{name}` after the deployment",
        )
    if was.key != now.key:
        yield Refusal(
            kind="primary-key",
            table=name,
            fact=f"rows would be found by {', '.join(now.key)} instead of "
            f"{', '.join(was.key)}: those under another key stay as they are",
            remedy="empty the target, allow it, and run `aurora-sync accept-source "
            f"{name}` after the deployment, which loads the table anew",
        )
    if was.mode != now.mode:
        yield Refusal(
            kind="mode",
            table=name,
            fact=f"mode {was.mode} would become {now.mode}, which reads every row anew",
            remedy="allow it if that is meant",
        )
    moments = [
        (spec.watermark_col, spec.watermark_unit, spec.watermark_timezone)
        for spec in (was, now)
    ]
    if was.mode == now.mode and moments[0] != moments[1]:
        yield Refusal(
            kind="watermark",
            table=name,
            fact="the watermark would be another one, above which runs know nothing "
            "yet: every row is read anew",
            remedy="allow it if the new one moves whenever a row is written",
        )
