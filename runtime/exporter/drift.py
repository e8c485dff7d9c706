"""Drift: how the source table has moved away from its contract."""

from typing import Any

from runtime.contract.errors import DriftError
from runtime.contract.specs import Table


def compare(table: Table, columns: list[Any] | None, keyed: bool) -> tuple[str, ...]:
    """Compare the catalog with the contract.

    Args:
        table: The table with its contract.
        columns: Number, name and type of each column in the catalog.
        keyed: Whether a valid, immediate, unique index covers exactly the key, whose
            columns are all NOT NULL.

    Returns:
        Names of columns that the contract lacks and the config does not leave out.

    Raises:
        DriftError: When a contract column is gone, renamed or of another type, or the
            key is no longer unique.
    """
    source, found = str(table.spec.source), {c[0]: (c[1], c[2]) for c in columns or []}
    refresh = f"run `aurora-sync contract refresh {source}` and deploy"
    for _, column in table.contract.live:
        now = found.pop(column.attnum, None)
        if now != (column.name, column.type):
            raise DriftError(
                f"column {column.name!r} is not what the contract says",
                subject=source,
                got="nothing" if now is None else f"{now[0]} {now[1]}",
                allowed=f"{column.name} {column.type}",
                remedy=refresh,
            )
    if not keyed:
        raise DriftError(
            "no valid unique index covers exactly the key, all of it NOT NULL",
            subject=source,
            got=", ".join(table.spec.key),
            remedy=f"create one, or correct primary_key; then {refresh}",
        )
    left_out = set(table.spec.exclude)
    if table.spec.columns is not None:
        return ()
    return tuple(name for name, _ in found.values() if name not in left_out)
