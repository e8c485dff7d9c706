"""Metrics out of log lines, which CloudWatch takes in and the emulator does not.

A function prints its metrics in the Embedded Metric Format (EMF). CloudWatch turns
such lines into metrics by itself; MiniStack keeps the line and makes no metric,
so no alarm on it could fire.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from infra.local.aws import client
from infra.local.parts import LocalStack

# Events of functions that end together may become visible out of order.
_LOOK_BACK_MS = 10_000
# Limit of PutMetricData.
_DATA_PER_CALL = 1000


@dataclass(kw_only=True)
class EmfState:
    """How far the log of one group has been read.

    Attributes:
        since_ms: Timestamp from which events are read again.
        seen: Events read from there on: (stream, timestamp, message, occurrence).
    """

    since_ms: int = 0
    seen: set[tuple[str, int, str, int]] = field(default_factory=set)


def forward_emf_metrics(stack: LocalStack, log_group: str, state: EmfState) -> int:
    """Turn the group's new EMF lines into metrics; alarms are evaluated with them.

    Args:
        stack: A running stack.
        log_group: Name of the CloudWatch log group; may not exist yet.
        state: Where the last call stopped; changed in place.

    Returns:
        How many data points were put.
    """
    data: dict[str, list[dict[str, Any]]] = {}
    for message in _new_messages(stack, log_group, state):
        for namespace, datum in _data_of(message):
            data.setdefault(namespace, []).append(datum)
    cloudwatch = client(stack, "cloudwatch")
    for namespace, points in data.items():
        for start in range(0, len(points), _DATA_PER_CALL):
            batch = points[start : start + _DATA_PER_CALL]
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=batch)
    return sum(map(len, data.values()))


def _new_messages(stack: LocalStack, log_group: str, state: EmfState) -> list[str]:
    logs = client(stack, "logs")
    events: list[dict[str, Any]] = []
    try:
        for page in logs.get_paginator("filter_log_events").paginate(
            logGroupName=log_group,
            startTime=state.since_ms,
            filterPattern='"CloudWatchMetrics"',
        ):
            events += page["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    times: Counter[tuple[str, int, str]] = Counter()
    fresh = []
    for event in events:
        same = (event["logStreamName"], event["timestamp"], event["message"])
        times[same] += 1
        if (*same, times[same]) not in state.seen:
            state.seen.add((*same, times[same]))
            fresh.append(event)
    if fresh:
        newest = max(event["timestamp"] for event in fresh)
        state.since_ms = max(state.since_ms, newest - _LOOK_BACK_MS)
        state.seen = {entry for entry in state.seen if entry[1] >= state.since_ms}
    return [event["message"] for event in fresh]


def _data_of(message: str) -> list[tuple[str, dict[str, Any]]]:
    """Return namespace and data point of each metric; none for any other line."""
    try:
        line = json.loads(message)
        return list(_points(line, line["_aws"]))
    except (ValueError, KeyError, TypeError):
        # CloudWatch, too, takes in no metric of a line that breaks the format.
        return []


def _points(
    line: dict[str, Any], head: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for directive in head["CloudWatchMetrics"]:
        # No dimension sets means one set without dimensions.
        for names in directive.get("Dimensions") or [[]]:
            dimensions = [{"Name": name, "Value": str(line[name])} for name in names]
            for metric in directive["Metrics"]:
                value = line[metric["Name"]]
                yield directive["Namespace"], {
                    "MetricName": metric["Name"],
                    "Dimensions": dimensions,
                    "Timestamp": head["Timestamp"] / 1000,
                    "Values": value if isinstance(value, list) else [value],
                    "Unit": metric.get("Unit", "None"),
                }
