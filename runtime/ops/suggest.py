"""`table suggest`: from the source's catalog to entries that a person may accept.

A key is proved by the database; a watermark is a promise of the writers. What is
proposed says what it rests on.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Literal

import psycopg2
from msgspec import Struct

from runtime.contract.columns import INTEGERS, MOMENTS
from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.loader import convert
from runtime.contract.names import SourceName
from runtime.contract.rules import spec_problems
from runtime.contract.specs import TableSpec
from runtime.contract.type_map import rule_for
from runtime.contract.type_rule import TypeRule
from runtime.contract.watermark_rules import changes_clocks
from runtime.ops.catalog import FoundColumn, FoundIndex, Relation, read_relation
from runtime.ops.discover import contract_of
from runtime.ops.epochs import appended, numbered_by_a_sequence, unit_of
from runtime.ops.moving import best_watermark
from runtime.ops.source import CONNECT_SECONDS, told

_TABLES = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""
_SIZE = """
SELECT pg_catalog.pg_size_pretty(COALESCE((
  SELECT pg_catalog.sum(pg_catalog.pg_table_size(t.relid))
  FROM pg_catalog.pg_partition_tree(%s::pg_catalog.oid::pg_catalog.regclass) AS t), 0))
"""


class Proposal(Struct, frozen=True, kw_only=True):
    """What could become of one table.

    Attributes:
        table: The source table.
        state: Whether there is an entry to accept, none yet, or one in the config.
        entry: The entry as it would stand in the config.
        notes: What the proposal rests on, or what keeps the table from being synced.
    """

    table: str
    state: Literal["proposed", "refused", "present"]
    entry: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


def list_tables(cursor: Any, schema: str | None = None) -> list[SourceName]:
    """Return the tables of a database; a partitioned one without its partitions.

    Args:
        cursor: Cursor on the database.
        schema: The only schema to look at.
    """
    cursor.execute(_TABLES)
    return [
        SourceName(schema=in_schema, name=name)
        for in_schema, name in cursor.fetchall()
        if schema in (None, in_schema)
    ]


def suggest(
    connection: Any,
    present: Sequence[TableSpec],
    names: Sequence[str] = (),
    schema: str | None = None,
) -> tuple[Proposal, ...]:
    """Propose an entry for each table, or say what it lacks.

    Args:
        connection: A session made by `runtime.ops.source.connect`.
        present: The entries of the config.
        names: Source tables, also views; none means all tables.
        schema: The only schema to look at, when no tables are named.

    Raises:
        ConfigError: A name is no table's, or the schema has no table.
        SourceError: Aurora refuses or does not answer.
    """
    # Two tables that differ in letter case only would land in one.
    taken = {spec.target: spec.table_name for spec in present}
    known = {spec.source for spec in present}
    proposals = []
    with told("Aurora"), closing(connection.cursor()) as cursor:
        sources = [SourceName.parse(name) for name in names]
        if not names:
            sources = list_tables(cursor, schema)
        if not sources:
            raise ConfigError(
                "has no tables",
                subject=f"schema {schema or 'any'}",
                remedy="name another one with --schema, or create tables",
            )
        zone = server_zone(connection)
        for source in sources:
            if source in known:
                proposals.append(Proposal(table=str(source), state="present"))
                continue
            proposals.append(_proposal(cursor, source, zone, taken))
        connection.rollback()
    return tuple(proposals)


def server_zone(connection: Any) -> str:
    """Return the time zone that the server's sessions have unless they set another."""
    parts = connection.info.dsn_parameters
    # Ours set UTC by their options.
    parts.pop("options", None)
    parts["password"] = connection.info.password
    with (
        closing(
            psycopg2.connect(**{"connect_timeout": CONNECT_SECONDS, **parts})
        ) as plain,
        plain.cursor() as cursor,
    ):
        cursor.execute("SHOW timezone")
        return str(cursor.fetchone()[0])


def _proposal(
    cursor: Any, source: SourceName, zone: str, taken: dict[tuple[str, str], str]
) -> Proposal:
    relation = read_relation(cursor, source)
    try:
        entry, notes = _entry(cursor, relation, source, zone)
        problems: list[ConfigError] = []
        spec = convert(entry, TableSpec, str(source), problems)
        problems.extend(spec_problems(spec, str(source)) if spec else ())
        if spec is None or problems:
            raise ConfigErrors(problems)
        contract_of(relation, spec, None, "catalog")
        other = taken.setdefault(spec.target, str(source))
        if other != str(source):
            raise ConfigError(
                f"it would land in the same Snowflake table as {other}",
                remedy="add it with `aurora-sync table add --target-table NAME`",
            )
    except ConfigErrors as errors:
        notes = [str(problem) for problem in errors.problems]
    except ConfigError as error:
        notes = [str(error)]
    else:
        return Proposal(
            table=str(source), state="proposed", entry=entry, notes=tuple(notes)
        )
    return Proposal(table=str(source), state="refused", notes=tuple(notes))


