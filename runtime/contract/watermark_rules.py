"""What makes a watermark unusable, and what contradicts doing without one."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from runtime.contract.columns import INTEGERS, MOMENTS, Column
from runtime.contract.errors import ConfigError
from runtime.contract.specs import TableSpec

Wrong = Callable[..., ConfigError]

# What says how a watermark moves, or how often keys are compared beside it.
_OF_WATERMARKS = (
    "lookback",
    "margin",
    "watermark_timezone",
    "watermark_unit",
    "null_watermark",
    "max_null_rows",
    "id_lookback",
    "max_holdback",
    "reconcile_interval",
)
# Where clocks change, this much local time happens twice.
_DST_FOLD = timedelta(hours=1)


def mode_problems(spec: TableSpec, wrong: Wrong) -> Iterator[ConfigError]:
    """Say what contradicts an entry's mode."""
    if not spec.is_full:
        if spec.watermark_col is None:
            yield wrong(
                "watermark_col",
                "is missing",
                "column that moves forward whenever a row is written",
                'add the key, or set "mode": "full" where no column moves',
            )
        return
    defaults = {each.encode_name: each.default for each in msgspec.structs.fields(spec)}
    for key in _OF_WATERMARKS:
        if getattr(spec, key) != defaults[key]:
            yield wrong(
                key,
                "stands beside mode full, which goes by no watermark",
                "neither, or mode incremental",
                "leave it out",
            )


def watermark_problems(
    column: Column, spec: TableSpec, subject: str
) -> Iterator[ConfigError]:
    """Say what keeps a column from being the watermark of an entry."""
    counts = spec.watermark_unit is not None or spec.id_lookback is not None
    if column.plain_type not in MOMENTS + INTEGERS:
        yield ConfigError(
            f"watermark column {spec.watermark_col!r} has a type that cannot be one",
            subject=subject,
            got=column.type,
            allowed="timestamp with or without time zone, date, integer, bigint",
            remedy="choose a column that moves whenever a row is written",
        )
    elif column.plain_type in INTEGERS and not counts:
        yield ConfigError(
            f"watermark column {spec.watermark_col!r} does not say what it counts",
            subject=subject,
            got=column.type,
            allowed='"watermark_unit": "s", "ms" or "us", or "id_lookback": 1000',
            remedy="set the unit when it is a time; set id_lookback when it is the id "
            "of a sequence and rows are only appended",
        )
    elif column.plain_type in MOMENTS and counts:
        yield ConfigError(
            "watermark_unit and id_lookback belong to an integer watermark",
            subject=subject,
            got=column.type,
            allowed=", ".join(INTEGERS),
            remedy="leave them out",
        )
    elif column.plain_type in INTEGERS:
        return
    elif column.plain_type == "timestamp with time zone":
        return
    elif spec.watermark_timezone is None:
        yield ConfigError(
            f"watermark column {spec.watermark_col!r} is written without time zone",
            subject=subject,
            got=column.type,
            allowed='"watermark_timezone": "UTC" or an IANA name',
            remedy="say in which zone the writers mean it",
        )
    elif changes_clocks(spec.watermark_timezone) and spec.lookback <= _DST_FOLD:
        yield ConfigError(
            f"local times of {spec.watermark_timezone} repeat when clocks go back",
            subject=subject,
            got=msgspec.to_builtins(spec.lookback),
            allowed="a lookback over PT1H",
            remedy='set "lookback": "PT90M"',
        )


def changes_clocks(zone: str) -> bool:
    """Whether the zone has summer time, so that some local times happen twice."""
    year = datetime.now(ZoneInfo("UTC")).year
    offsets = {
        datetime(year, month, 1, tzinfo=ZoneInfo(zone)).utcoffset()
        for month in range(1, 13)
    }
    return len(offsets) > 1
