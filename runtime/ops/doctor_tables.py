"""What a sync needs of one table in Aurora, and what its first load will take."""

import math
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs

from runtime.contract.aurora_sql import EXPORTER_ROLE, admin_statements
from runtime.contract.errors import ConfigErrors
from runtime.contract.masks import HASH_FUNCTION, hash_statements
from runtime.contract.names import quote_postgres
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.ops.catalog import Relation, read_relation
from runtime.ops.discover import contract_of, key_gaps
from runtime.ops.doctor_source import asking
from runtime.ops.doctor_watermark import (
    SIZE,
    Case,
    check_index,
    check_nulls,
    check_sequence,
    check_subscriptions,
    check_updates,
    extent,
    online,
)
from runtime.ops.findings import Report, Site

# About what an export reaches on the local stack with two idle cores; with busy ones
# 2,000,000 rows of 243 bytes took 7.6 s. Aurora's rate is not known yet.
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


# No row without the role; the function may be missing with its schema.
_MAY_HASH = """
SELECT COALESCE(pg_catalog.has_function_privilege(r.oid, f.oid, 'EXECUTE'), FALSE)
  AND pg_catalog.has_schema_privilege(r.oid, f.pronamespace, 'USAGE')
FROM pg_catalog.pg_roles AS r
LEFT JOIN pg_catalog.pg_proc AS f ON f.oid = pg_catalog.to_regprocedure(%s)
WHERE r.rolname = %s
"""


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
        checks = _CHECKS
        if "hash" in table.spec.masks.values():
            checks = checks | {"masks": _masks}
        if not table.spec.is_full:
            found = [column.name for column in relation.columns]
            moved = table.spec.watermark_col in found
            checks = checks | _WATERMARK_CHECKS if moved else {}
        for check, examine in checks.items():
            with asking(report, session, check, name) as cursor:
                examine(
                    Case(report=report, cursor=cursor, table=table, relation=relation)
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
    # As a run compares them; whether NULL may occur is not its concern.
    now = {c.attnum: f"{c.name} {c.type}" for _, c in found.live}
    then = {c.attnum: f"{c.name} {c.type}" for _, c in former.live}
    changed = [told for attnum, told in then.items() if now.get(attnum) != told]
    new = [told for attnum, told in now.items() if attnum not in then]
    if changed:
        fact = (
            f"differs from its contract in {', '.join(changed)}: its runs are refused"
        )
        report.shell("error", fact, refresh, site.deploy)
    if new:
        fact = (
            f"has columns that its contract lacks; they stay behind: {', '.join(new)}"
        )
        report.shell("warning", fact, refresh, site.deploy)


def _key_commands(relation: Relation, table: Table) -> tuple[str, ...]:
    if relation.bottom is not relation:
        return ()
    target, (nullable, unproved) = table.spec.source.sql, key_gaps(relation, table.spec)
    columns = ", ".join(map(quote_postgres, table.spec.key))
    index = f"CREATE UNIQUE INDEX{online(relation)} ON {target} ({columns})"
    return (
        *(
            f"ALTER TABLE {target} ALTER COLUMN {quote_postgres(name)} SET NOT NULL"
            for name in nullable
        ),
        *([index] if unproved else ()),
    )


def _size(case: Case) -> None:
    [(parts, heap, _, total, rows)] = case.ask(SIZE)
    seconds = max(
        1, heap / EXPORT_BYTES_PER_SECOND, (rows or 0) / EXPORT_ROWS_PER_SECOND
    )
    chunks = max(1, math.ceil(heap / _CHUNK_BYTES))
    partitions = f" in {parts} partitions" if case.relation.bottom.kind == "p" else ""
    case.add(
        "ok",
        f"{extent(case)}{partitions}, {total} with indexes; a first load takes about "
        f"{seconds:,.0f} s, {chunks:,} {'chunk' if chunks == 1 else 'chunks'}",
    )


def _grants(case: Case) -> None:
    *_, usage, select = admin_statements([case.table.spec])
    # No row without the role, which is told for the server.
    for in_schema, readable in case.ask(_GRANTED, case.relation.oid, EXPORTER_ROLE):
        missing = [usage] * (not in_schema) + [select] * (not readable)
        if missing:
            fact = f"role {EXPORTER_ROLE} may not read it"
            case.report.aurora("error", fact, *missing)


def _masks(case: Case) -> None:
    for (able,) in case.ask(_MAY_HASH, f"{HASH_FUNCTION}(text)", EXPORTER_ROLE):
        if not able:
            fact = f"role {EXPORTER_ROLE} may not hash what the masks name"
            case.report.aurora("error", fact, *hash_statements(EXPORTER_ROLE))


_CHECKS: dict[str, Callable[[Case], None]] = {
    "size": _size,
    "grants": _grants,
}
_WATERMARK_CHECKS: dict[str, Callable[[Case], None]] = {
    "watermark index": check_index,
    "watermark": check_nulls,
    "sequence": check_sequence,
    "updates": check_updates,
    "replication": check_subscriptions,
}
