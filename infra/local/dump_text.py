"""The text of a plain dump, parted into statements and the rows that follow COPY.

Rows stream and nothing of them is kept; a statement is held while it runs.
"""

import re
import zlib
from collections.abc import Iterator
from functools import partial
from typing import IO

PIECE = 1 << 20
_COPY = re.compile(rb"(?is)COPY\s.*\sFROM\s+stdin\b[^;]*;\s*\Z")
_COPY_END = re.compile(rb"\\\.\r?\n?\Z")
_ATOMIC = re.compile(rb"(?i)\bBEGIN\s+ATOMIC\b")
_OPENING = re.compile(rb"""--|/\*|[eE]?'|"|\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$""")
_CLOSING = {
    b"'": re.compile(rb"[^']*'"),
    b"e'": re.compile(rb"(?:\\.|[^'\\])*'", re.DOTALL),
    b'"': re.compile(rb'[^"]*"'),
    b"/*": re.compile(rb".*?\*/", re.DOTALL),
}


class DumpText:
    """Reads one dump.

    Args:
        file: Where its text comes from.

    Attributes:
        bytes: How much was read.
        truncated: Whether it ended within a statement or rows, or is damaged.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._closing: re.Pattern[bytes] | None = None
        self._depth = 0
        self.bytes = 0
        self.truncated = False

    def statements(self) -> Iterator[tuple[bytes, "Rows | None"]]:
        """Yield each statement or command of psql, with its rows if it takes any."""
        held: list[bytes] = []
        for line in self._lines(-1):
            if not held and self._closing is None and line.startswith(b"\\"):
                yield line, None
                continue
            code = self._code(line)
            if held or code.strip():
                held.append(line)
            if self._ends(code, held):
                statement = b"".join(held)
                held, self._depth = [], 0
                rows = Rows(self._rows()) if _COPY.match(statement) else None
                yield statement, rows
                if rows is not None:
                    rows.skip()
        self.truncated |= bool(held) or self._closing is not None

    def _lines(self, most: int) -> Iterator[bytes]:
        try:
            for line in iter(partial(self._file.readline, most), b""):
                self.bytes += len(line)
                yield line
        except (OSError, EOFError, zlib.error):
            self.truncated = True

    def _rows(self) -> Iterator[bytes]:
        begins = True
        for piece in self._lines(PIECE):
            if begins and _COPY_END.match(piece):
                return
            yield piece
            begins = piece.endswith(b"\n")
        self.truncated = True

    def _code(self, line: bytes) -> bytes:
        """Return a line without comments, with a mark for each text in it."""
        place, code = 0, b""
        while True:
            if self._closing is not None:
                end = self._closing.match(line, place)
                if end is None:
                    return code
                place, self._closing = end.end(), None
            opening = _OPENING.search(line, place)
            code += line[place : opening.start() if opening else None]
            if opening is None or opening[0] == b"--":
                return code
            place, mark = opening.end(), opening[0].lower()
            if mark == b"e'" and code[-1:].isalnum():
                # The letter ends a word such as `date`.
                mark = b"'"
            if mark != b"/*":
                code += b"?"
            self._closing = _CLOSING.get(mark) or re.compile(
                rb".*?" + re.escape(opening[0]), re.DOTALL
            )

    def _ends(self, code: bytes, held: list[bytes]) -> bool:
        self._depth += code.count(b"(") - code.count(b")")
        if self._closing or self._depth > 0 or not code.rstrip().endswith(b";"):
            return False
        # Such a function's body has semicolons; pg_dump indents all but its end.
        atomic = any(_ATOMIC.search(line) for line in held)
        return not atomic or code.upper().startswith(b"END")


class Rows:
    """Rows as a file, for the driver to read.

    Args:
        pieces: The rows.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, size: int) -> bytes:
        """Return the next rows, about as many bytes as asked for."""
        found = bytearray()
        while len(found) < size and (piece := next(self._pieces, b"")):
            found += piece
        return bytes(found)

    def skip(self) -> None:
        """Pass over what nobody has read."""
        for _ in self._pieces:
            pass
