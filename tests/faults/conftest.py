"""The exporter's real parts, and Snowflake's side in this process."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from infra.local.parts import LocalStack
from runtime.exporter.credentials import DatabaseUser
from runtime.exporter.run import Surroundings
from tests.exporter import conftest as exporter
from tests.exporter.conftest import Scene
from tests.faults.world import World

MARKS = [
    pytest.mark.integration,
    # DuckDB's, of fakesnow's way to fetch.
    pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result"),
]
stack = exporter.stack
surroundings = exporter.surroundings
admin = exporter.admin
leased_by_hand = exporter.leased_by_hand


@pytest.fixture(scope="package")
def world(
    stack: LocalStack,
    surroundings: Callable[[str], Surroundings],
    leased_by_hand: DatabaseUser,
    admin: Any,
) -> Iterator[World]:
    """One world for all scenarios of this process; each begins with an empty one."""
    scene = Scene(
        stack=stack,
        name="f",
        around=surroundings("f"),
        user=leased_by_hand,
        admin=admin,
    )
    made = World(scene, Counter())
    try:
        yield made
    finally:
        made.warehouse.close()
        scene.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, object, object]:
    """Note how many faults happened in a test; the summary adds them up."""
    world: Any = item.funcargs["world"]
    before = world.faults
    try:
        return (yield)
    finally:
        item.user_properties.append(("faults", world.faults - before))


@contextmanager
def told(world: World, what: str) -> Iterator[None]:
    """Tell a failing scenario's steps."""
    try:
        yield
    except BaseException as error:
        error.add_note("\n".join((what, *world.log)))
        raise
