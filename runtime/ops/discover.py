"""From the catalog to a contract: which columns, in which places, and why not.

A column is its number in PostgreSQL; see `runtime.ops.continued` for what becomes of
its place when it changes.
"""

from collections.abc import Iterator

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.rules import contract_problems
import msgspec

from runtime.contract.column_rules import wishes
from runtime.contract.columns import Column
from runtime.contract.specs import TableContract, TableSpec
from runtime.ops.catalog import FoundIndex, Relation
from runtime.ops.continued import continued

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


def contract_of(
    relation: Relation | None,
    spec: TableSpec,
    former: TableContract | None,
    where: str,
) -> TableContract:
    """Freeze the columns of a table.

    Args:
        relation: What the catalog says of it.
        spec: The config entry.
        former: The contract so far.
        where: Path of the contract's file, for messages.

    Raises:
        ConfigErrors: With everything that keeps the table from being synced.
    """
    problems = list(_relation_problems(relation, spec))
    if relation is None or problems:
        raise ConfigErrors(problems)
    found = _selected(relation, spec)
    if former is None:
        contract = TableContract(
            table=str(spec.source), columns=found, base_width=len(found)
        )
    else:
        contract = continued(former, found, spec)
    contract = msgspec.structs.replace(contract, where=spec.where)
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
        msgspec.structs.replace(column.contract, **wishes(column.name, spec))
        for column in relation.columns
        if column.name not in spec.exclude
        and (spec.columns is None or column.name in spec.columns)
    )


def _unknown_names(relation: Relation, spec: TableSpec) -> Iterator[ConfigError]:
    """A misspelt name would send a column, or its clear values, that should stay."""
    names = [column.name for column in relation.columns]
    for key in ("exclude", "masks", "misfits", "rename"):
        for name in getattr(spec, key):
            if name not in names:
                yield ConfigError(
                    f"{key} names a column the table does not have",
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
