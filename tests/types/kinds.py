"""What a drawn value is, and what must stand in Snowflake for it.

The oracle is written from the documented rules (`docs/adr/0020` and the table of types)
in Python, and imports nothing of the product's own table of casts.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis.strategies import SearchStrategy


class _Mark:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


# No value of the Snowflake type is this one: what becomes of it is the column's rule.
MISFIT = _Mark("MISFIT")
# The text that the type's output function prints in a session with the export's
# settings; asked of the server by a session of the test's own.
PRINTED = _Mark("PRINTED")


@dataclass(frozen=True)
class Value:
    """A value at the source.

    Attributes:
        literal: As PostgreSQL reads it.
        held: What must stand in Snowflake, in the form that its kind compares.
    """

    literal: str
    held: Any = field(hash=False, compare=False)


@dataclass(frozen=True)
class Single:
    """A value of float4: the text is the shortest that means it, not the double's."""

    value: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and _narrow(other) == _narrow(self.value)


def _narrow(value: float) -> bytes:
    # -0 is equal to 0, and any NaN to any other.
    if value != value:
        return b"nan"
    return struct.pack("f", value + 0.0 if value else 0.0)


@dataclass(frozen=True)
class Number:
    """A number of a JSON document as it is written."""

    text: str


def read_json(text: str) -> Any:
    """Read what Snowflake holds; numbers keep their text, nothing is rounded."""
    return json.loads(text, parse_int=Number, parse_float=Number)


def same(held: Any, found: Any) -> bool:
    """Whether a target's value is the one that must stand there.

    Numbers of JSON are compared exactly where a Decimal is held, and as doubles where
    a float is: then it does not matter how the double is written.
    """
    if isinstance(held, dict):
        return (
            isinstance(found, dict)
            and held.keys() == found.keys()
            and all(same(held[key], found[key]) for key in held)
        )
    if isinstance(held, list):
        return (
            isinstance(found, list)
            and len(held) == len(found)
            and all(map(same, held, found))
        )
    if isinstance(found, Number):
        return _same_number(held, found.text)
    if isinstance(held, float) and held != held:
        return isinstance(found, float) and found != found
    return type(held) in (Single, type(found)) and bool(held == found)


def _same_number(held: Any, text: str) -> bool:
    if isinstance(held, float):
        return float(text) == held
    exact = not set(text) & set("eE")
    return isinstance(held, Decimal) and exact and Decimal(text) == held


@dataclass(frozen=True)
class Form:
    """How a target's value is read: as text by SQL, because a client may convert it.

    Attributes:
        select: Snowflake's expression; {} is the column.
        read: From that text to what is compared.
    """

    select: str
    read: Callable[[str], Any]


TEXT = Form("{}", str)
EXACT = Form("TO_VARCHAR({})", str)
FLOAT = Form("TO_VARCHAR({})", float)
DATE = Form("TO_VARCHAR({}, 'YYYY-MM-DD')", str)
TIME = Form("TO_VARCHAR({}, 'HH24:MI:SS.FF6')", str)
MOMENT = Form("TO_VARCHAR({}, 'YYYY-MM-DD HH24:MI:SS.FF6')", str)
MOMENT_TZ = Form(
    "TO_VARCHAR(CONVERT_TIMEZONE('UTC', {})::TIMESTAMP_NTZ, "
    "'YYYY-MM-DD HH24:MI:SS.FF6')",
    str,
)
BYTES = Form("TO_VARCHAR({}, 'HEX')", bytes.fromhex)
JSON = Form("TO_JSON({})", read_json)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One row of the table of types.

    Attributes:
        declared: The type as a column declares it.
        form: How the target's value is read.
        drawn: Values.
        edges: Values that are always among them.
        back: From the exported text to the value, as SQL that PostgreSQL runs; None
            when the text is JSON of something that is none.
    """

    declared: str
    form: Form
    drawn: SearchStrategy[Value]
    edges: tuple[Value, ...]
    back: str | None = "{text}::{type}"

    def __str__(self) -> str:
        return self.declared


def literals(held: Callable[[str], Any], *texts: str) -> tuple[Value, ...]:
    """Return values of literals, with what a function says that they mean."""
    return tuple(Value(text, held(text)) for text in texts)
