"""The metrics of a stack: their names, units and dimensions, and the line of a log.

CloudWatch bills each combination of metric and dimensions by the month, so that what
is measured is summed up by group: the schema that tables land in. The table's name
stays in the line, where Logs Insights finds it.

CloudWatch reads metrics out of log lines by itself (Embedded Metric Format), which
needs no call and no right beyond the log.
Source: CloudWatch user guide, CloudWatch_Embedded_Metric_Format_Specification.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

NAMESPACE = "AuroraSync"
Unit = Literal["Count", "Seconds", "Bytes", "Percent"]

# Of one run, or of a message of the load queue.
RUN: dict[str, Unit] = {
    "RunsFailed": "Count",
    "RowsExported": "Count",
    "BytesExported": "Bytes",
    "RunSeconds": "Seconds",
    "LeaseHeld": "Count",
    "ChunksRetried": "Count",
    "HoldbackSeconds": "Seconds",
    "LateRows": "Count",
    "LookbackUsed": "Percent",
    "RowsWithoutWatermark": "Count",
}
# Of one look of the checker, by group: counts of tables, rows, files and columns, and
# the age of the table that is worst.
CHECK: dict[str, Unit] = {
    "MergedAge": "Seconds",
    "ManifestAge": "Seconds",
    "TablesLate": "Count",
    "TablesRefused": "Count",
    "TablesHeld": "Count",
    "TablesNew": "Count",
    "RowsQuarantined": "Count",
    "FilesOverdue": "Count",
    "DriftedColumns": "Count",
}
# Of one look of the checker, of the whole stack.
LOOK: dict[str, Unit] = {"Checked": "Count", "StatusAge": "Seconds"}

_UNITS = RUN | CHECK | LOOK


def line(
    stack: str,
    group: str | None,
    values: Mapping[str, float],
    milliseconds: int,
    **properties: Any,
) -> str:
    """Render a line of the log that CloudWatch turns into metrics.

    Args:
        stack: Name of the deployment.
        group: Group of the tables; None for what is of the whole stack.
        values: Value of each metric, by one of the names above.
        milliseconds: Time of the values since 1970.
        **properties: What stands in the line beside, such as table and run.
    """
    dimensions = {"stack": stack} | ({} if group is None else {"group": group})
    metrics = [{"Name": name, "Unit": _UNITS[name]} for name in values]
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": metrics,
    }
    head = {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]}
    whole = {"_aws": head, **dimensions, **properties, **values}
    return msgspec.json.encode(whole).decode()
