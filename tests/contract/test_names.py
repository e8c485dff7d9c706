"""A name is stored once as the server stores it, and quoted only in SQL text."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlglot import TokenType, tokenize

from runtime.contract.errors import ConfigError
from runtime.contract.names import (
    LakeKeys,
    SourceName,
    fit,
    literal,
    quote_postgres,
    quote_snowflake,
    quote_snowflake_column,
    snowflake_name,
)

# Whatever PostgreSQL takes as an identifier: anything but U+0000.
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20
)
HOSTILE = "a\"b'c\\d;--%s{0}\n$$"


def stored(sql: str, dialect: str) -> str:
    """Return the one identifier that a server would store."""
    (token,) = tokenize(sql, dialect)
    if token.token_type == TokenType.IDENTIFIER:
        return token.text
    return token.text.upper() if dialect == "snowflake" else token.text.lower()


@given(NAMES)
@example(HOSTILE)
def test_a_quoted_name_is_one_identifier_of_postgresql(name):
    assert stored(quote_postgres(name), "postgres") == name


@given(NAMES)
@example(HOSTILE)
@example("ORDER")
@example("Orders")
def test_a_quoted_name_is_one_identifier_of_snowflake(name):
    assert stored(quote_snowflake(name), "snowflake") == name
    assert stored(quote_snowflake_column(name), "snowflake") == name


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
@example(HOSTILE)
@example("\\")
@example("\\'")
def test_a_literal_is_one_text_of_snowflake(text):
    (token,) = tokenize(literal(text), "snowflake")
    assert token.token_type == TokenType.STRING
    assert token.text == text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ORDERS", "ORDERS"),
        ("_SYNC", "_SYNC"),
        ("A1$", "A1$"),
        ("Orders", '"Orders"'),
        ("1ST", '"1ST"'),
        ("ORDER", '"ORDER"'),
        ("TABLE", '"TABLE"'),
        ('say "x"', '"say ""x"""'),
        ("ORDERS\n", '"ORDERS\n"'),
    ],
)
def test_snowflake_names_are_quoted_only_where_they_must_be(name, expected):
    assert quote_snowflake(name) == expected


def test_plain_columns_are_written_in_lower_case():
    assert quote_snowflake_column("ORDER_ID") == "order_id"
    assert quote_snowflake_column("Order_ID") == '"Order_ID"'
    assert quote_snowflake_column("SELECT") == '"SELECT"'


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("orders", "ORDERS"),
        ("OrderLines", "ORDERLINES"),
        ("order lines", "order lines"),
        ("größe", "größe"),
        ("ORDERS\n", "ORDERS\n"),
    ],
)
def test_names_that_snowflake_folds_need_no_quotes_there(name, expected):
    assert snowflake_name(name) == expected


# --- source names


@given(NAMES, NAMES)
@example("a.b", 'c"."d')
def test_a_source_name_is_read_back_from_its_text(schema, table):
    name = SourceName(schema=schema, name=table)
    assert SourceName.parse(str(name)) == name
    assert SourceName.parse(name.sql) == name


@pytest.mark.parametrize(
    ("text", "schema", "table"),
    [
        ("public.orders", "public", "orders"),
        ("Sales.OrderLines", "Sales", "OrderLines"),
        ('"a.b".c', "a.b", "c"),
        ('a."b.c"', "a", "b.c"),
        ('"say ""x""".t', 'say "x"', "t"),
        ('"public"."orders"', "public", "orders"),
    ],
)
def test_a_source_name_keeps_its_letters(text, schema, table):
    assert SourceName.parse(text) == SourceName(schema=schema, name=table)


@pytest.mark.parametrize(
    "text", ["", "orders", ".", "a.", ".b", "a.b.c", '"a".', 'a"b".c', '"".b', '"a.b']
)
def test_what_is_not_two_names_is_refused(text):
    with pytest.raises(ConfigError, match="not a qualified table name") as caught:
        SourceName.parse(text)
    assert caught.value.got == text
    assert "schema.table" in caught.value.allowed


# --- slugs and keys


def test_a_plain_name_is_its_own_slug():
    assert SourceName.parse("public.orders_2").slug == "public.orders_2"


@given(NAMES, NAMES)
@example("..", "/")
@example("a.b", "c")
def test_a_slug_is_safe_in_paths_keys_and_names(schema, table):
    slug = SourceName(schema=schema, name=table).slug
    assert re.fullmatch(r"[a-z0-9_.-]+", slug)
    assert slug not in (".", "..")
    assert len(slug) <= 130


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
@example(("a", "b-c"), ("a-b", "c"))
@example(("a", "B"), ("a", "b"))
@example(("a.b", "c"), ("a", "b.c"))
@example(("a", "b "), ("a", "b"))
def test_different_tables_have_different_slugs(one, other):
    slugs = [SourceName(schema=schema, name=name).slug for schema, name in (one, other)]
    assert (slugs[0] == slugs[1]) == (one == other)


@given(NAMES, NAMES)
def test_no_prefix_is_the_beginning_of_anothers(one, other):
    """orders must not match orders_archive."""
    keys = [
        LakeKeys(stack="dev", table=SourceName(schema="public", name=name))
        for name in (one, other)
    ]
    for prefixes in ([k.exports for k in keys], [k.manifests for k in keys]):
        assert all(prefix.endswith("/") for prefix in prefixes)
        assert prefixes[0].startswith(prefixes[1]) == (one == other)


def test_keys_carry_stack_table_run_stamp_and_width():
    keys = LakeKeys(stack="dev", table=SourceName.parse("public.orders"))
    assert keys.export_key("RUN", "000001-7-9", 12, "c000003") == (
        "exports/dev/public.orders/RUN/000001-7-9_12_c000003.csv"
    )
    assert keys.manifest_key(7) == "manifests/dev/public.orders/0000000007.json"


def test_manifests_are_listed_in_the_order_of_their_numbers():
    keys = LakeKeys(stack="dev", table=SourceName.parse("public.orders"))
    numbers = [0, 1, 9, 10, 99, 12345, 9_999_999_999]
    names = [keys.manifest_key(number) for number in numbers]
    assert sorted(names) == names


# --- limits of services


@given(st.text(max_size=200), st.integers(16, 128))
def test_a_name_that_fits_is_kept_and_a_longer_one_shortened(name, limit):
    fitted = fit(name, limit)
    assert len(fitted) <= limit
    assert (fitted == name) == (len(name) <= limit)


def test_shortened_names_that_begin_alike_stay_different():
    names = [f"{'x' * 80}{number}" for number in range(50)]
    assert len({fit(name, 64) for name in names}) == 50


@pytest.mark.parametrize("word", ["at", "end", "desc", "limit", "default", "order"])
def test_keywords_of_any_dialect_are_quoted_as_columns(word):
    """Unquoted, some of them are columns to Snowflake and syntax to other parsers."""
    assert quote_snowflake_column(snowflake_name(word)) == f'"{word.upper()}"'
