"""What the runbook tells people to type works on a local stack as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.app import app
from tests.integration.conftest import Sandbox

TEXT = Path(__file__).parents[2].joinpath("docs", "RUNBOOK.md").read_text()
ORDERS = "order_id BIGINT PRIMARY KEY, updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()"


def test_every_shell_block_says_whether_it_needs_an_account():
    kinds = set(re.findall(r"^```(sh.*)$", TEXT, re.M))
    assert kinds == {"sh", "sh needs-account"}


def test_the_shell_blocks_run_on_a_local_stack(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURORA_SYNC_DIR", str(sandbox.folder))
    table = sandbox.table(ORDERS)
    sandbox.aurora(f"INSERT INTO {table.spec.source.sql} VALUES (1, '2026-01-01')")
    landing = f"PUBLIC__{table.spec.source.name.upper()}"
    ran = []
    for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S):
        for line in block.splitlines():
            own = line.replace("public.orders", table.contract.table)
            program, *arguments = shlex.split(own.replace("PUBLIC__ORDERS", landing))
            assert program == "aurora-sync"
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, (line, result.stdout, result.stderr)
            ran.append(arguments[0])
    assert {"doctor", "status", "sync", "contract", "verify", "local"} <= {*ran}
