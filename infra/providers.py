"""Explicit providers of AWS, Vault and Snowflake, and the secrets they need.

Settings say where; who may enter comes from the environment for AWS and Vault, and
from Vault for Snowflake: its private key is the only secret the program reads, beside
the database password that it hands back to Vault.
"""

import pulumi
import pulumi_aws as aws
import pulumi_snowflake as snowflake
import pulumi_vault as vault

from infra.stack import PROJECT, StackSettings
from runtime.contract.errors import ConfigError

# What the provider calls a preview is named one by one, so that nothing else is used.
PREVIEW_FEATURES = [
    "snowflake_notification_integration_resource",
    "snowflake_pipe_resource",
    "snowflake_system_get_aws_sns_iam_policy_datasource",
    "snowflake_table_resource",
]


class Providers:
    """Explicit providers: no resource takes what the environment happens to be."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self.aws = aws.Provider(
            "aws",
            region=settings.aws.region,
            allowed_account_ids=[settings.aws.account_id],
            default_tags={
                "tags": {
                    **settings.tags,
                    f"{PROJECT}:project": PROJECT,
                    f"{PROJECT}:stack": settings.stack,
                }
            },
        )
        self.vault = vault.Provider(
            "vault",
            address=settings.vault.address,
            namespace=settings.vault.namespace or None,
        )
        wanted = settings.snowflake
        self._key = self.secret(wanted.private_key_secret, "private_key")[0]
        self.snowflake = self._snowflake("snowflake", wanted.role)

    def secret(
        self, name: str, field: str
    ) -> tuple[pulumi.Output[str], pulumi.Output[int]]:
        """Read a field of a KV secret, and the secret's version."""
        found = vault.kv.get_secret_v2_output(
            mount=self._settings.vault.kv_mount,
            name=name,
            opts=pulumi.InvokeOptions(provider=self.vault),
        )

        def value(data: dict[str, str]) -> str:
            if field not in data:
                raise ConfigError(
                    f"secret has no field {field!r}",
                    subject=f"Vault {self._settings.vault.kv_mount}/{name}",
                    allowed=field,
                    remedy="write the field to the secret",
                )
            return data[field]

        return pulumi.Output.secret(found.data.apply(value)), found.version

    def loader(self, role: pulumi.Output[str]) -> snowflake.Provider:
        """Return the provider whose objects belong to the loading role."""
        return self._snowflake("snowflake-loader", role)

    def _snowflake(self, name: str, role: pulumi.Input[str]) -> snowflake.Provider:
        wanted = self._settings.snowflake
        return snowflake.Provider(
            name,
            organization_name=wanted.organization,
            account_name=wanted.account,
            user=wanted.user,
            role=role,
            authenticator="SNOWFLAKE_JWT",
            private_key=self._key,
            preview_features_enabled=PREVIEW_FEATURES,
        )

    @property
    def all(self) -> pulumi.ResourceOptions:
        """Options of a component that deploys to AWS, Vault and Snowflake."""
        return pulumi.ResourceOptions(providers=[self.aws, self.vault, self.snowflake])
