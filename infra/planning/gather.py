"""Puts a plan together from what is deployed and what would be."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from infra import bundle
from infra.local.adapter.record import resources
from infra.local.adapter.retained import TABLE, retained
from infra.local.parts import LocalStack
from infra.planning import tables
from infra.planning.deployed import Deployed, deployed
from infra.planning.local_program import planned
from infra.planning.model import Backfill, Plan, ResourceChange, TablePlan
from infra.planning.preview import preview
from infra.planning.resources import compare, resource_refusals
from infra.planning.standing import Place, changed_by_hand, standing_columns
from infra.planning.targets import Targets
from infra.stack import StackSettings
from runtime.contract.errors import ConfigError, SyncError
from runtime.contract.loader import load_tables
from runtime.contract.names import SourceName, always_quoted
from runtime.contract.records import LedgerState, fingerprint
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table
from runtime.ops.costs import backfill
from runtime.ops.findings import Site
from runtime.ops.sizes import Size, sizes

_CLI = (
    "resources outside the tables: the command `pulumi` is not here; "
    "run `pulumi preview --diff --stack {stack}` where it is"
)


def plan_of(site: Site, config: Path, stack: str, local: LocalStack | None) -> Plan:
    """Return what a deployment of a config would change.

    What cannot be asked is told in the plan and ends nothing.

    Args:
        site: The stack, as commands reach it.
        config: The `sync_config.json` that would be deployed.
        stack: Its name.
        local: Its parts, of a local stack.

    Raises:
        ConfigError: Config, contracts or settings are wrong.
        FunctionError: What is deployed cannot be read.
    """
    new, unknown = load_tables(config), list[str]()
    known = deployed(site.client("lambda"), site.function) or Deployed()
    old = known.tables
    objects = _objects(site, stack, unknown)
    found = tables.compare(old, new, objects)
    found = _with_states(found, old, site, unknown)
    found = _with_hands(found, old, site, unknown)
    found = _with_costs(found, new, site, unknown)
    new_code = bundle.project_files(config) != known.files
    if local is not None:
        standing = {(one.type, one.name): one for one in resources(local.dir)}
        now = planned(local, config, standing)
        changes: tuple[ResourceChange, ...] | None
        changes = compare(standing, now, new_code=new_code)
    else:
        changes = _previewed(stack, unknown)
    targets = Targets(
        objects=objects,
        changes=changes,
        columns=_columns((*old, *new), site),
        unknown=_retained(objects, local) if local else None,
        adopted=() if local else _adopted(stack),
    )
    found = _with_targets(found, old, new, targets)
    told = [
        SourceName.parse(each.table).slug
        for each in found
        if any(one.kind == "target" for one in each.refusals)
    ]
    return Plan(
        stack=stack,
        tables=found,
        resources=changes or (),
        unknown=tuple(unknown),
        refusals=resource_refusals(changes or (), told),
    )


def _objects(site: Site, stack: str, unknown: list[str]) -> SnowflakeObjects:
    try:
        with site.warehouse() as warehouse:
            return warehouse.objects
    except SyncError as error:
        unknown.append(f"the database in Snowflake, named DATABASE here: {error}")
        return SnowflakeObjects(database="DATABASE", warehouse="", stack=stack)


def _columns(
    all_tables: Sequence[Table], site: Site
) -> Mapping[Place, set[str]] | None:
    """Return what stands; that Snowflake does not answer has been told."""
    try:
        with site.warehouse() as warehouse:
            return standing_columns(all_tables, warehouse)
    except SyncError:
        return None


def _retained(objects: SnowflakeObjects, local: LocalStack) -> Callable[[Place], bool]:
    known = retained(local)

    def stands(place: Place) -> bool:
        return (TABLE, always_quoted(objects.database, *place)) in known

    return stands


def _adopted(stack: str) -> tuple[str, ...]:
    try:
        return StackSettings.from_file(stack).adopt
    except ConfigError:
        return ()


def _with_targets(
    found: Sequence[TablePlan],
    old: Sequence[Table],
    new: Sequence[Table],
    targets: Targets,
) -> tuple[TablePlan, ...]:
    was, now = ({t.contract.table: t for t in tables} for tables in (old, new))
    return tuple(
        targets.told(each, was.get(each.table), now.get(each.table)) for each in found
    )


def _previewed(stack: str, unknown: list[str]) -> tuple[ResourceChange, ...] | None:
    try:
        changes = preview(stack)
    except SyncError as error:
        unknown.append(f"resources outside the tables: {error}")
        return None
    if changes is None:
        unknown.append(_CLI.format(stack=stack))
    return changes


def _with_states(
    found: Sequence[TablePlan],
    old: Sequence[Table],
    site: Site,
    unknown: list[str],
) -> tuple[TablePlan, ...]:
    """Say what runs are still at, by the ledger."""
    known = {table.contract.table: table for table in old}
    try:
        states = site.ledger.states([table.spec.source for table in old])
    except SyncError as error:
        unknown.append(f"how far loads are: {error}")
        return tuple(found)
    return tuple(
        (
            replace(each, notes=(*each.notes, *_pending(known[each.table], states)))
            if each.change == "changed" and each.table in known
            else each
        )
        for each in found
    )


def _pending(table: Table, states: Mapping[SourceName, LedgerState]) -> tuple[str, ...]:
    state = states.get(table.spec.source)
    if state is None:
        return ()
    told = []
    if state.contract not in (None, fingerprint(table)):
        told.append(
            "not every row has the columns of the deployed contract yet: its load goes "
            "on under the next one"
        )
    if state.load or state.backfill:
        told.append("a load is under way; under another contract it begins anew")
    return tuple(told)


def _with_hands(
    found: Sequence[TablePlan],
    old: Sequence[Table],
    site: Site,
    unknown: list[str],
) -> tuple[TablePlan, ...]:
    try:
        with site.warehouse() as warehouse:
            notes = changed_by_hand(old, warehouse)
    except SyncError as error:
        unknown.append(f"what was changed in Snowflake by hand: {error}")
        return tuple(found)
    return tuple(
        replace(each, notes=(*each.notes, *notes.get(each.table, ()))) for each in found
    )


def _with_costs(
    found: Sequence[TablePlan],
    new: Sequence[Table],
    site: Site,
    unknown: list[str],
) -> tuple[TablePlan, ...]:
    """Estimate what comes again, where something does."""
    again = {each.table for each in found if each.backfill is not None}
    sources = [table.spec.source for table in new if table.contract.table in again]
    if not sources:
        return tuple(found)
    try:
        connection = site.aurora()
        try:
            known = sizes(connection, sources)
        finally:
            connection.close()
    except SyncError as error:
        unknown.append(f"how many rows come again: {error}")
        return tuple(found)
    return tuple(
        (
            replace(each, backfill=_priced(each.table, each.backfill, known))
            if each.backfill
            else each
        )
        for each in found
    )


def _priced(
    table: str, planned: Backfill, known: Mapping[SourceName, Size]
) -> Backfill:
    size = known.get(SourceName.parse(table))
    if size is None:
        return planned
    return replace(
        planned,
        rows=size.rows,
        bytes=size.bytes,
        cost=backfill(size.rows if size.rows is not None else 1, size.bytes),
    )
