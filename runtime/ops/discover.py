"""From the catalog to a contract: which columns, in which places, and why not.

A column is its number in PostgreSQL. Places are append-only: what is gone keeps its
place as dropped, what comes (or comes back) takes a new one at the end.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.rules import contract_problems
from runtime.contract.specs import Column, TableContract, TableSpec
from runtime.contract.type_map import rule_for
from runtime.ops.catalog import FoundIndex, Relation, read_relation

_KINDS = {
    "f": "a foreign table, which has no snapshot of its own",
    "m": "a materialized view, which cannot be locked",
    "S": "a sequence",
    "c": "a composite type",
    "i": "an index",
    "I": "an index",
    "t": "a TOAST table",
}
_ALLOWED = "a table, a partitioned table, or a view over one table"


def discover(
    cursor: Any, spec: TableSpec, former: TableContract | None, where: str
) -> TableContract:
    """Freeze the columns of a table.

    Args:
        cursor: Cursor of a session made by `runtime.ops.source.connect`.
        spec: The config entry.
        former: The contract so far.
        where: Path of the contract's file, for messages.

    Raises:
        ConfigErrors: With everything that keeps the table from being synced.
    """
    return contract_of(read_relation(cursor, spec.source), spec, former, where)


def contract_of(
    relation: Relation | None,
    spec: TableSpec,
    former: TableContract | None,
    where: str,
) -> TableContract:
    """Judge what the catalog says of a table; see `discover`."""
    problems = list(_relation_problems(relation, spec))
    if relation is None or problems:
        raise ConfigErrors(problems)
    found = _selected(relation, spec)
    contract = TableContract(
        table=str(spec.source), columns=found, base_width=len(found)
    )
    if former is not None:
        contract = msgspec.structs.replace(
            contract,
            columns=_continued(former, found),
            base_width=former.base_width,
        )
        problems.extend(_change_problems(former, found, spec))
    problems.extend(_unknown_names(relation, spec))
    problems.extend(contract_problems(contract, spec, where))
    if not set(spec.key) - {column.name for column in found}:
        problems.extend(_key_problems(relation, spec))
    if problems:
        raise ConfigErrors(problems)
    return contract


def _relation_problems(
    relation: Relation | None, spec: TableSpec
) -> Iterator[ConfigError]:
    """Say why a relation of this sort cannot be synced; at most one reason."""
    if relation is None:
        yield ConfigError(
            "there is no such table in Aurora",
            subject=spec.table_name,
            remedy="correct table_name (letters keep their case), or create the table",
        )
    elif relation.kind not in "rpv":
        yield ConfigError(
            f"is {_KINDS.get(relation.kind, 'not a table')}",
            subject=spec.table_name,
            allowed=_ALLOWED,
            remedy="sync the table that the data comes from",
        )
    elif relation.bottom.kind == "v":
        yield ConfigError(
            "is a view of more than one table, or with DISTINCT, GROUP BY or LIMIT, "
            "so that nothing guarantees its key and its watermark",
            subject=spec.table_name,
            allowed=_ALLOWED,
            remedy="sync the tables under it",
        )
    else:
        yield from _storage_problems(relation, spec)


def _storage_problems(relation: Relation, spec: TableSpec) -> Iterator[ConfigError]:
    """Judge the table that holds the rows."""
    base = relation.bottom
    under = "" if base is relation else f" (under it: {base.name})"
    if not base.readable:
        yield ConfigError(
            f"is a view of {_KINDS.get(base.kind, 'no table')}{under}",
            subject=spec.table_name,
            allowed=_ALLOWED,
            remedy="sync the table that the data comes from",
        )
    elif base.temporary:
        yield ConfigError(
            f"is temporary{under}: no other session sees its rows",
            subject=spec.table_name,
            remedy="sync a permanent table",
        )
    elif base.children:
        yield ConfigError(
            f"has tables that inherit from it{under}, whose keys no index of its own "
            "covers",
            subject=spec.table_name,
            remedy="make it a partitioned table",
        )
    elif relation.row_security:
        yield ConfigError(
            f"has row level security{under}, which would hide rows from the export",
            subject=spec.table_name,
            remedy="sync a view of it whose owner also owns the table (without FORCE "
            "ROW LEVEL SECURITY), or disable row level security",
        )


def _selected(relation: Relation, spec: TableSpec) -> tuple[Column, ...]:
    """Return the columns that the entry asks for, in the table's order."""
    return tuple(
        column.contract
        for column in relation.columns
        if column.name not in spec.exclude
        and (spec.columns is None or column.name in spec.columns)
    )


