from datetime import timedelta

import pytest

from runtime.contract.freshness import GRACE, bound, longest_gap
from tests.factories import make_spec

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("expression", "gap"),
    [
        ("rate(1 minute)", timedelta(minutes=1)),
        ("rate(15 minutes)", timedelta(minutes=15)),
        ("rate(1 hour)", HOUR),
        ("rate(2 days)", 2 * DAY),
        ("cron(0 * * * ? *)", HOUR),
        ("cron(*/10 * * * ? *)", timedelta(minutes=10)),
        ("cron(0/15 * * * ? *)", timedelta(minutes=15)),
        ("cron(7,52 * * * ? *)", timedelta(minutes=45)),
        ("cron(30 4 * * ? *)", DAY),
        ("cron(0 8-18 ? * * *)", 14 * HOUR),
        ("cron(0 2 ? * SUN *)", 7 * DAY),
        ("cron(0 2 ? * 1 *)", 7 * DAY),
        ("cron(0 2 ? * MON-FRI *)", 3 * DAY),
        ("cron(0 8-18 ? * 2-6 *)", 2 * DAY + 14 * HOUR),
        ("cron(0 2 ? * FRI-MON *)", 4 * DAY),
        ("cron(0 2 1 * ? *)", 31 * DAY),
        ("cron(0 2 L * ? *)", 31 * DAY),
        ("cron(0 2 ? * 6L *)", 31 * DAY),
        ("cron(0 2 ? * 3#2 *)", 31 * DAY),
        ("cron(0 2 1 1 ? *)", 366 * DAY),
        ("cron(0 2 * * ? 2027)", 366 * DAY),
    ],
)
def test_the_longest_time_between_two_starts(expression, gap):
    assert longest_gap(expression) == gap


def test_a_table_may_be_as_late_as_its_parts_together():
    spec = make_spec(schedule="rate(15 minutes)", merge_interval="PT5M")
    quarter, five = timedelta(minutes=15), timedelta(minutes=5)
    assert bound(spec, HOUR, quarter) == quarter + HOUR + five + quarter + GRACE


def test_a_table_that_is_read_whole_commits_with_each_run():
    spec = make_spec(mode="full", watermark_col=None, schedule="daily")
    minute = timedelta(minutes=1)
    assert bound(spec, HOUR, 15 * minute) == DAY + 16 * minute + GRACE
