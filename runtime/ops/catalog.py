"""What PostgreSQL's catalog says of one table, as plain facts; judged elsewhere.

A view of one table is read through to that table: every row of it is one row there,
so the table's unique indexes and NOT NULL columns hold for it as well.
"""

from typing import Any

import msgspec
from msgspec import Struct
from psycopg2 import sql

from runtime.contract.columns import Column, ColumnKind
from runtime.contract.names import SourceName

_RELATION = """
SELECT pg_catalog.json_build_object(
  'oid', c.oid::pg_catalog.int8,
  'name', n.nspname || '.' || c.relname,
  'kind', c.relkind::pg_catalog.text,
  'temporary', c.relpersistence = 't',
  'row_security', c.relrowsecurity,
  'children', c.relkind = 'r' AND EXISTS (
    SELECT 1 FROM pg_catalog.pg_inherits AS h WHERE h.inhparent = c.oid),
  'columns', COALESCE((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'attnum', a.attnum,
      'name', a.attname,
      'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'base_type', pg_catalog.format_type(b.type, b.typmod),
      'kind', b.kind,
      'nullable', NOT a.attnotnull OR EXISTS (
        SELECT 1 FROM pg_catalog.pg_constraint AS k
        WHERE k.conrelid = c.oid AND k.contype = 'n' AND NOT k.convalidated
          AND k.conkey[1] = a.attnum),
      'loose', COALESCE(NOT l.collisdeterministic, FALSE)) ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute AS a
    LEFT JOIN pg_catalog.pg_collation AS l ON l.oid = a.attcollation
    CROSS JOIN LATERAL (
      WITH RECURSIVE chain AS (
        SELECT a.atttypid AS type, a.atttypmod AS typmod
        UNION ALL
        SELECT t.typbasetype, t.typtypmod
        FROM chain JOIN pg_catalog.pg_type AS t ON t.oid = chain.type
        WHERE t.typtype = 'd'
      )
      SELECT chain.type, chain.typmod,
        CASE WHEN t.typtype = 'e' THEN 'enum'
          WHEN t.typtype IN ('r', 'm') THEN 'range'
          WHEN t.typtype = 'c' THEN 'composite'
          WHEN t.typelem <> 0 AND t.typlen = -1
            AND t.typsubscript
              = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
            THEN 'array'
          ELSE 'base' END AS kind
      FROM chain JOIN pg_catalog.pg_type AS t ON t.oid = chain.type
      WHERE t.typtype <> 'd'
    ) AS b
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'indexes', COALESCE((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
      'name', x.relname,
      'primary', i.indisprimary,
      'attnums', (
        SELECT pg_catalog.array_agg(u.attnum::pg_catalog.int4 ORDER BY u.place)
        FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[])
          WITH ORDINALITY AS u(attnum, place)
        WHERE u.place <= i.indnkeyatts),
      'faults', pg_catalog.array_remove(ARRAY[
        CASE WHEN NOT i.indisunique THEN 'not unique' END,
        CASE WHEN NOT i.indisvalid THEN 'not valid' END,
        CASE WHEN i.indisunique AND NOT i.indimmediate THEN 'deferrable' END,
        CASE WHEN i.indpred IS NOT NULL THEN 'partial' END,
        CASE WHEN i.indexprs IS NOT NULL THEN 'of expressions' END], NULL))
      ORDER BY x.relname)
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
    WHERE i.indrelid = c.oid), '[]'))
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE {condition}
"""
# As text: a name longer than PostgreSQL stores must not match its beginning.
_BY_NAME = "n.nspname::pg_catalog.text = %s AND c.relname::pg_catalog.text = %s"
_BY_OID = "c.oid = %s"

# A deletable view has one table under it and no DISTINCT, GROUP BY, LIMIT or set
# operation (CREATE VIEW, "Updatable Views"); rules of its own would hide that. Row
# security of the table applies to the view's owner, or to whoever asks.
_VIEW = """
SELECT (pg_catalog.pg_relation_is_updatable(c.oid, FALSE) & 16) <> 0
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite AS w
      WHERE w.ev_class = c.oid AND w.ev_type <> '1'),
  pg_catalog.pg_get_viewdef(c.oid),
  COALESCE('security_invoker=true' = ANY (c.reloptions), FALSE),
  o.rolsuper OR o.rolbypassrls,
  c.relowner::pg_catalog.int8,
  ARRAY(SELECT DISTINCT d.refobjid::pg_catalog.int8
    FROM pg_catalog.pg_rewrite AS w
    JOIN pg_catalog.pg_depend AS d ON d.objid = w.oid
      AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    WHERE w.ev_class = c.oid AND d.refobjid <> c.oid)
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_roles AS o ON o.oid = c.relowner
WHERE c.oid = %s
"""
_EXEMPT = """
SELECT NOT c.relforcerowsecurity
  AND pg_catalog.pg_has_role(%s::pg_catalog.oid, c.relowner, 'USAGE')
FROM pg_catalog.pg_class AS c
WHERE c.oid = %s
"""


