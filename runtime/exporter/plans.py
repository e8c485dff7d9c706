"""Plans of another contract: let go of before a run does anything at the source.

A worker may still be at a chunk of such a plan. It looks for the plan once more when it
has its snapshot; so what it exports is older than the plan's end here, which comes
before this run's first transaction: every row that goes out from now on has a higher
stamp, and takes that row's place.
"""

from typing import Any

from runtime.contract.records import LedgerState, fingerprint, same_watermark
from runtime.contract.specs import Table
from runtime.exporter.chunks import Plan
from runtime.exporter.ledger import Lease


def renew(lease: Lease, table: Table) -> None:
    """Leave no plan of another contract, and plan what that contract's rows lack.

    Rows of both contracts stand in the target from then on, also when this one is
    rolled back: the ledger tells by the backfill, or before a load of all rows by
    having no contract.
    """
    state, shape = lease.state, fingerprint(table)
    changes: dict[str, Any] = {}
    if _other(state.load, shape):
        changes["load"] = None
    if loads_anew(state, table):
        if _other(state.backfill, shape):
            changes["backfill"] = None
        if state.contract not in (None, shape):
            changes["contract"] = None
    elif state.contract != shape or _other(state.backfill, shape):
        known = state.backfill
        # An operator's own condition leaves rows out.
        if known is None or _other(known, shape) or known.get("where"):
            plan = Plan.begin("backfill", state.seq, shape)
            changes["backfill"] = plan.to_ledger()
    if changes:
        lease.save(**changes)


def loads_anew(state: LedgerState, table: Table) -> bool:
    """Tell whether the next run loads every row, rather than what is new."""
    known = same_watermark(state.contract, fingerprint(table))
    return table.spec.is_full or state.watermark is None or not known


def _other(plan: dict[str, Any] | None, shape: str) -> bool:
    return plan is not None and plan["contract"] != shape
