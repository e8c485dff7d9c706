"""What a sync needs of the watermark of one table: found fast, set, and moved."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runtime.contract.columns import MOMENTS
from runtime.contract.names import quote_postgres
from runtime.contract.specs import Table
from runtime.ops.catalog import FoundColumn, Relation
from runtime.ops.findings import Report, Severity
from runtime.ops.moving import movers

# Of a partitioned table the partitions that hold rows, else the table.
SIZE = """
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
_NULLS = """
SELECT null_frac FROM pg_catalog.pg_stats
WHERE schemaname = %s AND tablename = %s AND attname = %s
"""
_SEQUENCE = """
SELECT owned.name, s.seqcache, s.seqincrement > 0 AND NOT s.seqcycle
FROM (SELECT pg_catalog.pg_get_serial_sequence(%s, %s) AS name) AS owned
LEFT JOIN pg_catalog.pg_sequence AS s
  ON s.seqrelid = owned.name::pg_catalog.regclass
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One table under examination, as the catalog has it."""

    report: Report
    cursor: Any
    table: Table
    relation: Relation

    @property
    def column(self) -> FoundColumn:
        """The watermark column; nobody asks for it in mode full."""
        name = self.table.watermark.name
        return next(each for each in self.relation.columns if each.name == name)

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
            self.report.aurora(severity, fact, *statements)


def extent(case: Case) -> str:
    """Return how large a table is, in words."""
    [(_, _, size, _, rows)] = case.ask(SIZE)
    # A table that was never analyzed has no count.
    counted = "rows not counted" if rows is None else f"about {rows:,} rows"
    return f"{counted}, {size}"


def online(relation: Relation) -> str:
    """Lets writers go on; PostgreSQL has no such way for a partitioned table."""
    return "" if relation.kind == "p" else " CONCURRENTLY"


def check_index(case: Case) -> None:
    """Without an index on the watermark each sync reads the whole table."""
    name, useless = case.column.name, {"not valid", "partial"}
    for index in case.relation.indexes:
        if index.attnums[:1] == (case.column.attnum,) and not useless & {*index.faults}:
            return
    case.add(
        "warning",
        f"no index begins with {name}: every sync reads the whole table "
        f"({extent(case)})",
        f"CREATE INDEX{online(case.relation)} ON {case.target} "
        f"({quote_postgres(name)})",
    )


def check_nulls(case: Case) -> None:
    """Count rows without watermark as far as the policy cares."""
    spec, name = case.table.spec, case.column.name
    odd = _odd(case)
    if not odd:
        return
    policy = f"null_watermark {spec.null_watermark}"
    most = {"include": spec.max_null_rows, "fail": 0}.get(spec.null_watermark)
    if most is None:
        case.add("note", f"rows without {name} stay behind ({policy})")
        return
    [(found,)] = case.ask(
        f"SELECT pg_catalog.count(1) FROM (SELECT 1 FROM {case.target} "
        f"WHERE {' OR '.join(odd)} LIMIT %s) AS few",
        most + 1,
    )
    if found > most:
        case.report.add(
            "error",
            f"more than {most:,} rows have no {name}, or an infinite one: its runs are "
            f"refused ({policy})",
            "give them one, or change null_watermark or max_null_rows",
        )
    elif found:
        case.add(
            "note",
            f"{found:,} rows without {name} go out when they are written ({policy})",
        )


def _odd(case: Case) -> list[str]:
    """Return conditions of rows without watermark that are cheap to ask for.

    Without an index NULL is looked for where statistics know of any; infinity, which
    hardly any table has, is not worth reading the table for.
    """
    column, plain = quote_postgres(case.column.name), case.column.contract.plain_type
    indexed = any(i.attnums[:1] == (case.column.attnum,) for i in case.relation.indexes)
    found = []
    if case.column.nullable and (indexed or _may_be_null(case)):
        found.append(f"{column} IS NULL")
    if indexed and plain in MOMENTS:
        found.append(f"{column} IN ('infinity', '-infinity')")
    return found


def _may_be_null(case: Case) -> bool:
    source = case.table.spec.source
    rows = case.ask(_NULLS, source.schema, source.name, case.column.name)
    return not rows or any(share > 0 for (share,) in rows)


def check_sequence(case: Case) -> None:
    """Ids of a watermark must be handed out in order, to whoever comes next."""
    if case.table.spec.id_lookback is None:
        return
    [(name, cache, ordered)] = case.ask(_SEQUENCE, case.target, case.column.name)
    if name is None:
        case.report.add(
            "error",
            f"no sequence belongs to {case.column.name}: its runs are refused",
            "make it an identity column, or run ALTER SEQUENCE ... OWNED BY it",
        )
    elif cache > 1 or not ordered:
        cycle = "" if ordered else " INCREMENT 1 NO CYCLE"
        case.report.aurora(
            "error",
            f"{name} does not hand out ids in order (CACHE {cache}): its runs are "
            "refused; afterwards let sessions reconnect",
            f"ALTER SEQUENCE {name} CACHE 1{cycle}",
        )


def check_updates(case: Case) -> None:
    """An UPDATE that leaves the watermark where it was is not seen."""
    name = case.column.name
    if case.table.spec.id_lookback is not None:
        case.add("note", f"{name} is an id: an UPDATE of a row is not seen")
        return
    found = movers(case.cursor, case.relation, name)
    if {"O", "A"} & {*found.values()}:
        return
    if found:
        fact = f"what moves {name} does not fire: trigger {', '.join(found)}"
        case.add("warning", fact, *_enabling(case, found, ""))
        return
    source, spec = case.table.spec.source, case.table.spec
    now = "pg_catalog.now()"
    if spec.per_second:
        now = f"pg_catalog.floor(EXTRACT(EPOCH FROM {now}) * {spec.per_second})"
    elif case.column.contract.plain_type != "timestamp with time zone":
        # The assignment casts to a date.
        now += f" AT TIME ZONE '{spec.watermark_timezone}'"
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


def _enabling(case: Case, triggers: Iterable[str], how: str) -> list[str]:
    return [
        f"ALTER TABLE {case.target} ENABLE{how} TRIGGER {quote_postgres(each)}"
        for each in triggers
    ]


def check_subscriptions(case: Case) -> None:
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
