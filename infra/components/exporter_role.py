"""Exporter role: what the function may do in AWS, and as whom Vault knows it."""

from dataclasses import dataclass

import pulumi

from infra import policies
from infra.components.documents import rendered
from infra.components.iam_role import made_role
from infra.stack import StackSettings


@dataclass(frozen=True, kw_only=True)
class ExporterRoleArgs:
    """Arguments of `ExporterRole`.

    Attributes:
        settings: The stack's settings.
        bucket_arn: The lake's bucket.
        key_arn: The lake's key.
    """

    settings: StackSettings
    bucket_arn: str
    key_arn: pulumi.Input[str]


class ExporterRole(pulumi.ComponentResource):
    """The function's role; Vault binds it before the function takes it.

    Attributes:
        arn: ARN of the role, known once the role may do its work.
    """

    def __init__(
        self,
        name: str,
        args: ExporterRoleArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:ExporterRole", name, {}, opts)
        settings = args.settings
        role, policy = made_role(
            name,
            settings.exporter,
            trust=rendered(policies.exporter_trust),
            policy_name="export",
            policy=rendered(
                policies.exporter,
                stack=settings.stack,
                region=settings.aws.region,
                bucket_arn=args.bucket_arn,
                key_arn=args.key_arn,
                ledger_arn=settings.arn("dynamodb", f"table/{settings.ledger}"),
                log_group_arn=settings.arn("logs", f"log-group:{settings.log_group}"),
                dead_letters_arn=settings.arn("sqs", settings.dead_letters),
                load_queue_arn=settings.arn("sqs", settings.load_queue),
                function_arn=settings.arn("lambda", f"function:{settings.exporter}"),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn: pulumi.Output[str] = pulumi.Output.all(role.arn, policy.id).apply(
            lambda known: str(known[0])
        )
        self.register_outputs({"arn": self.arn})
