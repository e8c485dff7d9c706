"""Is the source still what was exported so far?

Stamps order versions only within one history of one database. A table that was dropped
and created again, or a database that was restored or cloned, begins another history:
its rows may carry lower stamps, which the target would ignore without a word. And rows
of the target are found by one key: by another some would be found twice, or never.
"""

from typing import Any

from runtime.contract.errors import SourceError
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.exporter.chunks import Plan
from runtime.exporter.source import Relation


def place(table: Table, settings: ExporterSettings) -> dict[str, Any]:
    """Return what is known of the source without asking it.

    A failover keeps the cluster's resource id, and so does an upgrade in place; a
    cluster that was restored or cloned has one of its own.
    Source: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBCluster.html
    """
    return {
        "cluster": settings.aurora_cluster_id,
        "database": settings.aurora_database,
        "key": sorted(column.attnum for _, column in table.keys),
    }


def identity(
    table: Table,
    settings: ExporterSettings,
    relation: Relation,
    known: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what the ledger remembers of the source.

    Args:
        table: The table.
        settings: Where the source is.
        relation: The table as it is now.
        known: What the ledger remembers so far; None before the first run.
    """
    seen = {"oid": relation.oid, "xmax": relation.stamp.split("-")[0]}
    if relation.parts is not None:
        # A partition that was detached may come back with other rows.
        loaded = (known or {}).get("parts", relation.parts)
        seen["parts"] = sorted({*loaded} & {*relation.parts})
    return place(table, settings) | seen


def loaded(known: dict[str, Any] | None, plan: Plan) -> dict[str, Any] | None:
    """Return what the ledger remembers once a load has ended.

    Args:
        known: What it remembers so far.
        plan: The load.
    """
    if plan.parts is None:
        return known
    before = (known or {}).get("parts", ()) if plan.where else ()
    return {**(known or {}), "parts": sorted({*before, *plan.parts})}


def new_parts(known: dict[str, Any] | None, relation: Relation) -> list[int]:
    """Return partitions of which only rows with a new watermark were exported.

    One that is attached brings rows that are older, and no watermark moves.

    Args:
        known: What the ledger remembers.
        relation: The table as it is now.
    """
    return sorted({*(relation.parts or ())} - {*(known or {}).get("parts", ())})


def check_place(
    table: Table, settings: ExporterSettings, known: dict[str, Any] | None
) -> None:
    """Compare what is known without asking with what was exported so far.

    Args:
        table: The table.
        settings: Where the source is.
        known: What the ledger remembers; None before the first run.

    Raises:
        SourceError: When it is another cluster, database or key.
    """
    now, was = place(table, settings), known or {}
    for name in ("cluster", "database"):
        if was.get(name) and now[name] and was[name] != now[name]:
            raise SourceError(
                f"is in another {name} than what was exported so far",
                subject=str(table.spec.source),
                got=now[name],
                allowed=was[name],
                remedy=_accept(table),
            )
    if was.get("key", now["key"]) != now["key"]:
        schema, name = table.spec.target
        raise SourceError(
            "has another key than the one by which its rows were merged so far",
            subject=str(table.spec.source),
            got=", ".join(table.spec.key),
            remedy="change primary_key back; or empty the target table "
            f"({schema}.{name}) and run `aurora-sync accept-source "
            f"{table.spec.source}`, which loads it anew",
        )


def check(table: Table, known: dict[str, Any] | None, relation: Relation) -> None:
    """Compare the relation of an export transaction with what was exported so far.

    Args:
        table: The table.
        known: What the ledger remembers; None before the first run.
        relation: The table as it is now.

    Raises:
        SourceError: When it is another relation, or an earlier state of the database.
    """
    was, xmax = known or {}, relation.stamp.split("-")[0]
    if was.get("oid", relation.oid) != relation.oid:
        raise SourceError(
            "is another table than the one that was exported so far",
            subject=str(table.spec.source),
            got=f"relation {relation.oid}",
            allowed=f"relation {was['oid']}",
            remedy=_accept(table),
        )
    if xmax < was.get("xmax", ""):
        raise SourceError(
            "is an earlier state of the database than was exported: restored or cloned",
            subject=str(table.spec.source),
            got=f"next transaction {int(xmax)}",
            allowed=f"{int(was['xmax'])} or later",
            remedy=_accept(table),
        )


def _accept(table: Table) -> str:
    return (
        "find out why; when the new source is meant, run "
        f"`aurora-sync accept-source {table.spec.source}`, which loads it anew"
    )
