"""Generations: histories of one source each. Only within one do stamps compare."""

from typing import Any

from runtime.contract.records import Manifest
from runtime.exporter.ledger import Lease

# What is known of a source, and void with another one.
_FORGOTTEN: dict[str, Any] = dict.fromkeys(
    ("watermark", "high", "fresh", "load", "backfill", "reconcile", "reconciled_at")
    + ("contract", "source", "snapshot", "candidate", "refusal")
)


def begin(lease: Lease) -> None:
    """Begin a new generation, whose stamps are above all before."""
    lease.save(generation=lease.state.generation + 1, **_FORGOTTEN)


def follow(lease: Lease, manifest: Manifest) -> bool:
    """Let the ledger enter a manifest's generation; tell whether it says how far it is.

    A run that was overtaken may commit under a generation that has ended: that is a
    link of the chain, and says nothing of the source that was accepted since.
    """
    if manifest.generation > lease.state.generation:
        lease.save(generation=manifest.generation, **_FORGOTTEN)
    if manifest.generation < lease.state.generation:
        lease.save(seq=manifest.seq)
        return False
    if manifest.source:
        lease.save(source=manifest.source)
    return True
