"""Deletes found by comparing keys: the statements a table's task adds for them.

A reconcile exports every key of the table, in chunks, and then a seal: one row of JSON
that lists the key files with their rows. All come the way of data files, so that the
same task, which never runs beside itself, handles them. Nothing happens until every
key of a seal has arrived, and then only to rows older than its oldest snapshot: a row
that was written since has a higher stamp and stays.

What is gone keeps its row with `_deleted_at` and the seal's stamp, so that no replayed
file brings it back.

The other way round, keys without a living row are counted: what the source has and
the target has lost. The seal says how many rows were newer than what had been exported.
"""

from runtime.contract.names import literal, quote_snowflake_column
from runtime.contract.snowflake_names import (
    LANDING,
    QUARANTINE,
    RECONCILES,
    SYNC,
    SnowflakeObjects,
    keys_columns,
)
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for

NOW = "CURRENT_TIMESTAMP()::TIMESTAMP_NTZ(6)"
_DONE = "('applied', 'unconfirmed')"


def name_part(place: int, column: str = "file_name") -> str:
    """Return a part of a file's name: 1 its stamp, 2 its width, 3 its chunk."""
    return f"SPLIT_PART(SPLIT_PART({column}, '/', -1), '_', {place})"


def kind_part(column: str = "file_name") -> str:
    """What a file carries stands in its name: `c` rows, `k` keys, `s` a seal."""
    return f"LEFT({name_part(3, column)}, 1)"


IS_DATA = f"{kind_part()} = 'c'"


def reconcile_statements(objects: SnowflakeObjects, table: Table) -> tuple[str, ...]:
    """Render what the task does with keys and seals, in order, in its transaction."""
    return (
        _keep(objects, table),
        _decide(objects, table),
        _apply(objects, table),
        _forget(objects, table),
    )


def _stream(objects: SnowflakeObjects, table: Table) -> str:
    return objects.qualified(LANDING, objects.stream(table))


def _keys(objects: SnowflakeObjects, table: Table) -> str:
    return objects.qualified(LANDING, objects.keys_table(table))


def _keep(objects: SnowflakeObjects, table: Table) -> str:
    columns = ", ".join(column.name.lower() for column in keys_columns(table))
    return (
        f"INSERT INTO {_keys(objects, table)} ({columns})\n"
        f"  SELECT {columns}\n"
        f"  FROM {_stream(objects, table)}\n"
        f"  WHERE NOT {IS_DATA}"
    )


def _sealed(objects: SnowflakeObjects, table: Table, decision: str) -> str:
    """Seals in a state, the files they promise, and their keys with their values.

    Args:
        objects: Where the sync lives.
        table: The table.
        decision: Condition on `d`, the seal's decisions so far.
    """
    casts = ", ".join(
        f"{rule_for(column).cast(f'k.c{place}')} AS v{place}"
        for place, column in table.keys
    )
    values = ", ".join(f"v{place}" for place, _ in table.keys)
    reconciles = objects.qualified(SYNC, RECONCILES)
    return (
        "decided AS (\n"
        "    SELECT seal, COUNT_IF(decision = 'approved') AS approvals,\n"
        "      COUNT_IF(decision = 'applied') AS applications\n"
        f"    FROM {reconciles}\n"
        f"    WHERE table_name = {literal(table.contract.table)}\n"
        "    GROUP BY seal\n"
        "  ),\n"
        "  seals AS (\n"
        "    SELECT k.file_name AS seal, PARSE_JSON(MIN(k.c1)) AS body\n"
        f"    FROM {_keys(objects, table)} AS k\n"
        "    LEFT JOIN decided AS d ON d.seal = k.file_name\n"
        f"    WHERE {kind_part('k.file_name')} = 's' AND {decision}\n"
        "    GROUP BY k.file_name\n"
        "  ),\n"
        "  promised AS (\n"
        "    SELECT s.seal, f.value:key::VARCHAR AS file_name,\n"
        '      f.value:"rows"::NUMBER(19,0) AS file_rows\n'
        "    FROM seals AS s, LATERAL FLATTEN(INPUT => s.body:files) AS f\n"
        "  ),\n"
        "  present AS (\n"
        f"    SELECT DISTINCT p.seal, p.file_name, k.file_row, {casts}\n"
        "    FROM promised AS p\n"
        f"    JOIN {_keys(objects, table)} AS k ON k.file_name = p.file_name\n"
        "  ),\n"
        "  arrived AS (\n"
        "    SELECT p.seal, p.file_name, p.file_rows, COUNT(k.file_row) AS found\n"
        "    FROM promised AS p\n"
        "    LEFT JOIN present AS k\n"
        "      ON k.seal = p.seal AND k.file_name = p.file_name\n"
        "    GROUP BY p.seal, p.file_name, p.file_rows\n"
        "  ),\n"
        "  complete AS (\n"
        "    SELECT s.seal, s.body:stamp::VARCHAR AS stamp,\n"
        "      COALESCE(s.body:newer::NUMBER(19,0), 0) AS newer,\n"
        "      COALESCE(SUM(a.found), 0) AS key_count\n"
        "    FROM seals AS s\n"
        "    LEFT JOIN arrived AS a ON a.seal = s.seal\n"
        "    GROUP BY 1, 2, 3\n"
        "    HAVING COUNT_IF(a.found <> a.file_rows) = 0\n"
        "  ),\n"
        "  newest AS (\n"
        "    SELECT seal, stamp, newer, key_count\n"
        "    FROM complete\n"
        "    QUALIFY ROW_NUMBER() OVER (ORDER BY stamp DESC, seal DESC) = 1\n"
        "  ),\n"
        "  living AS (\n"
        f"    SELECT DISTINCT {values} FROM present AS k\n"
        "    JOIN newest AS n ON n.seal = k.seal\n"
        "  )"
    )


