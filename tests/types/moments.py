"""Dates and times: Snowflake has years 1 to 9999, and nothing of what is outside."""

from hypothesis import strategies as st

from tests.types import kinds
from tests.types.days import (
    DAY,
    SECOND,
    Fields,
    count_days,
    fields,
    fraction,
    micros,
)
from tests.types.kinds import MISFIT, TEXT, Kind, Value

_FIRST = micros(-4712, 1, 1)
_LAST = micros(294276, 12, 31, 23, 59, 59, 999_999)
# timestamp(p) rounds away from this moment.
_EPOCH = micros(2000, 1, 1)
_EDGES = (
    *(micros(1, 1, 1), micros(1, 1, 1) - 1, micros(10000, 1, 1), _FIRST, _LAST),
    *(micros(9999, 12, 31, 23, 59, 59, 999_999), _EPOCH, _EPOCH - 1, 0),
    *(micros(1970, 1, 1), micros(1969, 12, 31, 23, 59, 59, 999_999)),
    *(micros(2024, 2, 29, 12, 0, 0, 500_000), micros(1900, 2, 28, 23, 59, 59, 999_999)),
    *(micros(1582, 10, 4), micros(1582, 10, 15), micros(2016, 12, 31, 23, 59, 59)),
    *(micros(-43, 3, 15), micros(99, 1, 1), micros(0, 12, 31), micros(2024, 6, 30, 1)),
    *(micros(2024, 1, 1, 0, 0, 0, 1), micros(2024, 1, 1, 0, 0, 0, 100_000)),
)


