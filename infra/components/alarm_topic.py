"""Alarm topic: where alarms and Snowflake's errors go, and who is told."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import resource_policies
from infra.components.documents import rendered
from infra.stack import StackSettings


@dataclass(frozen=True, kw_only=True)
class AlarmTopicArgs:
    """Arguments of `AlarmTopic`.

    Attributes:
        settings: The stack's settings.
        key_arn: Key that encrypts the topic; its policy lets alarms use it.
    """

    settings: StackSettings
    key_arn: pulumi.Input[str]


class AlarmTopic(pulumi.ComponentResource):
    """An encrypted topic of the stack's alarms.

    Attributes:
        arn: ARN of the topic, known once alarms may publish.
    """

    def __init__(
        self,
        name: str,
        args: AlarmTopicArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:AlarmTopic", name, {}, opts)
        settings, child = args.settings, pulumi.ResourceOptions(parent=self)
        # Not a FIFO topic: Snowflake's errors would be lost there without a word.
        topic = aws.sns.Topic(
            f"{name}-topic",
            name=settings.named("alarms", 256),
            kms_master_key_id=args.key_arn,
            opts=child,
        )
        allowed = aws.sns.TopicPolicy(
            f"{name}-policy",
            arn=topic.arn,
            policy=rendered(
                resource_policies.alarm_topic,
                account_id=settings.aws.account_id,
                topic_arn=topic.arn,
                alarms_arn=settings.alarms_arn,
            ),
            opts=child,
        )
        told = [("email", each) for each in settings.alarms.email]
        told += [("https", each) for each in settings.alarms.https]
        for protocol, endpoint in told:
            aws.sns.TopicSubscription(
                f"{name}-{protocol}-{endpoint}",
                topic=topic.arn,
                protocol=protocol,
                endpoint=endpoint,
                # Whoever is behind it confirms, or does not.
                endpoint_auto_confirms=False,
                opts=child,
            )
        self.arn: pulumi.Output[str] = pulumi.Output.all(topic.arn, allowed.id).apply(
            lambda known: str(known[0])
        )
        self.register_outputs({"arn": self.arn})
