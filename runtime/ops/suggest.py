"""`table suggest`: from the source's catalog to entries that a person may accept.

A key is proved by the database. A watermark is a promise of the writers: a trigger
that moves it is as good as proof, a name is a hint, and a moment of insertion serves
tables whose rows never change. What is proposed says on which of these it rests.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Literal

import psycopg2
from msgspec import Struct

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.loader import convert
from runtime.contract.names import SourceName
from runtime.contract.rules import changes_clocks, spec_problems
from runtime.contract.specs import Column, TableSpec
from runtime.contract.type_map import rule_for
from runtime.ops.catalog import FoundColumn, FoundIndex, Relation, read_relation
from runtime.ops.discover import contract_of
from runtime.ops.source import told

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
# Row triggers before UPDATE that are in force (bits of pg_trigger.tgtype).
_TRIGGERS = """
SELECT t.tgname, p.prosrc, pg_catalog.encode(t.tgargs, 'escape')
FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE t.tgrelid = %s AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
  AND t.tgtype & 1 <> 0 AND t.tgtype & 2 <> 0 AND t.tgtype & 16 <> 0
"""
_DEFAULTS = """
SELECT a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attrdef AS d
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.adrelid = %s AND a.attgenerated = ''
"""
_MOMENTS = ("timestamp with time zone", "timestamp without time zone", "date")
# Of names in lower case without underscores.
_MOVES = re.compile(
    r"(row|rec|record|sys)?(last)?"
    r"(updated?|modified|modification|modify|changed?|edited|touched|write|written)"
    r"(at|on|by|date|time|datetime|ts|tstamp|timestamp|utc|dt)*"
    r"|(date|time|dt)(last)?(updated?|modified|changed)"
)
_BEGINS = re.compile(
    r"(row|rec|record|sys)?(created?|creation|insert|inserted|added|logged|recorded"
    r"|registered|received|occurred|ingested|event)"
    r"(at|on|date|time|datetime|ts|tstamp|timestamp|utc|dt)*"
    r"|(date|time|dt)(created|added|inserted|joined)|ts|timestamp|joinedat"
)
_EVENT = re.compile(r".+(date|at|on|time|datetime|timestamp)")
_PLANNED = re.compile(
    r"birth|dob|due|start|end|from|to(date|day)|valid|until|expir|effective|hire"
    r"|required|ship|deliver|return|schedul|deadline|next|sell|due|release|depart|arriv"
)
_NOW = re.compile(r"(?i)\b(now\(|current_timestamp|current_date|clock_timestamp\()")


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
            raise ConfigError("has no tables", subject=f"schema {schema or 'any'}")
        zone = _server_zone(connection)
        for source in sources:
            if source in known:
                proposals.append(Proposal(table=str(source), state="present"))
                continue
            proposals.append(_proposal(cursor, source, zone, taken))
        connection.rollback()
    return tuple(proposals)


def _server_zone(connection: Any) -> str:
    """Return the time zone that the server's sessions have unless they set another."""
    parts = connection.info.dsn_parameters
    # Ours set UTC by their options.
    parts.pop("options", None)
    with (
        closing(psycopg2.connect(password=connection.info.password, **parts)) as plain,
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
        ConfigError: There is no key or no watermark, or no table to have them.
    """
    if relation is None or not relation.readable:
        # For the reason, which discovery knows; the names do not matter then.
        return _plain(source, ["any"], "any"), []
    key = [column.name for column in _key(relation)]
    column, why = _watermark(cursor, relation)
    entry, notes = _plain(source, key, column.name), [why]
    if column.nullable:
        notes.append("rows without it travel with every run")
    if not any(index.attnums[:1] == (column.attnum,) for index in relation.indexes):
        notes.append("no index on it")
    if _as_contract(column).plain_type != _MOMENTS[0]:
        entry["watermark_timezone"] = zone
        notes.append(f"it has no time zone: {zone}, the server's, is assumed")
        try:
            if changes_clocks(zone):
                entry["lookback"] = "PT90M"
        except (KeyError, ValueError, OSError):
            pass  # Told when the entry is judged.
    exclude = list(_without_rule(relation, {*key, column.name}))
    if exclude:
        entry["exclude"] = [each.name for each in exclude]
        types = ", ".join(f"{each.name} ({each.type})" for each in exclude)
        notes.append(f"left behind for their type: {types}")
    return entry, notes


def _plain(source: SourceName, key: list[str], watermark: str) -> dict[str, Any]:
    return {
        "table_name": str(source),
        "watermark_col": watermark,
        "primary_key": key[0] if len(key) == 1 else key,
    }


def _as_contract(column: FoundColumn) -> Column:
    return Column(
        attnum=column.attnum,
        name=column.name,
        type=column.type,
        base_type=column.base_type,
        kind=column.kind,
    )


def _without_rule(relation: Relation, needed: set[str]) -> Iterator[FoundColumn]:
    for column in relation.columns:
        try:
            rule_for(_as_contract(column))
        except ConfigError:
            if column.name not in needed:
                yield column


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
    try:
        rule = rule_for(_as_contract(column))
    except ConfigError:
        return False
    return rule.key and not column.nullable and not column.loose


def _watermark(cursor: Any, relation: Relation) -> tuple[FoundColumn, str]:
    """Return the column that tells best which rows are new, and why it does."""
    cursor.execute(_TRIGGERS, (relation.bottom.oid,))
    triggers = cursor.fetchall()
    cursor.execute(_DEFAULTS, (relation.bottom.oid,))
    defaults = dict(cursor.fetchall())
    indexed = {index.attnums[0] for index in relation.indexes if index.attnums}
    moments = [
        (column, _MOMENTS.index(_as_contract(column).plain_type))
        for column in relation.columns
        if _as_contract(column).plain_type in _MOMENTS
    ]
    ranked = []
    for column, kind in moments:
        judged = _evidence(column, triggers, defaults.get(column.name, ""))
        if judged is not None:
            rank, why = judged
            order = (rank, column.nullable, column.attnum not in indexed, kind)
            ranked.append((order, column, why))
    if ranked:
        _, column, why = min(ranked, key=lambda each: (each[0], each[1].attnum))
        return column, why
    names = ", ".join(column.name for column, _ in moments)
    raise ConfigError(
        "no column moves when a row is written",
        got=f"dates and times: {names}" if names else None,
        remedy="add updated_at timestamptz NOT NULL DEFAULT now() and a trigger that "
        "moves it"
        + (", or `aurora-sync table add` with one that serves" if names else ""),
    )


def _evidence(
    column: FoundColumn, triggers: list[tuple[str, str, str]], default: str
) -> tuple[int, str] | None:
    """Say how well a column tells new rows, from 0 (best), and why; None: not."""
    name = column.name
    sets = re.compile(rf'(?i)\bnew\."?{re.escape(name)}"?\s*:?=')
    for trigger, body, arguments in triggers:
        if sets.search(body) or name in arguments.split("\\000"):
            return 0, f"moved by trigger {trigger}"
    plain = name.replace("_", "").lower()
    if _MOVES.fullmatch(plain):
        return 1, "by its name; every writer must move it"
    only = f"append-only: later changes of a row are not seen, {name} does not move"
    if _BEGINS.fullmatch(plain) or _NOW.search(default):
        return 2, only
    if _EVENT.fullmatch(plain) and not _PLANNED.search(plain) and not column.nullable:
        return 3, f"{only}; a row that comes with an old one is missed"
    return None
