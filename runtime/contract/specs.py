"""Frozen specs: what to sync (TableSpec) and the columns both sides agreed on.

The fields of `TableSpec` are the keys of an entry in `sync_config.json`; their
annotations carry the meaning and the allowed form that error messages, the JSON
Schema and the docs show.
"""

from datetime import timedelta
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from runtime.contract.columns import Column, Mask, Misfit, Name
from runtime.contract.names import SourceName, ascii_name, snowflake_name


class TableSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `sync_config.json`; three keys suffice, with mode full two."""

    table_name: Annotated[
        str,
        Meta(description="source table as schema.table, letters kept as they are"),
    ]
    primary_key: Annotated[
        Name | tuple[Name, ...],
        Meta(description="column name, or a list of column names, of a unique key"),
    ]
    watermark_col: Annotated[
        Name | None,
        Meta(description="column that moves whenever a row is written; not mode full"),
    ] = None
    schedule: Annotated[
        str,
        Meta(description="hourly, daily, rate(5 minutes) or cron(0 * * * ? *)"),
    ] = "hourly"
    lookback: Annotated[
        timedelta,
        Meta(
            description="how far below the watermark each run reads again; "
            "ISO 8601 duration such as PT5M"
        ),
    ] = timedelta(minutes=5)
    margin: Annotated[
        timedelta,
        Meta(
            description="taken off the commit-safe time; ISO 8601 duration such as PT2S"
        ),
    ] = timedelta(seconds=2)
    watermark_timezone: Annotated[
        str | None,
        Meta(
            description="zone name such as Europe/Berlin in which a watermark "
            "without time zone is written"
        ),
    ] = None
    watermark_unit: Annotated[
        Literal["s", "ms", "us"] | None,
        Meta(
            description="s, ms or us: the unit of an integer watermark that is a time"
        ),
    ] = None
    null_watermark: Annotated[
        Literal["include", "exclude", "fail"],
        Meta(
            description="include, exclude or fail: rows whose watermark is "
            "NULL or infinite"
        ),
    ] = "include"
    max_null_rows: Annotated[
        int,
        Meta(ge=0, description="most rows without watermark a run carries along"),
    ] = 100_000
    id_lookback: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="how many ids below the watermark are read again; makes the "
            "watermark a sequence's id, of a table that rows are only appended to"
        ),
    ] = None
    max_holdback: Annotated[
        timedelta,
        Meta(
            description="how long an open transaction may hold the watermark "
            "before it alarms; ISO 8601 duration such as PT6H"
        ),
    ] = timedelta(hours=6)
    mode: Annotated[
        Literal["incremental", "full"],
        Meta(description="incremental, or full (every row and key with each run)"),
    ] = "incremental"
    deletes: Annotated[
        Literal["reconcile", "soft_column", "ignore"],
        Meta(
            description="reconcile (rows whose key is gone), soft_column (rows that "
            "deleted_col marks) or ignore"
        ),
    ] = "reconcile"
    deleted_col: Annotated[
        Name | None,
        Meta(description="column that marks a row as deleted: true, or a date or time"),
    ] = None
    reconcile_interval: Annotated[
        timedelta,
        Meta(
            description="how often all keys are compared; ISO 8601 duration such as P1D"
        ),
    ] = timedelta(days=1)
    max_delete_fraction: Annotated[
        float,
        Meta(gt=0, le=1, description="largest share of rows one reconcile may remove"),
    ] = 0.1
    columns: Annotated[
        tuple[Name, ...] | None,
        Meta(description="list of the columns to sync; the others stay behind"),
    ] = None
    exclude: Annotated[
        tuple[Name, ...],
        Meta(description="list of the columns to leave behind"),
    ] = ()
    rename: Annotated[
        dict[Name, Name],
        Meta(description="column name to the name it has in Snowflake"),
    ] = field(default_factory=dict)
    masks: Annotated[
        dict[Name, Mask],
        Meta(
            description="column name to hash, redact, null, truncate (to a text's "
            "first character, a moment's year) or truncate:N (characters)"
        ),
    ] = field(default_factory=dict)
    misfits: Annotated[
        dict[Name, Misfit],
        Meta(
            description="column name to what becomes of a value that its Snowflake "
            "type cannot hold: fail (its row waits in quarantine), text (it stands "
            "in a column beside, NAME__TEXT) or null (it is counted)"
        ),
    ] = field(default_factory=dict)
    where: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="SQL condition on the table's own columns: the rows to sync"),
    ] = None
    target_schema: Annotated[
        Name | None,
        Meta(description="Snowflake schema; by default the source schema"),
    ] = None
    target_table: Annotated[
        Name | None,
        Meta(description="Snowflake table; by default the source table"),
    ] = None
    clustering: Annotated[
        tuple[Name, ...],
        Meta(description="list of columns the target table is clustered by"),
    ] = ()
    warehouse: Annotated[
        Name | None,
        Meta(description="Snowflake warehouse for the merge; by default the stack's"),
    ] = None
    merge_interval: Annotated[
        timedelta,
        Meta(
            description="least time between two merges, PT10S to PT1H; "
            "ISO 8601 duration"
        ),
    ] = timedelta(minutes=1)

    @property
    def source(self) -> SourceName:
        """The source table."""
        return SourceName.parse(self.table_name)

    @property
    def key(self) -> tuple[str, ...]:
        """The key columns, in order."""
        if isinstance(self.primary_key, str):
            return (self.primary_key,)
        return self.primary_key

    @property
    def needed(self) -> set[str]:
        """The columns that every export needs."""
        return {*self.key, *([self.watermark_col] if self.watermark_col else [])}

    @property
    def is_full(self) -> bool:
        """Whether every run reads the whole table."""
        return self.mode == "full"

    @property
    def per_second(self) -> int:
        """How far an integer watermark that is a time goes in a second; 0 of others."""
        return {"s": 1, "ms": 1_000, "us": 1_000_000}.get(self.watermark_unit or "", 0)

    @property
    def reach(self) -> timedelta | int:
        """The lookback as it is subtracted from a watermark."""
        if self.id_lookback is not None:
            return self.id_lookback
        if self.per_second:
            return -(-self.lookback // (timedelta(seconds=1) / self.per_second))
        return self.lookback

    @property
    def target(self) -> tuple[str, str]:
        """Schema and table in Snowflake, as stored there."""
        return (
            snowflake_name(self.target_schema or self.source.schema),
            snowflake_name(self.target_table or self.source.name),
        )

    @property
    def group(self) -> str:
        """What the table's metrics and alarms are summed up by: its target's schema."""
        return ascii_name(self.target[0])

    @property
    def schedule_expression(self) -> str:
        """The schedule as EventBridge reads it."""
        shorthand = {"hourly": "rate(1 hour)", "daily": "rate(1 day)"}
        return shorthand.get(self.schedule, self.schedule)


class TableContract(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The frozen columns of one table: `contracts/<schema>.<table>.json`.

    Attributes:
        table: The source table, as in the config entry.
        columns: Columns in file order; append-only.
        base_width: How many columns the first version had. Files that are
            narrower than today's contract never null the columns they lack.
        where: Condition of the rows to sync; None for all. Aurora has checked it.
    """

    table: str
    columns: Annotated[tuple[Column, ...], Meta(min_length=1)]
    base_width: Annotated[int, Meta(ge=1)]
    where: str | None = None

    @property
    def width(self) -> int:
        """Number of columns in a file written under this contract."""
        return len(self.columns)

    @property
    def live(self) -> tuple[tuple[int, Column], ...]:
        """Position (from 1) and column, of those that still exist."""
        return tuple(
            (position, column)
            for position, column in enumerate(self.columns, start=1)
            if not column.dropped
        )

    def column(self, name: str) -> Column | None:
        """Return the live column of that source name."""
        return next((c for _, c in self.live if c.name == name), None)

    def present(self, name: str | None) -> Column:
        """Return the live column that a checked spec names.

        Raises:
            LookupError: There is none, which the loader does not let happen.
        """
        found = self.column(name or "")
        if found is None:
            raise LookupError(f"the contract has no live column {name!r}")
        return found


class Table(Struct, frozen=True, kw_only=True, dict=True):
    """A spec with its contract: everything about one table."""

    spec: TableSpec
    contract: TableContract

    @cached_property
    def keys(self) -> tuple[tuple[int, Column], ...]:
        """Position and column of the key columns, in key order."""
        by_name = {column.name: (place, column) for place, column in self.contract.live}
        return tuple(by_name[name] for name in self.spec.key)

    @property
    def key_width(self) -> int:
        """How many columns of a file reach to the last one of the key."""
        return max(place for place, _ in self.keys)

    @cached_property
    def watermark(self) -> Column:
        """The watermark column, which a table of mode full may lack."""
        return self.contract.present(self.spec.watermark_col)
