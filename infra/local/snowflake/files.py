"""Files of a stage as DuckDB reads them.

A file goes through a temporary file, so that memory does not grow with it.
"""

import csv
import gzip
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.contract.errors import WarehouseError

VIEW = "LOADING"
_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 22
# Snowflake's largest VARCHAR; DuckDB reserves nothing for a longer limit.
_LONGEST = 134217728
csv.field_size_limit(_LONGEST)


@contextmanager
def fetched(
    s3: Any, bucket: str, key: str, options: dict[str, Any], folder: Path
) -> Iterator[Path]:
    """Bring an object to a temporary file, ready for the reader of its format.

    Raises:
        botocore.exceptions.ClientError: S3 refuses.
        WarehouseError: It is a CSV file that Snowflake would not load.
    """
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    packed = options["COMPRESSION"] == "GZIP" or (
        options["COMPRESSION"] == "AUTO" and key.endswith(".gz")
    )
    lines = _Lines(options)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".load") as file:
        if not options["SKIP_BYTE_ORDER_MARK"]:
            # DuckDB swallows one mark, so that the file's own stays a text.
            file.write(_BOM)
        with body, gzip.open(body) if packed else body as source:
            while chunk := source.read(_CHUNK):
                lines.add(chunk)
                file.write(chunk)
        lines.end()
        file.flush()
        yield Path(file.name)


class _Lines:
    """Refuses what DuckDB would pass over: blank lines and an unclosed quote.

    Args:
        options: Of the file format.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        quote = options.get("FIELD_OPTIONALLY_ENCLOSED_BY", "NONE")
        self._quote = b"" if quote == "NONE" else quote.encode()
        self._blanks: tuple[bytes, ...] = (b"\n\n", b"\n\r\n")
        if options["TYPE"] == "JSON" or options["SKIP_BLANK_LINES"]:
            self._blanks = ()
        self._inside = False
        self._tail = b"\n"

    def add(self, chunk: bytes) -> None:
        """Look at the next piece of the file."""
        chunk = self._tail + chunk
        for blank in self._blanks:
            self._look_for(blank, chunk)
        # The last two bytes are looked at, and counted, with the next piece.
        self._inside = self._after(chunk, 0, len(chunk) - 2, self._inside)
        self._tail = chunk[-2:]

    def end(self) -> None:
        """Look at the end of the file."""
        if self._after(self._tail, 0, 2, self._inside):
            raise WarehouseError("file ends inside a quoted field")

    def _look_for(self, blank: bytes, chunk: bytes) -> None:
        start, inside = 0, self._inside
        while (at := chunk.find(blank, start)) >= 0:
            inside = self._after(chunk, start, at, inside)
            if not inside:
                raise WarehouseError("file has a blank line")
            start = at + 1

    def _after(self, chunk: bytes, start: int, end: int, inside: bool) -> bool:
        if not self._quote or end <= start:
            return inside
        return inside ^ bool(chunk.count(self._quote, start, end) % 2)


def rows_view(path: Path, key: str, options: dict[str, Any], fields: int) -> str:
    """Render the temporary view that shows a file's rows.

    Args:
        path: The file.
        key: Its name in the bucket.
        options: Of its file format.
        fields: How many of $1, $2, … are wanted.
    """
    if options["TYPE"] == "JSON":
        shape = "array" if options["STRIP_OUTER_ARRAY"] else "unstructured"
        values = ['json AS "$1"']
        source = (
            f"read_json_objects({_text(str(path))}, format = '{shape}',"
            f" maximum_object_size = {_LONGEST})"
        )
    else:
        values, source = _csv(path, options, fields)
    return (
        f"CREATE OR REPLACE TEMP VIEW {VIEW} AS SELECT {', '.join(values)},"
        f' {_text(key)} AS "METADATA$FILENAME",'
        ' row_number() OVER () AS "METADATA$FILE_ROW_NUMBER",'
        f' now()::TIMESTAMP AS "METADATA$START_SCAN_TIME" FROM {source}'
    )


def _csv(path: Path, options: dict[str, Any], fields: int) -> tuple[list[str], str]:
    quote = options["FIELD_OPTIONALLY_ENCLOSED_BY"]
    quote = "" if quote == "NONE" else quote
    present = _width(path, options["FIELD_DELIMITER"], quote)
    # Fields that a file lacks are NULL, fields that nobody reads do no harm: with a
    # SELECT, Snowflake does not mind the number of columns.
    width = max(present, fields, 1)
    columns = ", ".join(f"'f{n}': 'VARCHAR'" for n in range(1, width + 1))
    # A line ends as the only RECORD_DELIMITER says that a format may have here; DuckDB
    # would guess from the first text that holds a carriage return, and refuse the file.
    source = (
        f"read_csv({_text(str(path))}, columns = {{{columns}}}, auto_detect = false,"
        f" header = false, skip = {int(options['SKIP_HEADER'])},"
        f" delim = {_text(options['FIELD_DELIMITER'])}, quote = {_text(quote)},"
        f" escape = {_text(quote)}, nullstr = '', allow_quoted_nulls = false,"
        r" new_line = '\n', null_padding = true, parallel = false,"
        f" max_line_size = {_LONGEST})"
    )
    values = []
    for place in range(1, fields + 1):
        value = f"f{place}"
        if not options["EMPTY_FIELD_AS_NULL"] and place <= present:
            value = f"coalesce({value}, '')"
        for null in options["NULL_IF"]:
            value = f"nullif({value}, {_text(null)})"
        values.append(f'{value} AS "${place}"')
    return values or ['NULL AS "$1"'], source


def _width(path: Path, delimiter: str, quote: str) -> int:
    """Return the number of fields in the first line."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        rows = csv.reader(
            lines,
            delimiter=delimiter,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        )
        return len(next(rows, []))


def _text(value: str) -> str:
    """Return a DuckDB string literal; a backslash means nothing there."""
    return "'" + value.replace("'", "''") + "'"
