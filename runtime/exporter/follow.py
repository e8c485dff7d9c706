"""Adoption: the ledger follows manifests that a run committed before it died."""

from typing import Any

import msgspec

from runtime.contract.records import Manifest, mixed
from runtime.exporter import generations
from runtime.exporter.chunks import Plan
from runtime.exporter.lake import Lake
from runtime.exporter.ledger import Lease


def follow(lease: Lease, lake: Lake) -> None:
    """Bring the ledger to the end of the chain of manifests.

    Only a complete load tells which columns every exported row has: an increment is
    written under a new contract while the backfill for it still runs.
    """
    for manifest in lake.after(lease.state.seq):
        if not generations.follow(lease, manifest):
            continue
        changes: dict[str, Any] = {"seq": manifest.seq}
        if manifest.mode == "reconcile":
            changes |= {"reconcile": None, "reconciled_at": manifest.committed_at}
        elif manifest.mode == "backfill":
            changes |= _committed(lease, manifest, "backfill")
        elif manifest.mode != "repair":
            changes |= _of_some_rows(lease, manifest)
            changes |= {"fresh": None, "snapshot": None}
            if manifest.high is None:
                changes |= _committed(lease, manifest, "load")
            else:
                changes |= {"watermark": manifest.high, "load": None}
                changes |= _of_all_rows(manifest)
        lease.save(**changes)


def _of_some_rows(lease: Lease, manifest: Manifest) -> dict[str, Any]:
    """Notice an increment under another contract whose backfill nobody knows of."""
    state = lease.state
    known = manifest.contract == state.contract or state.backfill is not None
    if manifest.mode != "incremental" or known:
        return {}
    return {"contract": mixed(manifest.contract)}


def _of_all_rows(manifest: Manifest) -> dict[str, Any]:
    if manifest.mode not in ("first_load", "full"):
        return {}
    changes = {"contract": manifest.contract}
    if manifest.mode == "first_load" and manifest.generation == 1:
        changes["reconciled_at"] = manifest.committed_at
    return changes


def _committed(lease: Lease, manifest: Manifest, place: str) -> dict[str, Any]:
    """Note in a plan which of its chunks stand in a manifest."""
    raw = getattr(lease.state, place)
    if raw is None:
        return {}
    plan = Plan.read(raw)
    keys = {file.key for file in manifest.files}
    done = lease.ledger.chunks(plan.id)
    found = {n for n, each in done.items() if each.file and each.file.key in keys}
    committed = tuple(sorted(found | set(plan.committed)))
    return {place: msgspec.structs.replace(plan, committed=committed).to_ledger()}