def _gone(objects: SnowflakeObjects, table: Table) -> str:
    """The target's rows that a seal's keys lack and that are older than they."""
    on = " AND ".join(
        f"k.v{place} = t.{quote_snowflake_column(column.target)}"
        for place, column in table.keys
    )
    first = table.keys[0][0]
    return (
        f"    FROM {objects.qualified(*table.spec.target)} AS t\n"
        "    JOIN newest AS n ON COALESCE(t._sync_stamp, '') < n.stamp\n"
        f"    LEFT JOIN living AS k ON {on}\n"
        f"    WHERE t._deleted_at IS NULL AND k.v{first} IS NULL"
    )


def _missing(objects: SnowflakeObjects, table: Table) -> str:
    """A seal's keys without a living row in the target."""
    on = " AND ".join(
        f"k.v{place} = t.{quote_snowflake_column(column.target)}"
        for place, column in table.keys
    )
    first = quote_snowflake_column(table.keys[0][1].target)
    return (
        "    FROM living AS k\n"
        f"    LEFT JOIN {objects.qualified(*table.spec.target)} AS t\n"
        f"      ON {on} AND t._deleted_at IS NULL\n"
        f"    WHERE t.{first} IS NULL"
    )


def _decide(objects: SnowflakeObjects, table: Table) -> str:
    """Judge the newest complete seal, once; again when somebody approved it.

    An empty source needs a second seal that says so, and a large loss a person.
    """
    name = literal(table.contract.table)
    waits = "(d.seal IS NULL OR (d.approvals > 0 AND d.applications = 0))"
    reconciles = objects.qualified(SYNC, RECONCILES)
    return (
        f"INSERT INTO {reconciles}\n"
        "  (table_name, seal, stamp, key_count, row_count, gone_count, decision,\n"
        "   decided_at, missing_count)\n"
        f"  WITH {_sealed(objects, table, waits)},\n"
        "  gone AS (\n"
        "    SELECT COUNT(1) AS gone_count\n"
        f"{_gone(objects, table)}\n"
        "  ),\n"
        "  missing AS (\n"
        "    SELECT COUNT(1) AS missing_count\n"
        f"{_missing(objects, table)}\n"
        "  ),\n"
        "  unfit AS (\n"
        "    SELECT COUNT(DISTINCT key_text) AS unfit_count\n"
        f"    FROM {objects.qualified(SYNC, QUARANTINE)}\n"
        f"    WHERE table_name = {name}\n"
        "  ),\n"
        "  rows_now AS (\n"
        "    SELECT COUNT(1) AS row_count\n"
        f"    FROM {objects.qualified(*table.spec.target)}\n"
        "    WHERE _deleted_at IS NULL\n"
        "  ),\n"
        "  before AS (\n"
        "    SELECT MAX_BY(key_count, stamp) AS key_count,\n"
        "      MAX(CASE WHEN decision = 'approved' THEN seal END) AS approved\n"
        f"    FROM {reconciles}\n"
        f"    WHERE table_name = {name}\n"
        "  )\n"
        f"  SELECT {name}, n.seal, n.stamp, n.key_count, r.row_count, g.gone_count,\n"
        "    CASE\n"
        "      WHEN g.gone_count = 0 OR b.approved = n.seal THEN 'applied'\n"
        f"      WHEN g.gone_count > r.row_count * {table.spec.max_delete_fraction}\n"
        "        THEN 'braked'\n"
        "      WHEN n.key_count = 0 AND COALESCE(b.key_count, 1) > 0\n"
        "        THEN 'unconfirmed'\n"
        "      ELSE 'applied'\n"
        f"    END, {NOW},\n"
        "    GREATEST(0, m.missing_count - n.newer - u.unfit_count)\n"
        "  FROM newest AS n, gone AS g, missing AS m, unfit AS u, rows_now AS r,\n"
        "    before AS b"
    )


def _apply(objects: SnowflakeObjects, table: Table) -> str:
    keys = ", ".join(
        f"t.{quote_snowflake_column(column.target)} AS v{place}"
        for place, column in table.keys
    )
    on = " AND ".join(
        f"t.{quote_snowflake_column(column.target)} = s.v{place}"
        for place, column in table.keys
    )
    return (
        f"MERGE INTO {objects.qualified(*table.spec.target)} AS t\n"
        "USING (\n"
        f"  WITH {_sealed(objects, table, 'd.applications > 0')}\n"
        f"    SELECT {keys}, n.stamp, n.seal\n"
        f"{_gone(objects, table)}\n"
        ") AS s\n"
        f"ON {on}\n"
        "WHEN MATCHED THEN UPDATE SET\n"
        "  _sync_stamp = s.stamp,\n"
        "  _sync_file = s.seal,\n"
        f"  _sync_at = {NOW},\n"
        f"  _deleted_at = {NOW}"
    )


def _forget(objects: SnowflakeObjects, table: Table) -> str:
    """Drop keys that no decision waits for; a braked seal may still be approved."""
    part = name_part(1)
    decided = (
        f"FROM {objects.qualified(SYNC, RECONCILES)}\n"
        f"  WHERE table_name = {literal(table.contract.table)}"
    )
    return (
        f"DELETE FROM {_keys(objects, table)}\n"
        f"WHERE {part} < (SELECT MAX(stamp) {decided})\n"
        f"  OR {part} <= (SELECT MAX({name_part(1, 'seal')}) {decided}\n"
        f"    AND decision IN {_DONE})"
    )
