"""The reader that judges our files reads as Snowflake's documentation says."""

import pytest

from runtime.contract.dialect import DIALECT
from tests.contract.snowflake_csv import (
    DEFAULTS,
    FormatError,
    LoadError,
    loaded,
    selected,
)

# Our own format but for what a test is about.
OURS = DIALECT.file_format
PIPES = {"FIELD_DELIMITER": "|", "FIELD_OPTIONALLY_ENCLOSED_BY": '"'}


def rows(text, fields=2, **options):
    return selected(text.encode(), OURS | options, fields)


# --- NULL beside the empty string


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("a,b\n", ["a", "b"]),
        (",b\n", [None, "b"]),
        ("a,\n", ["a", None]),
        (",\n", [None, None]),
        ('"",b\n', ["", "b"]),
        ('a,""\n', ["a", ""]),
        (" , \n", [" ", " "]),
    ],
)
def test_an_empty_field_is_null_and_an_enclosed_one_is_the_empty_string(text, row):
    assert rows(text) == [row]


def test_an_empty_field_is_the_empty_string_where_the_option_says_so():
    assert rows(",b\n", EMPTY_FIELD_AS_NULL=False) == [["", "b"]]


def test_null_if_matches_enclosed_fields_too():
    """The documentation's own example loads `'null'` as NULL."""
    assert rows('null,"null"\n', NULL_IF=["null"]) == [[None, None]]
    assert rows("NULL,nulls\n", NULL_IF=["null"]) == [["NULL", "nulls"]]
    assert rows('"",2\n', NULL_IF=["", "2"]) == [[None, None]]
    assert rows('null,"null"\n') == [["null", "null"]]


# --- quotes


def test_a_doubled_quote_is_one():
    """The documentation's example: A ""B"" C."""
    assert rows('"A ""B"" C",""""\n') == [['A "B" C', '"']]


def test_delimiters_and_line_ends_within_quotes_are_text():
    assert rows('"a,b","c\nd\r\n\re"\n') == [["a,b", "c\nd\r\n\re"]]


def test_a_quote_within_a_bare_field_stays():
    assert rows('a"b,c""\n') == [['a"b', 'c""']]


@pytest.mark.parametrize("text", ['"a"b,c\n', '"a" ,b\n', '"a,b\n', '"a""\n', '"'])
def test_what_follows_a_closing_quote_must_be_a_delimiter(text):
    with pytest.raises(LoadError):
        rows(text)


def test_without_an_enclosing_character_quotes_are_text():
    read = rows('"a,b"\n', FIELD_OPTIONALLY_ENCLOSED_BY="NONE")
    assert read == [['"a', 'b"']]
    assert rows("'a,''',b\n", FIELD_OPTIONALLY_ENCLOSED_BY="'") == [["a,'", "b"]]


def test_a_line_end_within_a_field_is_an_error_without_multi_line():
    with pytest.raises(LoadError, match="record delimiter"):
        rows('"a\nb",c\n', MULTI_LINE=False)
    assert rows('"a,b",c\n', MULTI_LINE=False) == [["a,b", "c"]]


# --- blanks


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('|"Hello world"|', "Hello world"),
        ('|" Hello world "|', " Hello world "),
        ('| "Hello world" |', "Hello world"),
        ("| Hello world |", "Hello world"),
    ],
)
def test_trim_space_takes_blanks_around_fields_and_not_within_quotes(text, value):
    read = selected(text.encode(), PIPES | {"TRIM_SPACE": True}, 3)
    assert read == [[None, value, None]]


def test_without_trim_space_a_leading_blank_begins_the_field_and_not_the_quote():
    read = selected(b'| "Hello world"|', PIPES, 3)
    assert read == [[None, ' "Hello world"', None]]
    assert rows(" a ,\tb\t\n") == [[" a ", "\tb\t"]]


# --- lines


def test_the_last_record_may_lack_its_line_end():
    assert rows("a,b\nc,d") == rows("a,b\nc,d\n") == [["a", "b"], ["c", "d"]]
    assert rows("") == []


def test_a_new_line_may_be_one_of_windows():
    assert rows('a,b\r\n"c",d\r\n') == [["a", "b"], ["c", "d"]]
    assert rows("a,b\rc\n") == [["a", "b\rc"]]


@pytest.mark.parametrize("text", ["\n", "a\n\nb\n", "a\n\n", "\r\n", "a\n\r\nb\n"])
def test_a_blank_line_is_an_error_even_where_the_only_column_is_null(text):
    with pytest.raises(LoadError, match="blank line"):
        rows(text, fields=1)


def test_blank_lines_can_be_skipped_which_loses_rows():
    assert rows("\na\n\n\nb\n", 1, SKIP_BLANK_LINES=True) == [["a"], ["b"]]
    assert rows('""\n \n', 1) == [[""], [" "]]


