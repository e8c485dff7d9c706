"""Names and columns of everything the sync owns in Snowflake.

All names are held as Snowflake stores them (what the provider wants) and quoted
where SQL text is rendered.
"""

from dataclasses import dataclass

from runtime.contract.names import (
    LakeKeys,
    SourceName,
    quote_snowflake,
    snowflake_name,
)
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.contract.type_rule import TEXT_TYPE

LANDING = "LANDING"
SYNC = "SYNC"
MANIFESTS = "MANIFESTS"
FILE_RECEIPTS = "FILE_RECEIPTS"
QUARANTINE = "QUARANTINE"
QUARANTINE_COUNTS = "QUARANTINE_COUNTS"
RECONCILES = "RECONCILES"
SWEEPS = "SWEEPS"
# Schemas that a target table cannot stand in: ours, and Snowflake's own.
TAKEN_SCHEMAS = (LANDING, SYNC, "INFORMATION_SCHEMA")
# Columns of every target table beside the declared ones.
TARGET_METADATA = ("_SYNC_STAMP", "_SYNC_FILE", "_SYNC_AT", "_DELETED_AT")


@dataclass(frozen=True, kw_only=True)
class SnowflakeColumn:
    """A column of a Snowflake table.

    Attributes:
        name: Name as stored.
        type: Data type in Snowflake's own spelling.
        nullable: Whether NULL may stand in it.
    """

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, kw_only=True)
class SnowflakeObjects:
    """Where the sync lives in Snowflake.

    Attributes:
        database: Database of all schemas.
        warehouse: Warehouse of merges.
        stack: Name of the deployment, first folder in the lake.
    """

    database: str
    warehouse: str
    stack: str

    exports_stage: str = "EXPORTS"
    manifests_stage: str = "MANIFESTS"
    # Versions of a pipe add a digest of their COPY.
    manifests_pipes: str = "MANIFESTS_PIPE"
    status_stage: str = "STATUS"
    # No table's object has such a name: theirs have two underscores within.
    sweep_stream: str = "MANIFESTS_STREAM"
    sweep_task: str = "SWEEP"
    status_task: str = "STATUS"

    def qualified(self, schema: str, name: str) -> str:
        """Return the full, quoted name of an object."""
        return ".".join(quote_snowflake(part) for part in (self.database, schema, name))

    @property
    def loader(self) -> str:
        """Stored name of the role that owns what moves rows, and runs the tasks.

        Roles belong to the account, so the database tells stacks apart.
        """
        return f"{self.database}_LOADER"

    @property
    def reader(self) -> str:
        """Stored name of the role that sees targets and status."""
        return f"{self.database}_READER"

    def landing(self, table: Table, suffix: str = "") -> str:
        """Return the stored name of a table's object in the landing schema."""
        return landing_name(table.spec.source) + suffix

    def pipes(self, table: Table) -> str:
        """Return what the names of all versions of a table's pipe begin with."""
        return self.landing(table, "_PIPE")

    def stream(self, table: Table) -> str:
        """Return the stored name of a table's stream."""
        return stream_name(table.spec.source)

    def keys_table(self, table: Table) -> str:
        """Return the stored name of the table that keys wait in for their seal."""
        return keys_name(table.spec.source)

    def task(self, table: Table) -> str:
        """Return the stored name of a table's merge task."""
        return self.landing(table, "_MERGE")

    def keys(self, table: Table) -> LakeKeys:
        """Return where the table's objects stand in the bucket."""
        return LakeKeys(stack=self.stack, table=table.spec.source)

    def stage_urls(self, bucket: str) -> dict[str, str]:
        """Return the stages with the bucket folders they show."""
        return {
            self.exports_stage: f"s3://{bucket}/exports/{self.stack}/",
            self.manifests_stage: f"s3://{bucket}/manifests/{self.stack}/",
            self.status_stage: f"s3://{bucket}/{status_folder(self.stack)}",
        }


def status_folder(stack: str) -> str:
    """Return the folder of the bucket that Snowflake writes a stack's status to."""
    return f"status/{stack}/"


def landing_name(source: SourceName) -> str:
    """Return the stored name of a table's landing table."""
    return f"{snowflake_name(source.schema)}__{snowflake_name(source.name)}"


