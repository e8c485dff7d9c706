"""What a sync needs of one table in Aurora, and what its first load will take."""

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from runtime.contract.aurora_sql import EXPORTER_ROLE, admin_statements
from runtime.contract.errors import ConfigErrors
from runtime.contract.names import quote_postgres
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.ops.catalog import FoundColumn, Relation, read_relation
from runtime.ops.discover import contract_of, key_gaps
from runtime.ops.doctor_source import asking
from runtime.ops.findings import Report, Severity, Site
from runtime.ops.moving import movers

# About what one export after the other reached on the local stack, on two cores.
EXPORT_ROWS_PER_SECOND = 400_000
EXPORT_BYTES_PER_SECOND = 100_000_000
_CHUNK_BYTES: int = next(
    field.default
    for field in structs.fields(ExporterSettings)
    if field.name == "chunk_bytes"
)

_GRANTED = """
SELECT pg_catalog.has_schema_privilege(r.oid, c.relnamespace, 'USAGE'),
  pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT')
FROM pg_catalog.pg_class AS c, pg_catalog.pg_roles AS r
WHERE c.oid = %s AND r.rolname = %s
"""
# Of a partitioned table the partitions that hold rows, else the table.
_SIZE = """
SELECT pg_catalog.count(1),
  pg_catalog.sum(pg_catalog.pg_table_size(c.oid))::pg_catalog.int8,
  pg_catalog.pg_size_pretty(pg_catalog.sum(pg_catalog.pg_table_size(c.oid))),
  pg_catalog.pg_size_pretty(pg_catalog.sum(
    pg_catalog.pg_total_relation_size(c.oid))),
  CASE WHEN pg_catalog.bool_and(c.reltuples >= 0)
    THEN pg_catalog.sum(c.reltuples)::pg_catalog.int8 END
FROM pg_catalog.pg_class AS c
WHERE c.oid = ANY (COALESCE(
  (SELECT pg_catalog.array_agg(t.relid::pg_catalog.oid)
   FROM pg_catalog.pg_partition_tree(%(oid)s::pg_catalog.oid::pg_catalog.regclass)
     AS t WHERE t.isleaf),
  ARRAY[%(oid)s::pg_catalog.oid]))
"""
_SUBSCRIBED = """
SELECT DISTINCT s.subname
FROM pg_catalog.pg_subscription_rel AS r
JOIN pg_catalog.pg_subscription AS s ON s.oid = r.srsubid
WHERE s.subenabled AND (r.srrelid = %(oid)s OR r.srrelid IN (
  SELECT t.relid::pg_catalog.oid
  FROM pg_catalog.pg_partition_tree(%(oid)s::pg_catalog.oid::pg_catalog.regclass)
    AS t))
"""


