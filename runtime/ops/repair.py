"""`repair`: export again what is wrong in the target, and only that.

Rows that the target lacks or has otherwise are exported by their keys, under stamps of
their own; rows that only the target has are for a reconcile, or for the column that
marks them. Then both sides are compared once more: that is what counts.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from runtime.contract.records import MOST_KEYS, LedgerState
from runtime.contract.specs import Table
from runtime.ops.explain import Explaining, Explanation
from runtime.ops.sync import SyncOutcome
from runtime.ops.verify import Tell, Verdict, sound, verify
from runtime.ops.warehouse import Warehouse

# Keys that are held, and sent in events of MOST_KEYS; what is more is for a load.
MOST = 50 * MOST_KEYS

Wishes = Sequence[dict[str, Any]]


class Repair(Struct, frozen=True, kw_only=True):
    """What was repaired.

    Attributes:
        table: Source table.
        sound: Whether nothing is wrong now.
        keys: Keys that were exported again; the first of them, and how many.
        left_out: Wrong rows that were too many to be repaired at once.
        sync: What became of the export; None when nothing had to be exported.
        reconciled: Whether all keys were compared for what only the target has.
        before: What `verify` said; None of named keys.
        after: What it says now; None when nothing was done.
        rows: Of named keys: what `explain` says now.
    """

    table: str
    sound: bool
    keys: tuple[dict[str, str], ...] = ()
    key_count: int = 0
    left_out: int = 0
    sync: SyncOutcome | None = None
    reconciled: bool = False
    before: Verdict | None = None
    after: Verdict | None = None
    rows: tuple[Explanation, ...] = ()


class Repairing:
    """The repair of one table.

    Args:
        table: The table.
        connection: A session made by `runtime.ops.source.connect`.
        warehouse: Where the target is.
        sync: Asks the exporter for something and follows it until it is merged.
        tell: Told table and what happens, for people who watch.
    """

    def __init__(
        self,
        table: Table,
        connection: Any,
        warehouse: Warehouse,
        sync: Callable[[Wishes], SyncOutcome],
        tell: Tell = lambda table, text: None,
    ) -> None:
        self._table = table
        self._connection = connection
        self._warehouse = warehouse
        self._sync = sync
        self._tell = tell
        self._by_reconcile = table.spec.deletes == "reconcile"

    def whatever_is_wrong(self, most: int = MOST) -> Repair:
        """Repair what `verify` finds.

        Args:
            most: How many keys to export again at most.
        """
        before = self._verified(most)
        name = self._table.contract.table
        if before.verdict != "different":
            return Repair(table=name, sound=sound([before]), before=before)
        again = ("missing", "different") + (() if self._by_reconcile else ("extra",))
        keys = [each.key for each in before.samples if each.kind in again]
        done = self._mended(keys, bool(before.extra))
        after = self._verified()
        return Repair(
            table=name,
            sound=sound([after]),
            left_out=before.wrong - len(before.samples),
            before=before,
            after=after,
            **done,
        )

    def named(self, keys: Sequence[Sequence[str]], state: LedgerState | None) -> Repair:
        """Repair rows by their keys, whatever is known of them.

        Args:
            keys: Keys, column by column, in a form that PostgreSQL reads.
            state: The table's ledger state; None before its first run.

        Raises:
            ConfigError: When a key has another form.
        """
        seen = self._explained(keys, state)
        gone = [each for each in seen if each.in_target and not each.in_source]
        again = [
            each.key for each in seen if each not in gone or not self._by_reconcile
        ]
        done = self._mended(again, bool(gone))
        rows = self._explained(keys, state)
        return Repair(
            table=self._table.contract.table,
            sound=all(each.in_source == each.in_target for each in rows)
            and not any(each.differs for each in rows),
            rows=rows,
            **done,
        )

    def _mended(self, keys: Sequence[dict[str, str]], extra: bool) -> dict[str, Any]:
        texts = [tuple(key.values()) for key in keys]
        wishes: list[dict[str, Any]] = [
            {"repair": texts[first : first + MOST_KEYS]}
            for first in range(0, len(texts), MOST_KEYS)
        ]
        reconciled = extra and self._by_reconcile
        if reconciled:
            wishes.append({"reconcile": True})
        return {
            "keys": tuple(keys[:10]),
            "key_count": len(keys),
            "reconciled": reconciled,
            "sync": self._sync(wishes) if wishes else None,
        }

    def _verified(self, most: int = 10) -> Verdict:
        [found] = verify(
            [self._table], self._connection, self._warehouse, self._tell, most
        )
        return found

    def _explained(
        self, keys: Sequence[Sequence[str]], state: LedgerState | None
    ) -> tuple[Explanation, ...]:
        found = tuple(
            Explaining(
                self._table, key, self._connection, self._warehouse, state
            ).explanation()
            for key in keys
        )
        # The next look must see what is there by then.
        self._connection.rollback()
        return found
