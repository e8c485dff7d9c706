"""The text of a dump, without what belongs to the server that it comes from.

Read and passed on in pieces, line by line: nothing of a dump is kept. What is left
out stands alone on its line, as pg_dump writes it.
"""

import re
from collections.abc import Callable, Iterable, Iterator

# Owners and rights, roles and databases; the bounds of transactions (the load is
# one); what pg_dump wrote for older servers; the extensions whose stand-in the local
# Aurora has from the start; and commands of psql: the others it refuses itself.
_LEFT_OUT = re.compile(rb"""(?ix)
    (?: (?:GRANT|REVOKE|ALTER\ DEFAULT\ PRIVILEGES) \s [^;]*
      | ALTER \s [^;]* \s OWNER\ TO \s [^;]*
      | (?:CREATE|ALTER|DROP) \s+ (?:ROLE|USER|DATABASE) \s [^;]*
      | COMMENT\ ON\ DATABASE \s [^;]*
      | (?:BEGIN|COMMIT|START\ TRANSACTION) (?:\ TRANSACTION|\ WORK)?
      | CREATE\ SCHEMA \s (?:IF\ NOT\ EXISTS\ )? public
      | SET\ default_with_oids \s [^;]*
      | (?:CREATE|COMMENT\ ON)\ EXTENSION \s (?:IF\ NOT\ EXISTS\ )?
        (?:aws_s3|aws_commons) \b [^;]*
    ) \s* ; \s* \Z
    | \\ (?:c|connect|restrict|unrestrict) (?:\s|\Z)
    """)
_EXTENSION = re.compile(
    rb'(?i)(?:CREATE EXTENSION|COMMENT ON EXTENSION)(?: IF NOT EXISTS)? "?([\w-]+)"?'
    rb"(?:\s[^;]*)?;\s*\Z"
)
_COPY = re.compile(rb'(?i)COPY\s+((?:"[^"]*"|[^\s("])+).*\sFROM\s+stdin\b[^;]*;\s*\Z')
_COPY_END = re.compile(rb"\\\.\r?\n?\Z")
_OPENING = re.compile(rb"""--|/\*|[eE]?'|"|\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$""")
_CLOSING = {
    b"'": re.compile(rb"'"),
    b"e'": re.compile(rb"(?:\\.|[^'\\])*?'", re.DOTALL),
    b'"': re.compile(rb'"'),
    b"/*": re.compile(rb"\*/"),
}


class DumpText:
    """Filters one dump.

    Args:
        is_known: Whether the local server has an extension of that name.
        unknown: SQL to put in the place of an extension that it lacks.

    Attributes:
        table: The table whose rows were last begun.
        missing: Names of extensions that the local server lacks.
        truncated: Whether the text so far ends within rows, a text or a comment.
    """

    def __init__(self, is_known: Callable[[str], bool], unknown: bytes) -> None:
        self._is_known = is_known
        self._unknown = unknown
        self._copying = False
        self._closing: re.Pattern[bytes] | None = None
        self.table = ""
        self.missing: list[str] = []

    @property
    def truncated(self) -> bool:
        return self._copying or self._closing is not None

    def filtered(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what is to be run of lines, the long ones of which come in pieces."""
        begins = True
        for piece in pieces:
            if self._copying:
                self._copying = not (begins and _COPY_END.match(piece))
                yield piece
            elif not begins or self._closing is not None:
                self._follow(piece)
                yield piece
            else:
                yield from self._first(piece)
            begins = piece.endswith(b"\n")

    def _first(self, line: bytes) -> Iterator[bytes]:
        """Yield a line that begins outside of all texts."""
        extension = _EXTENSION.match(line)
        if extension and not self._is_known(name := extension[1].decode()):
            if name not in self.missing:
                self.missing.append(name)
                yield self._unknown
        elif not _LEFT_OUT.match(line):
            copy = _COPY.match(line)
            if copy:
                self._copying, self.table = True, copy[1].decode(errors="replace")
            else:
                self._follow(line)
            yield line

    def _follow(self, text: bytes) -> None:
        """Note which text, name or comment is open at the end."""
        place = 0
        while True:
            if self._closing is not None:
                end = self._closing.search(text, place)
                if end is None:
                    return
                place, self._closing = end.end(), None
            opening = _OPENING.search(text, place)
            if opening is None or opening[0] == b"--":
                return
            place, mark = opening.end(), opening[0].lower()
            # In `date'…'` the letter belongs to a word, and a backslash is one.
            if mark == b"e'" and text[: opening.start()][-1:].isalnum():
                mark = b"'"
            self._closing = _CLOSING.get(mark) or re.compile(re.escape(opening[0]))
