"""Many scenarios by seed: `python -m tests.faults --scenarios 2000 --seed 1`.

Two processes, each with parts of its own, go through half of the seeds. Prints how far
they are, then which fault happened how often at which step, then the seeds that failed
with their steps. Exits 1 when one failed or a cell of the matrix stayed empty.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.faulty import CELLS
from tests.faults.scenarios import empty_cells
from tests.nights import begin

_LOOK_SECONDS = 10
_ENOUGH_FOR_EVERY_CELL = 1500


def main() -> int:
    """Run the seeds and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--scenarios", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    processes = min(given.processes, given.scenarios)
    share, rest = divmod(given.scenarios, processes)
    runs, first = [], given.seed
    with tempfile.TemporaryDirectory() as folder:
        for number in range(processes):
            count = share + (number < rest)
            report = Path(folder, f"{number}.json")
            runs.append((_begin(first, count, report), report))
            first += count
        while any(process.poll() is None for process, _ in runs):
            time.sleep(_LOOK_SECONDS)
            _progress([report for _, report in runs], given.scenarios)
        outputs = [process.communicate()[0] for process, _ in runs]
        reports = [_read(report) for _, report in runs]
    return _tell(given, reports, outputs)


def _begin(first: int, count: int, report: Path) -> subprocess.Popen[str]:
    tests = Path(__file__).with_name("night.py")
    settings = {"FAULTS_SEEDS": f"{first}:{count}", "FAULTS_REPORT": str(report)}
    return begin(tests, settings)


def _read(report: Path) -> dict[str, Any]:
    if not report.exists():
        return {"done": 0, "seconds": 0.0, "hits": [], "failed": {}}
    found: dict[str, Any] = msgspec.json.decode(report.read_bytes())
    return found


def _progress(files: list[Path], total: int) -> None:
    reports = [_read(file) for file in files]
    done = sum(report["done"] for report in reports)
    rate = done / max([1.0, *(report["seconds"] for report in reports)])
    failed = sum(len(report["failed"]) for report in reports)
    print(f"{done}/{total} scenarios, {rate:.2f}/s, {failed} failed", flush=True)


def _tell(
    given: argparse.Namespace, reports: list[dict[str, Any]], outputs: list[str]
) -> int:
    hits: Counter[tuple[str, str]] = Counter()
    for report in reports:
        hits.update({(step, kind): n for step, kind, n in report["hits"]})
    print("\n".join(table(hits)))
    failed = {seed: log for each in reports for seed, log in each["failed"].items()}
    for seed, log in failed.items():
        print(f"\nseed {seed}: python -m tests.faults --scenarios 1 --seed {seed}")
        print(log)
    done = sum(report["done"] for report in reports)
    if done < given.scenarios:
        print("\n".join(outputs))
    empty = empty_cells(hits) if done >= _ENOUGH_FOR_EVERY_CELL else []
    if empty:
        print("never happened:", ", ".join(empty))
    print(
        f"seeds {given.seed} to {given.seed + given.scenarios - 1}: {done} scenarios, "
        f"{sum(hits.values())} faults, {len(failed)} failed: {list(failed)}"
    )
    return int(bool(failed or empty or done < given.scenarios))


def table(hits: Counter[tuple[str, str]]) -> list[str]:
    """Render how often what happened where, as lines of Markdown."""
    lines = ["| step | faults that happened |", "|---|---|"]
    for step in (*CELLS, "events", "merge"):
        kinds = CELLS.get(step) or sorted(kind for at, kind in hits if at == step)
        shown = ", ".join(f"{kind} {hits[step, kind]}" for kind in kinds)
        lines.append(f"| {step} | {shown} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
