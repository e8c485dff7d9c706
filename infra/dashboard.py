"""The dashboard of a stack, as the JSON that CloudWatch takes.

What there is of each group is searched for, so that the dashboard stays as long as it
is, however many groups there are: a widget shows at most 500 lines.
Source: CloudWatch API reference, CloudWatch-Dashboard-Body-Structure.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from infra.alarms import Watched
from runtime.contract.metrics import NAMESPACE

Widget = dict[str, Any]

_COLUMNS, _WIDTH, _HEIGHT = 24, 8, 6
# Most alarms that one widget shows.
_MOST_ALARMS = 100
# Title, metric, statistic; a line for each group.
_GROUPS = (
    ("Tables later than they may be", "TablesLate", "Maximum"),
    ("Age of the last merged commit, worst table (s)", "MergedAge", "Maximum"),
    ("Age of the last manifest, worst table (s)", "ManifestAge", "Maximum"),
    ("Tables that have not run yet", "TablesNew", "Maximum"),
    ("Tables whose last run failed", "TablesRefused", "Maximum"),
    ("Runs that failed", "RunsFailed", "Sum"),
    ("Rows in quarantine", "RowsQuarantined", "Maximum"),
    ("Files overdue", "FilesOverdue", "Maximum"),
    ("Rows exported", "RowsExported", "Sum"),
    ("Bytes exported", "BytesExported", "Sum"),
    ("Duration of a run (s)", "RunSeconds", "Maximum"),
    ("Tables whose watermark is held for long", "TablesHeld", "Maximum"),
    ("Watermark held back (s)", "HoldbackSeconds", "Maximum"),
    ("Rows that came late", "LateRows", "Sum"),
    ("Lookback used (%)", "LookbackUsed", "Maximum"),
    ("Columns that no contract has", "DriftedColumns", "Maximum"),
    ("Chunks that came again", "ChunksRetried", "Sum"),
)


def dashboard(
    watched: Watched, region: str, alarm_arns: Sequence[str]
) -> dict[str, Any]:
    """Render the dashboard.

    Args:
        watched: What there is to watch.
        region: Where.
        alarm_arns: ARNs of the stack's alarms, the important ones first.
    """
    first: Widget = {
        "type": "alarm",
        **_place(0, 0, _COLUMNS, _HEIGHT),
        "properties": {"title": "Alarms", "alarms": [*alarm_arns[:_MOST_ALARMS]]},
    }
    charts = [
        *(_group_chart(watched.stack, region, *each) for each in _GROUPS),
        *_own_charts(watched, region),
    ]
    return {"widgets": [first, *_laid_out(charts)]}


def _group_chart(
    stack: str, region: str, title: str, metric: str, statistic: str
) -> Widget:
    search = (
        f"SEARCH('{{{NAMESPACE},stack,group}} "
        f'MetricName="{metric}" stack="{stack}"\', \'{statistic}\')'
    )
    line = {"expression": search, "id": "groups", "label": "${PROP('Dim.group')}"}
    return _chart(title, region, [[line]])


def _own_charts(watched: Watched, region: str) -> Iterable[Widget]:
    functions = (("exporter", watched.exporter), ("checker", watched.checker))
    yield _chart(
        "Age of Snowflake's status (s)",
        region,
        [[NAMESPACE, "StatusAge", "stack", watched.stack, {"stat": "Maximum"}]],
    )
    for title, metric, statistic in (
        ("Invocations", "Invocations", "Sum"),
        ("Errors", "Errors", "Sum"),
        ("Throttles", "Throttles", "Sum"),
        ("Duration (ms)", "Duration", "Maximum"),
    ):
        yield _chart(
            f"Functions: {title}",
            region,
            [
                ["AWS/Lambda", metric, "FunctionName", name, _line(part, statistic)]
                for part, name in functions
            ],
        )
    queues = (("dead letters", watched.dead_letters), ("load", watched.load_queue))
    for title, metric in (
        ("Queues: messages", "ApproximateNumberOfMessagesVisible"),
        ("Queues: age of the oldest message (s)", "ApproximateAgeOfOldestMessage"),
    ):
        yield _chart(
            title,
            region,
            [
                ["AWS/SQS", metric, "QueueName", name, _line(label, "Maximum")]
                for label, name in queues
            ],
        )


def _line(label: str, statistic: str) -> dict[str, str]:
    return {"label": label, "stat": statistic}


def _chart(title: str, region: str, metrics: list[list[Any]]) -> Widget:
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": region,
            "view": "timeSeries",
            "period": 300,
            "metrics": metrics,
        },
    }


def _laid_out(charts: Iterable[Widget]) -> Iterable[Widget]:
    """Put charts side by side, under the alarms."""
    a_row = _COLUMNS // _WIDTH
    for number, chart in enumerate(charts):
        row, column = divmod(number, a_row)
        place = _place(column * _WIDTH, (row + 1) * _HEIGHT, _WIDTH, _HEIGHT)
        yield {**chart, **place}


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "width": width, "height": height}
