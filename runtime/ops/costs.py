"""What the sync costs, reckoned from list prices: a month as it runs, and a back-fill.

Prices are list prices of AWS in eu-west-1 and of Snowflake, without free tiers and
discounts, as known on `PRICES_OF`. Quantities per run are what the code does; what
differs from account to account is an argument. The target's own storage, queries on
it, and Aurora's instances are left out: they cost the same without the sync.

Sources: the pricing pages of AWS Lambda, Amazon S3, DynamoDB, SNS, SQS, KMS,
CloudWatch, PrivateLink and Aurora (https://aws.amazon.com/pricing); Snowflake's Service
Consumption Table (https://www.snowflake.com/legal-files/CreditConsumptionTable.pdf).
"""

from collections.abc import Sequence

from msgspec import Struct

from runtime.contract import metrics

PRICES_OF = "2026-11-28"
DAYS = 30
GB = 1e9

CREDIT = 3.00  # Dollars; Enterprise edition and other regions differ.
SNOWPIPE_CREDITS_A_GB = 0.0037  # Of uncompressed CSV; no fee per file.
XSMALL_CREDITS_AN_HOUR = 1.0
SERVERLESS_TASK_CREDITS_AN_HOUR = 0.9
LAMBDA_REQUEST = 0.20 / 1e6
LAMBDA_GB_SECOND = 0.0000166667
S3_PUT = 0.005 / 1e3
S3_GET = 0.0004 / 1e3
S3_GB_MONTH = 0.023
DYNAMODB_WRITE = 0.705 / 1e6
DYNAMODB_READ = 0.141 / 1e6
SNS_PUBLISH = 0.50 / 1e6
SQS_REQUEST = 0.40 / 1e6
KMS_KEY_MONTH = 1.00
CLOUDWATCH_METRIC_MONTH = 0.30
CLOUDWATCH_ALARM_MONTH = 0.10
CLOUDWATCH_DASHBOARD_MONTH = 3.00
CLOUDWATCH_LOG_GB = 0.57
ENDPOINT_ZONE_HOUR = 0.011
AURORA_IO = 0.22 / 1e6  # Aurora Standard; none with I/O-Optimized.

# What one run does.
RUN_SECONDS = 3.0
OBJECTS_A_RUN = 2  # A file and its manifest.
LEDGER_WRITES_A_RUN = 5
LEDGER_READS_A_RUN = 5
LOG_BYTES_A_RUN = 4_000
METRICS_A_GROUP = len(metrics.RUN | metrics.CHECK)
METRICS_OF_THE_STACK = len(metrics.LOOK)
# What watches, whatever the tables do: the checker, and the status in Snowflake.
CHECKS_A_DAY = 288
CHECK_SECONDS = 1.0
STATUS_SECONDS = 4.0
STATUSES_A_DAY = 96
# What one chunk of a back-fill does; see `StackSettings.function.chunk_bytes`.
CHUNK_BYTES = 256_000_000
CHUNK_SECONDS = 30.0
MESSAGES_A_CHUNK = 3
AURORA_PAGE_BYTES = 8192
# A warehouse that wakes is billed for a minute at least.
WAREHOUSE_LEAST_SECONDS = 60
# What an X-Small lands, casts and merges; assumed, as the sweep's patience is.
MERGE_BYTES_A_SECOND = 16_000_000
SWEEP_SECONDS = 5.0
SWEEPS_A_DAY = 96


class Workload(Struct, frozen=True, kw_only=True):
    """What one table has to carry.

    Attributes:
        runs_a_day: Runs of its schedule.
        rows_a_day: Rows that it exports, those of reconciles included.
        bytes_a_day: The same in bytes of CSV.
    """

    runs_a_day: float
    rows_a_day: float
    bytes_a_day: float


