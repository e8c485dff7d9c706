"""One table of types: how PostgreSQL exports a value and Snowflake reads it.

Each rule is lossless for every value it accepts; a value that does not cast goes to
quarantine with its text, never silently to NULL. `export` and `text` render the same
canonical text on both sides, which is what `verify` compares; a rule without `text`
has no canonical text in Snowflake (floats, JSON) and is compared by value.

Sources: https://www.postgresql.org/docs/current/datatype.html and
https://docs.snowflake.com/en/sql-reference/intro-summary-data-types; Snowflake's
largest VARCHAR is 134,217,728 bytes, its largest BINARY 67,108,864.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from runtime.contract.errors import ConfigError
from runtime.contract.names import literal
from runtime.contract.specs import Column

Sql = Callable[[str], str]

TEXT_TYPE = "VARCHAR(134217728)"
_STAMP = "YYYY-MM-DD HH24:MI:SS.FF6"
_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)\Z")
_SIZED = re.compile(
    r"(?P<kind>NUMBER|VARCHAR|BINARY)\((?P<size>\d+)(?:,(?P<scale>\d+))?\)\Z"
)
_LENGTH = re.compile(r"(?:character varying|character)\((\d+)\)\Z")


@dataclass(frozen=True, kw_only=True)
class TypeRule:
    """How one PostgreSQL type travels.

    Attributes:
        export: From the quoted source column to the SQL expression that is exported.
        type: The Snowflake type, also as the provider reads it back.
        cast: From the landing text to a value; NULL when the text does not fit.
        text: From a target column back to the exported text; None when Snowflake
            has no canonical text for the type.
        orderable: Whether ranges of the type make sense as chunks of a first load.
        key: Whether equality of values is equality of their text.
    """

    export: Sql
    type: str
    cast: Sql
    text: Sql | None
    orderable: bool = False
    key: bool = True


def _same(column: str) -> str:
    return column


def _as_text(column: str) -> str:
    return f"{column}::pg_catalog.text"


def _try_cast(snowflake_type: str) -> Sql:
    return lambda column: f"TRY_CAST({column} AS {snowflake_type})"


def _varchar(sql_type: str = TEXT_TYPE, export: Sql = _same, **more: bool) -> TypeRule:
    return TypeRule(export=export, type=sql_type, cast=_same, text=_same, **more)


def _number(precision: int, scale: int = 0, **more: bool) -> TypeRule:
    sql_type = f"NUMBER({precision},{scale})"
    return TypeRule(
        export=_same,
        type=sql_type,
        cast=_try_cast(sql_type),
        text=lambda column: f"TO_VARCHAR({column})",
        **more,
    )


def _moment(export_value: Sql, suffix: str, snowflake: str, back: Sql) -> TypeRule:
    """A timestamp: fixed-width text inside years 1 to 9999, its own text outside.

    to_char prints infinity as NULL and years BC without their era, so that those
    must not pass through it.
    """

    def export(column: str) -> str:
        return (
            f"CASE WHEN {column} >= '0001-01-01' AND {column} < '10000-01-01' "
            f"THEN pg_catalog.to_char({export_value(column)}, "
            f"'YYYY-MM-DD HH24:MI:SS.US{suffix}') ELSE {column}::pg_catalog.text END"
        )

    return TypeRule(
        export=export,
        type=f"{snowflake}(6)",
        cast=(
            (lambda column: f"TRY_TO_TIMESTAMP_NTZ({column}, '{_STAMP}')")
            if snowflake == "TIMESTAMP_NTZ"
            else _try_cast(f"{snowflake}(6)")
        ),
        text=lambda column: f"TO_VARCHAR({back(column)}, '{_STAMP}') || '{suffix}'",
        orderable=True,
    )


# A number in JSON that Snowflake would round: it keeps 38 digits, 37 of them behind the
# point; one with an exponent becomes a double.
# Source: https://docs.snowflake.com/en/sql-reference/functions/parse_json
_ROUNDED = (
    "[0-9]{39}|[0-9.]{40}|[0-9.]{19}[eE]"
    "|[eE][+]?(309|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})"
    "|[eE]-(32[4-9]|3[3-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})"
)


def _json_cast(column: str) -> str:
    """Take the escapes out, then the strings: digits that are left are numbers'."""
    bare = f"REPLACE(REPLACE({column}, '\\\\\\\\', ''), '\\\\\"', '')"
    bare = f"REGEXP_REPLACE({bare}, '\"[^\"]*\"', '')"
    return (
        f"CASE WHEN REGEXP_SUBSTR({bare}, {literal(_ROUNDED)}) IS NULL "
        f"THEN TRY_PARSE_JSON({column}) END"
    )


def _variant(export: Sql, cast: Sql = _json_cast) -> TypeRule:
    return TypeRule(export=export, type="VARIANT", cast=cast, text=None, key=False)


def _jsonb(column: str) -> str:
    return f"pg_catalog.to_jsonb({column})::pg_catalog.text"


