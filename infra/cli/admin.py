"""`admin`: prints what administrators run once, before the first deployment.

The same statements are run on a local stack when it is deployed.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from infra.cli import output
from infra.cli.guard import guarded
from infra.cli.options import ConfigOption, DirOption, StackOption

if TYPE_CHECKING:
    from infra.stack import StackSettings
    from runtime.contract.specs import TableSpec

_NO_KEY = "<body of rsa_key.pub>"


class Place(StrEnum):
    """Where somebody is administrator."""

    AURORA = "aurora"
    SNOWFLAKE = "snowflake"
    VAULT = "vault"


@guarded
def admin(
    place: Annotated[Place, typer.Argument(help="Whose administrator runs it.")],
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key",
            help="snowflake: PEM file with the deploying user's public key.",
            dir_okay=False,
            exists=True,
        ),
    ] = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    folder: DirOption = None,
) -> None:
    """Print what an administrator runs once: for psql, a worksheet or a shell.

    Nothing is asked and nothing changed: a stack in the cloud need not be deployed.
    """
    from infra.admin_vault import commands
    from runtime.contract.loader import load_specs

    settings, tables = _known(stack, folder, config)
    if place is Place.VAULT:
        typer.echo(commands(settings), nl=False)
        return
    specs = load_specs(tables)
    if place is Place.AURORA:
        lines = list(_aurora(settings, specs))
    else:
        lines = list(_snowflake(settings, specs, public_key))
    typer.echo("\n".join(lines))


def _aurora(settings: "StackSettings", specs: Iterable["TableSpec"]) -> Iterator[str]:
    """Yield a script for psql, which fetches the password from Vault by itself."""
    from infra.admin_vault import password_command
    from runtime.contract.aurora_sql import EXPORTER_ROLE, setup_statements

    yield f"-- Aurora of stack {settings.stack}, database {settings.aurora.database}."
    yield "-- As a member of rds_superuser; again after tables were added. Repeatable."
    yield r"\set ON_ERROR_STOP on"
    if settings.vault.admin_user:
        yield from _password(settings.vault.admin_user, password_command(settings))
    else:
        yield "-- The connection at Vault exists. Its database user also needs:"
        yield f"--   GRANT {EXPORTER_ROLE} TO <that user> WITH ADMIN OPTION;"
    for statement in setup_statements(
        specs, settings.vault.admin_user, ":'vault_password'"
    ):
        yield f"{statement};"


def _password(user: str, command: str) -> Iterator[str]:
    """Yield what asks Vault for the password, where the user is still to be made."""
    from runtime.contract.names import postgres_literal

    yield r"\if :{?vault_password}"
    yield r"\else"
    yield r"\set vault_password ''"
    yield "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_roles"
    yield rf"  WHERE rolname = {postgres_literal(user)}) AS user_is_new \gset"
    yield r"\if :user_is_new"
    yield rf"\set vault_password `{command}`"
    yield r"\endif"
    yield r"\endif"


def _snowflake(
    settings: "StackSettings", specs: Iterable["TableSpec"], public_key: Path | None
) -> Iterator[str]:
    from infra.admin_snowflake import deployer_statements, key_body
    from runtime.contract.names import quote_snowflake, snowflake_name

    wanted, body = settings.snowflake, _NO_KEY
    if public_key is None:
        output.warn("without --public-key: put the key where it says so")
    else:
        body = key_body(public_key.read_text(), str(public_key))
    own = [snowflake_name(each.warehouse) for each in specs if each.warehouse]
    yield f"-- Snowflake of stack {settings.stack}. Repeatable."
    for statement in deployer_statements(wanted, body, own):
        yield f"{statement};"
    yield "-- Where a network policy is in force, the user may need one of its own:"
    yield f"-- ALTER USER {quote_snowflake(wanted.user)} SET NETWORK_POLICY = <policy>;"


def _known(
    stack: str | None, folder: Path | None, config: Path | None
) -> tuple["StackSettings", Path]:
    """Return a stack's settings and its config, from files where it is in the cloud."""
    from infra.cli.target import LOCAL, LocalTarget, resolve
    from infra.stack import StackSettings

    if stack not in (None, LOCAL) and folder is None:
        settings = StackSettings.from_file(str(stack))
        return settings, config or settings.config_path
    target = resolve(stack, folder, config)
    return cast(LocalTarget, target).settings, target.config
