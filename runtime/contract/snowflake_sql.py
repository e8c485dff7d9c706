"""The merge: the task that each table has in Snowflake, rendered from the table.

Rows land as text, by position. The task reads its stream and, in one transaction,
quarantines what does not cast, writes a receipt per file, merges, and notes how many
rows wait. The stamp in a file's name orders versions: a row is only ever replaced by a
higher one, whatever order files load in.
"""

from runtime.contract.names import literal, quote_snowflake_column
from runtime.contract.snowflake_cleaning import clear_landing
from runtime.contract.snowflake_deletes import (
    IS_DATA,
    NOW,
    reconcile_statements,
)
from runtime.contract.snowflake_names import (
    FILE_RECEIPTS,
    LANDING,
    QUARANTINE,
    SYNC,
    SnowflakeObjects,
)
from runtime.contract.snowflake_typed import judged, typed_rows, winner
from runtime.contract.snowflake_waiting import note_waiting
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for


def task_condition(objects: SnowflakeObjects, table: Table) -> str:
    """Render the condition that triggers a table's merge."""
    stream = objects.qualified(LANDING, objects.stream(table))
    return f"SYSTEM$STREAM_HAS_DATA({literal(stream)})"


def merge_block(objects: SnowflakeObjects, table: Table) -> str:
    """Render the body of a table's task: one transaction, all or nothing."""
    statements: tuple[str, ...] = (
        _quarantine(objects, table),
        _receipts(objects, table),
        _merge(objects, table),
    )
    if table.spec.deletes == "reconcile":
        statements += reconcile_statements(objects, table)
    statements += (note_waiting(objects, table), clear_landing(objects, table))
    body = ";\n".join(("BEGIN TRANSACTION", *statements, "COMMIT"))
    return (
        f"BEGIN\n{body};\n"
        "EXCEPTION\n  WHEN OTHER THEN\n    ROLLBACK;\n    RAISE;\nEND"
    )


def _quarantine(objects: SnowflakeObjects, table: Table) -> str:
    key_text = " || ',' || ".join(f"COALESCE(c{place}, '')" for place, _ in table.keys)
    waiting = judged(table)
    names = "\n".join(
        f"      WHEN {place} THEN {literal(column.name)}" for place, column in waiting
    )
    texts = "\n".join(f"      WHEN {place} THEN c{place}" for place, _ in waiting)
    reasons = "\n".join(
        f"      WHEN {place} THEN {literal('does not fit ' + rule_for(column).type)}"
        for place, column in waiting
    )
    return (
        f"INSERT INTO {objects.qualified(SYNC, QUARANTINE)}\n"
        "  (table_name, file_name, file_row, stamp, key_text, column_name,\n"
        "   value_text, reason, quarantined_at)\n"
        f"  WITH {typed_rows(objects, table)}\n"
        f"  SELECT {literal(table.contract.table)}, file_name, file_row, stamp,\n"
        f"    {key_text},\n"
        f"    CASE misfit\n{names}\n    END,\n"
        f"    CASE misfit\n{texts}\n    END,\n"
        f"    CASE misfit\n{reasons}\n    END,\n"
        f"    {NOW}\n"
        "  FROM typed\n"
        "  WHERE misfit IS NOT NULL"
    )


def _on_key(table: Table, source: str) -> str:
    return " AND ".join(
        f"t.{quote_snowflake_column(column.target)} = {source}.v{place}"
        for place, column in table.keys
    )