def _array(column: str) -> str:
    """JSON, but for an array that does not count from 1: JSON has no place for that."""
    return (
        f"CASE WHEN pg_catalog.array_dims({column}) ~ '\\[([^1]|1[^:])' "
        f"THEN {_as_text(column)} ELSE {_jsonb(column)} END"
    )


_JSON = _variant(_as_text)
_FLOAT_ARRAYS = frozenset({"real[]", "double precision[]"})
_FLOAT = TypeRule(
    export=_as_text,
    type="FLOAT",
    cast=_try_cast("FLOAT"),
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
    "numeric": _varchar(export=_as_text, key=False),
    "money": _varchar(export=lambda c: f"{c}::pg_catalog.numeric::pg_catalog.text"),
    "real": _FLOAT,
    "double precision": _FLOAT,
    "boolean": TypeRule(
        export=_same,
        type="BOOLEAN",
        cast=_try_cast("BOOLEAN"),
        text=lambda column: f"CASE {column} WHEN TRUE THEN 't' WHEN FALSE THEN 'f' END",
    ),
    "date": TypeRule(
        export=_as_text,
        type="DATE",
        cast=lambda column: f"TRY_TO_DATE({column}, 'YYYY-MM-DD')",
        text=lambda column: f"TO_VARCHAR({column}, 'YYYY-MM-DD')",
        orderable=True,
    ),
    "timestamp without time zone": _moment(_same, "", "TIMESTAMP_NTZ", _same),
    "timestamp with time zone": _moment(
        lambda column: f"{column} AT TIME ZONE 'UTC'",
        "+00:00",
        "TIMESTAMP_TZ",
        lambda column: f"CONVERT_TIMEZONE('UTC', {column})::TIMESTAMP_NTZ",
    ),
    "time without time zone": TypeRule(
        export=lambda column: (
            f"pg_catalog.to_char({column}::pg_catalog.interval, 'HH24:MI:SS.US')"
        ),
        type="TIME(6)",
        cast=_try_cast("TIME(6)"),
        text=lambda column: f"TO_VARCHAR({column}, 'HH24:MI:SS.FF6')",
    ),
    "text": _varchar(),
    "character varying": _varchar(),
    "character": _varchar(export=_padded),
    # Equal whatever blanks it ends with.
    "bpchar": _varchar(key=False),
    "uuid": _varchar("VARCHAR(36)", orderable=True),
    "bytea": TypeRule(
        export=lambda column: f"pg_catalog.encode({column}, 'hex')",
        type="BINARY(67108864)",
        cast=lambda column: f"TRY_TO_BINARY({column}, 'HEX')",
        text=lambda column: f"LOWER(TO_VARCHAR({column}, 'HEX'))",
    ),
    "json": _JSON,
    "jsonb": _JSON,
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


def rule_for(column: Column) -> TypeRule:
    """Return the rule of a column's type.

    Raises:
        ConfigError: When the type has no rule.
    """
    if column.kind == "array":
        if column.base_type in _FLOAT_ARRAYS:
            # JSON prints 1e40 with all its digits; a double is what they were.
            return _variant(_array, cast=lambda column: f"TRY_PARSE_JSON({column})")
        return _variant(_array)
    if column.kind == "composite":
        return _variant(_jsonb)
    if column.kind == "enum":
        return _varchar(export=_as_text)
    if column.kind == "range":
        # numrange '[1,2)' equals '[1.0,2)'.
        return _varchar(export=_as_text, key=False)
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


def grows(before: str, after: str) -> bool:
    """Whether Snowflake lets a column of one type become another by itself.

    Source: https://docs.snowflake.com/en/sql-reference/sql/alter-table-column
    """
    one, other = _SIZED.match(before), _SIZED.match(after)
    if one is None or other is None or one["kind"] != other["kind"]:
        return False
    return one["scale"] == other["scale"] and int(one["size"]) <= int(other["size"])


def _base_rule(base_type: str) -> TypeRule | None:
    numeric = _NUMERIC.match(base_type)
    if numeric:
        return _numeric(int(numeric.group(1)), int(numeric.group(2)))
    length = _LENGTH.match(base_type)
    if length:
        padded = base_type.startswith("character(")
        export = _padded if padded else _same
        return _varchar(f"VARCHAR({length.group(1)})", export=export)
    # A typmod such as (3) or (3) inside "timestamp(3) with time zone" narrows the
    # values, not their form.
    # Types of extensions are printed with the schema they were installed in.
    plain = re.sub(r"\(\d+\)", "", base_type).rsplit(".", 1)[-1]
    if plain in _BASE:
        return _BASE[plain]
    if plain in _TEXT_TYPES or plain.startswith("interval "):
        return _varchar(export=_as_text, key=plain not in _LOOSE_EQUALITY)
    return None


def _numeric(precision: int, scale: int) -> TypeRule:
    # PostgreSQL allows scales below 0 and above the precision; Snowflake does not.
    digits = max(precision - min(scale, 0), scale)
    if digits > 38 or scale > 37:
        return _varchar(export=_as_text)
    return _number(digits, max(scale, 0))
