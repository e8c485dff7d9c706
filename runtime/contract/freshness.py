"""How late a table may be: what its schedule, heartbeat and merges allow together.

A quiet table commits a manifest with the first tick after its heartbeat; a busy one
with each tick. So the target's last merged commit may be as old as both together,
and what Snowpipe, a merge, the status and the checker take on top.
"""

import re
from datetime import timedelta

from runtime.contract.specs import TableSpec

# Snowpipe's minute or so, a sweep (15 minutes) that mends a lost event, and a function
# that is tried again. The interval of the status comes on top.
GRACE = timedelta(minutes=30)
# A load brings its rows in many commits; without one for so long it stands still.
LOAD_PATIENCE = timedelta(hours=6)

_MINUTES_A_DAY = 24 * 60
_UNIT = {"minute": 1, "hour": 60, "day": _MINUTES_A_DAY}
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTH, _YEAR = timedelta(days=31), timedelta(days=366)
_ANY = ("*", "?")


def bound(spec: TableSpec, heartbeat: timedelta, status: timedelta) -> timedelta:
    """Return the age that a table's last merged commit never reaches while all is well.

    Args:
        spec: The table.
        heartbeat: Longest silence between manifests of a table, up to the next tick.
        status: How often Snowflake tells how far it is.
    """
    tick = longest_gap(spec.schedule_expression)
    silence = tick if spec.is_full else tick + heartbeat
    return silence + spec.merge_interval + status + GRACE


def longest_gap(expression: str) -> timedelta:
    """Return the longest time between two starts of a schedule.

    Exact for rates, and for crons that name minutes, hours and days of the week; of
    others it is the month or the year, which is longer.

    Args:
        expression: As EventBridge reads it: `rate(…)` or `cron(…)`.
    """
    kind, _, rest = expression.rstrip(")").partition("(")
    if kind == "rate":
        number, unit = rest.split()
        return timedelta(minutes=int(number) * _UNIT[unit.rstrip("s")])
    minute, hour, day, month, weekday, year = rest.split()
    if month not in _ANY or year not in _ANY:
        return _YEAR
    if day not in _ANY or not re.fullmatch(r"[\dA-Z*?,/-]+", weekday):
        return _MONTH
    if weekday.endswith("L"):
        return _MONTH
    times = [h * 60 + m for h in _values(hour, 0, 23) for m in _values(minute, 0, 59)]
    days = _values(_numbered(weekday), 1, 7)
    starts = sorted((d - 1) * _MINUTES_A_DAY + t for d in days for t in times)
    around = [*starts[1:], starts[0] + 7 * _MINUTES_A_DAY]
    gaps = (after - before for before, after in zip(starts, around, strict=True))
    return timedelta(minutes=max(gaps))


def _numbered(weekdays: str) -> str:
    """Return days of the week by number, from SUN as 1."""
    for number, name in enumerate(_DAYS, start=1):
        weekdays = weekdays.replace(name, str(number))
    return weekdays


def _values(field: str, first: int, last: int) -> list[int]:
    """Return what a field of a cron stands for: `*`, `5`, `1-5`, `*/10`, `0/15`, `1,2`.

    Source: Amazon EventBridge user guide, eb-scheduled-rule-pattern.
    """
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        start = first if low in _ANY else int(low)
        end = int(high) if high else (last if low in _ANY or step else start)
        if end < start:
            # A range over the end of the week, such as FRI-MON.
            found |= {*range(start, last + 1), *range(first, end + 1)}
        else:
            found |= set(range(start, end + 1, int(step or 1)))
    return sorted(found)
