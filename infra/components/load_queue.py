"""Load queue: one message per chunk of a load, consumed by the exporter itself."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import resource_policies
from infra.components.documents import rendered
from infra.stack import StackSettings

# Source: AWS Lambda developer guide, services-sqs-configure: the visibility timeout at
# least six times the function's, and five receives before the dead letters.
_VISIBILITY = 6
_RECEIVES = 5
_KEPT_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class LoadQueueArgs:
    """Arguments of `LoadQueue`.

    Attributes:
        settings: The stack's settings.
        dead_letters_arn: Queue of messages that were given up.
    """

    settings: StackSettings
    dead_letters_arn: pulumi.Input[str]


class LoadQueue(pulumi.ComponentResource):
    """The queue of chunks.

    Attributes:
        url: URL of the queue.
    """

    def __init__(
        self,
        name: str,
        args: LoadQueueArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:LoadQueue", name, {}, opts)
        self._name = name
        self._settings = args.settings
        self._child = pulumi.ResourceOptions(parent=self)
        self._queue = aws.sqs.Queue(
            f"{name}-queue",
            name=args.settings.load_queue,
            sqs_managed_sse_enabled=True,
            visibility_timeout_seconds=_VISIBILITY * args.settings.function.timeout,
            message_retention_seconds=_KEPT_SECONDS,
            redrive_policy=pulumi.Output.json_dumps(
                {
                    "deadLetterTargetArn": args.dead_letters_arn,
                    "maxReceiveCount": _RECEIVES,
                }
            ),
            opts=self._child,
        )
        aws.sqs.QueuePolicy(
            f"{name}-policy",
            queue_url=self._queue.url,
            policy=rendered(resource_policies.load_queue, queue_arn=self._queue.arn),
            opts=self._child,
        )
        self.url = self._queue.url
        self.register_outputs({"url": self.url})

    def consumed_by(self, function: aws.lambda_.Function) -> None:
        """Let the function take messages, one at a time, a few at once.

        It sends to the queue that it takes from, on purpose: without its consent
        Lambda would stop a load after some sixteen steps as a loop.
        Source: AWS Lambda developer guide, invocation-recursion.
        """
        aws.lambda_.FunctionRecursionConfig(
            f"{self._name}-loop",
            function_name=function.name,
            recursive_loop="Allow",
            opts=self._child,
        )
        aws.lambda_.EventSourceMapping(
            f"{self._name}-mapping",
            event_source_arn=self._queue.arn,
            function_name=function.arn,
            batch_size=1,
            scaling_config={
                "maximum_concurrency": self._settings.function.load_concurrency
            },
            opts=self._child,
        )
