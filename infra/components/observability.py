"""Observability: the stack's alarms, and the dashboard that shows what they look at."""

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.alarms import Alarm, Watched, alarms
from infra.components.checker_function import TIMEOUT_SECONDS
from infra.dashboard import dashboard
from infra.stack import StackSettings
from runtime.contract.specs import Table


@dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    """Arguments of `Observability`.

    Attributes:
        settings: The stack's settings.
        tables: All tables; what alarms are grouped by.
        topic_arn: Where alarms go.
        after: What must stand before silence is trouble.
    """

    settings: StackSettings
    tables: tuple[Table, ...]
    topic_arn: pulumi.Input[str]
    after: list[pulumi.Resource]


class Observability(pulumi.ComponentResource):
    """Alarms and dashboard."""

    def __init__(
        self,
        name: str,
        args: ObservabilityArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:Observability", name, {}, opts)
        self._name = name
        self._args = args
        self._settings = args.settings
        watched = self._watched()
        made = [self._alarm(alarm) for alarm in alarms(watched)]
        arns = pulumi.Output.all(*(alarm.arn for alarm in made))
        aws.cloudwatch.Dashboard(
            f"{name}-dashboard",
            dashboard_name=self._settings.named("stack", 255),
            dashboard_body=arns.apply(
                lambda known: json.dumps(
                    dashboard(watched, self._settings.aws.region, known)
                )
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})

    def _watched(self) -> Watched:
        settings = self._settings
        return Watched(
            stack=settings.stack,
            groups=tuple(sorted({table.spec.group for table in self._args.tables})),
            exporter=settings.exporter,
            exporter_seconds=settings.function.timeout,
            checker=settings.checker,
            checker_seconds=TIMEOUT_SECONDS,
            dead_letters=settings.dead_letters,
            load_queue=settings.load_queue,
            status_minutes=settings.alarms.status_minutes,
        )

    def _alarm(self, alarm: Alarm) -> aws.cloudwatch.MetricAlarm:
        settings = self._settings
        where = f" in {alarm.group}" if alarm.group else ""
        says = (
            f"{alarm.says[0].upper()}{alarm.says[1:]}{where}, stack {settings.stack}."
        )
        side = "LessThan" if alarm.below else "GreaterThan"
        return aws.cloudwatch.MetricAlarm(
            f"{self._name}-{alarm.label}",
            name=settings.alarm_name(alarm.label),
            alarm_description=f"{says} {settings.alarms.runbook}#{alarm.anchor}",
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=alarm.dimensions,
            statistic=alarm.statistic,
            period=alarm.period,
            evaluation_periods=alarm.periods,
            datapoints_to_alarm=alarm.periods,
            threshold=alarm.threshold,
            comparison_operator=f"{side}Threshold",
            treat_missing_data=alarm.missing,
            alarm_actions=[self._args.topic_arn],
            ok_actions=[self._args.topic_arn],
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._args.after),
        )
