"""Schedule: one rule per table that starts the exporter with that table's name."""

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.stack import StackSettings, rule_name
from runtime.contract.specs import TableSpec

# A tick that is this late is not worth starting: the next one covers it.
_LATEST_SECONDS = 900
_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class ScheduleArgs:
    """Arguments of `Schedule`.

    Attributes:
        settings: The stack's settings.
        spec: The table.
        function_arn: The exporter.
        dead_letters_arn: Queue of events that could not be delivered.
    """

    settings: StackSettings
    spec: TableSpec
    function_arn: pulumi.Input[str]
    dead_letters_arn: pulumi.Input[str]


class Schedule(pulumi.ComponentResource):
    """An EventBridge rule with a constant event; the exporter permits all of them."""

    def __init__(
        self,
        name: str,
        args: ScheduleArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:Schedule", name, {}, opts)
        source = args.spec.source
        rule = aws.cloudwatch.EventRule(
            f"{name}-rule",
            name=rule_name(args.settings.stack, source),
            description=f"Sync of {source}"[:512],
            schedule_expression=args.spec.schedule_expression,
            state="ENABLED",
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.cloudwatch.EventTarget(
            f"{name}-target",
            rule=rule.name,
            target_id="exporter",
            arn=args.function_arn,
            input=json.dumps({"table": str(source)}),
            retry_policy={
                "maximum_event_age_in_seconds": _LATEST_SECONDS,
                "maximum_retry_attempts": _ATTEMPTS,
            },
            dead_letter_config={"arn": args.dead_letters_arn},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"rule": rule.name})
