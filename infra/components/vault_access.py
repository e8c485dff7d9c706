"""Vault access: database users for one run each, and who may ask for them.

A leased user is a member of the exporter's role and owns nothing, unless somebody got
hold of its password. Its revocation drops it with all that it owns or was granted: a
session that is still open then has no rights left, and nothing stays behind. Sessions
are not terminated, because since PostgreSQL 16 the maker of a role may not do so
without rights over everybody's sessions.
"""

from dataclasses import dataclass

import pulumi
import pulumi_vault as vault

from infra import policies
from infra.stack import StackSettings
from infra.stack_settings import VaultSettings
from runtime.contract.aurora_sql import EXPORTER_ROLE
from runtime.contract.names import quote_postgres

# More than twice the longest run of a function, with its requests to Vault. The token
# lives as long: the lease that it took ends with it.
LEASE_SECONDS = 900
_CONNECTIONS = 2

CREATION = (
    'CREATE ROLE "{{name}}" WITH LOGIN INHERIT NOCREATEDB NOCREATEROLE '
    "PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' "
    f"CONNECTION LIMIT {_CONNECTIONS} IN ROLE {quote_postgres(EXPORTER_ROLE)}"
)
# One statement for Vault, which splits others at semicolons. A role that owns anything,
# a temporary table is enough, cannot be dropped; what it owns goes with the role's own
# rights, which its maker takes first. Vault tries again what a transaction holds up.
# Source: https://www.postgresql.org/docs/current/role-removal.html
REVOCATION = (
    "DO $$ BEGIN "
    "IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{{name}}') THEN "
    "PERFORM pg_catalog.set_config('lock_timeout', '5s', TRUE); "
    'GRANT "{{name}}" TO CURRENT_USER; '
    'DROP OWNED BY "{{name}}"; '
    'DROP ROLE "{{name}}"; '
    "END IF; END $$"
)


@dataclass(frozen=True, kw_only=True)
class VaultAccessArgs:
    """Arguments of `VaultAccess`.

    Attributes:
        settings: The stack's settings.
        function_role_arn: IAM role that may log in.
        admin_password: Password of Vault's own database user, and a number that
            changes with it; None when the connection exists.
    """

    settings: StackSettings
    function_role_arn: pulumi.Input[str]
    admin_password: tuple[pulumi.Input[str], pulumi.Input[int]] | None


class VaultAccess(pulumi.ComponentResource):
    """What the exporter may do at Vault: lease one kind of user.

    Attributes:
        role: What the exporter logs in to, known once the login works.
        database_role: Role of the database engine.
    """

    role: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: VaultAccessArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:VaultAccess", name, {}, opts)
        self._name = name
        self._vault: VaultSettings = args.settings.vault
        self._child = pulumi.ResourceOptions(parent=self)
        self.database_role = args.settings.exporter
        self._database(args)
        policy = vault.Policy(
            f"{name}-policy",
            name=self.database_role,
            policy=policies.vault_exporter(
                database_mount=self._vault.database_mount,
                database_role=self.database_role,
            ),
            opts=self._child,
        )
        mount = self._auth_mount()
        self.role = self._login(mount, policy, args.function_role_arn)
        self.register_outputs({"role": self.role, "databaseRole": self.database_role})

    def _database(self, args: VaultAccessArgs) -> None:
        wanted = self._vault
        mount: pulumi.Input[str] = wanted.database_mount
        if wanted.manage_mounts:
            mount = vault.Mount(
                f"{self._name}-database",
                path=wanted.database_mount,
                type="database",
                description="Leased database users",
                opts=self._child,
            ).path
        connection: pulumi.Input[str] = wanted.connection
        if args.admin_password is not None:
            password, version = args.admin_password
            connection = vault.database.SecretBackendConnection(
                f"{self._name}-connection",
                backend=mount,
                name=wanted.connection,
                allowed_roles=[self.database_role],
                verify_connection=True,
                postgresql={
                    "connection_url": wanted.connection_url,
                    "username": wanted.admin_user,
                    "password_wo": pulumi.Output.secret(password),
                    "password_wo_version": version,
                },
                opts=self._child,
            ).name
        vault.database.SecretBackendRole(
            f"{self._name}-users",
            backend=mount,
            name=self.database_role,
            db_name=connection,
            creation_statements=[CREATION],
            revocation_statements=[REVOCATION],
            rollback_statements=[REVOCATION],
            default_ttl=LEASE_SECONDS,
            max_ttl=LEASE_SECONDS,
            opts=self._child,
        )

    def _auth_mount(self) -> pulumi.Input[str]:
        if not self._vault.manage_mounts:
            return self._vault.auth_mount
        backend = vault.AuthBackend(
            f"{self._name}-auth",
            type="aws",
            path=self._vault.auth_mount,
            opts=self._child,
        )
        if self._vault.server_id:
            client = vault.aws.AuthBackendClient(
                f"{self._name}-auth-client",
                backend=backend.path,
                iam_server_id_header_value=self._vault.server_id,
                opts=self._child,
            )
            return pulumi.Output.all(backend.path, client.id).apply(
                lambda known: str(known[0])
            )
        return backend.path

    def _login(
        self,
        mount: pulumi.Input[str],
        policy: vault.Policy,
        function_role_arn: pulumi.Input[str],
    ) -> pulumi.Output[str]:
        role = vault.aws.AuthBackendRole(
            f"{self._name}-login",
            backend=mount,
            role=self.database_role,
            auth_type="iam",
            bound_iam_principal_arns=[function_role_arn],
            resolve_aws_unique_ids=self._vault.resolve_unique_ids,
            token_policies=[policy.name],
            token_no_default_policy=True,
            token_ttl=LEASE_SECONDS,
            token_max_ttl=LEASE_SECONDS,
            opts=self._child,
        )
        return role.role
