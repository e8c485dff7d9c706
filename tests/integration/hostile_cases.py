"""Tables that are hard to carry, with what has to arrive of each."""

from dataclasses import dataclass, field
from typing import Any

from runtime.contract.names import SourceName, quote_postgres
from tests.hostile import EDGES, KEYS

Row = tuple[Any, ...]
# Only keys that are hard to compare are compared: half the time of a merge.
FULL = {"mode": "full", "deletes": "ignore"}
COMPARED = {"mode": "full"}
MOVED = {"watermark_timezone": "UTC", "deletes": "ignore"}
OLD = "2020-02-29 23:59:59.123456"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A table and what stands in it.

    Attributes:
        source: Its name at the source.
        columns: Type, and what else SQL says of it, by the name of each column.
        rows: What has to stand on both sides.
        key: Columns of the key; the first one by default.
        entry: How its rows are found; by default all of them with each run.
        tail: What follows the columns in CREATE TABLE.
        more: Statements that follow it.
        under: The table, if the source is a view of it.
        made: How many of the last columns PostgreSQL fills by itself.
    """

    source: SourceName
    columns: dict[str, str]
    rows: list[Row]
    key: tuple[str, ...] = ()
    entry: dict[str, Any] = field(default_factory=lambda: FULL)
    tail: str = ""
    more: tuple[str, ...] = ()
    under: SourceName | None = None
    made: int = 0

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return self.key or tuple(self.columns)[:1]

    @property
    def config(self) -> dict[str, Any]:
        """Its config entry."""
        known = {"table_name": str(self.source), "primary_key": list(self.keys)}
        return known | {"merge_interval": "PT10S"} | self.entry

    @property
    def table(self) -> str:
        """Where its rows are, as SQL text."""
        return (self.under or self.source).sql

    def ddl(self) -> str:
        """Return what makes it."""
        columns = [
            f"{quote_postgres(name)} {self.columns[name]}" for name in self.columns
        ]
        key = ", ".join(map(quote_postgres, self.keys))
        made = f"CREATE TABLE {self.table} ({', '.join(columns)}, PRIMARY KEY ({key}))"
        view = f"CREATE VIEW {self.source.sql} AS SELECT * FROM {self.table}"
        return "; ".join([made + self.tail, *self.more, *[view] * bool(self.under)])

    @property
    def filled(self) -> tuple[str, ...]:
        """The columns that an INSERT names."""
        return tuple(self.columns)[: len(self.columns) - self.made]


def _name(name: str, schema: str = "public") -> SourceName:
    return SourceName(schema=schema, name=name)


# --- texts


def _fits(cell: str | None, most: int) -> str | None:
    return None if cell is None or len(cell) > most else cell


def _padded(cell: str | None) -> str | None:
    """What char(8) makes of a text."""
    return None if cell is None else cell.ljust(8)


TEXTS = Case(
    source=_name("texts"),
    columns={
        "id": "INT",
        "t": "TEXT",
        "v": "VARCHAR(20)",
        "c": "CHAR(8)",
        "n": "NUMERIC(12, 3)",
        "at": "TIMESTAMP",
        "moved": "TIMESTAMP",
    },
    rows=[
        (id_, cell, _fits(cell, 20), _padded(_fits(cell, 8)), None, None, OLD)
        for id_, cell in enumerate(EDGES.values())
    ]
    + [
        (1000, *[None] * 6),
        (1001, "", "", " " * 8, "0.000", OLD, OLD),
        (1002, "x", "x", _padded("x"), "-0.001", OLD, None),
    ],
    entry=MOVED | {"watermark_col": "moved"},
)
TEXT_KEYS = Case(
    source=_name("text_keys"),
    columns={"k": "TEXT", "note": "TEXT"},
    # A byte order mark first, where a file might have one.
    rows=[(key, None) for key in sorted(KEYS, key=lambda key: key != "\ufeff")],
    entry=COMPARED,
)

# --- names

SCHEMA = "Sales of Today"
NAMES = (
    # The key, the watermark, and columns like any.
    *('the "key"', "Updated At", "MixedCase", "lower", "UPPER", "with blank"),
    *("select", "order", "user", "qualify", "ilike", "at", "end", "group", "table"),
    *("größe", "名前", "naïve 😀", "x" * 63, "é" * 31 + "z", "back\\slash"),
    *("100%", "%s", "{x}", "$1", "a.b", "semi;colon", "--", "tab\there", "1st", "?"),
    # Those that the statements of the sync use themselves.
    *("c1", "v1", "c2", "v2", "file_name", "file_row", "loaded_at", "stamp", "misfit"),
    *("raw", "typed", "t", "s", "width", "place", "wins", "ranked", "newer", "seal"),
    *("value", "body", "key_text", "k", "n", "d", "sync_at"),
)
NAMED = Case(
    # Dots and quotes in a table's name are refused: a view of it is the remedy.
    source=_name("Orders of Today", schema=SCHEMA),
    under=_name('or.der"s', schema=SCHEMA),
    columns={name: "TEXT" for name in NAMES} | {"Updated At": "TIMESTAMP"},
    # Each value tells its row and column, so that none can take another's place.
    rows=[
        (f"row {row}", OLD, *[f"{row} in {name}" for name in NAMES[2:]])
        for row in range(3)
    ],
    entry=MOVED | {"watermark_col": "Updated At"},
)

# --- shapes

PAIRS: list[Row] = [
    (key, number, f"{key!a} {number}") for key in KEYS for number in (1, 11)
]
PARTED = Case(
    source=_name("parted"),
    columns={
        "id": "INT",
        "part": "INT",
        "note": "TEXT",
        "twice": "TEXT GENERATED ALWAYS AS (note || note) STORED",
    },
    made=1,
    key=("id", "part"),
    rows=[
        (id_, 1 + id_ % 2, cell, None if cell is None else cell * 2)
        for id_, cell in enumerate(EDGES.values())
    ],
    tail=" PARTITION BY LIST (part)",
    more=(
        "CREATE TABLE public.part_1 PARTITION OF public.parted FOR VALUES IN (1)",
        "CREATE TABLE public.part_2 PARTITION OF public.parted FOR VALUES IN (2)",
    ),
)
WIDE = tuple(f"c{number}" for number in range(1, 401))
CASES = {
    "texts": TEXTS,
    "a text as the key": TEXT_KEYS,
    "names, in a view": NAMED,
    "a key of two": Case(
        source=_name("Pairs, 100% Größe; 対", schema=SCHEMA),
        columns={"k": "TEXT", "n": "INT", "note": "TEXT"},
        key=("k", "n"),
        rows=PAIRS,
        entry=COMPARED,
    ),
    "a key and nothing else": Case(
        source=_name("only_keys"),
        columns={"n": "INT", "k": "TEXT"},
        key=("k", "n"),
        rows=[(number, key) for key, number, _ in PAIRS],
    ),
    "one column": Case(
        source=_name("singles"),
        columns={"k": "TEXT"},
        rows=[(key,) for key in KEYS],
        entry=COMPARED,
    ),
    "partitions and a generated column": PARTED,
    "400 columns": Case(
        source=_name("w" * 63),
        columns={name: "TEXT" for name in WIDE},
        key=("c400",),
        rows=[
            (*[f"{row} {name}" for name in WIDE[:-2]], None, f"{row}")
            for row in range(3)
        ],
    ),
    "no rows": Case(
        source=_name("nothing"), columns={"id": "INT", "note": "TEXT"}, rows=[]
    ),
}
