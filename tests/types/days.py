"""The calendar of PostgreSQL, counted: datetime ends where its years do not.

Days and microseconds are counted from 0001-01-01; the year before year 1 is year 0
here, 1 BC in words.
"""

from typing import NamedTuple

SECOND = 10**6
DAY = 86_400 * SECOND
_ERA_DAYS = 146_097  # 400 years


class Fields(NamedTuple):
    """A moment as people write it."""

    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    micro: int = 0

    @property
    def date(self) -> str:
        """Year, month and day; the era is told by `era`."""
        year = self.year if self.year > 0 else 1 - self.year
        return f"{year:04d}-{self.month:02d}-{self.day:02d}"

    @property
    def clock(self) -> str:
        """Hours to seconds."""
        return f"{self.hour:02d}:{self.minute:02d}:{self.second:02d}"

    @property
    def era(self) -> str:
        """What is written behind a year before Christ."""
        return "" if self.year > 0 else " BC"

    @property
    def fits(self) -> bool:
        """Whether Snowflake is documented to hold the year."""
        return 1 <= self.year <= 9999


def count_days(year: int, month: int, day: int) -> int:
    """Return the days since 0001-01-01."""
    year -= month < 3
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month - 3) % 12) + 2) // 5 + day - 1
    days = of_era * 365 + of_era // 4 - of_era // 100 + of_year
    return era * _ERA_DAYS + days - 306


def fields(micros: int) -> Fields:
    """Return the moment that is so many microseconds after 0001-01-01."""
    days, rest = divmod(micros, DAY)
    era, of_era = divmod(days + 306, _ERA_DAYS)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    day = of_year - (153 * shifted + 2) // 5 + 1
    seconds, micro = divmod(rest, SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return Fields(
        year + era * 400 + (month < 3), month, day, hour, minute, second, micro
    )


def micros(year: int, month: int, day: int, *clock: int) -> int:
    """Return the microseconds since 0001-01-01; clock is hour, minute, second, µs."""
    hour, minute, second, micro = (*clock, 0, 0, 0, 0)[:4]
    seconds = (hour * 60 + minute) * 60 + second
    return count_days(year, month, day) * DAY + seconds * SECOND + micro


def fraction(micro: int) -> str:
    """Return the fraction of a second without zeros at its end."""
    return f".{micro:06d}".rstrip("0") if micro else ""
