"""Checker function: says every few minutes how fresh the tables are.

It is outside the VPC: S3, DynamoDB and its log are all it needs, and the network that
it would depend on is part of what it watches over.
"""

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra import policies, resource_policies
from infra.components.documents import rendered
from infra.components.function_log import made_log
from infra.components.function_permission import made_permission
from infra.components.iam_role import made_role
from infra.stack import StackSettings
from runtime.contract.settings import CHECKER, CheckerSettings

# A look takes a second or two; half of a minute of silence is no matter.
TIMEOUT_SECONDS = 60
_MEMORY = 256
_SCHEDULE = "rate(5 minutes)"
_LATEST_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class CheckerFunctionArgs:
    """Arguments of `CheckerFunction`.

    Attributes:
        settings: The stack's settings.
        bundle: The functions' zip.
        bucket: The lake's bucket.
        bucket_arn: Its ARN.
        key_arn: The lake's key.
        ledger: Name of the ledger's table.
        after: What must stand before there is anything to look at.
    """

    settings: StackSettings
    bundle: Path
    bucket: pulumi.Input[str]
    bucket_arn: str
    key_arn: pulumi.Input[str]
    ledger: pulumi.Input[str]
    after: list[pulumi.Resource]


class CheckerFunction(pulumi.ComponentResource):
    """The function, its role, its log and its schedule.

    Attributes:
        name: Name of the function.
    """

    def __init__(
        self,
        name: str,
        args: CheckerFunctionArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:CheckerFunction", name, {}, opts)
        self._name = name
        self._args = args
        self._settings = args.settings
        self._child = pulumi.ResourceOptions(parent=self)
        function = self._function(self._role())
        self._schedule(function)
        self.name = function.name
        self.register_outputs({"name": self.name})

    def _role(self) -> pulumi.Output[str]:
        settings = self._settings
        role, policy = made_role(
            self._name,
            settings.checker,
            trust=rendered(policies.checker_trust),
            policy_name="check",
            policy=rendered(
                policies.checker,
                stack=settings.stack,
                region=settings.aws.region,
                bucket_arn=self._args.bucket_arn,
                key_arn=self._args.key_arn,
                ledger_arn=settings.arn("dynamodb", f"table/{settings.ledger}"),
                log_group_arn=settings.arn(
                    "logs", f"log-group:{settings.checker_log_group}"
                ),
            ),
            opts=self._child,
        )
        return pulumi.Output.all(role.arn, policy.id).apply(lambda known: str(known[0]))

    def _function(self, role: pulumi.Output[str]) -> aws.lambda_.Function:
        settings, wanted = self._settings, self._settings.function

        def render(known: dict[str, str]) -> dict[str, str]:
            return CheckerSettings(
                stack=settings.stack,
                region=settings.aws.region,
                heartbeat_seconds=wanted.heartbeat_seconds,
                status_minutes=settings.alarms.status_minutes,
                log_level=wanted.log_level,
                **known,
            ).to_env()

        variables = pulumi.Output.all(
            bucket=self._args.bucket, ledger_table=self._args.ledger
        ).apply(render)
        return aws.lambda_.Function(
            f"{self._name}-function",
            name=settings.checker,
            description="Says how fresh the tables are",
            role=role,
            runtime=wanted.runtime,
            architectures=[wanted.architecture],
            handler=CHECKER,
            code=pulumi.FileArchive(str(self._args.bundle)),
            memory_size=_MEMORY,
            timeout=TIMEOUT_SECONDS,
            environment={"variables": variables},
            logging_config=made_log(
                self._name,
                self._settings.checker_log_group,
                wanted,
                self._args.key_arn,
                self._child,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._args.after),
        )

    def _schedule(self, function: aws.lambda_.Function) -> None:
        settings = self._settings
        rule = aws.cloudwatch.EventRule(
            f"{self._name}-rule",
            name=settings.checker_rule,
            description="How fresh the tables are",
            schedule_expression=_SCHEDULE,
            state="ENABLED",
            opts=self._child,
        )
        allowed = resource_policies.checker_schedule(
            account_id=settings.aws.account_id,
            function_name=settings.checker,
            rule_arn=settings.arn("events", f"rule/{settings.checker_rule}"),
        )
        made_permission(f"{self._name}-schedule", function, allowed, self._child)
        # A look that fails is not made up for: the next one comes.
        aws.lambda_.FunctionEventInvokeConfig(
            f"{self._name}-events",
            function_name=function.name,
            maximum_retry_attempts=0,
            maximum_event_age_in_seconds=_LATEST_SECONDS,
            opts=self._child,
        )
        aws.cloudwatch.EventTarget(
            f"{self._name}-target",
            rule=rule.name,
            target_id="checker",
            arn=function.arn,
            input="{}",
            retry_policy={
                "maximum_event_age_in_seconds": _LATEST_SECONDS,
                "maximum_retry_attempts": 1,
            },
            opts=self._child,
        )
