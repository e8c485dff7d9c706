"""The target of a scenario: what arrives there and when, and what must hold.

The oracle is its own: it reads both sides and compares key by key.
"""

import random
from collections import Counter

from tests.exporter.conftest import BUCKET, Scene
from tests.faults.source_side import SourceSide
from tests.faults.warehouse import EngineError, Warehouse


class TargetSide(SourceSide):
    """Events, sweeps and merges.

    Attributes:
        waiting: Objects whose events have not arrived yet.
        lost: Those whose events never will, or that were loaded in half.
    """

    waiting: list[str]
    lost: set[str]

    def __init__(self, scene: Scene, hits: Counter[tuple[str, str]]) -> None:
        super().__init__(scene, hits)
        self.warehouse = Warehouse(scene.stack, scene.around.s3, BUCKET, self.new)

    def begin_target(self) -> None:
        """Forget everything that arrived."""
        self.waiting, self.lost = [], set()
        self._seen: dict[int, tuple[int, bool]] = {}
        self._through = ""
        self.warehouse.begin(self.here.name)

    def deliver(self, how: str, chance: random.Random) -> None:
        """Let events arrive: all, shuffled, some, newest first, or a fault for one."""
        self._say(f"deliver {how}: {len(self.waiting)} waiting")
        now, self.waiting = self.waiting, []
        arrived = bool(now)
        if how == "shuffled":
            chance.shuffle(now)
        if how == "newest first":
            now.reverse()
        if how == "some":
            chance.shuffle(now)
            half = len(now) // 2
            now, self.waiting = now[:half], now[half:]
        able = [key for key in now if how != "one half" or key.startswith("exports")]
        special = chance.choice(able) if able else ""
        self.hits["events", how] += bool(special or (arrived and how == "some"))
        for key in now:
            if key == special and how == "one lost":
                self.lost.add(key)
            elif key == special and how == "one half":
                self.warehouse.arrive(key, rows=chance.randint(1, 3))
                self.lost.add(key)
            else:
                self.warehouse.arrive(key)
            if key == special and how == "one twice":
                self.warehouse.arrive(key)
            if how == "newest first":
                self.merge()
                self.observe()

    def sweep(self) -> None:
        """Load by exact name what never came, or not whole."""
        for key in sorted(self.lost):
            self.warehouse.arrive(key)
        self._say(f"sweep {len(self.lost)} files")
        self.hits["events", "swept"] += bool(self.lost)
        self.lost.clear()

    def sweep_by_name(self, fault: str = "") -> int:
        """Load what the sweep's view names, as the sweep does: in order, one by one.

        Args:
            fault: `refused`: the first of its statements fails, the others go on;
                `killed before` or `killed after` it: nothing else is done.

        Returns:
            How often the fault happened.
        """
        overdue = self.warehouse.overdue()
        self._say(f"the sweep finds {len(overdue)} files" + f", {fault}" * bool(fault))
        for number, key in enumerate(overdue):
            if number == 0 and fault == "refused":
                continue
            if fault == "killed before":
                break
            self.warehouse.arrive(key)
            self.lost.discard(key)
            if fault == "killed after":
                break
        self.hits["sweep", fault or "whole"] += bool(overdue)
        return int(bool(overdue and fault))

    def merge(self, fail_after: int | None = None) -> None:
        """Run the task if it is triggered; it may fail after some statements."""
        if not self.warehouse.has_data:
            return
        self._say("merge" + (f" fails after {fail_after}" * (fail_after is not None)))
        try:
            self.warehouse.merge(fail_after)
        except EngineError:
            self.hits["merge", f"fails after {fail_after}"] += 1

    def observe(self) -> None:
        """Check what holds at every moment."""
        rows = self.warehouse.rows()
        now = {row[0]: (row[1], row[4]) for row in rows}
        assert len(now) == len(rows), "a key stands twice in the target"
        for key, (version, gone) in self._seen.items():
            later, still_gone = now[key]
            assert later >= version, f"key {key} went back from {version} to {later}"
            assert not gone or still_gone or later > version, f"{key} rose again"
        self._seen = now
        through = self.warehouse.merged_through() or ""
        assert through >= self._through, f"merged_through {self._through} -> {through}"
        self._through = through
        if through:
            for key, version in self.scene.sql(
                "SELECT order_id, version FROM orders WHERE updated_at <= %s", through
            ):
                assert now.get(key) == (version, False), (
                    f"merged through {through}, but key {key} version {version} "
                    f"is {now.get(key)}"
                )

    def _differences(self) -> list[str]:
        source = {
            row[0]: row[1:]
            for row in self.scene.sql(
                "SELECT order_id, version, status, %s FROM orders"
                % ("note" if self.table is self.new else "NULL")
            )
        }
        rows = self.warehouse.rows()
        target = {row[0]: row[1:4] for row in rows if not row[4]}
        return [
            f"key {key}: source {source.get(key)}, target {target.get(key)}"
            for key in sorted({*source, *target})
            if source.get(key) != target.get(key)
        ]