def _entry(
    cursor: Any, relation: Relation | None, source: SourceName, zone: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the best entry for a table and what it rests on.

    Raises:
        ConfigError: There is no key, or no table to have one.
    """
    if relation is None or not relation.readable:
        # For the reason, which discovery knows; the names do not matter then.
        return _plain(source, ["any"], "any"), []
    key = [column.name for column in _key(relation)]
    best = best_watermark(cursor, relation, source)
    if best is None:
        return _whole(cursor, relation, source, key)
    column, why, unit = best
    entry, notes = _plain(source, key, column.name), [why]
    if unit is not None:
        entry["watermark_unit"] = unit
    if column.nullable:
        notes.append("rows without it go out when they are written")
    if not any(index.attnums[:1] == (column.attnum,) for index in relation.indexes):
        notes.append("no index on it")
    if column.contract.plain_type in MOMENTS[1:]:
        entry["watermark_timezone"] = zone
        notes.append(f"it has no time zone: {zone}, the server's, is assumed")
        # One that is no zone here is told when the entry is judged.
        with suppress(KeyError, ValueError, OSError):
            if changes_clocks(zone):
                entry["lookback"] = "PT90M"
    _leave_behind(relation, {*key, column.name}, entry, notes)
    return entry, notes


def _whole(
    cursor: Any, relation: Relation, source: SourceName, key: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Without a column that moves every run reads the whole table."""
    entry, notes = _plain(source, key, None), ["no column moves when a row is written"]
    cursor.execute(_SIZE, (relation.bottom.oid,))
    notes.append(f"every run reads all of its {cursor.fetchone()[0]}")
    column = numbered_by_a_sequence(cursor, source)
    if column is not None and relation.kind == "r":
        notes.append(appended(source, column, ",".join(key)))
    _leave_behind(relation, {*key}, entry, notes)
    return entry, notes


def _leave_behind(
    relation: Relation, needed: set[str], entry: dict[str, Any], notes: list[str]
) -> None:
    exclude = _without_rule(relation, needed)
    if exclude:
        entry["exclude"] = [each.name for each in exclude]
        types = ", ".join(f"{each.name} ({each.type})" for each in exclude)
        notes.append(f"left behind for their type: {types}")


def _plain(source: SourceName, key: list[str], watermark: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"table_name": str(source)}
    entry |= {"watermark_col": watermark} if watermark else {"mode": "full"}
    return entry | {"primary_key": key[0] if len(key) == 1 else key}


def completed(
    connection: Any, entry: Mapping[str, Any], source: SourceName
) -> dict[str, Any]:
    """Return an entry with the unit of its watermark, where the values tell it.

    Args:
        connection: A session made by `runtime.ops.source.connect`.
        entry: The entry as it is asked for.
        source: The table.
    """
    entry = dict(entry)
    if {"watermark_unit", "id_lookback"} & set(entry):
        return entry
    with told("Aurora"), closing(connection.cursor()) as cursor:
        relation = read_relation(cursor, source)
        for column in relation.columns if relation is not None else ():
            whole = column.contract.plain_type in INTEGERS
            if whole and column.name == entry.get("watermark_col"):
                unit = unit_of(cursor, source, column.name)
                entry |= {"watermark_unit": unit} if unit else {}
        connection.rollback()
    return entry


def _without_rule(relation: Relation, needed: set[str]) -> list[FoundColumn]:
    return [
        column
        for column in relation.columns
        if column.name not in needed and _rule(column) is None
    ]


def _key(relation: Relation) -> list[FoundColumn]:
    """Return the columns of the primary key, else of the narrowest that serves."""
    by_number = {column.attnum: column for column in relation.columns}

    def serves(index: FoundIndex) -> bool:
        columns = [by_number.get(attnum) for attnum in index.attnums]
        return not index.faults and all(
            column is not None and _keyable(column) for column in columns
        )

    fitting = [index for index in relation.indexes if serves(index)]
    if not fitting:
        unique = [i.name for i in relation.indexes if "not unique" not in i.faults]
        raise ConfigError(
            "no key: no primary key, and no immediate unique index without condition "
            "on NOT NULL columns of a type that can be one",
            got=f"unique indexes: {', '.join(unique)}" if unique else None,
            remedy="add a PRIMARY KEY",
        )
    best = min(fitting, key=lambda i: (not i.primary, len(i.attnums), i.name))
    return [by_number[attnum] for attnum in best.attnums]


def _keyable(column: FoundColumn) -> bool:
    rule = _rule(column)
    return bool(rule and rule.key) and not column.nullable and not column.loose


def _rule(column: FoundColumn) -> TypeRule | None:
    try:
        return rule_for(column.contract)
    except ConfigError:
        return None
