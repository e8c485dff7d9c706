"""What the sync costs: sums that a person can do by hand."""

import re
from pathlib import Path

import pytest

from runtime.contract import metrics
from runtime.ops import costs
from runtime.ops.costs import Workload, backfill, monthly

HOURLY = Workload(runs_a_day=24, rows_a_day=200_000, bytes_a_day=20_000_000)


def part(reckoning: costs.Reckoning, name: str) -> costs.Item:
    (found,) = [each for each in reckoning.items if each.part.startswith(name)]
    return found


def test_merges_that_share_a_minute_cost_a_fiftieth_of_merges_alone():
    warehouse = part(monthly([HOURLY] * 50), "Warehouse")
    assert warehouse.dollars == pytest.approx(24 * 30 / 60 * 3)
    assert warehouse.most == pytest.approx(50 * warehouse.dollars)


def test_a_gigabyte_a_day_through_snowpipe():
    pipe = part(monthly([HOURLY] * 50), "Snowpipe")
    assert pipe.credits == pytest.approx(30 * 0.0037)
    assert pipe.dollars == pytest.approx(30 * 0.0037 * 3)


def test_runs_are_paid_by_the_second_and_the_gigabyte_of_memory():
    runs = 50 * 24 * 30
    lambda_ = part(monthly([HOURLY] * 50, memory_mb=512), "Lambda")
    assert lambda_.dollars == pytest.approx(
        runs * (0.2e-6 + 3 * 0.5 * costs.LAMBDA_GB_SECOND)
        + 30 * 288 * (0.2e-6 + 0.5 * costs.LAMBDA_GB_SECOND)
    )


def test_another_price_of_a_credit_changes_snowflakes_part_alone():
    cheap, dear = monthly([HOURLY]), monthly([HOURLY], credit=6)
    assert dear.dollars - cheap.dollars == pytest.approx(3 * cheap.credits)


def test_no_table_costs_what_stands_about():
    idle = monthly([])
    checks = 30 * 288 * (0.2e-6 + 0.25 * costs.LAMBDA_GB_SECOND)
    statuses = 30 * 96 * 4 / 3600 * 0.9
    assert idle.credits == pytest.approx(statuses)
    assert idle.dollars == pytest.approx(
        1 + 2 * 720 * 0.011 + (19 + 2) * 0.30 + checks + statuses * 3
    )


def test_the_sums_are_those_of_the_lines():
    month = monthly([HOURLY] * 3)
    assert month.dollars == pytest.approx(sum(i.dollars for i in month.items))
    assert month.most == pytest.approx(sum(i.most for i in month.items))


def test_a_small_backfill_wakes_the_warehouse_for_a_minute():
    small = backfill(1000, 100_000)
    assert part(small, "Warehouse").credits == pytest.approx(1 / 60)


def test_a_large_backfill_merges_as_fast_as_the_warehouse_can():
    large = backfill(5e9, 1e12)
    hours = 1e12 / costs.MERGE_BYTES_A_SECOND / 3600
    assert part(large, "Warehouse").credits == pytest.approx(hours)
    assert part(large, "Snowpipe").credits == pytest.approx(1000 * 0.0037)
    assert part(large, "Aurora").most == pytest.approx(1e12 / 8192 * 0.22e-6)


def test_nothing_to_export_costs_nothing():
    assert backfill(0, 0).dollars == 0


def test_a_run_measures_as_many_metrics_as_are_paid_for():
    assert len(metrics.RUN) + len(metrics.CHECK) == costs.METRICS_A_GROUP


def test_metrics_by_group_and_alarms_are_paid_by_their_number():
    tables = [HOURLY] * 50
    each = part(monthly(tables, groups=50), "CloudWatch").dollars
    one = part(monthly(tables, groups=1), "CloudWatch").dollars
    assert each - one == pytest.approx(49 * costs.METRICS_A_GROUP * 0.30)
    watched = part(monthly(tables, groups=1, alarms=12, dashboards=1), "CloudWatch")
    assert watched.dollars - one == pytest.approx(12 * 0.10 + 3)


def test_the_readme_and_the_page_say_what_fifty_hourly_tables_cost():
    """By hand, from the same prices, and once for both: the README is what is read."""
    root = Path(__file__).parents[2]
    runs, objects = 50 * 24 * 30, 2 * 50 * 24 * 30
    lines = {
        "Lambda": runs * (0.2e-6 + 3 * 0.25 * 0.0000166667)
        + 30 * 288 * (0.2e-6 + 0.25 * 0.0000166667),
        "S3, DynamoDB, SNS, KMS": objects * (5e-6 + 2 * 0.4e-6 + 0.5e-6)
        + 30 * 0.023
        + runs * 5 * (0.705e-6 + 0.141e-6)
        + 1,
        "CloudWatch": (19 + 2) * 0.30 + 18 * 0.10 + 3 + runs * 4e-6 * 0.57,
        "Endpoint of SQS": 2 * 720 * 0.011,
        "Snowpipe": 30 * 0.0037 * 3,
        "Serverless tasks": 30 * 96 * (5 + 4) / 3600 * 0.9 * 3,
    }
    for page in ("README.md", "docs/COST.md"):
        table = (root / page).read_text().split("<!-- month -->")[1]
        for name, dollars in lines.items():
            (told,) = re.findall(
                rf"^\| {re.escape(name)} \|.*\| ([\d.,]+) \|$", table, re.M
            )
            assert float(told.replace(",", "")) == pytest.approx(dollars, abs=0.005)
        assert re.search(r"^\| Warehouse .* \| 36 to 1,800 \|$", table, re.M)


def test_the_example_of_the_page_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "COST.md"
    (code,) = re.findall(r"(?s)```python\n(.*?)```", page.read_text())
    exec(compile(code, "COST.md", "exec"), {})
    counts = [rf"{name}[=:] ?(\d+)" for name in ("alarms", "dashboards")]
    for count in counts:
        assert len(set(re.findall(count, page.read_text()))) == 1
    assert re.fullmatch(
        r"[\d,]+ to [\d,]+ dollars, \d+ credits\n", capsys.readouterr().out
    )
