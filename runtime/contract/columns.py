"""Columns as a contract freezes them, with what becomes of their values."""

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from runtime.contract.names import snowflake_name

Name = Annotated[str, Meta(min_length=1, max_length=129)]
Mask = Annotated[str, Meta(pattern=r"^(hash|redact|null|truncate(:[1-9][0-9]{0,7})?)$")]
Misfit = Literal["fail", "text", "null"]
# Types of a watermark: those that tell a time, and those that must be told of one.
MOMENTS = ("timestamp with time zone", "timestamp without time zone", "date")
INTEGERS = ("integer", "bigint")

ColumnKind = Literal["base", "enum", "array", "range", "composite"]


class Column(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column of a contract; its place in the list is its place in files.

    Attributes:
        attnum: The column's number in PostgreSQL: its identity, never used again.
        name: Its name at the source; of a dropped column, the name it had.
        type: Declared type as `format_type` prints it.
        base_type: The type under all domains, as `format_type` prints it.
        kind: What sort of type the base type is.
        nullable: Whether NULL may occur.
        dropped: True keeps the place of a column that is gone.
        rename: The name the config gives it in Snowflake; None for its own.
        mask: What leaves Aurora in the place of its values; None for themselves.
        misfit: What becomes of a value that its Snowflake type cannot hold.
    """

    attnum: Annotated[int, Meta(ge=1)]
    name: Name
    type: str
    base_type: str
    kind: ColumnKind = "base"
    nullable: bool = True
    dropped: bool = False
    rename: Name | None = None
    mask: Mask | None = None
    misfit: Misfit = "fail"

    @property
    def plain_type(self) -> str:
        """The base type without length or precision."""
        return re.sub(r"\([\d,-]+\)", "", self.base_type)

    @property
    def target(self) -> str:
        """The column's name as Snowflake stores it."""
        return snowflake_name(self.rename or self.name)

    @property
    def companion(self) -> str | None:
        """The column beside it that holds the texts of values that do not fit."""
        return f"{self.target}__TEXT" if self.misfit == "text" else None
