"""A Snowflake table resource from the columns that the contract declares."""

from collections.abc import Iterable

import pulumi
import pulumi_snowflake as snowflake

from runtime.contract.snowflake_names import SnowflakeColumn


def table_id(place: tuple[str, str, str]) -> str:
    """Return the provider's id of a table, by which one that stands is imported.

    Source: https://www.pulumi.com/registry/packages/snowflake/api-docs/table/#import

    Args:
        place: Database, schema and table as stored.
    """
    return "|".join(place)


def made_table(
    name: str,
    place: tuple[str, str, str],
    columns: Iterable[SnowflakeColumn],
    opts: pulumi.ResourceOptions,
    *,
    change_tracking: bool = False,
    cluster_by: list[str] | None = None,
) -> snowflake.Table:
    """Make a table.

    Args:
        name: The resource's name.
        place: Database, schema and table as stored.
        columns: Its columns, in order.
        opts: Options of the resource.
        change_tracking: True where a stream reads it; making the stream switches it
            on, and the provider would switch it off again.
        cluster_by: Columns as SQL text.
    """
    database, schema, table = place
    return snowflake.Table(
        name,
        database=database,
        schema=schema,
        name=table,
        columns=[
            {"name": column.name, "type": column.type, "nullable": column.nullable}
            for column in columns
        ],
        change_tracking=change_tracking,
        cluster_bies=cluster_by,
        opts=opts,
    )
