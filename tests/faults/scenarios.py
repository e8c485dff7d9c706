"""Scenarios: one for each cell of the fault matrix, and as many as wanted by seed."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.faults.faulty import CELLS, CUT_STEPS, DEPLOYED, LOAD_STEPS, Fault
from tests.faults.source_side import NEW_COLUMN
from tests.faults.world import World

# Small enough that a dozen rows are several chunks.
CHUNKED: dict[str, Any] = {"chunk_bytes": 6000, "rows": 12}
EVENTS = (
    "all",
    "shuffled",
    "newest first",
    "some",
    "one lost",
    "one half",
    "one twice",
)
QUEUES = ("all", "newest first", "all twice", "one lost")
CHANGES = ("insert", "update", "delete", "replace")


def cell(world: World, step: str, kind: str) -> None:
    """One fault of a kind at a step, between ordinary work."""
    chance = random.Random(f"{step} {kind}")
    chunked = step in LOAD_STEPS + CUT_STEPS
    world.begin(**(CHUNKED if chunked else {}))
    if not chunked:
        world.sync()
        world.deliver("all", chance)
        world.merge()
    for key, change in enumerate(CHANGES, start=3):
        world.write(change, key)
    if kind == DEPLOYED:
        world.scene.sql(NEW_COLUMN)
    world.sync(Fault(step=step, kind=kind), reconcile=True)
    for key, change in enumerate(reversed(CHANGES), start=4):
        world.write(change, key)
    world.deliver("shuffled", chance)
    world.merge()
    world.observe()
    world.settle()


def lake_cell(world: World, how: str, fail_after: int | None = None) -> None:
    """One way in which events arrive, or a task that fails, between ordinary work."""
    chance = random.Random(how)
    world.begin(**CHUNKED)
    for fails, reconcile in ((fail_after, False), (None, True)):
        for key, change in enumerate(CHANGES, start=3):
            world.write(change, key)
        world.sync(reconcile=reconcile)
        world.deliver(how, chance)
        world.merge(fails)
        world.observe()
    world.settle()


def queue_cell(world: World, how: str) -> None:
    """One way in which messages of chunks arrive."""
    world.begin(**CHUNKED)
    world.sync(queue=how)
    world.deliver("all", random.Random(how))
    world.merge()
    world.observe()
    world.settle()


def by_seed(world: World, seed: int) -> None:
    """A scenario of drawn steps; the same ones for the same seed."""
    chance = random.Random(seed)
    chunked = chance.random() < 0.4
    world.begin(**(CHUNKED if chunked else {}))
    deployed = chunked and _load(world, chance)
    acts: list[tuple[int, Callable[[World, random.Random], None]]] = [
        (5, _write),
        (3, _open),
        (5, _write_in),
        (3, _close),
        (8, _sync),
        (5, _deliver),
        (4, _merge),
        (1, lambda world, _: world.clock_jumps()),
        (1, lambda world, _: world.sweep()),
    ]
    for _ in range(chance.randint(10, 20)):
        [(_, act)] = chance.choices(acts, [weight for weight, _ in acts])
        act(world, chance)
        world.observe()
    if not deployed and chance.random() < 0.3:
        world.add_column()
        for act in (_sync, _write, _sync, _deliver, _merge):
            act(world, chance)
            world.observe()
    world.settle()


def _load(world: World, chance: random.Random) -> bool:
    """Load chunk by chunk, with a fault; return whether its contract may be another."""
    step = chance.choice(LOAD_STEPS + CUT_STEPS)
    kind = chance.choice(CELLS[step])
    if kind == DEPLOYED:
        world.scene.sql(NEW_COLUMN)
    skip = chance.choice((0, 0, 0, 1, 2))
    world.sync(Fault(step=step, kind=kind, skip=skip), queue=chance.choice(QUEUES))
    world.observe()
    return kind == DEPLOYED


def _write(world: World, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        if keys := world.free_keys():
            world.write(chance.choice(CHANGES), chance.choice(keys))


def _open(world: World, chance: random.Random) -> None:
    if len(world.writers) < 3:
        world.open()


def _write_in(world: World, chance: random.Random) -> None:
    able = [writer for writer in world.writers if not writer.prepared]
    if able:
        writer = chance.choice(able)
        keys = sorted(writer.keys | set(world.free_keys()))
        world.write_in(writer, chance.choice(CHANGES), chance.choice(keys))


def _close(world: World, chance: random.Random) -> None:
    if world.writers:
        writer = chance.choice(world.writers)
        verb = chance.choice(("COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "PREPARE"))
        if verb != "PREPARE":
            world.close(writer, verb)
        elif not writer.prepared:
            world.prepare(writer)


def _sync(world: World, chance: random.Random) -> None:
    fault = None
    if chance.random() < 0.6:
        chunked = world.here.around.settings.chunk_bytes == CHUNKED["chunk_bytes"]
        rare = () if chunked else LOAD_STEPS + CUT_STEPS
        step = chance.choice([step for step in CELLS if step not in rare])
        skip = chance.choice((0, 0, 0, 0, 1, 2))
        kinds = [kind for kind in CELLS[step] if kind != DEPLOYED]
        fault = Fault(step=step, kind=chance.choice(kinds), skip=skip)
    seconds = chance.choice((60, 60, 60, 0.001))
    queue = chance.choice(("all", *QUEUES))
    world.sync(fault, chance.random() < 0.3, seconds, queue)


def _deliver(world: World, chance: random.Random) -> None:
    world.deliver(chance.choice(EVENTS), chance)


def _merge(world: World, chance: random.Random) -> None:
    fail_after = None
    if chance.random() < 0.4:
        fail_after = chance.randint(0, world.warehouse.statements)
    world.merge(fail_after)


def empty_cells(hits: Counter[tuple[str, str]]) -> list[str]:
    """Return the cells of the matrix in which nothing has happened yet."""
    return [
        f"{kind} at {step}"
        for step, kinds in CELLS.items()
        for kind in kinds
        if not hits[step, kind]
    ]
