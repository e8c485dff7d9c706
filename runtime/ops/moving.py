"""Which column tells the rows that were written since: what speaks for each.

A trigger that moves it is as good as proof and a name is a hint. A moment of
insertion serves tables whose rows never change.
"""

import re
from typing import Any

from runtime.contract.columns import INTEGERS, MOMENTS
from runtime.contract.names import SourceName
from runtime.ops.catalog import FoundColumn, Relation
from runtime.ops.epochs import unit_of

# Row triggers before UPDATE (bits of pg_trigger.tgtype).
_TRIGGERS = """
SELECT t.tgname, p.prosrc, pg_catalog.encode(t.tgargs, 'escape'),
  t.tgenabled::pg_catalog.text
FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE t.tgrelid = %s AND NOT t.tgisinternal
  AND t.tgtype & 1 <> 0 AND t.tgtype & 2 <> 0 AND t.tgtype & 16 <> 0
"""
_DEFAULTS = """
SELECT a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attrdef AS d
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.adrelid = %s AND a.attgenerated = ''
"""
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
    r"birth|dob|due|start|end|from|to(date|day)|valid|until|expir|effective|hire|run"
    r"|required|ship|deliver|return|schedul|deadline|next|sell|release|depart|arriv"
)
_NOW = re.compile(r"(?i)\b(now\(|current_timestamp|current_date|clock_timestamp\()")


def movers(cursor: Any, relation: Relation, name: str) -> dict[str, str]:
    """Return the triggers that move a column on UPDATE, with when they fire.

    Args:
        cursor: Cursor on the database.
        relation: A table, or a view of one.
        name: The column.

    Returns:
        By name: `O` in ordinary sessions, `R` in those that replicate, `A` in both,
        `D` never (pg_trigger.tgenabled).
    """
    cursor.execute(_TRIGGERS, (relation.bottom.oid,))
    return {
        trigger: fires
        for trigger, body, arguments, fires in cursor.fetchall()
        if _moves(name, body, arguments)
    }


def best_watermark(
    cursor: Any, relation: Relation, source: SourceName
) -> tuple[FoundColumn, str, str | None] | None:
    """Return the column that tells best which rows are new.

    Args:
        cursor: Cursor on the database.
        relation: A table, or a view of one.
        source: Its name.

    Returns:
        The column, why it serves, and the unit of one of integers; None when there is
        none.
    """
    cursor.execute(_TRIGGERS, (relation.bottom.oid,))
    triggers = [row[:3] for row in cursor.fetchall() if row[3] in ("O", "A")]
    cursor.execute(_DEFAULTS, (relation.bottom.oid,))
    defaults = dict(cursor.fetchall())
    indexed = {index.attnums[0] for index in relation.indexes if index.attnums}
    kinds = (*MOMENTS, *INTEGERS)
    ranked = []
    for column in relation.columns:
        if column.contract.plain_type not in kinds:
            continue
        judged = _evidence(column, triggers, defaults.get(column.name, ""))
        if judged is not None:
            kind = kinds.index(column.contract.plain_type)
            order = (judged[0], column.nullable, column.attnum not in indexed, kind)
            ranked.append((order, column.attnum, column, judged[1]))
    for _, _, column, why in sorted(ranked, key=lambda each: each[:2]):
        if column.contract.plain_type in MOMENTS:
            return column, why, None
        unit = unit_of(cursor, source, column.name)
        if unit is not None:
            return column, f"{why}; its values are times in {unit}", unit
    return None


def _evidence(
    column: FoundColumn, triggers: list[tuple[str, str, str]], default: str
) -> tuple[int, str] | None:
    """Say how well a column tells new rows, from 0 (best), and why; None: not."""
    name = column.name
    for trigger, body, arguments in triggers:
        if _moves(name, body, arguments):
            return 0, f"moved by trigger {trigger}"
    plain = name.replace("_", "").lower()
    if _MOVES.fullmatch(plain):
        return 1, "by its name; every writer must move it"
    only = "append-only: a row that changes later is not seen"
    if _PLANNED.search(plain):
        return None
    if _BEGINS.fullmatch(plain) or _NOW.search(default):
        return 2, only
    if _EVENT.fullmatch(plain) and not column.nullable:
        return 3, f"{only}, nor one that comes with an old {name}"
    return None


def _moves(name: str, body: str, arguments: str) -> bool:
    """Whether a trigger's function sets a column of the new row, or is told to."""
    sets = re.search(rf'(?i)\bnew\."?{re.escape(name)}"?\s*:?=', body)
    return sets is not None or name in arguments.split("\\000")