class Item(Struct, frozen=True, kw_only=True):
    """A line of a reckoning.

    Attributes:
        part: What is paid for.
        basis: How it is reckoned, for people.
        dollars: What it costs.
        most: What it costs at most, where that depends on what nobody knows before.
        credits: Snowflake credits within `dollars`.
    """

    part: str
    basis: str
    dollars: float
    most: float
    credits: float = 0.0


class Reckoning(Struct, frozen=True, kw_only=True):
    """Lines and what they add up to.

    Attributes:
        items: The lines.
        dollars: Their sum.
        most: The sum of the most that they cost.
        credits: Snowflake credits within `dollars`.
    """

    items: tuple[Item, ...]
    dollars: float
    most: float
    credits: float


def monthly(
    tables: Sequence[Workload],
    *,
    groups: int = 1,
    alarms: int = 0,
    dashboards: int = 0,
    memory_mb: int = 256,
    zones: int = 2,
    kept_days: int = 30,
    credit: float = CREDIT,
) -> Reckoning:
    """Return what a month of 30 days costs while nothing is loaded anew.

    The warehouse costs least when the tables' merges share each minute that it is up,
    and most when every merge wakes it alone.

    Args:
        tables: The tables.
        groups: Schemas that the tables land in; each has metrics of its own.
        alarms: CloudWatch alarms.
        dashboards: CloudWatch dashboards.
        memory_mb: The function's memory.
        zones: Availability zones of the interface endpoint.
        kept_days: Days that files stay in S3.
        credit: Dollars of one Snowflake credit.
    """
    runs = DAYS * sum(table.runs_a_day for table in tables)
    gigabytes = DAYS * sum(table.bytes_a_day for table in tables) / GB
    objects = OBJECTS_A_RUN * runs
    checks = DAYS * CHECKS_A_DAY
    measured = METRICS_A_GROUP * groups + METRICS_OF_THE_STACK
    items = (
        _aws(
            "Lambda",
            f"{runs:,.0f} runs of {RUN_SECONDS:g} s and {checks:,} checks of "
            f"{CHECK_SECONDS:g} s with {memory_mb} MB",
            runs * _invocation(RUN_SECONDS, memory_mb)
            + checks * _invocation(CHECK_SECONDS, memory_mb),
        ),
        _aws(
            "S3, DynamoDB, SNS, KMS",
            f"{OBJECTS_A_RUN} objects and {LEDGER_WRITES_A_RUN} writes a run, "
            f"{gigabytes * kept_days / DAYS:,.0f} GB kept, 1 key",
            objects * (S3_PUT + 2 * S3_GET + SNS_PUBLISH)
            + gigabytes * kept_days / DAYS * S3_GB_MONTH
            + runs * LEDGER_WRITES_A_RUN * DYNAMODB_WRITE
            + runs * LEDGER_READS_A_RUN * DYNAMODB_READ
            + KMS_KEY_MONTH,
        ),
        _aws(
            "CloudWatch",
            f"metrics: {measured:,}, alarms: {alarms}, dashboards: {dashboards}; logs",
            measured * CLOUDWATCH_METRIC_MONTH
            + alarms * CLOUDWATCH_ALARM_MONTH
            + dashboards * CLOUDWATCH_DASHBOARD_MONTH
            + runs * LOG_BYTES_A_RUN / GB * CLOUDWATCH_LOG_GB,
        ),
        _aws(
            "Endpoint of SQS",
            f"{zones} zones, every hour",
            zones * DAYS * 24 * ENDPOINT_ZONE_HOUR,
        ),
        _snowpipe(gigabytes, credit),
        _merges(tables, credit),
        _looks(tables, credit),
    )
    return _sum(items)