@dataclass(frozen=True, kw_only=True)
class _Case:
    """One table under examination, as the catalog has it."""

    report: Report
    cursor: Any
    table: Table
    relation: Relation
    column: FoundColumn

    @property
    def target(self) -> str:
        """Its quoted name."""
        return self.table.spec.source.sql

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a query; of the table itself without values."""
        self.cursor.execute(query, values or {"oid": self.relation.bottom.oid})
        rows: list[Any] = self.cursor.fetchall()
        return rows

    def add(self, severity: Severity, fact: str, *statements: str) -> None:
        """Report a fact; indexes and triggers of a view are those under it."""
        under = self.relation.bottom
        if statements and under is not self.relation:
            self.report.add(severity, fact, f"mend it in {under.name}, under the view")
        else:
            self.report.add(severity, fact, *statements, where="aurora")


def examine_tables(
    report: Report, session: Any, tables: Sequence[Table], site: Site
) -> None:
    """Check tables at the source, one by one.

    Args:
        report: Where findings go.
        session: A session made by `runtime.ops.source.connect`.
        tables: The tables with their contracts.
        site: Names the stack in commands.
    """
    for table in tables:
        relation, name = None, table.contract.table
        with asking(report, session, "contract", name) as cursor:
            relation = read_relation(cursor, table.spec.source)
            _contract(report, relation, table, site)
        if relation is None or not relation.readable:
            continue
        for column in relation.columns:
            if column.name != table.spec.watermark_col:
                continue
            for check, examine in _CHECKS.items():
                with asking(report, session, check, name) as cursor:
                    examine(
                        _Case(
                            report=report,
                            cursor=cursor,
                            table=table,
                            relation=relation,
                            column=column,
                        )
                    )


def _contract(
    report: Report, relation: Relation | None, table: Table, site: Site
) -> None:
    """Compare the catalog with the config and the frozen columns."""
    former = table.contract
    try:
        found = contract_of(relation, table.spec, former, "contract")
    except ConfigErrors as errors:
        for problem in errors.problems:
            key = problem.fact.startswith("primary_key ")
            mend = _key_commands(relation, table) if key and relation else ()
            report.failed(problem, *mend, where="aurora" if mend else "person")
        return
    refresh = f"aurora-sync contract refresh {shlex.quote(former.table)}{site.options}"
    now = [column for _, column in found.live]
    known = {column.attnum for _, column in former.live}
    changed = [f"{c.name} {c.type}" for _, c in former.live if c not in now]
    new = [column.name for column in now if column.attnum not in known]
    if changed:
        fact = (
            f"differs from its contract in {', '.join(changed)}: its runs are refused"
        )
        report.add("error", fact, refresh, site.deploy, where="shell")
    if new:
        fact = (
            f"has columns that its contract lacks; they stay behind: {', '.join(new)}"
        )
        report.add("warning", fact, refresh, site.deploy, where="shell")


def _key_commands(relation: Relation, table: Table) -> tuple[str, ...]:
    if relation.bottom is not relation:
        return ()
    target, (nullable, unproved) = table.spec.source.sql, key_gaps(relation, table.spec)
    columns = ", ".join(map(quote_postgres, table.spec.key))
    index = f"CREATE UNIQUE INDEX{_online(relation)} ON {target} ({columns})"
    return (
        *(
            f"ALTER TABLE {target} ALTER COLUMN {quote_postgres(name)} SET NOT NULL"
            for name in nullable
        ),
        *([index] if unproved else ()),
    )


def _online(relation: Relation) -> str:
    """Lets writers go on; PostgreSQL has no such way for a partitioned table."""
    return "" if relation.kind == "p" else " CONCURRENTLY"


def _size(case: _Case) -> None:
    [(parts, heap, _, total, rows)] = case.ask(_SIZE)
    seconds = max(
        1, heap / EXPORT_BYTES_PER_SECOND, (rows or 0) / EXPORT_ROWS_PER_SECOND
    )
    chunks = max(1, math.ceil(heap / _CHUNK_BYTES))
    partitions = f" in {parts} partitions" if case.relation.bottom.kind == "p" else ""
    case.add(
        "ok",
        f"{_extent(case)}{partitions}, {total} with indexes; a first load takes about "
        f"{seconds:,.0f} s, {chunks:,} {'chunk' if chunks == 1 else 'chunks'}",
    )


def _extent(case: _Case) -> str:
    [(_, _, size, _, rows)] = case.ask(_SIZE)
    # A table that was never analyzed has no count.
    counted = "rows not counted" if rows is None else f"about {rows:,} rows"
    return f"{counted}, {size}"


def _grants(case: _Case) -> None:
    *_, usage, select = admin_statements([case.table.spec])
    # No row without the role, which is told for the server.
    for in_schema, readable in case.ask(_GRANTED, case.relation.oid, EXPORTER_ROLE):
        missing = [usage] * (not in_schema) + [select] * (not readable)
        if missing:
            fact = f"role {EXPORTER_ROLE} may not read it"
            case.report.add("error", fact, *missing, where="aurora")


def _index(case: _Case) -> None:
    name, useless = case.column.name, {"not valid", "partial"}
    for index in case.relation.indexes:
        if index.attnums[:1] == (case.column.attnum,) and not useless & {*index.faults}:
            return
    case.add(
        "warning",
        f"no index begins with {name}: every sync reads the whole table "
        f"({_extent(case)})",
        f"CREATE INDEX{_online(case.relation)} ON {case.target} "
        f"({quote_postgres(name)})",
    )


def _nulls(case: _Case) -> None:
    """Count rows without watermark as far as the policy cares."""
    spec, name = case.table.spec, case.column.name
    if not case.column.nullable:
        return
    policy = f"null_watermark {spec.null_watermark}"
    most = {"include": spec.max_null_rows, "fail": 0}.get(spec.null_watermark)
    if most is None:
        case.add("note", f"rows without {name} stay behind ({policy})")
        return
    [(found,)] = case.ask(
        f"SELECT pg_catalog.count(1) FROM (SELECT 1 FROM {case.target} "
        f"WHERE {quote_postgres(name)} IS NULL LIMIT %s) AS few",
        most + 1,
    )
    if found > most:
        case.report.add(
            "error",
            f"more than {most:,} rows have no {name}: its runs are refused ({policy})",
            "give them one, or change null_watermark or max_null_rows",
        )
    elif found:
        case.add("note", f"{found:,} rows without {name} go with every run ({policy})")


def _updates(case: _Case) -> None:
    """An UPDATE that leaves the watermark where it was is not seen."""
    name = case.column.name
    found = movers(case.cursor, case.relation, name)
    if {"O", "A"} & {*found.values()}:
        return
    if found:
        fact = f"what moves {name} does not fire: trigger {', '.join(found)}"
        case.add("warning", fact, *_enabling(case, found, ""))
        return
    source, zone = case.table.spec.source, case.table.spec.watermark_timezone
    now = "pg_catalog.now()"
    if case.column.contract.plain_type != "timestamp with time zone":
        # The assignment casts to a date.
        now += f" AT TIME ZONE '{zone}'"
    own = quote_postgres(f"{source.name[:40]}_moves")
    function = f"{quote_postgres(source.schema)}.{own}()"
    case.add(
        "note",
        f"no trigger moves {name}: an UPDATE that leaves it is not seen; unless every "
        "writer sets it, let one do so",
        f"CREATE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN NEW.{quote_postgres(name)} := {now}; RETURN NEW; END $$",
        f"CREATE TRIGGER {own} BEFORE UPDATE ON {case.target} FOR EACH ROW "
        f"EXECUTE FUNCTION {function}",
    )


def _enabling(case: _Case, triggers: Iterable[str], how: str) -> list[str]:
    return [
        f"ALTER TABLE {case.target} ENABLE{how} TRIGGER {quote_postgres(each)}"
        for each in triggers
    ]


def _subscriptions(case: _Case) -> None:
    """Rows of a subscription carry the publisher's watermarks, however old."""
    names = ", ".join(name for (name,) in case.ask(_SUBSCRIBED))
    found = movers(case.cursor, case.relation, case.column.name)
    if names and not {"A", "R"} & {*found.values()}:
        case.add(
            "warning",
            f"subscription {names} writes it: rows that come with a watermark older "
            "than the lookback are not seen, unless an ALWAYS trigger moves it",
            *_enabling(case, found, " ALWAYS"),
        )


_CHECKS: dict[str, Callable[[_Case], None]] = {
    "size": _size,
    "grants": _grants,
    "watermark index": _index,
    "watermark": _nulls,
    "updates": _updates,
    "replication": _subscriptions,
}
