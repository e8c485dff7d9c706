"""Two streams of rows in one order, compared without holding either in memory."""

import json
import math
from collections import defaultdict
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
        standing: What it counts as; see `runtime.ops.standing`.
        key: Canonical texts of its key.
        values: What is compared by value, already parsed.
    """

    order: str
    digest: str
    standing: str
    key: tuple[str, ...]
    values: tuple[Any, ...]


@dataclass(kw_only=True)
class Tally:
    """Rows that were judged, and the sum of their MD5s' first 60 bits."""

    rows: int = 0
    checksum: int = 0

    def __iadd__(self, other: "Tally") -> "Tally":
        self.rows += other.rows
        self.checksum += other.checksum
        return self

    def add(self, row: Row) -> None:
        """Count a row."""
        self += Tally(rows=1, checksum=int(row.digest[:15], 16))


def buckets_of(rows: Iterable[Sequence[Any]]) -> dict[str, dict[str, Tally]]:
    """Return what an aggregate has counted, by bucket and standing.

    Args:
        rows: Bucket, standing, rows and checksum.
    """
    found: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for bucket, standing, number, checksum in rows:
        # Without a watermark they are compared all the same; only not held against it.
        counted = "due" if standing == "loose" else standing
        found[bucket][counted] += Tally(rows=int(number), checksum=int(checksum))
    return found


def alike(source: dict[str, Tally], target: dict[str, Tally]) -> bool:
    """Whether a bucket needs no look at its rows."""
    if all_of(source) == all_of(target):
        return True
    return source["due"] == target["due"] and not target["newer"].rows


def all_of(bucket: dict[str, Tally]) -> Tally:
    """Return the rows of a bucket, due or not."""
    due, newer = bucket["due"], bucket["newer"]
    return Tally(rows=due.rows + newer.rows, checksum=due.checksum + newer.checksum)


@dataclass(kw_only=True)
class Comparison:
    """What a comparison found.

    Attributes:
        most: How many differing rows are kept as samples.
        counts: Differing rows by kind.
        samples: The first of them, with the MD5 of their keys.
        undue: Rows of the source that are not due yet, and differ.
        changed: Rows that differ because the target has a newer version.
        source: Rows of the source that were judged.
        target: Rows of the target that were judged.
    """

    most: int
    counts: dict[Kind, int] = field(default_factory=dict)
    samples: list[tuple[str, Difference]] = field(default_factory=list)
    undue: int = 0
    changed: int = 0
    source: Tally = field(default_factory=Tally)
    target: Tally = field(default_factory=Tally)

    def add_alike(self, source: dict[str, Tally], target: dict[str, Tally]) -> None:
        """Count a bucket that needs no look at its rows."""
        same_rows = all_of(source) == all_of(target)
        rows = all_of(source) if same_rows else source["due"]
        self.source += rows
        self.target += rows
        self.undue += 0 if same_rows else source["newer"].rows

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
    found: Comparison,
) -> None:
    """Walk both streams side by side.

    Args:
        source: Rows of the source in the order of their keys' MD5.
        target: Rows of the target in the same order.
        key: Names of the key's columns.
        valued: Names of the columns that are compared by value.
        found: Takes note of what there is.
    """
    left, right = next(source, None), next(target, None)
    while left is not None or right is not None:
        if left is not None and (right is None or left.order < right.order):
            _only_source(found, left, key)
            left = next(source, None)
        elif right is not None and (left is None or right.order < left.order):
            _only_target(found, right, key)
            right = next(target, None)
        elif left is not None and right is not None:
            _both(found, left, right, key, valued)
            left, right = next(source, None), next(target, None)


def _only_source(found: Comparison, row: Row, key: Sequence[str]) -> None:
    if row.standing == "due":
        found.source.add(row)
        found.note("missing", row, key)
    else:
        found.undue += 1


def _only_target(found: Comparison, row: Row, key: Sequence[str]) -> None:
    if row.standing == "due":
        found.target.add(row)
        found.note("extra", row, key)
    found.changed += row.standing == "changed"


def _both(
    found: Comparison, left: Row, right: Row, key: Sequence[str], valued: Sequence[str]
) -> None:
    """Judge a row that both sides have; what is equal needs no excuse."""
    pairs = zip(valued, left.values, right.values, strict=True)
    columns = [name for name, one, other in pairs if not same(one, other)]
    alike = not columns and left.digest == right.digest
    if right.standing == "gone" or (right.standing == "changed" and not alike):
        found.changed += 1
    elif left.standing != "due" and not alike:
        found.undue += 1
    else:
        found.source.add(left)
        found.target.add(right)
        if not alike:
            found.note("different", left, key, columns)


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
