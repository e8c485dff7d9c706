"""`verify` of equal tables, beside a count of the rows and one export of them."""

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from infra.cli.target import LocalTarget
from runtime.ops.verify import verify
from tests.benchmarks import memory
from tests.benchmarks.figures import Figures
from tests.benchmarks.ground import Ground


def compared(ground: Ground, figures: Figures, repeats: int) -> None:
    """Compare a table that has been synced, taking turns with what it stands beside.

    Args:
        ground: The running stack; `synced` is equal on both sides.
        figures: Where figures go.
        repeats: How many turns.
    """
    ours, counts, exports = [], [], []
    for _ in range(repeats):
        begun = time.monotonic()
        ground.aurora("SELECT COUNT(*) FROM synced")
        ground.snowflake("SELECT COUNT(*) FROM ANALYTICS.PUBLIC.SYNCED")
        counts.append(time.monotonic() - begun)
        ground.forget("exported")
        begun = time.monotonic()
        ground.export("exported")
        exports.append(time.monotonic() - begun)
        ours.append(_verified(ground))
    rows = ground.rows
    taken = figures.add("verify.ours", "s", ours, rows=rows)
    count = figures.add("verify.count_both_sides", "s", counts, rows=rows)
    export = figures.add("verify.one_export", "s", exports, rows=rows)
    figures.add("verify.against_count", "", [taken / count], rows=rows)
    figures.judge(
        "verify", taken / export, "<= 3", "seconds of verify against one export"
    )
    empty, full = _peak(ground, "small"), _peak(ground, "synced")
    figures.add("memory.verify_of_nothing", "MB", [empty / 1e6])
    figures.add("memory.verify", "MB", [full / 1e6], rows=rows)
    figures.judge(
        "memory of verify", (full - empty) / 1e6, "<= 120", "MB above an empty one"
    )


def _verified(ground: Ground) -> float:
    """Compare as the command does; return the seconds."""
    target = LocalTarget(ground.parts, ground.config)
    with closing(target.aurora()) as aurora, target.warehouse() as warehouse:
        begun = time.monotonic()
        [found] = verify([ground.table("synced")], aurora, warehouse)
        took = time.monotonic() - begun
    if (found.verdict, found.source_rows) != ("equal", ground.rows):
        raise RuntimeError(f"verify: {found}")
    return took


def _peak(ground: Ground, name: str) -> int:
    """Run the command in a process of its own; return its peak bytes."""
    command = Path(sys.executable).with_name("aurora-sync")
    words = [str(command), "verify", f"public.{name}", "--json"]
    where = ["--dir", str(ground.folder), "--config", str(ground.config)]
    with subprocess.Popen([*words, *where], stdout=subprocess.PIPE) as process:
        with memory.peak(memory.family, process.pid) as found:
            told, _ = process.communicate(timeout=600)
    if json.loads(told)[0]["verdict"] != ("equal" if name == "synced" else _NOTHING):
        raise RuntimeError(f"verify of {name}: {told.decode()}")
    return found[0]


# Nothing of it is loaded: its pipe is paused.
_NOTHING = "inconclusive"
