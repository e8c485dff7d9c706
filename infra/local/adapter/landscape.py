"""What a customer has before the first deployment, and the settings that name it.

Aurora's network, its security group and cluster in AWS; in Vault the two secrets and
the policy that people put there; in Snowflake the deploying user. The settings are
those of `Pulumi.<stack>.yaml`.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hvac.exceptions import InvalidPath, InvalidRequest

from infra import bundle
from infra.admin_snowflake import deployer_statements
from infra.admin_vault import deployer_policy
from infra.local.adapter import aws_network
from infra.local.adapter.retained import ADOPT
from infra.local.adapter.site import Site
from infra.local.parts import AWS_ACCOUNT, AWS_REGION, HOST, LocalStack
from infra.local.postgres import DATABASE
from infra.local.vault import vault_client
from infra.stack import StackSettings

STACK = "local"
CLUSTER = "aurora-local"
VAULT_ADMIN = "vault_admin"
SNOWFLAKE_DATABASE = "ANALYTICS"

_KV = "secret"
_KV_SECONDS = 10
# Longer than any deployment.
_TOKEN_SECONDS = 3600
_ADMIN_SECRET = "aurora-sync/aurora"
_KEY_SECRET = "aurora-sync/snowflake"
_AURORA_BLOCK = "10.30.0.0/24"
_OWN_BLOCK = "10.31.0.0/24"


def prepare(site: Site) -> dict[str, Any]:
    """Make what exists before us, once; return the settings that name it.

    Args:
        site: A stack whose parts run.
    """
    made = _aurora_network(site)
    _cluster(site, made["security_group_id"])
    _secrets(site.stack)
    _deployer(site)
    return made


def _aurora_network(site: Site) -> dict[str, str]:
    def make(kind: str, which: str, **inputs: Any) -> str:
        return aws_network.HANDLERS[kind](site, f"landscape-{which}", inputs)[0]

    vpc = make("aws:ec2/vpc:Vpc", "vpc", cidrBlock=_AURORA_BLOCK)
    table = make("aws:ec2/routeTable:RouteTable", "routes", vpcId=vpc)
    group = make(
        "aws:ec2/securityGroup:SecurityGroup",
        "aurora",
        name="aurora",
        description="Aurora cluster",
        vpcId=vpc,
    )
    return {"vpc_id": vpc, "route_table_id": table, "security_group_id": group}


def _cluster(site: Site, group: str) -> None:
    rds = site.aws("rds")
    try:
        rds.create_db_cluster(
            DBClusterIdentifier=CLUSTER,
            Engine="aurora-postgresql",
            MasterUsername="postgres",
            MasterUserPassword=site.stack.secret("postgres_password"),
            VpcSecurityGroupIds=[group],
        )
    except rds.exceptions.DBClusterAlreadyExistsFault:
        pass


def _secrets(stack: LocalStack) -> None:
    client: Any = vault_client(stack)
    if f"{_KV}/" not in client.sys.list_mounted_secrets_engines()["data"]:
        client.sys.enable_secrets_engine("kv", path=_KV, options={"version": "2"})
    _wait_for_kv(client)
    wanted: dict[str, Callable[[], dict[str, str]]] = {
        _ADMIN_SECRET: lambda: {"password": stack.secret("vault_admin_password")},
        _KEY_SECRET: lambda: {"private_key": _private_key()},
    }
    for path, make in wanted.items():
        engine = client.secrets.kv.v2
        try:
            engine.read_secret_version(
                path, mount_point=_KV, raise_on_deleted_version=True
            )
        except InvalidPath:
            engine.create_or_update_secret(path, make(), mount_point=_KV)


def _wait_for_kv(client: Any) -> None:
    """A new engine refuses for a moment, while it prepares for versions."""
    deadline = time.monotonic() + _KV_SECONDS
    while True:
        try:
            client.secrets.kv.v2.read_configuration(mount_point=_KV)
            return
        except InvalidRequest:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _private_key() -> str:
    """Return a new key; the local Snowflake knows passwords only and never asks."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _deployer(site: Site) -> None:
    """Give the deployment its identities, as administrators are told to."""
    wanted = known_settings(site.stack)
    client: Any = vault_client(site.stack)
    policy = wanted.named("deployer")
    client.sys.create_or_update_policy(policy, deployer_policy(wanted))
    made = client.auth.token.create(policies=[policy], ttl=f"{_TOKEN_SECONDS}s")
    site.stack.put_fact("vault_deployer_token", made["auth"]["client_token"])
    for statement in deployer_statements(wanted.snowflake, "local"):
        site.sql(statement)


def python_runtime() -> str:
    """Return the version of the interpreter that runs the functions."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def bucket_name(stack: LocalStack) -> str:
    """Return the name that the lake's bucket has, or will have once deployed."""
    return known_settings(stack).bucket


def known_settings(stack: LocalStack) -> StackSettings:
    """Return the settings as far as they do not depend on what `prepare` makes."""
    unknown = {
        "vpc_id": "vpc-0",
        "route_table_id": "rtb-0",
        "security_group_id": "sg-0",
    }
    config = Path(stack.fact("config") or bundle.CONFIG)
    given = settings(stack, unknown, config, Path())
    return StackSettings.read(given, STACK)


def settings(
    stack: LocalStack, landscape: dict[str, str], config: Path, zip_file: Path
) -> dict[str, str]:
    """Return the stack's settings as Pulumi holds them: texts, objects as JSON.

    Args:
        stack: The stack.
        landscape: What `prepare` returned.
        config: The `sync_config.json` to deploy.
        zip_file: The function's zip.
    """
    groups = {
        "aws": {"region": AWS_REGION, "account_id": AWS_ACCOUNT},
        "network": {
            "cidr": _OWN_BLOCK,
            "availability_zones": [f"{AWS_REGION}a", f"{AWS_REGION}b"],
            "peers": [
                {
                    "vpc_id": landscape["vpc_id"],
                    "cidr": _AURORA_BLOCK,
                    "route_table_ids": [landscape["route_table_id"]],
                }
            ],
        },
        "aurora": {
            "cluster_identifier": CLUSTER,
            "host": HOST,
            "port": stack.port("postgres"),
            "database": DATABASE,
            "security_group_id": landscape["security_group_id"],
            # The PostgreSQL wheel is built without SSL.
            "sslmode": "disable",
        },
        "vault": {
            "address": stack.url("vault"),
            "cidr": f"{HOST}/32",
            "server_id": "vault.local",
            "connection_url": (
                f"postgresql://{{{{username}}}}:{{{{password}}}}@{HOST}:"
                f"{stack.port('postgres')}/{DATABASE}?sslmode=disable"
            ),
            "admin_user": VAULT_ADMIN,
            "admin_secret": _ADMIN_SECRET,
            "kv_mount": _KV,
        },
        "snowflake": {
            "organization": "LOCAL",
            "account": "LOCAL",
            "user": "AURORA_SYNC_DEPLOYER",
            "role": "AURORA_SYNC_DEPLOYER",
            "private_key_secret": _KEY_SECRET,
            "database": SNOWFLAKE_DATABASE,
            "warehouse": "SYNC_WH",
            "external_id": f"local-{stack.secret('external_id')}",
        },
        # Nobody confirms it, so that nobody is told.
        "alarms": {"email": ["on-call@example.com"]},
        "function": {"runtime": f"python{python_runtime()}", "log_level": "INFO"},
    }
    return {
        **{key: json.dumps(group) for key, group in groups.items()},
        "adopt": json.dumps(stack.fact(ADOPT, [])),
        "sync_config": str(config),
        "bundle": str(zip_file),
    }
