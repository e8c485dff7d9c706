"""Both sides of a drawn table beside each other, value by value."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.types.differs import broken
from tests.types.kinds import MISFIT, PRINTED, Kind, Value, same

Row = tuple[Value | None, ...]


@dataclass(frozen=True)
class Column:
    """A column of a drawn table.

    Attributes:
        name: Its name, in lower case.
        kind: Its type.
        nullable: Whether it takes NULL.
        misfit: What becomes of values that do not fit: fail, text or null.
    """

    name: str
    kind: Kind
    nullable: bool
    misfit: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was found after a sync; rows by key, values in the order of the columns.

    Attributes:
        exported: Texts in the files; an empty one is '' or NULL.
        printed: What the output functions of the types print.
        misread: Values whose exported text does not mean them, as PostgreSQL reads it.
        foreseen: Values that PostgreSQL, asked by the product, says will not fit.
        target: Texts of the target's values.
        beside: Texts in the companion columns.
        waiting: Rows in quarantine: the column's name and the text.
        nulled: Number of values that the receipts say have become NULL.
    """

    exported: dict[int, list[str]]
    printed: dict[int, list[str]]
    misread: dict[int, list[bool]]
    foreseen: dict[int, list[bool]]
    target: dict[int, list[str | None]]
    beside: dict[int, list[str | None]]
    waiting: dict[int, tuple[str, str]]
    nulled: int


@dataclass(frozen=True)
class Difference:
    """A value that is not what it must be."""

    column: Column
    value: Value | None
    exported: str
    what: str
    found: object
    expected: object

    def __str__(self) -> str:
        literal = "NULL" if self.value is None else _short(self.value.literal)
        return (
            f"{self.column.kind}: {literal}, exported as {_short(self.exported)}: "
            f"{self.what} is {_short(self.found)}, must be {_short(self.expected)}"
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:200]}… ({len(text)} characters)"


@dataclass
class Judge:
    """Compares what must be with what was found.

    Attributes:
        columns: Of the table, in order.
        rows: Their values; the key is the place in the list.
        evidence: What was found.
        differences: What is not as it must be.
        compared: How many values of each type were compared, by declared type.
        seen: The literals that were, with their type.
        misfits: How many of them did not fit.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    evidence: Evidence
    differences: list[Difference] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    misfits: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, str]] = field(default_factory=set)
    _nulled: int = 0

    def decide(self) -> "Judge":
        """Look at every value."""
        for key in range(len(self.rows)):
            self._row(key)
        return self

    @property
    def miscounted(self) -> str:
        """What the receipts tell wrongly of values that became NULL; mostly nothing."""
        told = self.evidence.nulled
        if told == self._nulled:
            return ""
        return f"receipts count {told} values that became NULL, not {self._nulled}"

    def _row(self, key: int) -> None:
        row = self.rows[key]
        failing = [
            place
            for place, (column, value) in enumerate(self._cells(row))
            if _misfits(value) and column.misfit == "fail"
        ]
        arrived = key in self.evidence.target
        for place, (_, value) in enumerate(self._cells(row)):
            self._source_side(key, place, value)
            if not failing and arrived:
                self._target_side(key, place, value)
        if failing:
            self._quarantined(key, failing[0])
        elif not arrived:
            column, text = self.evidence.waiting.get(key, ("", ""))
            place = [c.name for c in self.columns].index(column) if column else 0
            self._differs(
                key, place, "its row", f"not there: {column} {text!r}", "there"
            )

    def _cells(self, row: Row) -> Iterator[tuple[Column, Value | None]]:
        return zip(self.columns, row, strict=True)

    def _quarantined(self, key: int, place: int) -> None:
        """A row waits for its first value that does not fit, with that one's text."""
        expected = self.columns[place].name, self._text(key, place)
        found = self.evidence.waiting.get(key)
        if found != expected:
            self._differs(key, place, "quarantine", found, expected)
        if key in self.evidence.target:
            held = self.evidence.target[key][place]
            self._differs(key, place, "target", held, "no row")
        self._count(key, place)

    def _source_side(self, key: int, place: int, value: Value | None) -> None:
        kind, text = self.columns[place].kind, self._text(key, place)
        for what, facts, must in (
            ("a meaning that is lost", self.evidence.misread, False),
            ("what PostgreSQL foresees", self.evidence.foreseen, _misfits(value)),
        ):
            if facts[key][place] is not must:
                self._differs(key, place, what, facts[key][place], must)
        for entry in () if value is None else broken(kind, value, text):
            self._differs(key, place, "exported text", text, f"as {entry!r} says")
        if kind.back is None and value is not None and value.held is not MISFIT:
            self._same(key, place, "exported JSON", text, value.held)

    def _target_side(self, key: int, place: int, value: Value | None) -> None:
        column, text = self.columns[place], self._text(key, place)
        found = self.evidence.target[key][place]
        beside = self.evidence.beside[key][place]
        if _misfits(value):
            self._nulled += column.misfit == "null"
            expected = text if column.misfit == "text" else None
            if (found, beside) != (None, expected):
                self._differs(key, place, "target", (found, beside), (None, expected))
        elif beside is not None:
            self._differs(key, place, "text beside", beside, None)
        elif value is None or found is None:
            if value is not None or found is not None:
                self._differs(key, place, "target", found, value and value.held)
        else:
            printed = self.evidence.printed[key][place]
            held = printed if value.held is PRINTED else value.held
            self._same(key, place, "target", found, held)
        self._count(key, place)

    def _same(self, key: int, place: int, what: str, text: str, held: Any) -> None:
        try:
            found = self.columns[place].kind.form.read(text)
        except ValueError as error:
            found = error
        if not same(held, found):
            self._differs(key, place, what, text, held)

    def _text(self, key: int, place: int) -> str:
        return self.evidence.exported[key][place]

    def _count(self, key: int, place: int) -> None:
        value, name = self.rows[key][place], self.columns[place].kind.declared
        if value is not None:
            self.compared[name] += 1
            self.misfits[name] += value.held is MISFIT
            self.seen.add((name, value.literal))

    def _differs(
        self, key: int, place: int, what: str, found: object, expected: object
    ) -> None:
        column, value = self.columns[place], self.rows[key][place]
        self.differences.append(
            Difference(column, value, self._text(key, place), what, found, expected)
        )


def _misfits(value: Value | None) -> bool:
    return value is not None and value.held is MISFIT
