"""Vault resources, written through the stack's Vault API as the provider does.

With the token of a deployment, whose policy is the one that people are told to write.
"""

from typing import Any

from infra.local.adapter.site import Call, Handler, Inputs, Made, Site, snake
from infra.local.vault import deployer_client

# Fact: the version of the password that each connection was last given.
_SENT = "vault_password_versions"


def _write(site: Site, path: str, **fields: Any) -> None:
    deployer_client(site.stack).write_data(path, data=fields)


def _fields(inputs: Inputs, *but: str) -> dict[str, Any]:
    """Return the inputs by the API's names, those that have a value."""
    return {
        snake(key): value
        for key, value in inputs.items()
        if key not in but and value is not None
    }


def _mount(site: Site, name: str, inputs: Inputs) -> Made:
    system: Any = deployer_client(site.stack).sys
    path = inputs["path"]
    if f"{path}/" not in system.list_mounted_secrets_engines()["data"]:
        system.enable_secrets_engine(
            inputs["type"], path=path, description=inputs.get("description")
        )
    return path, {"path": path}


def _auth_backend(site: Site, name: str, inputs: Inputs) -> Made:
    system: Any = deployer_client(site.stack).sys
    path = inputs.get("path") or inputs["type"]
    if f"{path}/" not in system.list_auth_methods()["data"]:
        system.enable_auth_method(
            inputs["type"], path=path, description=inputs.get("description")
        )
    return path, {"path": path}


def _policy(site: Site, name: str, inputs: Inputs) -> Made:
    _write(site, f"sys/policies/acl/{inputs['name']}", policy=inputs["policy"])
    return inputs["name"], {"name": inputs["name"]}


def _connection(site: Site, name: str, inputs: Inputs) -> Made:
    """Write a connection, its password only where the version says that it changed.

    So Vault's own rotation of the password outlasts a deployment.
    """
    own, backend = inputs["name"], inputs["backend"]
    path = f"{backend}/config/{own}"
    login = _fields(inputs["postgresql"], "passwordWo", "passwordWoVersion")
    version = inputs["postgresql"]["passwordWoVersion"]
    sent = {path: version}
    # Not as the last deployment's inputs have it: all of these are secret.
    if site.stack.fact(_SENT) != sent or deployer_client(site.stack).read(path) is None:
        login["password"] = inputs["postgresql"]["passwordWo"]
    _write(
        site,
        path,
        **login,
        plugin_name="postgresql-database-plugin",
        allowed_roles=inputs.get("allowedRoles", []),
        verify_connection=inputs.get("verifyConnection", True),
    )
    site.stack.put_fact(_SENT, sent)
    return path, {"name": own}


def _database_role(site: Site, name: str, inputs: Inputs) -> Made:
    own, backend = inputs["name"], inputs["backend"]
    _write(site, f"{backend}/roles/{own}", **_fields(inputs, "name", "backend"))
    return f"{backend}/roles/{own}", {"name": own}


def _aws_client(site: Site, name: str, inputs: Inputs) -> Made:
    path = f"auth/{inputs['backend']}/config/client"
    _write(site, path, **_fields(inputs, "backend"))
    return path, {}


def _aws_role(site: Site, name: str, inputs: Inputs) -> Made:
    path = f"auth/{inputs['backend']}/role/{inputs['role']}"
    bound = inputs["boundIamPrincipalArns"]
    _write(
        site,
        path,
        bound_iam_principal_arn=bound,
        **_fields(inputs, "backend", "role", "boundIamPrincipalArns"),
    )
    return path, {"roleId": path}


def _secret(site: Site, args: Inputs) -> dict[str, Any]:
    engine: Any = deployer_client(site.stack).secrets.kv.v2
    answer = engine.read_secret_version(
        args["name"], mount_point=args["mount"], raise_on_deleted_version=True
    )["data"]
    return {
        **args,
        "data": answer["data"],
        "version": answer["metadata"]["version"],
    }


HANDLERS: dict[str, Handler] = {
    "vault:index/mount:Mount": _mount,
    "vault:index/authBackend:AuthBackend": _auth_backend,
    "vault:index/policy:Policy": _policy,
    "vault:database/secretBackendConnection:SecretBackendConnection": _connection,
    "vault:database/secretBackendRole:SecretBackendRole": _database_role,
    "vault:aws/authBackendClient:AuthBackendClient": _aws_client,
    "vault:aws/authBackendRole:AuthBackendRole": _aws_role,
}
CALLS: dict[str, Call] = {"vault:kv/getSecretV2:getSecretV2": _secret}
