"""The README's own walk-through, as an ordinary user."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local import stack
from tests.ordinary_user import NOBODY, as_ordinary_user

ROOT = Path(__file__).parents[2]


def walk_through() -> str:
    """Return the README's shell block that takes a table through a local stack."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    [found] = [block for block in blocks if "sync --wait" in block]
    return str(found)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that belongs to an ordinary user, with no private one above it."""
    with tempfile.TemporaryDirectory(prefix="aurora-sync-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        try:
            yield folder
        finally:
            # Of a walk that stopped half-way.
            stack.down(folder / "stack")


@pytest.mark.timeout(300)
def test_the_readme_takes_a_table_there_and_leaves_nothing(home: Path) -> None:
    """Root runs it as somebody else: every other test of the stack runs as root."""
    parts = home / "stack"
    done = subprocess.run(
        [*as_ordinary_user(), "bash", "-euo", "pipefail", "-c", walk_through()],
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "AURORA_SYNC_DIR": str(parts),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "10 rows exported" in done.stdout
    assert "changed" in done.stdout
    assert "equal" in done.stdout
    assert not parts.exists()
    assert [p.info for p in psutil.process_iter(["cmdline"]) if names(p, parts)] == []


def names(process: psutil.Process, parts: Path) -> bool:
    """Whether a process was started for the stack."""
    return any(str(parts) in word for word in process.info["cmdline"] or ())
