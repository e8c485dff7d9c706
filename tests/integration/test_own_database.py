"""Somebody's own database on a local stack, by the lines that the README shows."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from infra.local import stack
from tests.local.pg_dumps import SCHEMA

ROOT = Path(__file__).parents[2]
LINES = """\
.venv/bin/aurora-sync local up --no-deploy --config my/sync_config.json
.venv/bin/aurora-sync local load SOURCE
.venv/bin/aurora-sync table suggest --write
.venv/bin/aurora-sync local deploy
.venv/bin/aurora-sync sync --wait
.venv/bin/aurora-sync verify
"""


@pytest.mark.timeout(120)
def test_a_dump_is_loaded_suggested_synced_and_verified(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "shop.sql").write_text(SCHEMA)
    parts = tmp_path / "stack"
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", LINES.replace("SOURCE", "shop.sql")],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "LANG": "C.UTF-8",
                "AURORA_SYNC_DIR": str(parts),
            },
            capture_output=True,
            text=True,
            timeout=110,
        )
    finally:
        stack.down(parts)
    assert done.returncode == 0, done.stderr + done.stdout
    entries = json.loads((tmp_path / "my/sync_config.json").read_text())["tables"]
    assert {entry["table_name"]: entry["watermark_col"] for entry in entries} == {
        "public.film": "last_update",
        "public.film_actor": "updated_at",
        "public.payment": "payment_date",
    }
    assert "public.log: not yet: no key" in done.stdout
    assert "public.country: not yet: no column moves" in done.stdout
    for row in ("public.film ", "public.film_actor", "public.payment"):
        assert any(
            line.startswith(row) and " equal " in line
            for line in done.stdout.splitlines()
        )