def _receipts(objects: SnowflakeObjects, table: Table) -> str:
    """Note per file which rows have come, and what the merge below will do with them.

    A file may come twice, or in parts, in batches apart: its receipts are spans of
    lines, one for a batch without gaps, so that no line ever counts twice.
    """
    keys = ", ".join(f"v{place}" for place, _ in table.keys)
    carried = ""
    if table.spec.deletes == "reconcile":
        carried = (
            "    UNION ALL\n"
            "    SELECT file_name, file_row, FALSE AS wins, 0 AS nulled\n"
            f"    FROM {objects.qualified(LANDING, objects.stream(table))}\n"
            f"    WHERE NOT {IS_DATA}\n"
        )
    return (
        f"INSERT INTO {objects.qualified(SYNC, FILE_RECEIPTS)}\n"
        "  (table_name, file_name, first_row, last_row, rows_applied,\n"
        "   values_nulled, merged_at)\n"
        f"  WITH {typed_rows(objects, table)},\n"
        "  ranked AS (\n"
        f"    SELECT file_name, file_row, stamp, misfit, nulled, {keys},\n"
        f"      {winner(table)} AS place\n"
        "    FROM typed\n"
        "  ),\n"
        "  judged AS (\n"
        "    SELECT r.file_name, r.file_row, r.misfit IS NULL AND r.place = 1\n"
        "      AND r.stamp > COALESCE(t._sync_stamp, '') AS wins, r.nulled\n"
        "    FROM ranked AS r\n"
        f"    LEFT JOIN {objects.qualified(*table.spec.target)} AS t\n"
        f"      ON {_on_key(table, 'r')}\n"
        f"{carried}"
        "  ),\n"
        "  counted AS (\n"
        "    SELECT file_name, COUNT(DISTINCT file_row) AS loaded,\n"
        "      MIN(file_row) AS first_row, MAX(file_row) AS last_row,\n"
        "      COUNT_IF(wins) AS applied, SUM(IFF(wins, nulled, 0)) AS nulled\n"
        "    FROM judged\n"
        "    GROUP BY file_name\n"
        "  ),\n"
        "  scattered AS (\n"
        "    SELECT DISTINCT j.file_name, j.file_row\n"
        "    FROM judged AS j\n"
        "    JOIN counted AS n ON n.file_name = j.file_name\n"
        "    WHERE n.loaded < n.last_row - n.first_row + 1\n"
        "  ),\n"
        "  spans AS (\n"
        "    SELECT file_name, first_row, last_row\n"
        "    FROM counted\n"
        "    WHERE loaded = last_row - first_row + 1\n"
        "    UNION ALL\n"
        "    SELECT file_name, MIN(file_row) AS first_row, MAX(file_row) AS last_row\n"
        "    FROM (\n"
        "      SELECT file_name, file_row, file_row - ROW_NUMBER() OVER (\n"
        "        PARTITION BY file_name ORDER BY file_row) AS span\n"
        "      FROM scattered\n"
        "    ) AS s\n"
        "    GROUP BY file_name, span\n"
        "  )\n"
        f"  SELECT {literal(table.contract.table)}, s.file_name, s.first_row,\n"
        "    s.last_row, IFF(s.first_row = n.first_row, n.applied, 0),\n"
        "    IFF(s.first_row = n.first_row, n.nulled, 0)::NUMBER(19,0),\n"
        f"    {NOW}\n"
        "  FROM spans AS s\n"
        "  JOIN counted AS n ON n.file_name = s.file_name"
    )


def _merge(objects: SnowflakeObjects, table: Table) -> str:
    live = table.contract.live
    key_places = {place for place, _ in table.keys}
    beside = [(place, column) for place, column in live if column.companion]
    values = ", ".join(
        [f"v{place}" for place, _ in live] + [f"x{place}" for place, _ in beside]
    )
    own = {
        "_sync_stamp": "s.stamp",
        "_sync_file": "s.file_name",
        "_sync_at": NOW,
        "_deleted_at": _deleted_at(table),
    }
    new = {
        quote_snowflake_column(column.target): (place, f"s.v{place}")
        for place, column in live
    } | {
        quote_snowflake_column(str(column.companion)): (place, f"s.x{place}")
        for place, column in beside
    }
    updates = [
        f"{name} = {_newer(table, place, name, value)}"
        for name, (place, value) in new.items()
        if place not in key_places
    ] + [f"{name} = {value}" for name, value in own.items()]
    columns = [*new, *own]
    inserts = [value for _, value in new.values()] + list(own.values())
    return (
        f"MERGE INTO {objects.qualified(*table.spec.target)} AS t\n"
        "USING (\n"
        f"  WITH {typed_rows(objects, table)}\n"
        f"  SELECT file_name, stamp, width, {values}\n"
        "  FROM typed\n"
        "  WHERE misfit IS NULL\n"
        f"  QUALIFY {winner(table)} = 1\n"
        ") AS s\n"
        f"ON {_on_key(table, 's')}\n"
        "WHEN MATCHED AND s.stamp > COALESCE(t._sync_stamp, '') THEN UPDATE SET\n  "
        + ",\n  ".join(updates)
        + f"\nWHEN NOT MATCHED THEN INSERT\n  ({', '.join(columns)})\n"
        f"  VALUES ({', '.join(inserts)})"
    )


def _deleted_at(table: Table) -> str:
    """A row that is there is alive, unless its own column says otherwise."""
    if table.spec.deletes != "soft_column":
        return "NULL"
    [place] = [p for p, c in table.contract.live if c.name == table.spec.deleted_col]
    column = table.contract.columns[place - 1]
    if column.plain_type == "boolean":
        return f"IFF(s.v{place}, {NOW}, NULL)"
    if column.plain_type == "timestamp with time zone":
        return f"CONVERT_TIMEZONE('UTC', s.v{place})::TIMESTAMP_NTZ(6)"
    return f"s.v{place}::TIMESTAMP_NTZ(6)"


def _newer(table: Table, place: int, name: str, value: str) -> str:
    """A file that is older than the column must not null it."""
    if place <= table.contract.base_width:
        return value
    return f"IFF(s.width >= {place}, {value}, t.{name})"
