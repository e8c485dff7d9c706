"""What Aurora writes and what Snowflake reads is one dialect."""

import re

from runtime.contract.dialect import DIALECT, SESSION, FileDialect, session_options


def test_both_sides_are_rendered_from_one_object():
    odd = FileDialect(delimiter="|", quote="~", encoding="UTF8")
    assert "DELIMITER '|', QUOTE '~', ESCAPE '~'" in odd.copy_options
    assert odd.file_format["FIELD_DELIMITER"] == "|"
    assert odd.file_format["FIELD_OPTIONALLY_ENCLOSED_BY"] == "~"


def test_a_single_quote_is_doubled_in_the_options_of_copy():
    """The other of the two that Snowflake takes for FIELD_OPTIONALLY_ENCLOSED_BY."""
    assert "QUOTE '''', ESCAPE ''''," in FileDialect(quote="'").copy_options
    assert "DELIMITER ''''," in FileDialect(delimiter="'").copy_options


def test_null_is_what_is_not_quoted():
    assert "NULL ''" in DIALECT.copy_options
    assert DIALECT.file_format["EMPTY_FIELD_AS_NULL"] is True
    # NULL_IF would match quoted texts too.
    assert DIALECT.file_format["NULL_IF"] == []


def test_a_backslash_means_nothing():
    assert DIALECT.file_format["ESCAPE"] == "NONE"
    assert DIALECT.file_format["ESCAPE_UNENCLOSED_FIELD"] == "NONE"


def test_texts_are_loaded_as_they_are():
    assert DIALECT.file_format["TRIM_SPACE"] is False
    assert DIALECT.file_format["MULTI_LINE"] is True
    assert DIALECT.file_format["REPLACE_INVALID_CHARACTERS"] is False
    assert DIALECT.file_format["SKIP_BYTE_ORDER_MARK"] is False
    assert DIALECT.file_format["SKIP_BLANK_LINES"] is False


def test_there_is_no_header_on_either_side():
    assert "HEADER" not in DIALECT.copy_options
    assert DIALECT.file_format["SKIP_HEADER"] == 0


def test_session_settings_survive_libpqs_splitting_of_options():
    """Blanks part the options unless a backslash stands before them."""
    words = re.split(r"(?<!\\) ", session_options())
    assert words[::2] == ["-c"] * len(SESSION)
    settings = dict(word.replace("\\", "").split("=", 1) for word in words[1::2])
    assert settings == SESSION
