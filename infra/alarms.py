"""The alarms of a stack, as plain facts: what each looks at, and when it goes off.

A few are of the whole stack, the others of each group of tables; CloudWatch bills each
one by the month. What the checker publishes goes on when nothing else does. While the
checker itself is silent, its alarms keep their state, and `silent` tells.

A metric of a service that has nothing to say is missing, and then all is well.
Source: CloudWatch user guide, alarms-and-missing-data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from runtime.contract.metrics import NAMESPACE

Missing = Literal["breaching", "notBreaching", "ignore"]
Statistic = Literal["Maximum", "Minimum", "Sum"]

_LOOK_SECONDS = 300
# A load of a few thousand chunks keeps its queue busy for hours, and that is well.
_QUEUE_SECONDS = 12 * 3600
# The share of its time that a function plans for is 0.8 of it.
_NEAR_TIMEOUT = 0.93


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One alarm.

    Attributes:
        kind: What goes wrong; its entry in the runbook.
        group: Group of tables; empty for the whole stack.
        says: One sentence for who is called.
        anchor: Heading of the runbook that helps.
        namespace: Of the metric.
        metric: Name of the metric.
        dimensions: Of the metric.
        statistic: How values within a period become one.
        period: Seconds.
        periods: How many of them in a row must be over the threshold.
        threshold: What one value must exceed; with `below`, fall under.
        below: Whether too little is the trouble.
        missing: What a period without values counts as.
    """

    kind: str
    group: str = ""
    says: str
    anchor: str
    namespace: str = NAMESPACE
    metric: str
    dimensions: dict[str, str] = field(default_factory=dict)
    statistic: Statistic = "Maximum"
    period: int = _LOOK_SECONDS
    periods: int = 3
    threshold: float = 0
    below: bool = False
    missing: Missing = "ignore"

    @property
    def label(self) -> str:
        """What tells it from the stack's other alarms, in their names."""
        return f"{self.kind}_{self.group}" if self.group else self.kind


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What there is to watch.

    Attributes:
        stack: Name of the deployment.
        groups: Groups of tables.
        exporter: Name of the function that exports.
        exporter_seconds: Its timeout.
        checker: Name of the function that checks.
        checker_seconds: Its timeout.
        dead_letters: Name of the queue of what was given up.
        load_queue: Name of the queue of loads' chunks.
        status_minutes: How often Snowflake writes its status.
    """

    stack: str
    groups: tuple[str, ...]
    exporter: str
    exporter_seconds: int
    checker: str
    checker_seconds: int
    dead_letters: str
    load_queue: str
    status_minutes: int


# Kind, metric, periods in a row, sentence, heading of the runbook.
_BY_GROUP = (
    ("late", "TablesLate", 3, "tables are later than they may be", "tables-late"),
    (
        *("refused", "TablesRefused", 3, "the last run of tables has failed"),
        "export-failing",
    ),
    (
        *("held", "TablesHeld", 3, "an open transaction holds watermarks back"),
        "watermark-held-back",
    ),
    (
        *("quarantine", "RowsQuarantined", 3, "rows do not fit their target"),
        "rows-in-quarantine",
    ),
    (
        *("overdue", "FilesOverdue", 12, "exported files are not merged in time"),
        "what-was-exported-does-not-arrive",
    ),
    (
        *("drift", "DriftedColumns", 3, "tables have columns that no contract has"),
        "table-refused-after-a-schema-change",
    ),
)


def alarms(watched: Watched) -> tuple[Alarm, ...]:
    """Return all alarms of a stack, those of the whole stack first."""
    groups = (alarm for group in watched.groups for alarm in _of_group(watched, group))
    return (*_of_stack(watched), *_of_functions(watched), *groups)


def _of_group(watched: Watched, group: str) -> Iterator[Alarm]:
    own = {"stack": watched.stack, "group": group}
    for kind, metric, periods, says, anchor in _BY_GROUP:
        yield Alarm(
            kind=kind,
            group=group,
            says=says,
            anchor=anchor,
            metric=metric,
            dimensions=own,
            periods=periods,
        )
    yield Alarm(
        kind="new",
        group=group,
        says="tables have not run within a day of their deployment",
        anchor="function-not-running",
        metric="TablesNew",
        dimensions=own,
        statistic="Minimum",
        period=3600,
        periods=25,
    )
    yield Alarm(
        kind="lookback",
        group=group,
        says="rows come so late that some may soon be missed",
        anchor="rows-that-come-late",
        metric="LookbackUsed",
        dimensions=own,
        period=3600,
        periods=1,
        threshold=50,
        missing="notBreaching",
    )


def _of_stack(watched: Watched) -> Iterator[Alarm]:
    own = {"stack": watched.stack}
    yield Alarm(
        kind="silent",
        says="the checker says nothing: the other alarms are blind",
        anchor="checker-silent",
        metric="Checked",
        dimensions=own,
        statistic="Sum",
        period=900,
        periods=2,
        threshold=1,
        below=True,
        missing="breaching",
    )
    yield Alarm(
        kind="status",
        says="Snowflake does not tell how far it is",
        anchor="status-not-written",
        metric="StatusAge",
        dimensions=own,
        threshold=4 * 60 * watched.status_minutes,
        missing="breaching",
    )
    yield Alarm(
        kind="dead_letters",
        says="an event or a chunk was given up",
        anchor="dead-letters",
        namespace="AWS/SQS",
        metric="ApproximateNumberOfMessagesVisible",
        dimensions={"QueueName": watched.dead_letters},
        periods=1,
        missing="notBreaching",
    )
    yield Alarm(
        kind="queue_age",
        says="chunks of loads wait for long",
        anchor="a-load-that-does-not-end",
        namespace="AWS/SQS",
        metric="ApproximateAgeOfOldestMessage",
        dimensions={"QueueName": watched.load_queue},
        threshold=_QUEUE_SECONDS,
        missing="notBreaching",
    )


def _of_functions(watched: Watched) -> Iterator[Alarm]:
    for part, name, seconds in (
        ("exporter", watched.exporter, watched.exporter_seconds),
        ("checker", watched.checker, watched.checker_seconds),
    ):
        for kind, metric, says, threshold in (
            ("errors", "Errors", "fails again and again", 2),
            ("throttles", "Throttles", "is throttled", 4),
            (
                *("slow", "Duration", "nearly takes all the time it has"),
                1000 * _NEAR_TIMEOUT * seconds,
            ),
        ):
            yield Alarm(
                kind=f"{part}_{kind}",
                says=f"the {part} {says}",
                anchor="function-not-running",
                namespace="AWS/Lambda",
                metric=metric,
                dimensions={"FunctionName": name},
                statistic="Maximum" if metric == "Duration" else "Sum",
                period=900,
                periods=1,
                threshold=threshold,
                missing="notBreaching",
            )


def kinds(found: Iterable[Alarm]) -> set[str]:
    """Return the kinds of alarms; each has an entry in the runbook."""
    return {alarm.kind for alarm in found}
