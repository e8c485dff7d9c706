"""What other tools do, run for real beside ours: nothing here is staged.

The usual cursor remembers the highest `updated_at` that it has copied and asks for
what is above it; the usual file is CSV with default options, its numbers floats.
"""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from runtime.ops.compare import parse_json, same

_COPY = """
INSERT INTO usual.orders (order_id, customer_id, state, total, updated_at)
SELECT order_id, customer_id, state, total, updated_at
FROM shop.orders
WHERE updated_at > COALESCE((SELECT MAX(updated_at) FROM usual.orders), '-infinity')
ON CONFLICT (order_id) DO UPDATE SET customer_id = excluded.customer_id,
  state = excluded.state, total = excluded.total, updated_at = excluded.updated_at
RETURNING order_id
"""
_LOST = """
SELECT o.order_id
FROM shop.orders AS o
LEFT JOIN usual.orders AS u ON u.order_id = o.order_id AND u.updated_at = o.updated_at
WHERE u.order_id IS NULL
ORDER BY o.order_id
"""
_ODD = """
SELECT id, "Group", exact::TEXT AS exact, big::TEXT AS big
FROM shop."Odd Values"
ORDER BY id
"""


class Cell(Struct, frozen=True, kw_only=True):
    """One value that does not survive the usual way.

    Attributes:
        row: Key of its row.
        column: Its column.
        aurora: Its text in Aurora; None for NULL.
        usual: What a reader of plain CSV makes of it.
    """

    row: int
    column: str
    aurora: str | None
    usual: str


def sync(cursor: Any) -> list[int]:
    """Copy orders as a cursor on MAX(updated_at) does; return which ones moved."""
    cursor.execute(_COPY)
    return sorted(row[0] for row in cursor.fetchall())


def lost(cursor: Any) -> list[int]:
    """Return the orders whose present version the usual cursor has not copied.

    Their `updated_at` is below its MAX: no later run asks for them.
    """
    cursor.execute(_LOST)
    return [row[0] for row in cursor.fetchall()]


def hurt(cursor: Any) -> list[Cell]:
    """Return the values that come out of plain CSV and floats as other values."""
    cursor.execute(_ODD)
    truth = cursor.fetchall()
    text = io.StringIO(newline="")
    cursor.copy_expert(f"COPY ({_ODD}) TO STDOUT (FORMAT csv)", text)
    text.seek(0)
    return [
        Cell(row=key, column=column, aurora=one, usual=other)
        for (key, *exact), (_, *plain) in zip(truth, csv.reader(text), strict=True)
        for (column, read), one, field in zip(
            _READERS.items(), exact, plain, strict=True
        )
        if not _kept(one, other := read(field))
    ]


def _kept(one: str | None, other: str) -> bool:
    return one == other or (
        one is not None and same(parse_json(one), parse_json(other))
    )


_READERS: dict[str, Callable[[str], str]] = {
    "Group": str,
    "exact": lambda text: repr(float(text)),
    "big": lambda text: json.dumps(json.loads(text, parse_int=float)),
}
