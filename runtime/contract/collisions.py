"""What keeps two tables from standing in one config."""

from collections.abc import Iterator

from runtime.contract.errors import ConfigError
from runtime.contract.names import SourceName
from runtime.contract.snowflake_names import keys_name, landing_name, stream_name
from runtime.contract.specs import Table, TableSpec


def repeated(specs: list[TableSpec], where: str) -> Iterator[ConfigError]:
    """Find tables that stand twice in the config."""
    seen: set[SourceName] = set()
    for spec in specs:
        if spec.source in seen:
            yield ConfigError(
                "table stands twice",
                subject=where,
                got=spec.table_name,
                remedy="keep one entry",
            )
        seen.add(spec.source)


def collisions(tables: list[Table]) -> Iterator[ConfigError]:
    """Find tables that would share an object in Snowflake."""
    seen: dict[str, str] = {}
    for table in tables:
        schema, name = table.spec.target
        source = table.spec.source
        for wanted, key in (
            (f"{schema}.{name}", "target_table or target_schema"),
            (landing_name(source), "name at the source"),
            # Not a table, but a FROM clause would find it by the same name.
            (stream_name(source), "name at the source"),
            (keys_name(source), "name at the source"),
        ):
            other = seen.setdefault(wanted, table.spec.table_name)
            if other != table.spec.table_name:
                yield ConfigError(
                    "shares an object in Snowflake with another table",
                    subject=table.spec.table_name,
                    got=f"{wanted} (also {other})",
                    remedy=f"give one of them another {key}",
                )
