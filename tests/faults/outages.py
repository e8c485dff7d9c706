"""What lasts longer than a call: each returns how often its fault did happen."""

import random
from collections.abc import Callable

from tests.faults.faulty import OUTLIVED, Fault
from tests.faults.scenarios import CHANGES, CHUNKED
from tests.faults.server import RESTARTED
from tests.faults.source_side import NEW_COLUMN
from tests.faults.world import World

_FAILURES = 10
_SWEEPS = ("refused", "killed before", "killed after")


def server_restarts(world: World) -> int:
    """PostgreSQL crashes in the middle of an export, of a first load and later."""
    world.begin(**CHUNKED)
    before = world.hits["export", RESTARTED]
    for _ in range(2):
        _write(world)
        world.sync(Fault(step="export", kind=RESTARTED))
        _write(world, later=True)
        world.sync()
        _arrive(world)
    happened = world.hits["export", RESTARTED] - before
    world.settle()
    return happened


def pipe_of_rows_is_paused(world: World) -> int:
    """Manifests come, rows do not, and nothing is merged through; then they come."""
    return _paused(world, "exports")


def pipe_of_manifests_is_paused(world: World) -> int:
    """Rows come that nobody has promised; then the promises come."""
    return _paused(world, "manifests")


def pipe_is_paused_and_swept(world: World) -> int:
    """The sweep loads by name what waits at the pipe, which then loads it again."""
    return _paused(world, "exports", meanwhile=World.sweep_by_name)


def task_fails_ten_times(world: World) -> int:
    """As often as suspends a task; somebody mends it, while syncs have gone on."""
    world.begin()
    _sync_and_merge(world)
    before = sum(_failures(world))
    for number in range(_FAILURES):
        _write(world, later=bool(number % 2))
        world.sync(reconcile=number == _FAILURES // 2)
        world.deliver("all", random.Random(number))
        world.merge(fail_after=number % (world.warehouse.statements + 1))
        world.observe()
    happened = sum(_failures(world)) - before
    # Resumed: all at once.
    world.merge()
    world.observe()
    world.settle()
    return happened


def sweep_fails(world: World) -> int:
    """A seal whose older files come late, by a sweep that fails and is killed."""
    world.begin(**CHUNKED)
    _sync_and_merge(world)
    for later in (False, True):
        _write(world, later=later)
        world.sync(reconcile=later)
        # All events are lost but those of manifests.
        _lose(world, "exports")
    happened = 0
    for how in (*_SWEEPS, "", "refused", "killed after"):
        # Files of rows first; when they are merged, the keys and their seal.
        happened += world.sweep_by_name(how)
        # Nobody knows that it has loaded it: the next one loads it again.
        if how != "killed after":
            world.merge()
            world.observe()
    while world.warehouse.overdue():
        world.sweep_by_name()
        world.merge()
        world.observe()
    assert not world.lost, world.lost
    world.settle()
    return happened


def old_chunks_come_after_the_back_fill(world: World) -> int:
    """Files of the old contract arrive when the new column is filled, and newer ones.

    One run outlives its lease and exports under the old contract after the back-fill.
    """
    world.begin(**CHUNKED)
    _write(world)
    world.sync()
    world.scene.sql(NEW_COLUMN)
    _write(world, later=True)
    world.sync(Fault(step="window", kind=OUTLIVED))
    world.clock_jumps()
    world.sync()
    old = [key for key in world.waiting if 0 < _width(key) < world.new.contract.width]
    wide = [key for key in world.waiting if _width(key) > world.old.contract.width]
    world.waiting = [key for key in world.waiting if key not in old]
    _arrive(world)
    world.waiting += old
    _arrive(world)
    world.hits["events", "old chunk after newer ones"] += len(old)
    world.settle()
    return len(old) if wide and world.hits["window", OUTLIVED] else 0


OUTAGES: tuple[Callable[[World], int], ...] = (
    server_restarts,
    pipe_of_rows_is_paused,
    pipe_of_manifests_is_paused,
    pipe_is_paused_and_swept,
    task_fails_ten_times,
    sweep_fails,
    old_chunks_come_after_the_back_fill,
)
# How often each happens at least.
LEAST = {
    server_restarts: 2,
    pipe_of_rows_is_paused: 3,
    pipe_of_manifests_is_paused: 3,
    pipe_is_paused_and_swept: 3,
    task_fails_ten_times: _FAILURES,
    sweep_fails: 5,
    old_chunks_come_after_the_back_fill: 4,
}


def _paused(
    world: World, kind: str, meanwhile: Callable[[World], object] | None = None
) -> int:
    world.begin()
    _sync_and_merge(world)
    through, paused = world.warehouse.merged_through(), list[str]()
    for number in range(3):
        _write(world, later=bool(number % 2))
        world.sync(reconcile=number == 1)
        paused += [key for key in world.waiting if key.startswith(kind)]
        world.waiting = [key for key in world.waiting if not key.startswith(kind)]
        _arrive(world)
        # The chain ends before the first link that is not whole.
        assert world.warehouse.merged_through() == through
    if meanwhile:
        meanwhile(world)
        world.merge()
        world.observe()
    world.hits[f"pipe of {kind}", "paused"] += len(paused)
    world.waiting += paused
    _arrive(world)
    assert world.warehouse.merged_through() != through
    world.settle()
    return len(paused)


def _write(world: World, later: bool = False) -> None:
    changes = tuple(reversed(CHANGES)) if later else CHANGES
    for key, change in enumerate(changes, start=4 if later else 3):
        world.write(change, key)


def _sync_and_merge(world: World) -> None:
    world.sync()
    _arrive(world)


def _arrive(world: World) -> None:
    world.deliver("all", random.Random(0))
    world.merge()
    world.observe()


def _lose(world: World, kind: str) -> None:
    world.lost.update(key for key in world.waiting if key.startswith(kind))
    world.waiting = [key for key in world.waiting if not key.startswith(kind)]
    world.deliver("all", random.Random(0))


def _failures(world: World) -> list[int]:
    return [n for (step, _), n in world.hits.items() if step == "merge"]


def _width(key: str) -> int:
    """Return the columns of a file of rows, 0 of another object."""
    name = key.rpartition("/")[2].split("_")
    return int(name[1]) if key.startswith("exports") and name[2][0] == "c" else 0
