"""The file dialect: one object renders what Aurora writes and Snowflake reads.

CSV as PostgreSQL writes it: NULL is an unquoted empty field, the empty string a
quoted one, quotes are doubled, the backslash means nothing, no header. Snowflake's
defaults would eat backslashes (ESCAPE_UNENCLOSED_FIELD) and turn `\\N` texts into
NULL (NULL_IF); both are switched off.
Source: https://docs.snowflake.com/en/sql-reference/sql/create-file-format and
https://www.postgresql.org/docs/current/sql-copy.html
"""

from dataclasses import dataclass

from runtime.contract.names import literal


@dataclass(frozen=True, kw_only=True)
class FileDialect:
    """A CSV dialect both sides agree on.

    Attributes:
        delimiter: Field separator, one character.
        quote: Quote character; doubled inside quoted fields.
        encoding: Name that PostgreSQL and Snowflake share.
    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "UTF8"

    @property
    def copy_options(self) -> str:
        """The `options` argument of aws_s3.query_export_to_s3."""
        delimiter, quote = (
            text.replace("'", "''") for text in (self.delimiter, self.quote)
        )
        return (
            f"FORMAT csv, DELIMITER '{delimiter}', QUOTE '{quote}', "
            f"ESCAPE '{quote}', NULL '', ENCODING '{self.encoding}'"
        )

    @property
    def file_format(self) -> dict[str, str | int | bool | list[str]]:
        """The options of Snowflake's CSV reader by their SQL names."""
        return {
            "COMPRESSION": "NONE",
            "RECORD_DELIMITER": "\n",
            "FIELD_DELIMITER": self.delimiter,
            "FIELD_OPTIONALLY_ENCLOSED_BY": self.quote,
            "ESCAPE": "NONE",
            "ESCAPE_UNENCLOSED_FIELD": "NONE",
            "NULL_IF": [],
            "EMPTY_FIELD_AS_NULL": True,
            "TRIM_SPACE": False,
            "MULTI_LINE": True,
            "SKIP_HEADER": 0,
            "SKIP_BLANK_LINES": False,
            "SKIP_BYTE_ORDER_MARK": False,
            "REPLACE_INVALID_CHARACTERS": False,
            "ERROR_ON_COLUMN_COUNT_MISMATCH": False,
            "ENCODING": self.encoding,
        }

    @property
    def copy_format(self) -> str:
        """The `FILE_FORMAT` of a COPY, each option named where it is used."""
        options = " ".join(
            f"{name} = {_option(value)}" for name, value in self.file_format.items()
        )
        return f"TYPE = CSV {options}"


def _option(value: str | int | bool | list[str]) -> str:
    if isinstance(value, list):
        return f"({', '.join(map(literal, value))})"
    if isinstance(value, int) or value == "NONE":
        return str(value).upper()
    return literal(value).replace("\n", "\\n")


DIALECT = FileDialect()
# Of manifests; TYPE = JSON has no option beside that matters.
MANIFEST_FORMAT = "TYPE = JSON COMPRESSION = NONE"


# Session settings that decide how PostgreSQL prints values and names; whoever reads
# the source for the sync (exporter, introspection, comparison) sets exactly these.
# An empty search path makes format_type print every type with its schema.
SESSION: dict[str, str] = {
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
}


def session_options() -> str:
    """Render the session settings as libpq's `options` parameter."""
    return " ".join(
        f"-c {name}={value.replace(' ', chr(92) + ' ')}"
        for name, value in SESSION.items()
    )