def stream_name(source: SourceName) -> str:
    """Return the stored name of the stream on a table's landing table."""
    return landing_name(source) + "_STREAM"


def keys_name(source: SourceName) -> str:
    """Return the stored name of the table that a table's keys wait in."""
    return landing_name(source) + "_KEYS"


def landing_columns(table: Table) -> tuple[SnowflakeColumn, ...]:
    """Columns of the landing table: text by position, and where each row came from."""
    return (
        SnowflakeColumn(name="FILE_NAME", type=TEXT_TYPE),
        SnowflakeColumn(name="FILE_ROW", type="NUMBER(19,0)"),
        SnowflakeColumn(name="LOADED_AT", type="TIMESTAMP_NTZ(6)"),
        *(
            SnowflakeColumn(name=f"C{place}", type=TEXT_TYPE)
            for place in range(1, table.contract.width + 1)
        ),
    )


def keys_columns(table: Table) -> tuple[SnowflakeColumn, ...]:
    """Columns of the table that keys wait in: where each came from, and as landed."""
    places = range(1, table.key_width + 1)
    kept = {"FILE_NAME", "FILE_ROW", *(f"C{place}" for place in places)}
    return tuple(column for column in landing_columns(table) if column.name in kept)


def target_columns(table: Table) -> tuple[SnowflakeColumn, ...]:
    """Columns of the target table: the declared ones, then the sync's own."""
    keys = {column.attnum for _, column in table.keys}
    declared = []
    for _, column in table.contract.live:
        declared.append(
            SnowflakeColumn(
                name=column.target,
                type=rule_for(column).type,
                nullable=column.attnum not in keys,
            )
        )
        if column.companion:
            declared.append(SnowflakeColumn(name=column.companion, type=TEXT_TYPE))
    return (
        *declared,
        SnowflakeColumn(name="_SYNC_STAMP", type="VARCHAR(64)"),
        SnowflakeColumn(name="_SYNC_FILE", type="VARCHAR(1024)"),
        SnowflakeColumn(name="_SYNC_AT", type="TIMESTAMP_NTZ(6)"),
        SnowflakeColumn(name="_DELETED_AT", type="TIMESTAMP_NTZ(6)"),
    )


def shared_tables() -> dict[str, tuple[SnowflakeColumn, ...]]:
    """Tables of the SYNC schema; all are written by INSERT only."""

    def text(*names: str) -> tuple[SnowflakeColumn, ...]:
        return tuple(SnowflakeColumn(name=name, type=TEXT_TYPE) for name in names)

    def count(*names: str) -> tuple[SnowflakeColumn, ...]:
        return tuple(SnowflakeColumn(name=name, type="NUMBER(19,0)") for name in names)

    def moment(name: str) -> tuple[SnowflakeColumn, ...]:
        return (SnowflakeColumn(name=name, type="TIMESTAMP_NTZ(6)"),)

    return {
        MANIFESTS: text("FILE_NAME")
        + moment("LOADED_AT")
        + (SnowflakeColumn(name="BODY", type="VARIANT"),),
        FILE_RECEIPTS: text("TABLE_NAME", "FILE_NAME")
        + count("FIRST_ROW", "LAST_ROW", "ROWS_APPLIED", "VALUES_NULLED")
        + moment("MERGED_AT"),
        QUARANTINE: text("TABLE_NAME", "FILE_NAME")
        + count("FILE_ROW")
        + text("STAMP", "KEY_TEXT", "COLUMN_NAME", "VALUE_TEXT", "REASON")
        + moment("QUARANTINED_AT"),
        QUARANTINE_COUNTS: text("TABLE_NAME")
        + count("ROWS_WAITING")
        + moment("NEWEST_AT")
        + moment("COUNTED_AT"),
        RECONCILES: text("TABLE_NAME", "SEAL", "STAMP")
        + count("KEY_COUNT", "ROW_COUNT", "GONE_COUNT")
        + text("DECISION")
        + moment("DECIDED_AT")
        + count("MISSING_COUNT"),
        SWEEPS: text("TABLE_NAME", "FILE_NAME", "PROBLEM") + moment("SWEPT_AT"),
    }
