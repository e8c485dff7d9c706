"""Many values by seed: `python -m tests.types --values 20000 --seed 1`.

Two processes, each with parts of its own, go through half of the rounds; each round has
other tables and other values. Prints per type how many values were compared, how many
did not fit and how many of its edges were among them. Exits 1 when one differed, when
an edge was missing, or when there were fewer values than asked for.
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

from tests.nights import begin
from tests.types.values import KINDS

_LOOK_SECONDS = 10
# So many values of each type make a table of a few thousand rows.
_AT_ONCE = 2000


def main() -> int:
    """Run the rounds and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.types")
    parser.add_argument("--values", type=int, default=20_000, help="of each type")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    rounds = -(-given.values // _AT_ONCE)
    at_once = -(-given.values // rounds)
    processes = min(given.processes, rounds)
    share, rest = divmod(rounds, processes)
    runs, first = [], given.seed
    with tempfile.TemporaryDirectory() as folder:
        for number in range(processes):
            count = share + (number < rest)
            report = Path(folder, f"{number}.json")
            runs.append((_begin(f"{first}:{count}:{at_once}", report), report))
            first += count
        shown = -1
        while any(process.poll() is None for process, _ in runs):
            time.sleep(_LOOK_SECONDS)
            done = sum(_read(report)["done"] for _, report in runs)
            if done > shown:
                print(f"{done}/{rounds} rounds of {at_once} values", flush=True)
            shown = done
        outputs = [process.communicate()[0] for process, _ in runs]
        reports = [_read(report) for _, report in runs]
    failed = any(process.returncode for process, _ in runs)
    return _tell(given.values, reports, outputs if failed else [])


def _begin(rounds: str, report: Path) -> subprocess.Popen[str]:
    night = Path(__file__).with_name("night.py")
    settings = {"TYPES_ROUNDS": rounds, "TYPES_REPORT": str(report)}
    return begin(night, settings)


def _read(report: Path) -> dict[str, Any]:
    if not report.exists():
        return {"done": 0, "compared": {}, "misfits": {}, "edges": {}}
    found: dict[str, Any] = msgspec.json.decode(report.read_bytes())
    return found


def _tell(values: int, reports: list[dict[str, Any]], outputs: list[str]) -> int:
    compared: Counter[str] = Counter()
    misfits: Counter[str] = Counter()
    edges: Counter[str] = Counter()
    for report in reports:
        compared.update(report["compared"])
        misfits.update(report["misfits"])
        # Every round has all of them; the best process counts.
        edges |= Counter(report["edges"])
    print("| type | compared | did not fit | edges |\n|---|---|---|---|")
    short = []
    for kind in KINDS:
        name, all_edges = kind.declared, len({edge.literal for edge in kind.edges})
        seen = f"{edges[name]} of {all_edges}"
        print(f"| {name} | {compared[name]} | {misfits[name]} | {seen} |")
        if compared[name] < values or edges[name] < all_edges:
            short.append(name)
    told = [report["differences"] for report in reports if report.get("differences")]
    print("\n".join((*told, *(() if told else outputs))))
    if short:
        print("fewer than asked for, or without an edge:", ", ".join(short))
    print(
        f"{sum(compared.values())} values of {len(KINDS)} types compared, "
        f"{sum(misfits.values())} of them did not fit, "
        f"{'some' if told else 'none'} differed"
    )
    return int(bool(told or short or outputs))


if __name__ == "__main__":
    sys.exit(main())
