"""Two streams of rows in one order, compared without holding either in memory."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

Kind = Literal["missing", "extra", "different"]


class Difference(Struct, frozen=True, kw_only=True):
    """One row that is not the same on both sides.

    Attributes:
        kind: `missing` in the target, `extra` in the target, or `different`.
        key: Its key, column by column, as the export prints it.
        columns: The columns that differ.
    """

    kind: Kind
    key: dict[str, str]
    columns: tuple[str, ...] = ()


class Row(Struct, frozen=True, kw_only=True):
    """One row of a side.

    Attributes:
        order: MD5 of its key: identity, and place in the stream.
        digest: MD5 of its canonical text.
        key: Canonical texts of its key.
        values: What is compared by value, already parsed.
    """

    order: str
    digest: str
    key: tuple[str, ...]
    values: tuple[Any, ...]


@dataclass(kw_only=True)
class Comparison:
    """What a comparison found.

    Attributes:
        most: How many differing rows are kept as samples.
        counts: Differing rows by kind.
        samples: The first of them, with the MD5 of their keys.
    """

    most: int
    counts: dict[Kind, int] = field(default_factory=dict)
    samples: list[tuple[str, Difference]] = field(default_factory=list)

    def note(
        self, kind: Kind, row: Row, names: Sequence[str], columns: Iterable[str] = ()
    ) -> None:
        """Count a row, and keep it while there is room."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if len(self.samples) < self.most:
            key = dict(zip(names, row.key, strict=True))
            difference = Difference(kind=kind, key=key, columns=tuple(columns))
            self.samples.append((row.order, difference))


def compare(
    source: Iterator[Row],
    target: Iterator[Row],
    key: Sequence[str],
    valued: Sequence[str],
    most: int,
) -> Comparison:
    """Walk both streams side by side.

    Args:
        source: Rows of the source in the order of their keys' MD5.
        target: Rows of the target in the same order.
        key: Names of the key's columns.
        valued: Names of the columns that are compared by value.
        most: How many differing rows to keep as samples.
    """
    found = Comparison(most=most)
    left, right = next(source, None), next(target, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.order < right.order):
            assert left is not None
            found.note("missing", left, key)
            left = next(source, None)
        elif left is None or right.order < left.order:
            found.note("extra", right, key)
            right = next(target, None)
        else:
            columns = [
                name
                for name, one, other in zip(
                    valued, left.values, right.values, strict=True
                )
                if not same(one, other)
            ]
            if columns or left.digest != right.digest:
                found.note("different", left, key, columns)
            left, right = next(source, None), next(target, None)
    return found


def parser(snowflake_type: str) -> Callable[[Any], Any]:
    """Return what parses values of a type that has no canonical text."""
    return parse_json if snowflake_type == "VARIANT" else parse_float


def parse_float(value: Any) -> float | None:
    """Return a float from what either side delivers: a text or a float."""
    return None if value is None else float(value)


def parse_json(value: str | None) -> Any:
    """Return a JSON text's value with exact numbers; a broken text stays text."""
    if value is None:
        return _NULL
    try:
        return json.loads(value, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError):
        return value


# SQL's NULL, which JSON's null is not.
_NULL = object()


def same(one: Any, other: Any) -> bool:
    """Whether two parsed values are the same value.

    NaN is itself, true is not one, and the order of an object's members means nothing.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same(value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return bool(one == other)
