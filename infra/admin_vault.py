"""What an administrator runs once at Vault: two secrets, and the deployer's policy.

The policy names every path that the program's Vault resources write and read, and no
other. Mounts and auth methods need `sudo` where Vault's API asks for it.
Source: https://developer.hashicorp.com/vault/docs/concepts/policies
"""

from shlex import quote

from infra.stack import StackSettings

_ALL = ("create", "read", "update", "delete")
_READ = ("read",)


def deployer_policy(settings: StackSettings) -> str:
    """Render the policy of the token that `pulumi up` runs with.

    The provider works with a child of its token, which ends with the deployment.
    Source: https://registry.terraform.io/providers/hashicorp/vault/latest/docs

    Args:
        settings: The stack's settings.
    """
    vault, name = settings.vault, settings.exporter
    paths: dict[str, tuple[str, ...]] = {
        "auth/token/create": ("create", "update"),
        f"sys/policies/acl/{name}": _ALL,
        f"{vault.database_mount}/roles/{name}": _ALL,
        f"auth/{vault.auth_mount}/role/{name}": _ALL,
    }
    for secret in secrets(settings):
        paths[f"{vault.kv_mount}/data/{secret}"] = _READ
    if vault.connection_url is not None:
        paths[f"{vault.database_mount}/config/{vault.connection}"] = _ALL
    if vault.manage_mounts:
        paths |= {
            "sys/mounts": _READ,
            f"sys/mounts/{vault.database_mount}": _ALL,
            f"sys/mounts/{vault.database_mount}/tune": ("read", "update"),
            "sys/auth": _READ,
            f"sys/auth/{vault.auth_mount}": (*_ALL, "sudo"),
            f"sys/auth/{vault.auth_mount}/tune": ("read", "update", "sudo"),
            f"sys/mounts/auth/{vault.auth_mount}/tune": ("read", "update"),
            f"auth/{vault.auth_mount}/config/client": _ALL,
        }
    return "".join(
        f'path "{path}" {{\n  capabilities = [{_quoted(able)}]\n}}\n'
        for path, able in sorted(paths.items())
    )


def secrets(settings: StackSettings) -> tuple[str, ...]:
    """Return the names of the KV secrets that people write and the program reads."""
    database = settings.vault.admin_secret
    key = settings.snowflake.private_key_secret
    return (key, database) if database else (key,)


def password_command(settings: StackSettings) -> str:
    """Return the command that prints the password of Vault's own database user."""
    vault = settings.vault
    secret = quote(str(vault.admin_secret))
    return f"vault kv get -mount={quote(vault.kv_mount)} -field=password {secret}"


def commands(settings: StackSettings) -> str:
    """Render the script: secrets, where there are none yet, policy and token.

    `-cas=0` writes a secret only where there is none.
    Source: https://developer.hashicorp.com/vault/docs/commands/kv/put

    Args:
        settings: The stack's settings.
    """
    vault = settings.vault
    policy = settings.named("deployer")
    put = f"vault kv put -cas=0 -mount={quote(vault.kv_mount)}"
    lines = [
        "# The key with which the deployment logs in to Snowflake.",
        f"{put} {quote(settings.snowflake.private_key_secret)} "
        "private_key=@rsa_key.p8",
    ]
    if vault.admin_secret:
        lines += [
            "# A password for Vault's own database user; nobody needs to know it.",
            f"openssl rand -hex 24 | tr -d '\\n' | {put} "
            f"{quote(vault.admin_secret)} password=-",
        ]
    lines += [
        "# What a deployment may do at Vault, and a token for it.",
        f"vault policy write {policy} - <<'POLICY'",
        deployer_policy(settings) + "POLICY",
        f"vault token create -policy={policy} -period=24h -display-name={policy}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in words)
