"""What a rule of a type consists of, and how long a value may be."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from runtime.contract.names import postgres_literal

Sql = Callable[[str], str]

# Snowflake's largest VARCHAR and BINARY, in bytes.
# Source: https://docs.snowflake.com/en/sql-reference/data-types-text
LONGEST_TEXT = 134_217_728
LONGEST_BINARY = 67_108_864
TEXT_TYPE = f"VARCHAR({LONGEST_TEXT})"
# A value that PostgreSQL stores in fewer bytes has a text below every limit: it packs a
# text to a 255th of its length at best, and JSON escapes make six characters of one.
_SURELY_SHORT = 80_000
_SIZED = re.compile(
    r"(?P<kind>NUMBER|VARCHAR|BINARY)\((?P<size>\d+)(?:,(?P<scale>\d+))?\)\Z"
)


@dataclass(frozen=True, kw_only=True)
class TypeRule:
    """How one PostgreSQL type travels.

    Attributes:
        export: From the quoted source column to the SQL expression that is exported.
        type: The Snowflake type, also as the provider reads it back.
        cast: From the landing text to a value; NULL when the text does not fit.
        text: From a target column to its canonical text; None when Snowflake has none
            for the type.
        canonical: From the quoted source column to that text; None when it is what is
            exported.
        misfit: From the quoted source column to PostgreSQL's condition of values that
            the cast does not take; None when it takes all.
        misfits: Those values in words.
        size: From the quoted source column to the text or bytes that may be longer than
            Snowflake's columns hold; None when they cannot.
        orderable: Whether ranges of the type make sense as chunks of a first load.
        key: Whether equality of values is equality of their text.
    """

    export: Sql
    type: str
    cast: Sql
    text: Sql | None
    canonical: Sql | None = None
    misfit: Sql | None = None
    misfits: str = ""
    size: Sql | None = None
    orderable: bool = False
    key: bool = True


def same(column: str) -> str:
    """Return an expression as it is."""
    return column


def as_text(column: str) -> str:
    """Return PostgreSQL's own text of a value."""
    return f"{column}::pg_catalog.text"


def try_cast(snowflake_type: str) -> Sql:
    """Return Snowflake's cast to a type, which gives NULL for what it cannot read."""
    return lambda column: f"TRY_CAST({column} AS {snowflake_type})"


def varchar(sql_type: str = TEXT_TYPE, export: Sql = same, **more: Any) -> TypeRule:
    """Return the rule of a type that arrives as the text it is exported as."""
    return TypeRule(export=export, type=sql_type, cast=same, text=same, **more)


def limited(rule: TypeRule, name: str) -> TypeRule:
    """Let an export fail by a value that no column of Snowflake can hold.

    Cut off or left out it would be lost without a word, and as it is its whole file
    would be refused. PostgreSQL has no function that raises; a cast of the message to
    a number does.

    Args:
        rule: The rule of the type.
        name: The column, for the message.
    """
    size = rule.size
    if size is None:
        return rule
    most = LONGEST_BINARY if rule.type.startswith("BINARY") else LONGEST_TEXT
    told = postgres_literal(f"column {name} has a value of over {most} bytes: ")

    def export(column: str) -> str:
        length = f"pg_catalog.octet_length({size(column)})"
        return (
            f"CASE WHEN pg_catalog.pg_column_size({column}) >= {_SURELY_SHORT} "
            f"AND {length} > {most} THEN pg_catalog.concat({told}, {length})"
            f"::pg_catalog.int4::pg_catalog.text ELSE {rule.export(column)} END"
        )

    return replace(rule, export=export)


def grows(before: str, after: str) -> bool:
    """Whether Snowflake lets a column of one type become another by itself.

    Source: https://docs.snowflake.com/en/sql-reference/sql/alter-table-column
    """
    one, other = _SIZED.match(before), _SIZED.match(after)
    if one is None or other is None or one["kind"] != other["kind"]:
        return False
    return one["scale"] == other["scale"] and int(one["size"]) <= int(other["size"])
