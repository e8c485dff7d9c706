"""A model that looks for the interleaving nobody thought of, and shrinks it."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.faults.conftest import MARKS
from tests.faults.faulty import CELLS, DEPLOYED, Fault
from tests.faults.scenarios import CHANGES, CHUNKED, EVENTS, QUEUES
from tests.faults.source_side import KEYS
from tests.faults.world import World

pytestmark = MARKS
EXAMPLES, STEPS = 15, 15
FAULTS = st.sampled_from(
    [
        (step, kind)
        for step, kinds in CELLS.items()
        for kind in kinds
        if kind != DEPLOYED
    ]
)


class Sync(RuleBasedStateMachine):
    """Writers, runs, events and merges in any order."""

    world: World

    @initialize(chunked=st.booleans())
    def begin(self, chunked):
        self.world.begin(**(CHUNKED if chunked else {}))

    @rule(kind=st.sampled_from(CHANGES), key=st.sampled_from(KEYS))
    def write(self, kind, key):
        if key in self.world.free_keys():
            self.world.write(kind, key)

    @precondition(lambda self: len(self.world.writers) < 2)
    @rule()
    def open(self):
        self.world.open()

    @precondition(lambda self: self.world.writers)
    @rule(
        which=st.integers(0, 1), kind=st.sampled_from(CHANGES), key=st.integers(1, 12)
    )
    def write_in(self, which, kind, key):
        writer = self.world.writers[which % len(self.world.writers)]
        if not writer.prepared and key in writer.keys | set(self.world.free_keys()):
            self.world.write_in(writer, kind, key)

    @precondition(lambda self: self.world.writers)
    @rule(
        which=st.integers(0, 1), verb=st.sampled_from(("COMMIT", "ROLLBACK", "PREPARE"))
    )
    def end(self, which, verb):
        writer = self.world.writers[which % len(self.world.writers)]
        if verb != "PREPARE":
            self.world.close(writer, verb)
        elif not writer.prepared:
            self.world.prepare(writer)

    @rule(
        fault=FAULTS,
        skip=st.sampled_from((0, 0, 0, 1)),
        reconcile=st.booleans(),
        queue=st.sampled_from(QUEUES),
    )
    def sync(self, fault, skip, reconcile, queue):
        step, kind = fault
        self.world.sync(Fault(step=step, kind=kind, skip=skip), reconcile, queue=queue)

    @rule(how=st.sampled_from(EVENTS), seed=st.integers(0, 99))
    def deliver(self, how, seed):
        self.world.deliver(how, random.Random(seed))

    @rule(fail_after=st.one_of(st.none(), st.integers(0, 7)))
    def merge(self, fail_after):
        self.world.merge(fail_after)

    @rule()
    def clock_jumps(self):
        self.world.clock_jumps()

    @rule()
    def sweep(self):
        self.world.sweep()

    @invariant()
    def nothing_is_stale_or_back_or_ahead_of_the_truth(self):
        if hasattr(self.world, "log"):
            self.world.observe()

    def teardown(self):
        self.world.settle()


@pytest.mark.timeout(600)
def test_no_order_of_steps_leads_to_a_wrong_target(world):
    machine, before = type("Sync", (Sync,), {"world": world}), world.faults
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=True,
            # Each example takes a second; a failing one is worth the time to shrink.
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    # A teardown syncs without any; a step that a run does not reach has none.
    assert world.faults - before >= EXAMPLES // 2, "too few faults happened"
