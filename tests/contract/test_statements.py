"""Each statement is Snowflake's, to a parser that has no part in the local Snowflake.

And each is made of what Snowflake documents, nothing else: see `documented.py`.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import pytest

from runtime.contract.dialect import DIALECT
from runtime.contract.names import quote_snowflake
from runtime.contract.snowflake_names import (
    SnowflakeObjects,
    landing_columns,
    shared_tables,
    target_columns,
)
from tests.contract import documented, strict
from tests.contract.sent import administered, deployed, operated, shared
from tests.contract.strict import Word
from tests.contract.test_snowflake_sql import OBJECTS, TABLES
from tests.factories import ORDERS, make_table
from tests.golden.every_type import every_type

pytestmark = pytest.mark.slow

ODD = SnowflakeObjects(database='say"x', warehouse="w", stack="dev")
REMOVED = ("removed_at", "timestamp with time zone")
# Each with what the others lack: keys that are compared; names that need quotes; each
# type; a mark for deletes, with columns that came later; no watermark. To read all
# statements of all would take a minute, so that most show some of theirs.
TABLE_SCENES = {
    "reconcile": (OBJECTS, TABLES["simple"], r".*"),
    "hostile names": (
        OBJECTS,
        TABLES["hostile names"],
        r"pipe|task|explain 0|verify 3",
    ),
    "every type": (OBJECTS, every_type(), r"pipe|first of task|explain 0|verify 3"),
    "soft column": (
        ODD,
        make_table(
            (*ORDERS, REMOVED, ("born", "date"), ("doc", "json"), ("note", "text")),
            base_width=3,
            deletes="soft_column",
            deleted_col="removed_at",
            misfits={"born": "text", "doc": "null"},
            masks={"note": "hash"},
            rename={"doc": 'the "doc"'},
        ),
        r"pipe|condition|task",
    ),
    "full": (
        OBJECTS,
        make_table(ORDERS[:2], mode="full", watermark_col=None, deletes="ignore"),
        r"verify",
    ),
}
SCENES = (*TABLE_SCENES, "all tables", "administrator")
scenes = pytest.mark.parametrize("scene", SCENES)


@cache
def statements(scene: str) -> dict[str, str]:
    """Return a scene's statements with their names; each statement once."""
    if scene == "all tables":
        tables = {name: table for name, (_, table, _) in TABLE_SCENES.items()}
        return dict(shared(ODD, tables))
    if scene == "administrator":
        return dict(administered())
    objects, table, wanted = TABLE_SCENES[scene]
    found = dict(deployed(objects, table)) | dict(operated(objects, table))
    once = {
        statement: name for name, statement in found.items() if re.match(wanted, name)
    }
    return {name: statement for statement, name in once.items()}


def everything() -> Iterator[str]:
    for scene in SCENES:
        yield from statements(scene).values()


@scenes
def test_a_statement_is_read_by_a_strict_parser(scene):
    for name, statement in statements(scene).items():
        try:
            strict.tree(statement)
        except ValueError as error:
            pytest.fail(f"{name}: {error}")


@pytest.mark.parametrize("known", strict.MISREAD, ids=lambda known: known.why)
def test_what_the_parser_misreads_is_in_use_and_still_misread(known):
    used = [each for each in everything() if re.search(known.pattern, each)]
    assert used
    assert all(strict.complaints(each) for each in used)


@pytest.mark.parametrize(
    "broken",
    [
        "SELECT a, FROM t WHERE",
        "MERGE INTO t USING s ON t.a = s.a WHEN MATCHES THEN DELETE",
        "COPY INTO t FROM (SELECT t.$1 FROM @s t) FILE_FORMAT (FORMAT_NAME = 'f')",
        "COPY INTO t FROM (SELECT t.$1 FROM @s t) ON_ERROR = SKIP",
        "CREATE OR REPLACE STREAM s ON TABLE t APPEND ONLY = TRUE",
        "BEGIN SELECT 1; EXCEPTION OTHER THEN RAISE; END",
        "SELECT a FROM t QUALIFY BY 1",
    ],
)
def test_the_parser_is_strict(broken):
    assert strict.complaints(broken)


def test_an_element_of_json_that_is_a_reserved_word_stands_in_quotes():
    """One that does not look like an identifier must; of reserved words none says."""
    paths = {
        after.text.upper()
        for statement in everything()
        for before, after in pairwise(strict.words(statement))
        if before.text == ":" and not after.text.startswith('"')
    }
    assert {"KEY", "SEQ"} <= paths
    assert not {path for path in paths if quote_snowflake(path) != path}


# --- what is documented

CATEGORIES = {
    "function": documented.FUNCTIONS,
    "argument": documented.ARGUMENTS,
    "date part": documented.DATE_PARTS,
    "type": documented.TYPES,
    "metadata": documented.METADATA,
    "clause": documented.CLAUSES,
}
PHRASES = sorted(
    (phrase.split() for phrase in documented.CLAUSES), key=len, reverse=True
)


def pieces(words: list[Word]) -> Iterator[tuple[str, str]]:
    """Yield category and text of all that is Snowflake's in a statement.

    Of a statement's words those are ours that stand in lower case or in quotes, and
    names with a dot.
    """
    texts = [word.text for word in words]
    place = 0
    while place < len(words):
        phrase = next((p for p in PHRASES if texts[place : place + len(p)] == p), None)
        if phrase and words[place].kind != "word":
            yield "clause", " ".join(phrase)
            place += len(phrase)
            continue
        found = category(words, place)
        if found:
            yield found, texts[place]
        place += 1


def category(words: list[Word], place: int) -> str | None:
    """Say what a word is that no clause covers; None for our names and for signs."""
    text, kind = words[place]
    before = words[place - 1].text if place else ""
    after = words[place + 1].text if place + 1 < len(words) else ""
    called = kind in ("word", "raw") or (text.isupper() and before != ".")
    if kind == "type":
        return "type" if text[0].isalpha() else None
    if not re.fullmatch(r"[A-Za-z_][\w$]*", text):
        return None
    if text.startswith("METADATA$"):
        return "metadata"
    if after == "(" and called:
        return "function"
    if after == "=>":
        return "argument"
    if [word.text for word in words[max(place - 2, 0) : place]] == ["DATEADD", "("]:
        return "date part"
    ours = kind == "identifier" or text.islower()
    return None if ours else "clause"


@cache
def sent() -> frozenset[tuple[str, str]]:
    """Return all that any scene's statements are made of."""
    return frozenset(
        piece for statement in everything() for piece in pieces(strict.words(statement))
    ) | {("type", column) for column in column_types()}


def column_types() -> set[str]:
    """Return the types that tables are made with; their sizes belong to the type."""
    table = every_type()
    columns = [*landing_columns(table), *target_columns(table)]
    columns += [each for some in shared_tables().values() for each in some]
    return {column.type.split("(")[0] for column in columns}


def test_only_what_is_documented_is_sent():
    assert not [
        piece for piece in sorted(sent()) if piece[1] not in CATEGORIES[piece[0]]
    ]


@pytest.mark.parametrize("name", CATEGORIES)
def test_what_is_listed_is_sent(name):
    used = {text for kind, text in sent() if kind == name}
    assert not set(CATEGORIES[name]) - used


def test_each_page_is_snowflakes():
    for listed in (*CATEGORIES.values(), documented.FORMAT_OPTIONS):
        for page in listed.values():
            assert re.fullmatch(r"[a-z0-9/_-]+", page), page


def test_the_file_format_has_documented_options_alone():
    assert set(DIALECT.file_format) == set(documented.FORMAT_OPTIONS)
