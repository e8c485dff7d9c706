"""One table of types: how PostgreSQL exports a value and Snowflake reads it.

Each rule is lossless for every value it accepts; a value that does not cast goes to
quarantine with its text, never silently to NULL. `export` and `text` render the same
canonical text on both sides, which is what `verify` compares; a rule without `text`
has no canonical text in Snowflake (floats, JSON) and is compared by value. What a
column's own rule or mask makes of its type's is said in `runtime.contract.masks`.

Sources: https://www.postgresql.org/docs/current/datatype.html and
https://docs.snowflake.com/en/sql-reference/intro-summary-data-types; Snowflake's
largest VARCHAR is 134,217,728 bytes, its largest BINARY 67,108,864.
"""

import re
from typing import Any

from runtime.contract import json_fit, moments
from runtime.contract.columns import Column
from runtime.contract.errors import ConfigError
from runtime.contract.masks import masked
from runtime.contract.type_rule import (
    LONGEST_BINARY,
    Sql,
    TypeRule,
    as_text,
    limited,
    same,
    try_cast,
    varchar,
)

_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)\Z")
_LENGTH = re.compile(r"(?:character varying|character)\((\d+)\)\Z")


def _number(precision: int, scale: int = 0, **more: Any) -> TypeRule:
    sql_type = f"NUMBER({precision},{scale})"
    return TypeRule(
        export=same,
        type=sql_type,
        cast=try_cast(sql_type),
        text=lambda column: f"TO_VARCHAR({column})",
        **more,
    )


def _variant(export: Sql) -> TypeRule:
    return TypeRule(
        export=export,
        type="VARIANT",
        cast=json_fit.cast,
        text=None,
        misfit=json_fit.misfit(export),
        misfits=json_fit.MISFITS,
        size=export,
        key=False,
    )


def _jsonb(column: str) -> str:
    return f"pg_catalog.to_jsonb({column})::pg_catalog.text"


def _other_bounds(column: str) -> str:
    return f"pg_catalog.array_dims({column}) ~ '\\[([^1]|1[^:])'"


def _array(of_floats: bool) -> TypeRule:
    """JSON, but for an array that does not count from 1: JSON has no place for that."""

    def export(column: str) -> str:
        return (
            f"CASE WHEN {_other_bounds(column)} THEN {as_text(column)} "
            f"ELSE {_jsonb(column)} END"
        )

    def misfit(column: str) -> str:
        # Without dimensions it is empty, and fits.
        bounds = f"COALESCE({_other_bounds(column)}, FALSE)"
        if of_floats:
            return bounds
        rounded = json_fit.misfit(_jsonb)(column)
        return f"CASE WHEN {bounds} THEN TRUE ELSE {rounded} END"

    counted = "arrays that do not count from 1"
    return TypeRule(
        export=export,
        type="VARIANT",
        # JSON prints 1e40 with all its digits; a double is what they were.
        cast=(lambda c: f"TRY_PARSE_JSON({c})") if of_floats else json_fit.cast,
        text=None,
        misfit=misfit,
        misfits=counted if of_floats else f"{counted}; {json_fit.MISFITS}",
        size=_jsonb,
        key=False,
    )


_FLOAT_ARRAYS = frozenset({"real[]", "double precision[]"})
_FLOAT = TypeRule(
    export=as_text,
    type="FLOAT",
    cast=try_cast("FLOAT"),
    text=None,
    key=False,
)


def _padded(column: str) -> str:
    """The output function keeps the blanks of char(n); a cast would strip them."""
    return f"pg_catalog.textin(pg_catalog.bpcharout({column}))"


_BASE: dict[str, TypeRule] = {
    "smallint": _number(5, orderable=True),
    "integer": _number(10, orderable=True),
    "bigint": _number(19, orderable=True),
    "oid": _number(10),
    "numeric": varchar(export=as_text, key=False),
    "money": varchar(export=lambda c: f"{c}::pg_catalog.numeric::pg_catalog.text"),
    "real": _FLOAT,
    "double precision": _FLOAT,
    "boolean": TypeRule(
        export=same,
        type="BOOLEAN",
        cast=try_cast("BOOLEAN"),
        text=lambda column: f"CASE {column} WHEN TRUE THEN 't' WHEN FALSE THEN 'f' END",
    ),
    "date": moments.DATE,
    "timestamp without time zone": moments.NAIVE,
    "timestamp with time zone": moments.ZONED,
    "time without time zone": moments.TIME,
    "text": varchar(size=same),
    "character varying": varchar(size=same),
    "character": varchar(export=_padded),
    # Equal whatever blanks it ends with.
    "bpchar": varchar(size=same, key=False),
    "uuid": varchar("VARCHAR(36)", orderable=True),
    "bytea": TypeRule(
        export=lambda column: f"pg_catalog.encode({column}, 'hex')",
        type=f"BINARY({LONGEST_BINARY})",
        cast=lambda column: f"TRY_TO_BINARY({column}, 'HEX')",
        text=lambda column: f"LOWER(TO_VARCHAR({column}, 'HEX'))",
        size=same,
    ),
    "json": TypeRule(
        export=as_text,
        type="VARIANT",
        cast=json_fit.raw_cast,
        text=None,
        misfit=json_fit.raw_misfit,
        misfits=json_fit.RAW_MISFITS,
        size=as_text,
        key=False,
    ),
    "jsonb": _variant(as_text),
    "hstore": _variant(_jsonb),
}

