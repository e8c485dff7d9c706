"""Aurora access: the role with which the cluster itself writes export files."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import policies
from infra.components.documents import rendered
from infra.components.iam_role import made_role
from infra.stack import StackSettings


@dataclass(frozen=True, kw_only=True)
class AuroraAccessArgs:
    """Arguments of `AuroraAccess`.

    Attributes:
        settings: The stack's settings.
        bucket_arn: The lake's bucket.
        key_arn: The lake's key.
    """

    settings: StackSettings
    bucket_arn: str
    key_arn: pulumi.Input[str]


class AuroraAccess(pulumi.ComponentResource):
    """A role for one cluster, one feature and one folder.

    Attributes:
        cluster_id: Resource id of the cluster, which a restored one does not share.
    """

    def __init__(
        self,
        name: str,
        args: AuroraAccessArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:AuroraAccess", name, {}, opts)
        settings = args.settings
        role, policy = made_role(
            name,
            settings.named("aurora"),
            trust=rendered(
                policies.aurora_trust,
                account_id=settings.aws.account_id,
                cluster_arn=settings.cluster_arn,
            ),
            policy_name="export",
            policy=rendered(
                policies.aurora_export,
                stack=settings.stack,
                region=settings.aws.region,
                bucket_arn=args.bucket_arn,
                key_arn=args.key_arn,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.rds.ClusterRoleAssociation(
            f"{name}-association",
            db_cluster_identifier=settings.aurora.cluster_identifier,
            feature_name="s3Export",
            role_arn=role.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        self.cluster_id = aws.rds.get_cluster_output(
            cluster_identifier=settings.aurora.cluster_identifier,
            opts=pulumi.InvokeOptions(parent=self),
        ).cluster_resource_id
        self.register_outputs({"clusterId": self.cluster_id})
