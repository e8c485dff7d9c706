"""Snowflake errors: pipes and tasks that fail say so to the alarms' topic at once.

Like the lake's, this integration names its role before the role trusts the user that
the integration tells. Its external id is Snowflake's own.
Source: https://docs.snowflake.com/en/user-guide/data-load-snowpipe-errors-sns and
https://docs.snowflake.com/en/user-guide/tasks-errors-integrate
"""

from dataclasses import dataclass

import pulumi
import pulumi_snowflake as snowflake

from infra import policies
from infra.components.documents import rendered
from infra.components.iam_role import made_role
from infra.stack import StackSettings


@dataclass(frozen=True, kw_only=True)
class SnowflakeErrorsArgs:
    """Arguments of `SnowflakeErrors`.

    Attributes:
        settings: The stack's settings.
        topic_arn: The alarms' topic.
        key_arn: Key that encrypts it.
    """

    settings: StackSettings
    topic_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]


class SnowflakeErrors(pulumi.ComponentResource):
    """The notification integration and the role it assumes.

    Attributes:
        integration: Name of the integration, known once its role may publish.
    """

    def __init__(
        self,
        name: str,
        args: SnowflakeErrorsArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:SnowflakeErrors", name, {}, opts)
        settings, child = args.settings, pulumi.ResourceOptions(parent=self)
        role_name = settings.named("snowflake-errors")
        # The provider knows the direction by itself, and warns of who names it.
        integration = snowflake.NotificationIntegration(
            f"{name}-integration",
            name=f"{settings.snowflake.database}_ERRORS",
            enabled=True,
            notification_provider="AWS_SNS",
            aws_sns_topic_arn=args.topic_arn,
            aws_sns_role_arn=settings.role_arn(role_name),
            opts=child,
        )
        _, policy = made_role(
            name,
            role_name,
            trust=rendered(
                policies.snowflake_errors_trust,
                user_arn=integration.aws_sns_iam_user_arn,
                external_id=integration.aws_sns_external_id,
            ),
            policy_name="publish",
            policy=rendered(
                policies.snowflake_publish,
                region=settings.aws.region,
                topic_arn=args.topic_arn,
                key_arn=args.key_arn,
            ),
            opts=child,
        )
        self.integration: pulumi.Output[str] = pulumi.Output.all(
            integration.name, policy.id
        ).apply(lambda known: str(known[0]))
        self.register_outputs({"integration": self.integration})
