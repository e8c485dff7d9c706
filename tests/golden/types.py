"""The generated part of docs/TYPES.md: the table of types, from the rules."""

import re
from collections.abc import Iterator
from pathlib import Path

from runtime.contract.columns import Column
from runtime.contract.type_map import NAMED, type_rule
from runtime.contract.type_rule import TypeRule
from tests.factories import make_column

_GENERATED = re.compile(r"(?s)(<!-- types -->\n).*(<!-- end of types -->)")
_SIZED = {
    "numeric(p,s), up to 38 digits": make_column(1, "x", "numeric(12,2)"),
    "numeric(p,s), more digits": make_column(1, "x", "numeric(50,2)"),
    "character varying(n)": make_column(1, "x", "character varying(20)"),
    "character(n)": make_column(1, "x", "character(20)"),
    "arrays of real and double precision": make_column(
        1, "x", "real[]", kind="array", type="real[]"
    ),
    "other arrays": make_column(1, "x", "integer[]", kind="array"),
    "enums": make_column(1, "x", "public.mood", kind="enum"),
    "ranges and multiranges": make_column(1, "x", "int4range", kind="range"),
    "composite types": make_column(1, "x", "public.pair", kind="composite"),
}
_HEAD = (
    "| PostgreSQL | Exported as | Snowflake | Does not fit | Key | Compared by |",
    "| --- | --- | --- | --- | --- | --- |",
)


def page(document: Path) -> str:
    """Return the document with its table as the rules are now."""
    table = "\n".join((*_HEAD, *_rows())) + "\n"
    return _GENERATED.sub(lambda m: m[1] + table + m[2], document.read_text())


def _rows() -> Iterator[str]:
    """Yield a line for each rule; types with the same one share it."""
    same: dict[tuple[str, ...], list[str]] = {}
    for name, column in (_named() | _SIZED).items():
        same.setdefault(_cells(column), []).append(name)
    for cells, names in same.items():
        yield "| " + " | ".join((", ".join(names), *cells)) + " |"


def _named() -> dict[str, Column]:
    # "character" has a length in every catalog, and is told with it.
    return {name: make_column(1, "x", name) for name in NAMED if name != "character"}


def _cells(column: Column) -> tuple[str, ...]:
    rule = type_rule(column)
    sized = rule.type.replace("(12,2)", "(p,s)").replace("(20)", "(n)")
    return (
        f"`{_short(rule)}`",
        f"`{sized}`",
        rule.misfits or "-",
        "yes" if rule.key else "no",
        "value" if rule.text is None else "text",
    )


def _short(rule: TypeRule) -> str:
    """Return the export's SQL without its schemas."""
    return rule.export("x").replace("pg_catalog.", "").replace("|", "\\|")
