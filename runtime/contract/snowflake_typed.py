"""A stream's rows as the merge sees them: cast, judged, and ranked.

Three statements of a task begin with it; they must be the same text.
"""

from runtime.contract.columns import Column
from runtime.contract.snowflake_deletes import IS_DATA, name_part
from runtime.contract.snowflake_names import LANDING, SnowflakeObjects
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for

_WIDTH = f"{name_part(2)}::NUMBER(5,0)"


def typed_rows(objects: SnowflakeObjects, table: Table) -> str:
    """Return the CTEs of the stream's rows, the last of which is `typed`.

    Positions name the columns, so that no source column can collide with ours: texts
    c1, c2, ... and values v1, v2, ...; x1, x2, ... hold the texts of values that do not
    fit where the column keeps them. `misfit` is the first place for which the row has
    to wait in quarantine, `nulled` how many values are NULL by their column's rule.

    A run of the task that began before a deployment may meet files of the contract
    after it. It would leave their last columns out, so it leaves such rows without a
    receipt, and the sweep loads them again for the task as it is by then.
    """
    stream = objects.qualified(LANDING, objects.stream(table))
    live = table.contract.live
    texts = ", ".join(f"c{place}" for place, _ in live)
    values = ", ".join(
        f"{rule_for(column).cast(f'c{place}')} AS v{place}" for place, column in live
    )
    carried = ", ".join(f"v{place}" for place, _ in live)
    beside = "".join(
        f"\n      IFF(v{place} IS NULL, c{place}, NULL) AS x{place},"
        for place, column in live
        if column.companion
    )
    keys = {place for place, _ in table.keys}
    bad = "\n".join(
        f"      WHEN {_unfit(place, place in keys)} THEN {place}"
        for place, _ in judged(table)
    )
    nulled = " + ".join(
        f"IFF({_unfit(place)}, 1, 0)" for place, c in live if c.misfit == "null"
    )
    return (
        "raw AS (\n"
        f"    SELECT file_name, file_row, {name_part(1)} AS stamp,\n"
        f"      {_WIDTH} AS width,\n"
        f"      {texts},\n"
        f"      {values}\n"
        f"    FROM {stream}\n"
        f"    WHERE {IS_DATA} AND {_WIDTH} <= {table.contract.width}\n"
        "  ),\n"
        "  typed AS (\n"
        f"    SELECT file_name, file_row, stamp, width, {texts}, {carried},{beside}\n"
        f"      {nulled or 0} AS nulled,\n"
        f"      CASE\n{bad}\n      END AS misfit\n"
        "    FROM raw\n"
        "  )"
    )


def judged(table: Table) -> list[tuple[int, Column]]:
    """Return the columns, with their places, for which a row may have to wait."""
    keys = {place for place, _ in table.keys}
    return [
        (place, column)
        for place, column in table.contract.live
        if place in keys or (_casts(column) and column.misfit == "fail")
    ]


def winner(table: Table) -> str:
    """Return the rank of a row among those of its key: the newest comes first."""
    keys = ", ".join(f"v{place}" for place, _ in table.keys)
    return (
        f"ROW_NUMBER() OVER (PARTITION BY misfit IS NULL, {keys} "
        "ORDER BY stamp DESC NULLS LAST, file_name, file_row)"
    )


def _casts(column: Column) -> bool:
    """Whether a column's cast is more than the text itself."""
    return rule_for(column).cast("c") != "c"


def _unfit(place: int, is_key: bool = False) -> str:
    if is_key:
        return f"v{place} IS NULL"
    return f"c{place} IS NOT NULL AND v{place} IS NULL"