def test_other_separators_of_lines_are_text():
    text = "a\u2028b,c\x85d\x0be\x0cf\x1e\n"
    assert rows(text) == [["a\u2028b", "c\x85d\x0be\x0cf\x1e"]]


def test_delimiters_may_have_several_characters():
    read = rows("a||b|c##d||e##", FIELD_DELIMITER="||", RECORD_DELIMITER="##")
    assert read == [["a", "b|c"], ["d", "e"]]


# --- Snowflake's defaults


@pytest.mark.parametrize(
    ("text", "row"),
    [
        # "If a row ends in the backslash …, the load operation treats this row and
        # the next row as a single row of data."
        ("a,b\\\nc\n", ["a", "b\nc"]),
        ("a\\,b,c\n", ["a,b", "c"]),
        ("a\\\\b,c\n", ["a\\b", "c"]),
        ("\\N,\\\\N\n", [None, "\\N"]),
        # "For unenclosed field values only."
        ('"a\\b","c\\"\n', ["a\\b", "c\\"]),
    ],
)
def test_by_default_a_backslash_escapes_in_bare_fields(text, row):
    assert selected(text.encode(), PIPES | {"FIELD_DELIMITER": ","}, 2) == [row]


def test_a_backslash_before_a_letter_is_not_kept_whatever_becomes_of_the_letter():
    assert "\\" not in str(selected(b"C:\\temp", {}, 1)[0][0])


def test_with_none_a_backslash_means_nothing():
    assert rows("a\\,b\\\n\\N,\\.\n") == [["a\\", "b\\"], ["\\N", "\\."]]


def test_escape_serves_enclosed_and_bare_fields_and_overrides_the_other():
    read = rows('"a^"b^^",c^,d\\\n', ESCAPE="^", ESCAPE_UNENCLOSED_FIELD="\\")
    assert read == [['a"b^', "c,d\\"]]
    with pytest.raises(LoadError, match="never closed"):
        rows('"a^"', ESCAPE="^")


def test_by_default_a_byte_order_mark_is_skipped_at_the_beginning_only():
    text = "\ufeffa,b\n\ufeffc,d\n"
    skipped = rows(text, SKIP_BYTE_ORDER_MARK=True)
    assert skipped == [["a", "b"], ["\ufeffc", "d"]]
    assert rows(text) == [["\ufeffa", "b"], ["\ufeffc", "d"]]


def test_invalid_utf_8_is_an_error_or_is_replaced():
    with pytest.raises(LoadError, match="UTF-8"):
        selected(b"a\xff,b\n", OURS, 2)
    replaced = OURS | {"REPLACE_INVALID_CHARACTERS": True}
    assert selected(b"a\xff,b\n", replaced, 2) == [["a\ufffd", "b"]]


# --- the number of columns


def test_with_a_select_the_number_of_fields_does_not_matter():
    for checked in (True, False):
        read = rows("a\nb,c,d\n", 2, ERROR_ON_COLUMN_COUNT_MISMATCH=checked)
        assert read == [["a", None], ["b", "c"]]


def test_without_a_select_it_is_an_error_or_missing_columns_are_null():
    with pytest.raises(LoadError, match="2 columns"):
        loaded(b"a,b,c\n", DEFAULTS, 2)
    lenient = DEFAULTS | {"ERROR_ON_COLUMN_COUNT_MISMATCH": False}
    assert loaded(b"a,b,c\n", lenient, 2) == [["a", "b"]]
    assert loaded(b"a,b,c\n", lenient, 4) == [["a", "b", "c", None]]
    with pytest.raises(LoadError, match="varying length"):
        loaded(b"a,b\nc\n", lenient, 2)


# --- options


@pytest.mark.parametrize(
    "option",
    [
        {"PARSE_HEADER": False},
        {"TYPE": "CSV"},
        {"SKIP_HEADER": 1},
        {"SKIP_HEADER": False},
        {"COMPRESSION": "GZIP"},
        {"ENCODING": "LATIN1"},
        {"TRIM_SPACE": "FALSE"},
        {"NULL_IF": "\\N"},
        {"FIELD_OPTIONALLY_ENCLOSED_BY": "~"},
        {"FIELD_OPTIONALLY_ENCLOSED_BY": ""},
        {"ESCAPE": "é"},
        {"ESCAPE_UNENCLOSED_FIELD": ""},
        {"FIELD_DELIMITER": ""},
        {"FIELD_DELIMITER": "NONE"},
        {"FIELD_DELIMITER": "x\n"},
        {"RECORD_DELIMITER": "-" * 21},
    ],
)
def test_an_option_or_a_value_without_a_meaning_is_refused(option):
    with pytest.raises(FormatError):
        selected(b"a\n", option, 1)


def test_no_option_of_ours_is_left_to_a_default():
    assert OURS.keys() == DEFAULTS.keys()