class FoundColumn(Struct, frozen=True, kw_only=True):
    """A column as the catalog has it.

    Attributes:
        attnum: Its number.
        name: Its name.
        type: Declared type as `format_type` prints it.
        base_type: The type under all domains.
        kind: What sort of type the base type is.
        nullable: Whether NULL may occur.
        loose: Whether its collation takes different texts for equal.
    """

    attnum: int
    name: str
    type: str
    base_type: str
    kind: ColumnKind
    nullable: bool
    loose: bool

    @property
    def contract(self) -> Column:
        """The column as a contract freezes it."""
        return Column(
            attnum=self.attnum,
            name=self.name,
            type=self.type,
            base_type=self.base_type,
            kind=self.kind,
            nullable=self.nullable,
        )


class FoundIndex(Struct, frozen=True, kw_only=True):
    """An index as the catalog has it.

    Attributes:
        name: Its name.
        primary: Whether it is the primary key's.
        attnums: Numbers of its key columns; 0 for an expression.
        faults: What keeps it from proving a key.
    """

    name: str
    primary: bool
    attnums: tuple[int, ...]
    faults: tuple[str, ...]


class Relation(Struct, frozen=True, kw_only=True):
    """A table, or a view read through to its table.

    Attributes:
        oid: Its identity.
        name: Schema and name, for people.
        kind: `relkind` of the catalog.
        temporary: Whether it vanishes with its session.
        row_security: Whether policies may hide rows from whoever reads it.
        children: Whether rows of inheriting tables appear in it.
        columns: Columns by number.
        indexes: Indexes that hold for its rows.
        base: What a view shows; None for a view of several tables, or of none.
    """

    oid: int
    name: str
    kind: str
    temporary: bool
    row_security: bool
    children: bool
    columns: tuple[FoundColumn, ...]
    indexes: tuple[FoundIndex, ...]
    base: "Relation | None" = None

    @property
    def bottom(self) -> "Relation":
        """What is under all views."""
        return self if self.base is None else self.base.bottom

    @property
    def readable(self) -> bool:
        """Whether rows of one table, and nothing else, are under all views."""
        return self.bottom.kind in ("r", "p")


def read_relation(cursor: Any, source: SourceName) -> Relation | None:
    """Return what the catalog says of a table; None when there is none.

    Args:
        cursor: Cursor of a session made by `runtime.ops.source.connect`.
        source: The table.
    """
    return _read(cursor, _BY_NAME, (source.schema, source.name))


def _read(cursor: Any, condition: str, values: tuple[Any, ...]) -> Relation | None:
    cursor.execute(_RELATION.replace("{condition}", condition), values)
    row = cursor.fetchone()
    if row is None:
        return None
    relation = msgspec.convert(row[0], Relation)
    return _through(cursor, relation) if relation.kind == "v" else relation


def _through(cursor: Any, view: Relation) -> Relation:
    """Read a view of one relation through to that."""
    cursor.execute(_VIEW, (view.oid,))
    simple, query, invoker, unbound, owner, used = cursor.fetchone()
    # A second table, even in a subquery, changes rows without their watermark.
    if not simple or len(used) != 1:
        return view
    base = _read(cursor, _BY_OID, (used[0],))
    if base is None or not base.readable:
        return msgspec.structs.replace(view, base=base)
    exempt = False
    if not invoker and base.kind != "v":
        cursor.execute(_EXEMPT, (owner, base.oid))
        exempt = unbound or cursor.fetchone()[0]
    origins = _origins(cursor, view, query)
    numbers = {origin: attnum for attnum, origin in origins.items()}
    return msgspec.structs.replace(
        view,
        base=base,
        row_security=base.row_security and not exempt,
        columns=tuple(
            msgspec.structs.replace(
                column, nullable=_nullable(base, origins.get(column.attnum))
            )
            for column in view.columns
        ),
        indexes=tuple(
            msgspec.structs.replace(
                index, attnums=tuple(numbers[attnum] for attnum in index.attnums)
            )
            for index in base.indexes
            if set(index.attnums) <= set(numbers)
        ),
    )


def _origins(cursor: Any, view: Relation, query: str) -> dict[int, int]:
    """Return which column of the table each column of a view is, if it is one.

    The server itself traces each output column of a query back to a table's column.
    """
    cursor.execute(
        sql.SQL("SELECT {} FROM ({}) AS v LIMIT 0").format(
            sql.SQL(", ").join(sql.Identifier("v", c.name) for c in view.columns),
            sql.SQL(query.rstrip(";")),
        )
    )
    return {
        column.attnum: traced.table_column
        for column, traced in zip(view.columns, cursor.description, strict=True)
        if traced.table_column
    }


def _nullable(base: Relation, attnum: int | None) -> bool:
    column = next((c for c in base.columns if c.attnum == attnum), None)
    return column is None or column.nullable