# Exact text, as PostgreSQL prints it under the session settings of an export.
_TEXT_TYPES = frozenset("""
    bit "bit varying" "char" name xml inet cidr macaddr macaddr8 tsvector tsquery
    pg_lsn xid xid8 cid tid point line lseg box path polygon circle interval
    regclass regtype regproc regprocedure regoper regoperator regrole regnamespace
    regconfig regdictionary regcollation refcursor pg_snapshot txid_snapshot
    jsonpath citext ltree
    """.replace('"bit varying"', "").split()) | {"bit varying", "time with time zone"}
# Their values can be equal while their texts differ, so they cannot be keys.
_LOOSE_EQUALITY = frozenset({"citext", "interval", "time with time zone"})
_LOOSE_EQUALITY |= {"point", "box", "circle", "tsvector", "tsquery"}
# Whose values may have a text longer than Snowflake's columns hold.
_LONG = frozenset({"xml", "bit varying", "tsvector", "path", "polygon", "jsonpath"})
_LONG |= {"citext", "ltree", "refcursor"}


# Every type that has a rule by its name; the others have one by their kind, or by
# their length.
NAMED = (*_BASE, *sorted(_TEXT_TYPES))


def rule_for(column: Column) -> TypeRule:
    """Return the rule of a column: its type's, under its mask.

    Raises:
        ConfigError: When the type has no rule.
    """
    rule = type_rule(column)
    return masked(rule, column) if column.mask else limited(rule, column.name)


def type_rule(column: Column) -> TypeRule:
    """Return the rule of a column's type, whatever its mask.

    Raises:
        ConfigError: When the type has no rule.
    """
    if column.kind == "array":
        return _array(of_floats=column.base_type in _FLOAT_ARRAYS)
    if column.kind == "composite":
        return _variant(_jsonb)
    if column.kind == "enum":
        return varchar(export=as_text)
    if column.kind == "range":
        # numrange '[1,2)' equals '[1.0,2)'.
        return varchar(export=as_text, size=as_text, key=False)
    rule = _base_rule(column.base_type)
    if rule is None:
        raise ConfigError(
            f"column {column.name!r} has a type without a rule",
            subject="contract",
            got=column.type,
            allowed="built-in types, enums, domains, arrays, ranges and composites",
            remedy='leave the column behind with "exclude", or cast it in a view',
        )
    return rule


def _base_rule(base_type: str) -> TypeRule | None:
    numeric = _NUMERIC.match(base_type)
    if numeric:
        return _numeric(int(numeric.group(1)), int(numeric.group(2)))
    length = _LENGTH.match(base_type)
    if length:
        padded = base_type.startswith("character(")
        return varchar(f"VARCHAR({length.group(1)})", _padded if padded else same)
    # A typmod such as (3) or (3) inside "timestamp(3) with time zone" narrows the
    # values, not their form.
    # Types of extensions are printed with the schema they were installed in.
    plain = re.sub(r"\(\d+\)", "", base_type).rsplit(".", 1)[-1]
    if plain in _BASE:
        return _BASE[plain]
    if plain in _TEXT_TYPES or plain.startswith("interval "):
        size = as_text if plain in _LONG else None
        return varchar(export=as_text, size=size, key=plain not in _LOOSE_EQUALITY)
    return None


def _numeric(precision: int, scale: int) -> TypeRule:
    # PostgreSQL allows scales below 0 and above the precision; Snowflake does not.
    digits = max(precision - min(scale, 0), scale)
    if digits > 38 or scale > 37:
        return varchar(export=as_text)
    return _number(
        digits,
        max(scale, 0),
        misfit=lambda column: f"{column} = 'NaN'",
        misfits="NaN",
    )
