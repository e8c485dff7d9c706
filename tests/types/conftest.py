"""The exporter's real parts; the types that the drawn tables use are made once."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from infra.local.parts import LocalStack
from runtime.exporter import run as run_module
from runtime.exporter.credentials import DatabaseUser
from runtime.exporter.run import Surroundings
from tests.exporter import conftest as exporter
from tests.exporter.conftest import Scene
from tests.types.texts import MADE

MARKS = [
    pytest.mark.integration,
    # DuckDB's, of fakesnow's way to fetch.
    pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result"),
]
stack = exporter.stack
surroundings = exporter.surroundings
admin = exporter.admin
leased_by_hand = exporter.leased_by_hand


@pytest.fixture
def scene(
    monkeypatch: pytest.MonkeyPatch,
    stack: LocalStack,
    surroundings: Callable[[str], Surroundings],
    leased_by_hand: DatabaseUser,
    admin: Any,
) -> Iterator[Scene]:
    """A database with types of each sort; a run takes a user leased before."""
    lease = nullcontext(leased_by_hand)
    monkeypatch.setattr(run_module, "leased_user", lambda *_: lease)
    scene = Scene(
        stack=stack,
        name="types",
        around=surroundings("types"),
        user=leased_by_hand,
        admin=admin,
    )
    scene.sql(MADE)
    try:
        yield scene
    finally:
        scene.close()
