"""How large tables are at the source, by what PostgreSQL knows without counting."""

from collections.abc import Iterable
from contextlib import closing
from typing import Any

from msgspec import Struct

from runtime.contract.names import SourceName
from runtime.ops.source import told

# Partitions hold the rows of a partitioned table. A table that was never analyzed has
# -1 rows; a view has none, and no size.
# Source: https://www.postgresql.org/docs/current/catalog-pg-class.html
_SIZE = """
WITH parts AS (
  SELECT pg_catalog.to_regclass(%(name)s)::pg_catalog.oid AS oid
  UNION
  SELECT relid::pg_catalog.oid
  FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass(%(name)s))
)
SELECT SUM(GREATEST(c.reltuples, 0))::pg_catalog.int8,
  SUM(pg_catalog.pg_table_size(c.oid))::pg_catalog.int8,
  BOOL_OR(c.reltuples < 0 AND pg_catalog.pg_table_size(c.oid) > 0)
FROM parts AS p
JOIN pg_catalog.pg_class AS c ON c.oid = p.oid
WHERE c.relkind IN ('r', 'm', 't')
"""


class Size(Struct, frozen=True, kw_only=True):
    """A table's size.

    Attributes:
        rows: As of its last ANALYZE or VACUUM; None when there was none.
        bytes: On disk, long values included, indexes not: near the size of its rows
            as CSV, which has no headers and no gaps, but prints numbers and times.
    """

    rows: int | None
    bytes: int


def sizes(connection: Any, sources: Iterable[SourceName]) -> dict[SourceName, Size]:
    """Return the sizes of tables; without those that are not there, and views.

    Args:
        connection: A session made by `runtime.ops.source.connect`.
        sources: The tables.

    Raises:
        SourceError: When Aurora refuses.
    """
    found: dict[SourceName, Size] = {}
    with told("Aurora"), closing(connection.cursor()) as cursor:
        for source in sources:
            cursor.execute(_SIZE, {"name": source.sql})
            rows, size, unknown = cursor.fetchone()
            if size is not None:
                found[source] = Size(rows=None if unknown else rows, bytes=size)
        connection.rollback()
    return found
