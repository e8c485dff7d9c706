"""The tables of docs/COST.md and the README's month, reckoned by `runtime.ops.costs`.

Quantities that the program decides are counted in the example's resource graph.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.ops import costs
from runtime.ops.costs import Item, Reckoning, Workload, backfill, monthly
from tests.infra.recording import Graph

# The README's month: every hour, and 1 GB of changed rows a day for all of them.
TABLES, RUNS_A_DAY, ROWS_A_DAY, BYTES_A_DAY = 50, 24, 10_000_000, 1e9
_GB_OF_LOADS = (1, 10, 100, 1000, 4000)
_BYTES_A_ROW = 200
_SCALE = ((1, 24), (10, 24), (50, 24), (50, 96), (200, 24), (1000, 24))
_UNITS = {
    "CREDIT": "a Snowflake credit",
    "SNOWPIPE_CREDITS_A_GB": "credits a GB of CSV by Snowpipe",
    "XSMALL_CREDITS_AN_HOUR": "credits an hour of an X-Small warehouse",
    "SERVERLESS_TASK_CREDITS_AN_HOUR": "credits an hour of a serverless task",
    "LAMBDA_REQUEST": "a request to Lambda",
    "LAMBDA_GB_SECOND": "a second with 1 GB of memory in Lambda",
    "S3_PUT": "a PUT to S3",
    "S3_GET": "a GET from S3",
    "S3_GB_MONTH": "a GB in S3 for a month",
    "DYNAMODB_WRITE": "a write to DynamoDB",
    "DYNAMODB_READ": "a read from DynamoDB",
    "SNS_PUBLISH": "a message to SNS",
    "SQS_REQUEST": "a request to SQS",
    "KMS_KEY_MONTH": "a key of KMS for a month",
    "CLOUDWATCH_METRIC_MONTH": "a metric of CloudWatch for a month",
    "CLOUDWATCH_ALARM_MONTH": "an alarm of CloudWatch for a month",
    "CLOUDWATCH_DASHBOARD_MONTH": "a dashboard of CloudWatch for a month",
    "CLOUDWATCH_LOG_GB": "a GB of logs taken in",
    "ENDPOINT_ZONE_HOUR": "an hour of an interface endpoint in one zone",
    "AURORA_IO": "a page read by Aurora Standard",
}


def workloads(tables: int = TABLES, runs_a_day: float = RUNS_A_DAY) -> list[Workload]:
    """Return that many tables of the README's month; each changes as much there."""
    each = Workload(
        runs_a_day=runs_a_day,
        rows_a_day=ROWS_A_DAY / TABLES,
        bytes_a_day=BYTES_A_DAY / TABLES,
    )
    return [each] * tables


def month(
    graph: Graph, tables: int = TABLES, runs_a_day: float = RUNS_A_DAY
) -> Reckoning:
    """Reckon a month with the alarms and dashboards that the program makes."""
    return monthly(
        workloads(tables, runs_a_day),
        alarms=len(graph.of("aws:cloudwatch/metricAlarm")),
        dashboards=len(graph.of("aws:cloudwatch/dashboard")),
    )


def pages(root: Path, graph: Graph) -> dict[Path, str]:
    """Return the README and docs/COST.md with their tables as they are now."""
    steady = tuple(_items(month(graph).items))
    found: dict[Path, str] = {}
    for name, sections in (
        ("README.md", {"month": steady}),
        (
            "docs/COST.md",
            {
                "month": steady,
                "scale": _scale(graph),
                "backfills": _backfills(),
                "prices": _prices(),
            },
        ),
    ):
        text = (root / name).read_text()
        for section, lines in sections.items():
            text = replaced(text, section, lines)
        found[root / name] = text
    return found


def replaced(text: str, section: str, lines: Iterable[str]) -> str:
    """Return the text with other lines between a section's two comments.

    Raises:
        ValueError: There is no such section, or more than one.
    """
    made, count = re.subn(
        rf"(?s)(<!-- {section} -->\n).*?(<!-- end of {section} -->)",
        lambda m: m[1] + "".join(f"{line}\n" for line in lines) + m[2],
        text,
    )
    if count != 1:
        raise ValueError(f"section {section} stands {count} times")
    return made


def _items(items: Iterable[Item]) -> Iterator[str]:
    items = tuple(items)
    yield "| Part | Reckoned as | Dollars a month |"
    yield "| --- | --- | --- |"
    for item in items:
        yield f"| {item.part} | {item.basis} | {_span(item.dollars, item.most)} |"
    least, most = (sum(each) for each in zip(*((i.dollars, i.most) for i in items)))
    yield f"| **Together** | | **{_span(least, most)}** |"


def _scale(graph: Graph) -> Iterator[str]:
    head = "Tables | Runs a day each | GB a day | Least | Most | Without metrics, least"
    yield f"| {head} |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for tables, runs in _SCALE:
        found = month(graph, tables, runs)
        (watch,) = (each for each in found.items if each.part == "CloudWatch")
        size = BYTES_A_DAY / TABLES * tables / 1e9
        yield (
            f"| {tables:,} | {runs} | {size:g} | {found.dollars:,.0f} | "
            f"{found.most:,.0f} | {found.dollars - watch.dollars:,.0f} |"
        )


def _backfills() -> Iterator[str]:
    yield "| GB of CSV | Rows of 200 bytes | AWS | Snowpipe | Merging | Together |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for size in _GB_OF_LOADS:
        rows = size * 1e9 / _BYTES_A_ROW
        found = backfill(rows, size * 1e9)
        by = {item.part.split(" ")[0]: item for item in found.items}
        aws = by["Lambda"].dollars
        yield (
            f"| {size:,} | {rows / 1e6:,.0f} million | "
            f"{_span(aws, aws + by['Aurora'].most)} | {by['Snowpipe'].dollars:,.2f} | "
            f"{by['Warehouse'].dollars:,.2f} | {_span(found.dollars, found.most)} |"
        )


def _prices() -> Iterator[str]:
    yield f"| Name in `runtime/ops/costs.py` | Price as known on {costs.PRICES_OF} |"
    yield "| --- | --- |"
    for name, unit in _UNITS.items():
        value = getattr(costs, name)
        told = f"{value:g}" if "credits" in unit else f"${value:.10f}".rstrip("0")
        yield f"| `{name}` | {told.rstrip('.')} {unit} |"


def _span(least: float, most: float) -> str:
    """Return `0.46`, or `36 to 1,800` where it depends."""
    if f"{least:.2f}" == f"{most:.2f}":
        return f"{least:,.2f}"
    if most < 100:
        return f"{least:,.2f} to {most:,.2f}"
    return f"{least:,.0f} to {most:,.0f}"
