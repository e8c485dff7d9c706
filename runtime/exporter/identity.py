"""Is the source still what was exported so far?

Stamps order versions only within one history of one database. A table that was dropped
and created again, or a database that was restored or cloned, begins another history:
its rows may carry lower stamps, which the target would ignore without a word.
"""

from typing import Any

from runtime.contract.errors import SourceError
from runtime.contract.specs import Table
from runtime.exporter.source import Relation


def identity(relation: Relation) -> dict[str, Any]:
    """Return what the ledger remembers of the source."""
    return {"oid": relation.oid, "xmax": relation.stamp.split("-")[0]}


def check(table: Table, known: dict[str, Any] | None, relation: Relation) -> None:
    """Compare the relation of an export transaction with what was exported so far.

    Args:
        table: The table.
        known: What the ledger remembers; None before the first run.
        relation: The table as it is now.

    Raises:
        SourceError: When it is another relation, or an earlier state of the database.
    """
    if known is None:
        return
    now, source = identity(relation), str(table.spec.source)
    remedy = (
        "find out why; when the new source is meant, run "
        f"`aurora-sync accept-source {source}`, which loads it anew"
    )
    if now["oid"] != known["oid"]:
        raise SourceError(
            "is another table than the one that was exported so far",
            subject=source,
            got=f"relation {now['oid']}",
            allowed=f"relation {known['oid']}",
            remedy=remedy,
        )
    if now["xmax"] < known.get("xmax", ""):
        raise SourceError(
            "is an earlier state of the database than was exported: restored or cloned",
            subject=source,
            got=f"next transaction {int(now['xmax'])}",
            allowed=f"{int(known['xmax'])} or later",
            remedy=remedy,
        )