def _continued(former: TableContract, found: tuple[Column, ...]) -> tuple[Column, ...]:
    new = {column.attnum: column for column in found}
    kept = []
    for old in former.columns:
        now = None if old.dropped else new.pop(old.attnum, None)
        kept.append(now or msgspec.structs.replace(old, dropped=True))
    return (*kept, *new.values())


def _change_problems(
    former: TableContract, found: tuple[Column, ...], spec: TableSpec
) -> Iterator[ConfigError]:
    """Refuse changes that files and rows of the former contract would not survive."""
    new = {column.attnum: column for column in found}
    needed = {*spec.key, spec.watermark_col}
    for _, old in former.live:
        now = new.get(old.attnum)
        if now is None or (now.name == old.name and _travel_alike(old, now)):
            continue
        remedy = (
            "change it back at the source: the key and the watermark cannot be "
            "left behind"
            if {old.name, now.name} & needed
            else f'leave {now.name!r} behind with "exclude", refresh and deploy; then '
            "take it back, refresh and deploy: it comes as a new column, and all rows "
            "are exported again to fill it"
        )
        yield ConfigError(
            f"column {old.name!r} has become another",
            subject=spec.table_name,
            got=f"{now.name} {now.type}",
            allowed=f"{old.name} {old.type}",
            remedy=remedy,
        )


def _travel_alike(old: Column, now: Column) -> bool:
    """Whether both types are exported, cast and stored in the same way."""
    try:
        one, other = rule_for(old), rule_for(now)
    except ConfigError:
        return False
    return (one.type, one.export("c"), one.cast("c")) == (
        other.type,
        other.export("c"),
        other.cast("c"),
    )


def _unknown_names(relation: Relation, spec: TableSpec) -> Iterator[ConfigError]:
    """A misspelt name in `exclude` would send a column that was meant to stay."""
    names = [column.name for column in relation.columns]
    for name in spec.exclude:
        if name not in names:
            yield ConfigError(
                "exclude names a column the table does not have",
                subject=spec.table_name,
                got=name,
                allowed=", ".join(names),
                remedy="correct the name or remove it",
            )


def key_gaps(relation: Relation, spec: TableSpec) -> tuple[list[str], bool]:
    """Return key columns that may be NULL, and whether a unique index is missing."""
    key = [column for column in relation.columns if column.name in spec.key]
    wanted = sorted(column.attnum for column in key)
    proofs = [
        index
        for index in relation.indexes
        if sorted(index.attnums) == wanted and not index.faults
    ]
    return [column.name for column in key if column.nullable], not proofs


def _key_problems(relation: Relation, spec: TableSpec) -> Iterator[ConfigError]:
    """The key must be proved by the database: unique at all times, never NULL."""
    names = {column.attnum: column.name for column in relation.columns}
    key = [column for column in relation.columns if column.name in spec.key]
    nullable, unproved = key_gaps(relation, spec)
    if nullable or unproved:
        facts = ["no unique index on exactly these columns"] if unproved else []
        if nullable:
            facts.append(f"not declared NOT NULL: {', '.join(nullable)}")
        shown = "; ".join(_shown(index, names) for index in relation.indexes)
        yield ConfigError(
            f"primary_key {', '.join(spec.key)} is not guaranteed by the database "
            f"({'; '.join(facts)})",
            subject=spec.table_name,
            got=f"indexes: {shown or 'none'}",
            allowed="a valid, immediate unique index without condition on NOT NULL "
            "columns",
            remedy="create it, or name the columns of another in primary_key",
        )
    for column in key:
        if column.loose:
            yield ConfigError(
                f"key column {column.name!r} has a nondeterministic collation, which "
                "takes different texts for equal",
                subject=spec.table_name,
                got=column.type,
                remedy="choose another unique key",
            )


def _shown(index: FoundIndex, names: dict[int, str]) -> str:
    columns = ", ".join(names.get(attnum, "expression") for attnum in index.attnums)
    faults = f", {', '.join(index.faults)}" if index.faults else ""
    return f"{index.name} ({columns}{faults})"
