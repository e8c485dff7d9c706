"""JSON that Snowflake keeps as it is, told apart from what it would change or refuse.

PARSE_JSON keeps 38 digits of a number, 37 of them behind the point, and makes a double
of one that is longer or has an exponent; it refuses an object with a key twice. Both
sides look at a document without its strings: the digits that are left are numbers', the
colons are members'. Of escapes that stand for no character (U+0000, half a surrogate
pair) nothing is promised, so they do not fit; only `json` keeps them, `jsonb` refuses.
Source: https://docs.snowflake.com/en/sql-reference/functions/parse_json
"""

from runtime.contract.names import literal
from runtime.contract.type_rule import Sql

_ROUNDED = "|".join(
    (
        "[0-9]{39}",
        "[0-9.]{40}",
        # With an exponent: more digits than a double keeps.
        "[0-9.]{19}[eE]",
        "[0-9]{18}[eE]",
        # A long exponent says how large the number is only after one digit that counts.
        "(^|[^0-9.])([0-9]{2,}([.][0-9]+)?|0[.][0-9]+)[eE][+-]?[0-9]{3}",
        "[eE][+-]?(30[89]|3[1-9][0-9]|[4-9][0-9][0-9]|[0-9]{4})",
    )
)
_HEX = "[0-9a-fA-F]"
# An escape begins with a tilde here and tildes are blanks: patterns without a backslash
# mean the same to every server.
_PAIR = f"~u[dD][89abAB]{_HEX}{{2}}~u[dD][c-fC-F]{_HEX}{{2}}"
_NO_CHARACTER = "~u(0000|[dD][89a-fA-F])"

MISFITS = "numbers of over 38 digits, or over 37 behind the point"
RAW_MISFITS = (
    f"{MISFITS}; with an exponent: of over 17 digits, or beyond 1e307 and 1e-307; "
    "a key twice in an object; \\u0000 and half surrogate pairs"
)


def cast(column: str) -> str:
    """Return Snowflake's cast of a document that `jsonb` has made."""
    return f"CASE WHEN {_kept(column)} THEN TRY_PARSE_JSON({column}) END"


def raw_cast(column: str) -> str:
    """Return Snowflake's cast of a document as somebody wrote it."""
    marked = f"REPLACE(REPLACE({_unescaped(column)}, '~', ' '), '\\\\u', '~u')"
    single = f"REGEXP_REPLACE({marked}, '{_PAIR}', '')"
    odd = f"REGEXP_SUBSTR({single}, '{_NO_CHARACTER}')"
    return (
        f"CASE WHEN {_kept(column)} AND {odd} IS NULL "
        f"THEN TRY_PARSE_JSON({column}) END"
    )


def _unescaped(column: str) -> str:
    r"""Take `\\` out: what is left of backslashes begins an escape."""
    return f"REPLACE({column}, '\\\\\\\\', '')"


def _kept(column: str) -> str:
    bare = f"REPLACE({_unescaped(column)}, '\\\\\"', '')"
    bare = f"REGEXP_REPLACE({bare}, '\"[^\"]*\"', '')"
    return f"REGEXP_SUBSTR({bare}, {literal(_ROUNDED)}) IS NULL"


def misfit(export: Sql) -> Sql:
    """Return PostgreSQL's condition of documents that `cast` does not take.

    Args:
        export: The export of the type.
    """
    return lambda column: f"{_bare(export(column))} ~ '{_ROUNDED}'"


def raw_misfit(column: str) -> str:
    """Return PostgreSQL's condition of `json` that `raw_cast` does not take.

    A document with no such number and no such escape is one that jsonb takes; it has
    fewer members there when a key was repeated.
    """
    text = f"{column}::pg_catalog.text"
    marked = (
        f"pg_catalog.replace(pg_catalog.replace({_plain(text)}, '~', ' '), "
        "'\\u', '~u')"
    )
    single = f"pg_catalog.regexp_replace({marked}, '{_PAIR}', '', 'g')"
    members = (
        f"pg_catalog.length(pg_catalog.regexp_replace({_bare(each)}, '[^:]', '', 'g'))"
        for each in (text, f"{column}::pg_catalog.jsonb::pg_catalog.text")
    )
    return (
        f"CASE WHEN {_bare(text)} ~ '{_ROUNDED}' THEN TRUE "
        f"WHEN {single} ~ '{_NO_CHARACTER}' THEN TRUE "
        f"ELSE {' <> '.join(members)} END"
    )


def _plain(text: str) -> str:
    return f"pg_catalog.replace({text}, '\\\\', '')"


def _bare(text: str) -> str:
    quoted = f"pg_catalog.replace({_plain(text)}, '\\\"', '')"
    return f"pg_catalog.regexp_replace({quoted}, '\"[^\"]*\"', '', 'g')"