def backfill(
    rows: float, size: float, *, memory_mb: int = 256, credit: float = CREDIT
) -> Reckoning:
    """Return what it costs to export, load and merge a table's rows once more.

    Args:
        rows: Its rows.
        size: Their bytes as CSV.
        memory_mb: The function's memory.
        credit: Dollars of one Snowflake credit.
    """
    if rows <= 0:
        return _sum(())
    gigabytes = size / GB
    chunks = max(1.0, -(-size // CHUNK_BYTES))
    seconds = _merge_seconds(size)
    merge = seconds / 3600 * XSMALL_CREDITS_AN_HOUR
    pages = size / AURORA_PAGE_BYTES
    items = (
        _aws(
            "Lambda and the rest of AWS",
            f"{chunks:,.0f} chunks of {CHUNK_SECONDS:g} s with {memory_mb} MB",
            chunks * _invocation(CHUNK_SECONDS, memory_mb)
            + chunks * OBJECTS_A_RUN * (S3_PUT + 2 * S3_GET + SNS_PUBLISH)
            + chunks * LEDGER_WRITES_A_RUN * DYNAMODB_WRITE
            + chunks * MESSAGES_A_CHUNK * SQS_REQUEST
            + gigabytes * S3_GB_MONTH,
        ),
        Item(
            part="Aurora",
            basis=f"none to {pages:,.0f} pages read from its storage",
            dollars=0.0,
            most=pages * AURORA_IO,
        ),
        _snowpipe(gigabytes, credit),
        Item(
            part="Warehouse (X-Small)",
            basis=f"{seconds / 60:,.0f} minutes of merging",
            dollars=merge * credit,
            most=merge * credit,
            credits=merge,
        ),
    )
    return _sum(items)


def _invocation(seconds: float, memory_mb: int) -> float:
    return LAMBDA_REQUEST + seconds * memory_mb / 1024 * LAMBDA_GB_SECOND


def _aws(part: str, basis: str, dollars: float) -> Item:
    return Item(part=part, basis=basis, dollars=dollars, most=dollars)


def _snowpipe(gigabytes: float, credit: float) -> Item:
    used = gigabytes * SNOWPIPE_CREDITS_A_GB
    return Item(
        part="Snowpipe",
        basis=f"{gigabytes:,.3g} GB × {SNOWPIPE_CREDITS_A_GB} credits",
        dollars=used * credit,
        most=used * credit,
        credits=used,
    )


def _merge_seconds(size: float) -> float:
    return max(WAREHOUSE_LEAST_SECONDS, size / MERGE_BYTES_A_SECOND)


def _merges(tables: Sequence[Workload], credit: float) -> Item:
    often = max((table.runs_a_day for table in tables), default=0)
    together = sum(table.bytes_a_day for table in tables)
    least = often and often * _merge_seconds(together / often)
    most = sum(
        table.runs_a_day * _merge_seconds(table.bytes_a_day / table.runs_a_day)
        for table in tables
        if table.runs_a_day
    )
    hours = DAYS * least / 3600
    used = hours * XSMALL_CREDITS_AN_HOUR
    return Item(
        part="Warehouse (X-Small, 60 s at least)",
        basis=f"{hours:,.0f} hours when merges come together, "
        f"{DAYS * most / 3600:,.0f} when each comes alone",
        dollars=used * credit,
        most=DAYS * most / 3600 * XSMALL_CREDITS_AN_HOUR * credit,
        credits=used,
    )


def _looks(tables: Sequence[Workload], credit: float) -> Item:
    sweeps = min(SWEEPS_A_DAY, sum(table.runs_a_day for table in tables))
    seconds = DAYS * (sweeps * SWEEP_SECONDS + STATUSES_A_DAY * STATUS_SECONDS)
    used = seconds / 3600 * SERVERLESS_TASK_CREDITS_AN_HOUR
    return Item(
        part="Serverless tasks",
        basis=f"{sweeps:,.0f} sweeps a day of {SWEEP_SECONDS:g} s at most, "
        f"{STATUSES_A_DAY} statuses of {STATUS_SECONDS:g} s",
        dollars=used * credit,
        most=used * credit,
        credits=used,
    )


def _sum(items: tuple[Item, ...]) -> Reckoning:
    return Reckoning(
        items=items,
        dollars=sum(item.dollars for item in items),
        most=sum(item.most for item in items),
        credits=sum(item.credits for item in items),
    )