@st.composite
def moments(draw: st.DrawFn, low: int = _FIRST, high: int = _LAST) -> int:
    """Draw microseconds since 0001-01-01: mostly of our time, round or not."""
    kind = draw(st.integers(0, 9))
    if kind < 5:
        low, high = micros(1890, 1, 1), micros(2110, 1, 1)
    elif kind < 8:
        low, high = micros(1, 1, 1), micros(9999, 12, 31)
    moment = draw(st.integers(low, high))
    unit = draw(st.sampled_from((1, 1, 1000, SECOND, DAY)))
    return max(low, moment // unit * unit)


def _written(at: Fields, zone: str = "") -> str:
    return f"{at.date} {at.clock}{fraction(at.micro)}{zone}{at.era}"


def _rounded(moment: int, precision: int) -> int:
    unit = 10 ** (6 - precision)
    away, sign = abs(moment - _EPOCH), 1 if moment >= _EPOCH else -1
    return _EPOCH + sign * ((away + unit // 2) // unit * unit)


def _held(moment: int, precision: int = 6) -> object:
    at = fields(_rounded(moment, precision) if precision < 6 else moment)
    return f"{at.date} {at.clock}.{at.micro:06d}" if at.fits else MISFIT


def _timestamp(precision: int = 6) -> Kind:
    def value(moment: int) -> Value:
        return Value(_written(fields(moment)), _held(moment, precision))

    return Kind(
        declared="timestamp" if precision == 6 else f"timestamp({precision})",
        form=kinds.MOMENT,
        drawn=moments(high=_LAST - 2 * SECOND).map(value),
        edges=(
            *map(value, _EDGES if precision == 6 else set(_EDGES) - {_LAST}),
            Value("infinity", MISFIT),
            Value("-infinity", MISFIT),
            Value("2024-01-01 24:00:00", _held(micros(2024, 1, 2))),
            Value("9999-12-31 24:00:00", MISFIT),
            Value("2016-12-31 23:59:60", _held(micros(2017, 1, 1))),
            Value("March 3, 2024 5:00 PM", _held(micros(2024, 3, 3, 17))),
        ),
    )


_ZONES = (0, 0, 19_800, -17_762, 50_400, -43_200, 57_599, -57_599, 3_600)


def _zone(seconds: int) -> str:
    minutes, second = divmod(abs(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{'-' if seconds < 0 else '+'}{hour:02d}:{minute:02d}:{second:02d}"


def _timestamptz(precision: int = 6) -> Kind:
    def value(drawn: tuple[int, int]) -> Value:
        moment, zone = drawn
        local = fields(moment + zone * SECOND)
        return Value(_written(local, _zone(zone)), _held(moment, precision))

    inner = moments(_FIRST + DAY, _LAST - DAY)
    edges = [value((at, 0)) for at in _EDGES if precision == 6 or at != _LAST]
    edges += [value((micros(1, 1, 1), -17_762)), value((micros(1, 1, 1) - 1, 50_400))]
    return Kind(
        declared="timestamptz" if precision == 6 else f"timestamptz({precision})",
        form=kinds.MOMENT_TZ,
        drawn=st.tuples(inner, st.sampled_from(_ZONES)).map(value),
        edges=(
            *edges,
            Value("infinity", MISFIT),
            Value("-infinity", MISFIT),
            Value("9999-12-31 23:59:59.999999-00:00:01", MISFIT),
            Value("10000-01-01 00:00:00+00:00:01", _held(micros(10000, 1, 1) - SECOND)),
            Value("2024-07-01 12:00 Europe/Berlin", _held(micros(2024, 7, 1, 10))),
        ),
    )


def _day(day: int) -> Value:
    at = fields(day * DAY)
    return Value(at.date + at.era, at.date if at.fits else MISFIT)


_FIRST_DAY, _LAST_DAY = count_days(-4712, 1, 1), count_days(5874897, 12, 31)
_DATE = Kind(
    declared="date",
    form=kinds.DATE,
    drawn=st.one_of(
        moments().map(lambda moment: moment // DAY), st.integers(_FIRST_DAY, _LAST_DAY)
    ).map(_day),
    edges=(
        *(_day(moment // DAY) for moment in _EDGES),
        _day(_FIRST_DAY),
        _day(_LAST_DAY),
        Value("infinity", MISFIT),
        Value("-infinity", MISFIT),
        Value("Feb 29 2024", "2024-02-29"),
    ),
)


def _clock(micro: int) -> str:
    at = fields(micro % DAY)
    return f"{24 * (micro == DAY) + at.hour:02d}" + at.clock[2:]


def _time(precision: int = 6) -> Kind:
    def value(micro: int) -> Value:
        unit = 10 ** (6 - precision)
        stored = (micro + unit // 2) // unit * unit if precision < 6 else micro
        held: object = MISFIT
        if stored < DAY:
            held = f"{_clock(stored)}.{stored % SECOND:06d}"
        return Value(_clock(micro) + fraction(micro % SECOND), held)

    edges = (0, 1, SECOND, DAY - 1, DAY - 500_000, DAY - 500_001, DAY, DAY // 2)
    whole = st.integers(0, 86_400).map(lambda second: second * SECOND)
    return Kind(
        declared="time" if precision == 6 else f"time({precision})",
        form=kinds.TIME,
        drawn=st.one_of(st.integers(0, DAY), whole).map(value),
        edges=(
            *map(value, edges),
            Value("23:59:60", MISFIT),
            Value("04:05 PM", "16:05:00.000000"),
        ),
    )


def _short_zone(seconds: int) -> str:
    """Hours, then minutes and seconds when there are any."""
    text = _zone(seconds)
    return text.removesuffix(":00").removesuffix(":00")


def _timetz(drawn: tuple[int, int]) -> Value:
    micro, zone = drawn
    clock = _clock(micro) + fraction(micro % SECOND)
    return Value(clock + _zone(zone), clock + _short_zone(zone))


_TIMETZ = Kind(
    declared="timetz",
    form=TEXT,
    drawn=st.tuples(st.integers(0, DAY), st.sampled_from(_ZONES)).map(_timetz),
    edges=tuple(
        _timetz((micro, zone)) for micro in (0, DAY, DAY - 1) for zone in set(_ZONES)
    ),
)


def _duration(months: int, days: int, micro: int) -> str:
    """ISO 8601 as PostgreSQL prints it: each part with a sign of its own."""
    sign = -1 if micro < 0 else 1
    seconds, rest = divmod(abs(micro), SECOND)
    parts = {
        "Y": int(months / 12),
        "M": months - 12 * int(months / 12),
        "D": days,
    }
    clock = {"H": sign * (seconds // 3600), "M": sign * (seconds // 60 % 60)}
    text = "".join(f"{n}{unit}" for unit, n in parts.items() if n)
    time = "".join(f"{n}{unit}" for unit, n in clock.items() if n)
    if seconds % 60 or rest:
        time += f"{'-' * (sign < 0)}{seconds % 60}{fraction(rest)}S"
    return f"P{text}{'T' * bool(time)}{time}" if text or time else "PT0S"


def _interval(drawn: tuple[int, int, int]) -> Value:
    months, days, micro = drawn
    literal = f"{months} mons {days} days {micro} microseconds"
    return Value(literal, _duration(*drawn))


_MANY = 2**31 - 1
_INTERVAL = Kind(
    declared="interval",
    form=TEXT,
    drawn=st.tuples(
        st.one_of(st.integers(-30, 30), st.integers(-_MANY, _MANY)),
        st.one_of(st.integers(-40, 40), st.integers(-_MANY, _MANY)),
        st.one_of(st.integers(-2 * DAY, 2 * DAY), st.integers(-(10**18), 10**18)),
    ).map(_interval),
    edges=(
        *map(_interval, ((0, 0, 0), (14, -3, 14_706_700_000), (-1, 0, -1), (1, 1, 0))),
        *map(_interval, ((_MANY, _MANY, 0), (-_MANY, -_MANY, -SECOND), (0, 0, DAY))),
        Value("infinity", "infinity"),
        Value("-infinity", "-infinity"),
        Value("1 year 2 mons -3 days 04:05:06.7", "P1Y2M-3DT4H5M6.7S"),
        Value("-1:30:00", "PT-1H-30M"),
    ),
)

MOMENTS = (
    _DATE,
    *(_timestamp(precision) for precision in (6, 0, 3)),
    *(_timestamptz(precision) for precision in (6, 0, 3)),
    *(_time(precision) for precision in (6, 0)),
    _TIMETZ,
    _INTERVAL,
)
