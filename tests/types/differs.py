"""Where the local Snowflake is known to differ: there the exported text counts.

The target's value proves little there, so each entry says what the file must hold for
Snowflake to read it as documented.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.types.kinds import MISFIT, Kind, Single, Value

# The exported text, and whether it is as it must be.
Holds = Callable[[Value, str], bool]
_FORMS = re.compile(
    r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d(\.\d{1,6})?(\+00)?)?"
    r"|([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,6})?"
)


@dataclass(frozen=True)
class Differs:
    """A difference.

    Attributes:
        types: Declared types, without their precision.
        why: What the local Snowflake does, and what Snowflake is documented to do.
        holds: Whether the exported text is one that Snowflake reads as it should.
    """

    types: tuple[str, ...]
    why: str
    holds: Holds


def _in_utc(value: Value, text: str) -> bool:
    return value.held is MISFIT or text.endswith("+00")


def _fits_or_has_no_such_form(value: Value, text: str) -> bool:
    return (_FORMS.fullmatch(text) is None) == (value.held is MISFIT)


def _is_the_double(value: Value, text: str) -> bool:
    number = float(value.held.value if isinstance(value.held, Single) else value.held)
    if not math.isfinite(number):
        return text == {"inf": "Infinity", "-inf": "-Infinity"}.get(str(number), "NaN")
    signs = math.copysign(1, float(text)) == math.copysign(1, float(value.literal))
    shortest = len(text) <= 24 and re.fullmatch(r"-?[0-9.]+(e[+-]\d+)?", text)
    return bool(shortest) and (signs or number != 0)


def _is_the_source(value: Value, text: str) -> bool:
    return text == value.literal


DIFFERS = {
    "offset": Differs(
        ("timestamptz",),
        "It keeps a TIMESTAMP_TZ in UTC and forgets the offset; Snowflake keeps what "
        "the text says.",
        _in_utc,
    ),
    "year": Differs(
        ("timestamp", "timestamptz", "date", "time"),
        "That it refuses infinity, years before Christ or after 9999 and 24:00:00 is a "
        "repair of ours: only the form of the text says that Snowflake does.",
        _fits_or_has_no_such_form,
    ),
    "double": Differs(
        ("real", "double precision"),
        "It reads more spellings of doubles than Snowflake, which documents NaN, inf "
        "and infinity in any case, digits and an exponent.",
        _is_the_double,
    ),
    "document": Differs(
        ("json",),
        "It keeps a document's text, with its numbers as they are written; Snowflake "
        "makes numbers and doubles of them.",
        _is_the_source,
    ),
}


def broken(kind: Kind, value: Value, text: str) -> list[str]:
    """Return the entries that an exported text does not live up to."""
    plain = re.sub(r"\(\d+\)", "", kind.declared)
    return [
        name
        for name, entry in DIFFERS.items()
        if plain in entry.types and not entry.holds(value, text)
    ]
