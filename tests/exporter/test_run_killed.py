"""A run may be killed after any of its steps: the next one finishes the work."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec
import pytest

from runtime.contract.records import RunResult
from runtime.contract.specs import Table
from runtime.exporter import run as run_module
from runtime.exporter.run import run_table
from runtime.exporter.load_queue import LoadQueue, Message
from runtime.exporter.source import Source
from runtime.exporter.worker import take
from tests.exporter.conftest import EXACT, ORDERS, Scene
from tests.exporter.test_source import facts

ROWS = sorted(str(number) for number in range(1, 301))


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass
class Life:
    """Counts the steps of a process that dies after one of them."""

    last_step: int
    steps: int = 0
    exported: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)

    def step(self, call: Callable, *arguments: Any, **named: Any) -> Any:
        """Do one step with the outside world, and die if it was the last."""
        if self.steps >= self.last_step:
            raise Killed
        answer = call(*arguments, **named)
        self.steps += 1
        self._note(arguments, named)
        if self.steps >= self.last_step:
            raise Killed
        return answer

    def _note(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        sort_key = named.get("Key", {})
        if "Body" in named and msgspec.json.decode(named["Body"])["high"]:
            # The load is complete; what comes next has chunks of its own.
            self.finished.clear()
        elif isinstance(sort_key, dict) and "CHUNK" in sort_key.get("sk", ""):
            self.finished.append(sort_key["sk"].rsplit("#", 1)[1])
        elif len(arguments) == 6:
            tag = arguments[3].removesuffix(".csv")[-7:]
            keys = any(each[0] == "k" for each in self.exported)
            if tag[0] == "s" or (tag[0] == "c" and keys):
                # A seal, or the rows of a run that brings keys on.
                return
            assert tag[1:] not in self.finished
            self.exported.append(tag)


class Mortal:
    """A client whose requests are steps of a life."""

    def __init__(self, client: Any, life: Life) -> None:
        self._client, self._life = client, life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found
        return lambda *arguments, **named: self._life.step(found, *arguments, **named)


def mortal_source(life: Life) -> type[Source]:
    class MortalSource(Source):
        def export(self, table, query, key, stamp, columns):
            return life.step(Source.export, self, table, query, key, stamp, columns)

    return MortalSource


@dataclass
class Case:
    """What is killed: a run of this table, and whoever takes its messages."""

    table: Table
    settings: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    reconcile: bool = False
    pending: list[Message] = field(default_factory=list)

    def run(self, scene: Scene, life: Life, patch: pytest.MonkeyPatch) -> None:
        """Run until the work is done, or dead."""
        settings = msgspec.structs.replace(scene.around.settings, **self.settings)
        around = replace(
            scene.around,
            settings=settings,
            s3=Mortal(scene.around.s3, life),
            ledger_table=Mortal(scene.around.ledger_table, life),
            queue=cast(LoadQueue, Mortal(scene.around.queue, life)),
        )
        patch.setattr(run_module, "Source", mortal_source(life))
        result: RunResult | None
        for _ in range(30):
            self.pending += scene.messages()
            if not self.pending:
                result = run_table(self.table, around, 60, self.reconcile)
            else:
                # Who dies has not deleted its message: it comes again.
                result = take(self.table, around, 60, self.pending[0])
                del self.pending[0]
            if result is not None and result.status == "done" and not self.pending:
                return
        raise AssertionError("never done")


def fill(scene: Scene) -> None:
    scene.sql(
        "INSERT INTO orders SELECT n, repeat('x', 90), NOW() "
        "FROM generate_series(1, 300) AS n"
    )


def load_in_chunks(scene: Scene) -> Case:
    table = scene.table(ORDERS, **EXACT)
    fill(scene)
    return Case(table, {"chunk_bytes": 40_000})


def increment(scene: Scene) -> Case:
    return Case(scene.table(ORDERS, **EXACT), {})


def increment_in_chunks(scene: Scene) -> Case:
    limit = {"aws_s3_part_bytes": 20_000}
    return Case(scene.table(ORDERS, **EXACT), {}, facts=limit)


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (load_in_chunks, range(1, 100)),
        (increment, range(1, 100)),
        # Longer, and made of the same steps.
        (increment_in_chunks, (8, 10, 17, 26)),
    ],
)
def test_whatever_step_was_its_last_no_row_is_missing_afterwards(
    scene, monkeypatch, make, steps
):
    case, deaths = make(scene), 0
    for last_step in steps:
        name = f"{scene.name}-{last_step}"
        settings = msgspec.structs.replace(scene.around.settings, stack=name)
        here = replace(
            scene, name=name, around=replace(scene.around, settings=settings)
        )
        if make in (increment, increment_in_chunks):
            scene.sql("TRUNCATE orders")
            case.run(here, Life(10**6), monkeypatch)
            fill(scene)
        with facts(scene, **case.facts):
            killed = survive(case, here, Life(last_step), monkeypatch)
        check(here, case.table)
        if not killed:
            break
        deaths += 1
    assert deaths >= min(len(steps), 6)


def survive(case: Case, scene: Scene, life: Life, patch: pytest.MonkeyPatch) -> bool:
    """Let the process die, and another one do the rest; tell whether it died."""
    try:
        case.run(scene, life, patch)
    except Killed:
        if scene.item(case.table).get("lease_until"):
            scene.expire(case.table)
        life.last_step = 10**6
        case.run(scene, life, patch)
        return True
    return False


def check(scene: Scene, table: Table) -> None:
    """The chain holds every row, and the ledger stands where the chain ends."""
    links = scene.manifests(table)
    assert [link.seq for link in links] == list(range(1, len(links) + 1))
    assert sorted(set(scene.exported(*links))) == ROWS
    files = [file.key for link in links for file in link.files]
    assert len(set(files)) == len(files)
    state = scene.state(table)
    assert state.load is None
    assert state.lease_run == ""
    assert (state.seq, state.watermark) == (len(links), links[-1].high)
    highs = [link.high for link in links if link.high]
    assert highs == sorted(highs)


def test_a_manifest_without_its_ledger_entry_is_followed_not_repeated(
    scene, monkeypatch
):
    table = scene.table(ORDERS, **EXACT)
    scene.run(table)
    scene.sql("INSERT INTO orders VALUES (1, 's')")
    dying = Life(10**6)

    class UntilTheManifest(Mortal):
        def put_object(self, **request):
            self._client.put_object(**request)
            dying.last_step = 0
            raise Killed

    around = replace(
        scene.around,
        s3=UntilTheManifest(scene.around.s3, dying),
        ledger_table=Mortal(scene.around.ledger_table, dying),
    )
    with pytest.raises(Killed):
        run_table(table, around, 60)
    assert scene.state(table).seq == 1
    scene.expire(table)
    assert scene.run(table).rows_exported == 0
    links = scene.manifests(table)
    assert scene.exported(links[1]) == ["1"]
    assert links[2].low == links[1].high
    assert scene.state(table).seq == 3


def test_a_first_load_without_its_ledger_entry_is_not_repeated(scene, monkeypatch):
    table = scene.table(ORDERS, **EXACT)
    scene.sql("INSERT INTO orders VALUES (1, 's', '2020-01-01')")
    # lease, list, export, manifest
    with pytest.raises(Killed):
        Case(table, {}).run(scene, Life(4), monkeypatch)
    scene.expire(table)
    monkeypatch.setattr(run_module, "Source", Source)
    result = scene.run(table)
    assert (result.mode, result.rows_exported) == ("incremental", 0)


def test_a_contract_that_changes_after_such_a_death_exports_every_row_again(
    scene, monkeypatch
):
    table = scene.table(ORDERS, **EXACT)
    scene.sql("INSERT INTO orders VALUES (1, 's', '2020-01-01')")
    # lease, list, export, manifest: the ledger does not know the first load.
    with pytest.raises(Killed):
        Case(table, {}).run(scene, Life(4), monkeypatch)
    assert len(scene.manifests(table)) == 1
    assert scene.state(table).seq == 0
    scene.expire(table)
    scene.sql("ALTER TABLE orders ADD note TEXT DEFAULT 'n'")
    monkeypatch.setattr(run_module, "Source", Source)
    result = scene.run(scene.table(**EXACT))
    assert result.rows_exported == 1
    assert result.files[0].columns == 4
