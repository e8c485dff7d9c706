"""A first load that is killed every few seconds, in any size.

    .venv/bin/python -m tests.benchmarks.killed [--rows N] [--chunk-bytes N] [--every N]

Brings up a stack of its own, fills one table, loads it through the deployed function
and its queue, kills the function again and again, waits for the merges, and compares
both sides. Exit 1 when a finished chunk was exported again or the sides differ.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from infra.local import stack
from tests.integration.conftest import Sandbox
from tests.integration.killing import COLUMNS, ROWS, load_killed, small_chunks
from tests.integration.refusing import Scene

_MOST_SECONDS = 3600
# More than a chunk takes, also on a busy machine.
_AGAIN_SECONDS = 30


def main() -> None:
    """Load under kills, and tell what it has cost."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.killed")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--chunk-bytes", type=int, default=8_000_000)
    parser.add_argument("--every", type=int, default=4, help="chunks between kills")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aurora-sync-killed-") as made:
        folder = Path(made)
        sandbox = Sandbox(folder=folder / "stack", config=folder / "sync_config.json")
        sandbox.write_config()
        try:
            stack.up(sandbox.folder, sandbox.config)
            sys.exit(_run(sandbox, wanted.rows, wanted.chunk_bytes, wanted.every))
        finally:
            stack.down(sandbox.folder)


def _run(sandbox: Sandbox, rows: int, chunk_bytes: int, every: int) -> int:
    table = sandbox.table(COLUMNS)
    sandbox.aurora(ROWS.format(table.spec.source.sql, rows))
    scene = Scene(sandbox=sandbox, table=table)
    with small_chunks(scene, chunk_bytes, _AGAIN_SECONDS):
        found = load_killed(scene, every, _MOST_SECONDS)
    print(
        f"{rows:,} rows in {found.chunks} chunks: {found.kills} kills, one every "
        f"{found.seconds / max(1, found.kills):.1f} s; exported in {found.seconds} s; "
        f"{found.twice} finished chunks exported again, {found.in_vain} files of "
        "killed ones",
        flush=True,
    )
    begun = time.monotonic()
    script = Path(sys.executable).with_name("aurora-sync")
    verify = [str(script), "verify", str(table.spec.source)]
    while _merged(sandbox) < scene.state.seq:
        if time.monotonic() > begun + _MOST_SECONDS:
            print("not merged in time")
            return 1
        time.sleep(1)
    print(f"merged {time.monotonic() - begun:.0f} s later", flush=True)
    told = subprocess.run(
        [*verify, "--dir", str(sandbox.folder)], timeout=_MOST_SECONDS
    )
    return int(bool(found.twice) or told.returncode != 0)


def _merged(sandbox: Sandbox) -> int:
    rows = sandbox.snowflake("SELECT merged_seq FROM ANALYTICS.SYNC.SYNC_STATUS")
    return int(rows[0][0]) if rows else 0


if __name__ == "__main__":
    main()
