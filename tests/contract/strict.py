"""Reading a statement with a parser that has no part in the local Snowflake.

fakesnow stands on sqlglot, which takes much that Snowflake refuses. sqlfluff has a
grammar of its own, written after Snowflake's documentation, and tells of each word what
it is.
"""

import re
from functools import cache
from typing import NamedTuple

from sqlfluff.core import FluffConfig, Linter
from sqlfluff.core.parser import BaseSegment


class Misread(NamedTuple):
    """Documented SQL that sqlfluff refuses, and the same in words that it takes.

    Sources are relative to https://docs.snowflake.com/en/.
    """

    why: str
    source: str
    pattern: str
    instead: str


# To be read as a list of what the parser could not vouch for: each entry must be in use
# and must still be refused, or its test fails.
MISREAD = (
    Misread(
        why="a variable may be declared with its type alone",
        source="sql-reference/snowflake-scripting/declare",
        pattern=r"(?<=[a-z] VARCHAR)(?=;)",
        instead=" := NULL",
    ),
    Misread(
        why="a backslash means nothing within a quoted identifier",
        source="sql-reference/identifiers-syntax",
        pattern=r'(?<!\\)\\(?=")',
        instead="",
    ),
)


class Word(NamedTuple):
    """A word or sign of a statement, and what the parser takes it for."""

    text: str
    kind: str


@cache
def _linter() -> Linter:
    config = FluffConfig(
        overrides={
            "dialect": "snowflake",
            # Nothing in a statement is a template.
            "templater": "raw",
            "large_file_skip_byte_limit": 0,
        }
    )
    return Linter(config=config)


def complaints(statement: str) -> list[str]:
    """Return what the parser refuses in a statement as it stands."""
    return [each.desc() for each in _linter().parse_string(statement).violations]


def reworded(statement: str) -> str:
    """Return the statement without what the parser is known to misread."""
    for each in MISREAD:
        statement = re.sub(each.pattern, each.instead, statement)
    return statement


@cache
def tree(statement: str) -> BaseSegment:
    """Return a statement's tree, which nobody changes.

    Raises:
        ValueError: When it is refused.
    """
    parsed = _linter().parse_string(reworded(statement))
    refused = [each.desc() for each in parsed.violations]
    if refused or parsed.tree is None:
        raise ValueError(f"{'; '.join(refused)}\n{statement}")
    return parsed.tree


def words(statement: str) -> list[Word]:
    """Return a statement's words and signs in order, without blanks."""
    types = {
        id(leaf)
        for found in tree(statement).recursive_crawl("data_type")
        for leaf in found.raw_segments
    }
    return [
        Word(leaf.raw, "type" if id(leaf) in types else leaf.type)
        for leaf in tree(statement).raw_segments
        if leaf.is_code
    ]
