"""What an administrator runs once in Snowflake: the deploying user and its rights.

The user logs in with a key pair only: one of type SERVICE has no password.
Source: https://docs.snowflake.com/en/sql-reference/sql/create-user
"""

from collections.abc import Iterable

from infra.stack_settings import SnowflakeSettings
from runtime.contract.errors import ConfigError
from runtime.contract.names import literal, quote_snowflake

# What the program makes: database, warehouse, loader and reader, integration.
_MAKES = ("CREATE DATABASE", "CREATE WAREHOUSE", "CREATE ROLE", "CREATE INTEGRATION")
# What it hands on to the loading role.
# Source: https://docs.snowflake.com/en/user-guide/tasks-intro
_HANDS_ON = ("EXECUTE TASK", "EXECUTE MANAGED TASK")
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


def deployer_statements(
    wanted: SnowflakeSettings, public_key: str, warehouses: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the statements that make the deploying user and give it its rights.

    Source: https://docs.snowflake.com/en/user-guide/security-access-control-privileges

    Args:
        wanted: The stack's settings of Snowflake.
        public_key: Body of the user's public key, as `key_body` returns it.
        warehouses: Warehouses of single tables, which somebody else has made.
    """
    role, user = quote_snowflake(wanted.role), quote_snowflake(wanted.user)
    others = sorted(set(warehouses) - {wanted.warehouse})
    return (
        "USE ROLE ACCOUNTADMIN",
        f"CREATE ROLE IF NOT EXISTS {role} COMMENT = 'Deploys aurora-sync'",
        f"CREATE USER IF NOT EXISTS {user} TYPE = SERVICE "
        f"DEFAULT_ROLE = {literal(wanted.role)} RSA_PUBLIC_KEY = {literal(public_key)} "
        "COMMENT = 'Deploys aurora-sync'",
        f"GRANT ROLE {role} TO USER {user}",
        f"GRANT ROLE {role} TO ROLE SYSADMIN",
        f"GRANT {', '.join(_MAKES)} ON ACCOUNT TO ROLE {role}",
        f"GRANT {', '.join(_HANDS_ON)} ON ACCOUNT TO ROLE {role} WITH GRANT OPTION",
        *(
            f"GRANT USAGE ON WAREHOUSE {quote_snowflake(name)} TO ROLE {role} "
            "WITH GRANT OPTION"
            for name in others
        ),
    )


def key_body(pem: str, subject: str) -> str:
    """Return a public key as Snowflake stores it: one line without its frame.

    Source: https://docs.snowflake.com/en/user-guide/key-pair-auth

    Args:
        pem: The key in PEM form.
        subject: Where it was read, for messages.

    Raises:
        ConfigError: It is something else, such as the private key.
    """
    head, *body, tail = pem.split("\n") if "\n" in (pem := pem.strip()) else ("", "")
    if (head.strip(), tail.strip()) != (_BEGIN, _END):
        raise ConfigError(
            "is no public key in PEM form",
            subject=subject,
            got=head[:40] or "one line",
            allowed=f"a file that begins with {_BEGIN}",
            remedy="run `openssl rsa -in rsa_key.p8 -pubout -out rsa_key.pub`",
        )
    return "".join(line.strip() for line in body)
