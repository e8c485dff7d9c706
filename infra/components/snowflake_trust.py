"""Snowflake trust: how Snowflake reads the lake, and writes its status, without a key.

The integration names the role before it exists, and the role trusts the user that
the integration tells: the role's name is fixed, so that neither waits for the other.
"""

from dataclasses import dataclass

import pulumi
import pulumi_snowflake as snowflake

from infra import policies
from infra.components.documents import rendered
from infra.components.iam_role import made_role
from infra.stack import StackSettings


@dataclass(frozen=True, kw_only=True)
class SnowflakeTrustArgs:
    """Arguments of `SnowflakeTrust`.

    Attributes:
        settings: The stack's settings.
        bucket_arn: The lake's bucket.
        key_arn: The lake's key.
    """

    settings: StackSettings
    bucket_arn: str
    key_arn: pulumi.Input[str]


class SnowflakeTrust(pulumi.ComponentResource):
    """The storage integration and the role it assumes.

    Attributes:
        integration: Name of the integration, known once its role exists.
    """

    def __init__(
        self,
        name: str,
        args: SnowflakeTrustArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:SnowflakeTrust", name, {}, opts)
        settings = args.settings
        child = pulumi.ResourceOptions(parent=self)
        role_name = settings.named("snowflake")
        integration = snowflake.StorageIntegrationAws(
            f"{name}-integration",
            # Integrations belong to the account, so the database tells stacks apart.
            name=f"{settings.snowflake.database}_LAKE",
            enabled=True,
            storage_provider="S3",
            storage_allowed_locations=list(
                settings.objects.stage_urls(settings.bucket).values()
            ),
            storage_aws_role_arn=settings.role_arn(role_name),
            storage_aws_external_id=settings.snowflake.external_id,
            opts=child,
        )
        _, policy = made_role(
            name,
            role_name,
            trust=rendered(
                policies.snowflake_trust,
                user_arn=integration.describe_outputs[0].iam_user_arn,
                external_id=settings.snowflake.external_id,
            ),
            policy_name="read",
            policy=rendered(
                policies.snowflake_lake,
                stack=settings.stack,
                region=settings.aws.region,
                bucket_arn=args.bucket_arn,
                key_arn=args.key_arn,
            ),
            opts=child,
        )
        self.integration: pulumi.Output[str] = pulumi.Output.all(
            integration.name, policy.id
        ).apply(lambda known: str(known[0]))
        self.register_outputs({"integration": self.integration})
