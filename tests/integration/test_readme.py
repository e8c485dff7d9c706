"""What the README says, done as an ordinary user; no other block goes untested."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local import stack
from tests.local.pg_dumps import SCHEMA
from tests.ordinary_user import NOBODY, as_ordinary_user
from tests.test_docs import PAGES

ROOT = Path(__file__).parents[2]
# Blocks that other tests run line by line.
RUN_ELSEWHERE = {
    "docs/DEPLOYMENT.md": "tests/integration/test_deployment.py",
    "docs/RUNBOOK.md": "tests/integration/test_runbook.py",
}


def blocks(name: str) -> list[tuple[str, str]]:
    """Return the fenced shell blocks of a page: what stands on the fence, and lines."""
    text = (ROOT / name).read_text()
    return re.findall(r"^```(sh[^\n]*)\n(.*?)^```", text, re.S | re.M)


def own_database() -> str:
    """Return the README's lines that take somebody's database through a stack."""
    [found] = [lines for _, lines in blocks("README.md") if "table suggest" in lines]
    return found


def test_every_shell_block_is_run_by_a_test_or_needs_an_account() -> None:
    """`make` itself is what runs the tests; the demo has a test of its own."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    strange = []
    for page in (str(path.relative_to(ROOT)) for path in PAGES):
        for fence, lines in blocks(page):
            if fence == "sh needs-account" or page in RUN_ELSEWHERE:
                continue
            known = lines == own_database() or all(
                line.removeprefix("make ") in targets for line in lines.splitlines()
            )
            if not known:
                strange.append((page, lines))
    assert strange == []
    assert [name for name in RUN_ELSEWHERE.values() if not (ROOT / name).exists()] == []


def test_every_command_stands_in_the_readme(commands: list[str]) -> None:
    text = (ROOT / "README.md").read_text()
    table = text[text.index("| Command |") : text.index("Exit codes")]
    words = set(re.findall(r"[a-z-]+", table))
    assert [name for name in commands if not set(name.split()) <= words] == []


@pytest.fixture
def commands() -> list[str]:
    """Every command with its group, as people type it."""
    import typer

    from infra.cli.app import app

    def leaves(command: object, path: str = "") -> Iterator[str]:
        below = getattr(command, "commands", None)
        if below is None:
            yield path.strip()
            return
        for name, each in below.items():
            yield from leaves(each, f"{path} {name}")

    return list(leaves(typer.main.get_command(app)))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that belongs to an ordinary user, with no private one above it."""
    with tempfile.TemporaryDirectory(prefix="aurora-sync-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        (folder / "shop.sql").write_text(SCHEMA)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        try:
            yield folder
        finally:
            # Of a walk that stopped half-way.
            stack.down(folder / "stack")


@pytest.mark.timeout(300)
def test_a_database_of_ones_own_is_synced_and_verified(home: Path) -> None:
    """Root runs it as somebody else: every other test of the stack runs as root."""
    parts = home / "stack"
    lines = own_database().replace("SOURCE", "shop.sql")
    done = subprocess.run(
        [
            *as_ordinary_user(),
            *("bash", "-euo", "pipefail", "-c"),
            f"{lines}\n.venv/bin/aurora-sync local down",
        ],
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
    entries = json.loads((home / "my/sync_config.json").read_text())["tables"]
    assert {entry["table_name"]: entry.get("watermark_col") for entry in entries} == {
        "public.country": None,
        "public.film": "last_update",
        "public.film_actor": "updated_at",
        "public.payment": "payment_date",
    }
    assert "public.log: not yet: no key" in done.stdout
    assert "; mode full, no column moves" in done.stdout
    told = done.stdout.splitlines()
    for row in ("public.film ", "public.film_actor", "public.payment"):
        assert any(line.startswith(row) and " equal " in line for line in told)
    assert not parts.exists()
    assert [p.info for p in psutil.process_iter(["cmdline"]) if names(p, parts)] == []


def names(process: psutil.Process, parts: Path) -> bool:
    """Whether a process was started for the stack."""
    return any(str(parts) in word for word in process.info["cmdline"] or ())
