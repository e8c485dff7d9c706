"""CSV files as Snowflake is documented to read them: a second opinion on our dialect.

Small and apart from the product: it knows the options of a FILE FORMAT by their SQL
names, Snowflake's defaults for those that are not given, and refuses the rest, so that
no option can be set without a meaning here. It takes the dangerous defaults at their
word too: with them a check must be able to fail.

Sources: https://docs.snowflake.com/en/sql-reference/sql/create-file-format (options),
https://docs.snowflake.com/en/sql-reference/sql/copy-into-table (columns, ON_ERROR) and
https://docs.snowflake.com/en/user-guide/data-unload-considerations (NULL beside '').
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Row = list[str | None]

# What holds when an option is not given: "Default" in CREATE FILE FORMAT, TYPE = CSV.
DEFAULTS: dict[str, Any] = {
    "COMPRESSION": "AUTO",
    "RECORD_DELIMITER": "\n",
    "FIELD_DELIMITER": ",",
    "FIELD_OPTIONALLY_ENCLOSED_BY": "NONE",
    "ESCAPE": "NONE",
    "ESCAPE_UNENCLOSED_FIELD": "\\",
    "NULL_IF": ["\\N"],
    "EMPTY_FIELD_AS_NULL": True,
    "TRIM_SPACE": False,
    "MULTI_LINE": True,
    "SKIP_HEADER": 0,
    "SKIP_BLANK_LINES": False,
    "SKIP_BYTE_ORDER_MARK": True,
    "REPLACE_INVALID_CHARACTERS": False,
    "ERROR_ON_COLUMN_COUNT_MISMATCH": True,
    "ENCODING": "UTF8",
}
# Values that have a meaning here; of the options that are not named, any.
_MEANT: dict[str, tuple[Any, ...]] = {
    "COMPRESSION": ("AUTO", "NONE"),
    "FIELD_OPTIONALLY_ENCLOSED_BY": ("NONE", "'", '"'),
    "SKIP_HEADER": (0,),
    "ENCODING": ("UTF8",),
}
_LONGEST_DELIMITER = 20


class FormatError(ValueError):
    """The options are none of a FILE FORMAT, or none that this reader knows."""


class LoadError(ValueError):
    """The file does not load."""


def selected(data: bytes, options: Mapping[str, Any], fields: int) -> list[Row]:
    """Read the rows of `COPY INTO … FROM (SELECT t.$1, … t.$n FROM @stage t)`.

    "When transforming data during loading", ERROR_ON_COLUMN_COUNT_MISMATCH "is
    ignored": a field that a record lacks is NULL, and one that nobody asks for is not
    looked at. Source: copy-into-table.

    Args:
        data: The file.
        options: Of the FILE FORMAT, by their SQL names.
        fields: The n.

    Raises:
        FormatError: For an option without a meaning here.
        LoadError: For what Snowflake documents as an error.
    """
    return [
        (row + [None] * fields)[:fields] for row in _Reader(data, options).records()
    ]


def loaded(data: bytes, options: Mapping[str, Any], columns: int) -> list[Row]:
    """Read the rows of `COPY INTO` a table of so many columns, without a SELECT.

    With ERROR_ON_COLUMN_COUNT_MISMATCH another number of fields is an error. Without,
    "the remaining fields are not loaded" and "the non-matching columns are loaded with
    NULL values", while "a file containing records of varying length" returns an error
    all the same. Source: copy-into-table.
    """
    reader = _Reader(data, options)
    rows = list(reader.records())
    widths = {len(row) for row in rows}
    if reader.options["ERROR_ON_COLUMN_COUNT_MISMATCH"] and widths - {columns}:
        raise LoadError(f"{sorted(widths)} fields for {columns} columns")
    if len(widths) > 1:
        raise LoadError(f"records of varying length: {sorted(widths)} fields")
    return [(row + [None] * columns)[:columns] for row in rows]


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        if name not in DEFAULTS:
            raise FormatError(f"no meaning for the option {name}")
        if type(value) is not type(DEFAULTS[name]):
            raise FormatError(f"no meaning for {name} = {value!r}")
        if value not in _MEANT.get(name, (value,)):
            raise FormatError(f"no meaning for {name} = {value!r}")
    known = DEFAULTS | dict(options)
    record, field = known["RECORD_DELIMITER"], known["FIELD_DELIMITER"]
    for delimiter in (record, field):
        if delimiter == "NONE" or not 1 <= len(delimiter) <= _LONGEST_DELIMITER:
            raise FormatError(f"no meaning for the delimiter {delimiter!r}")
    if record in field or field in record:
        raise FormatError("a delimiter is a part of the other one")
    for name in ("ESCAPE", "ESCAPE_UNENCLOSED_FIELD"):
        if known[name] != "NONE" and len(known[name].encode()) != 1:
            raise FormatError(f"{name} is a single byte")
    return known


class _Reader:
    """Walks over one file.

    Args:
        data: The file.
        options: Of its FILE FORMAT.
    """

    def __init__(self, data: bytes, options: Mapping[str, Any]) -> None:
        self.options = known = _checked(options)
        errors = "replace" if known["REPLACE_INVALID_CHARACTERS"] else "strict"
        try:
            text = data.decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise LoadError("invalid UTF-8") from error
        # Not skipped, "the BOM could be merged into the first column".
        skipped = known["SKIP_BYTE_ORDER_MARK"] and text.startswith("\ufeff")
        self._text = text
        self._at = int(skipped)
        self._quote = self._character("FIELD_OPTIONALLY_ENCLOSED_BY")
        # "If this option is set, it overrides … ESCAPE_UNENCLOSED_FIELD".
        self._escape = self._character("ESCAPE")
        self._bare_escape = self._escape or self._character("ESCAPE_UNENCLOSED_FIELD")
        record = re.escape(known["RECORD_DELIMITER"])
        if known["RECORD_DELIMITER"] == "\n":
            # "New line is logical such that \r\n is understood as a new line".
            record = "\r?\n"
        self._record = re.compile(record)
        stops = [record, re.escape(known["FIELD_DELIMITER"])]
        if self._bare_escape:
            stops.append(re.escape(self._bare_escape))
        self._stop = re.compile("|".join(stops))
        enclosed = [re.escape(mark) for mark in (self._quote, self._escape) if mark]
        self._mark = re.compile("|".join(enclosed))

    def _character(self, option: str) -> str:
        value = str(self.options[option])
        return "" if value == "NONE" else value

    def records(self) -> Iterator[Row]:
        """Yield the fields of each record.

        "Otherwise, blank lines produce an end-of-record error": SKIP_BLANK_LINES.
        """
        while self._at < len(self._text):
            if blank := self._record.match(self._text, self._at):
                if not self.options["SKIP_BLANK_LINES"]:
                    raise LoadError(f"end of record at {self._at}: a blank line")
                self._at = blank.end()
                continue
            yield self._fields()

    def _fields(self) -> Row:
        row = [self._field()]
        while not self._record_ends():
            self._at += len(self.options["FIELD_DELIMITER"])
            row.append(self._field())
        return row

    def _record_ends(self) -> bool:
        """Step over the end of a record, or stay before a field's delimiter."""
        if self._at == len(self._text):
            return True
        if self._text.startswith(self.options["FIELD_DELIMITER"], self._at):
            return False
        end = self._record.match(self._text, self._at)
        if end is None:
            found = self._text[self._at]
            raise LoadError(f"{found!r} at {self._at} instead of a delimiter")
        self._at = end.end()
        return True

    def _field(self) -> str | None:
        """Read a field.

        Without TRIM_SPACE, "Snowflake reads the leading space rather than the opening
        quotation character as the beginning of the field". NULL_IF "converts all
        instances of the value to NULL", enclosed or not.
        """
        self._trim()
        if self._quote and self._text.startswith(self._quote, self._at):
            source = value = self._enclosed()
            self._trim()
        else:
            source, value = self._bare()
            if not source and self.options["EMPTY_FIELD_AS_NULL"]:
                return None
        return None if source in self.options["NULL_IF"] else value

    def _trim(self) -> None:
        while self.options["TRIM_SPACE"] and self._text[self._at : self._at + 1] == " ":
            self._at += 1

    def _enclosed(self) -> str:
        """Read up to the closing quote: "escape it using the same character"."""
        parts, start = [], self._at + 1
        while True:
            mark = self._mark.search(self._text, start)
            if mark is None:
                raise LoadError(f"the field that opens at {self._at} is never closed")
            parts.append(self._text[start : mark.start()])
            start = mark.end() + 1
            following = self._text[mark.end() : start]
            if mark.group() != self._escape and following != self._quote:
                break
            parts.append(following)
        self._at = mark.end()
        value = "".join(parts)
        if not self.options["MULTI_LINE"] and self._record.search(value):
            raise LoadError("a record delimiter within a field")
        return value

    def _bare(self) -> tuple[str, str]:
        """Read up to a delimiter; return the field as it stands, and its value.

        An escape character makes the delimiter, the end of line or the escape
        character behind it a literal. What it makes of other characters is not
        documented in full; here it is left out, as no reading keeps it.
        A quote that does not open the field is a character like any other.
        """
        parts, begin, start = [], self._at, self._at
        while True:
            stop = self._stop.search(self._text, start)
            end = stop.start() if stop else len(self._text)
            parts.append(self._text[start:end])
            if stop is None or stop.group() != self._bare_escape:
                break
            start = end + 2
            parts.append(self._text[end + 1 : start])
        self._at = end
        source, value = self._text[begin:end], "".join(parts)
        if self.options["TRIM_SPACE"]:
            return source.strip(" "), value.strip(" ")
        return source, value
