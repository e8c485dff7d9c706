"""Lake events: one notification of the bucket to one topic, which all pipes share.

S3 holds one notification document per bucket; a topic lets a thousand pipes listen.
"""

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_snowflake as snowflake

from infra import policies, resource_policies
from infra.components.documents import rendered
from infra.stack import StackSettings


@dataclass(frozen=True, kw_only=True)
class LakeEventsArgs:
    """Arguments of `LakeEvents`.

    Attributes:
        settings: The stack's settings.
        bucket: The lake's bucket.
        bucket_arn: Its ARN.
        key_arn: Key that encrypts the topic.
    """

    settings: StackSettings
    bucket: pulumi.Input[str]
    bucket_arn: str
    key_arn: pulumi.Input[str]


class LakeEvents(pulumi.ComponentResource):
    """The topic that says which files have arrived.

    Attributes:
        topic_arn: ARN of the topic, known once Snowflake may subscribe and the bucket
            publishes: a pipe that needs it is made in time.
    """

    def __init__(
        self,
        name: str,
        args: LakeEventsArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:LakeEvents", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        topic = aws.sns.Topic(
            f"{name}-topic",
            name=args.settings.named("files", 256),
            kms_master_key_id=args.key_arn,
            opts=child,
        )
        told = snowflake.get_system_get_aws_sns_iam_policy_output(
            aws_sns_topic_arn=topic.arn, opts=pulumi.InvokeOptions(parent=self)
        )
        allowed = aws.sns.TopicPolicy(
            f"{name}-policy",
            arn=topic.arn,
            policy=rendered(
                resource_policies.topic,
                account_id=args.settings.aws.account_id,
                topic_arn=topic.arn,
                bucket_arn=args.bucket_arn,
                subscriber_arns=told.aws_sns_topic_policy_json.apply(
                    lambda text: resource_policies.subscribers(json.loads(text))
                ),
            ),
            opts=child,
        )
        notification = aws.s3.BucketNotification(
            f"{name}-notification",
            bucket=args.bucket,
            topics=[
                {
                    "id": kind,
                    "topic_arn": topic.arn,
                    "events": ["s3:ObjectCreated:*"],
                    "filter_prefix": prefix(args.settings.stack),
                }
                for kind, prefix in (
                    ("exports", policies.exports),
                    ("manifests", policies.manifests),
                )
            ],
            # S3 tests at once whether it may publish.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed]),
        )
        self.topic_arn: pulumi.Output[str] = pulumi.Output.all(
            topic.arn, notification.id
        ).apply(lambda known: str(known[0]))
        self.register_outputs({"topicArn": self.topic_arn})
