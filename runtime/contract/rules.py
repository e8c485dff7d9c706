"""What makes a config entry or a contract unusable, one rule per function.

Each rule yields errors instead of raising, so that a reader tells all of them at once.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec

from runtime.contract.errors import ConfigError
from runtime.contract.snowflake_names import TAKEN_SCHEMAS, TARGET_METADATA
from runtime.contract.column_rules import treatment_problems, unknown_names
from runtime.contract.columns import MOMENTS
from runtime.contract.specs import TableContract, TableSpec
from runtime.contract.type_map import rule_for
from runtime.contract.watermark_rules import Wrong, mode_problems, watermark_problems

_RATE = re.compile(
    r"rate\((?:1 (?:minute|hour|day)|(?:[2-9]|[1-9]\d+) (?:minutes|hours|days))\)"
)
_CRON = re.compile(r"cron\([0-9A-Z*,/?L#W-]+(?: [0-9A-Z*,/?L#W-]+){5}\)")


def spec_problems(spec: TableSpec, where: str) -> Iterator[ConfigError]:
    """Say what is wrong with an entry whose keys all have the right form."""

    def wrong(
        key: str, fact: str, allowed: str, remedy: str = "correct the value"
    ) -> ConfigError:
        got = getattr(spec, key)
        return ConfigError(
            f"key {key!r} {fact}",
            subject=where,
            got=msgspec.to_builtins(got),
            allowed=allowed,
            remedy=remedy,
        )

    try:
        taken = spec.target[0] in TAKEN_SCHEMAS
    except ConfigError as error:
        yield wrong("table_name", error.fact, error.allowed, error.remedy)
    else:
        if taken:
            yield wrong(
                "target_schema",
                f"leads to the schema {spec.target[0]}, which is not free",
                "any schema but " + ", ".join(TAKEN_SCHEMAS),
                "set another target_schema",
            )
    yield from mode_problems(spec, wrong)
    yield from _schedule_problems(spec, wrong)
    yield from _list_problems(spec, wrong)
    if spec.watermark_unit is not None and spec.id_lookback is not None:
        yield wrong("id_lookback", "stands beside watermark_unit", "one of the two")
    if (spec.deleted_col is None) is (spec.deletes == "soft_column"):
        yield wrong(
            "deleted_col",
            "belongs to deletes soft_column",
            "a column with soft_column, none without",
        )


def _schedule_problems(spec: TableSpec, wrong: Wrong) -> Iterator[ConfigError]:
    expression = spec.schedule_expression
    if not (_RATE.fullmatch(expression) or _CRON.fullmatch(expression)):
        yield wrong(
            "schedule",
            "is not a schedule",
            "hourly, daily, rate(1 hour), rate(5 minutes) or cron(m h dom mon dow y)",
        )
    for key in ("lookback", "margin", "max_holdback", "reconcile_interval"):
        if getattr(spec, key) < timedelta(0):
            yield wrong(key, "is negative", "PT0S or longer")
    if not timedelta(seconds=10) <= spec.merge_interval <= timedelta(hours=1):
        yield wrong("merge_interval", "is out of range", "PT10S to PT1H")
    if spec.watermark_timezone is not None:
        try:
            ZoneInfo(spec.watermark_timezone)
        except (KeyError, ValueError, OSError):
            yield wrong(
                "watermark_timezone",
                "is not a time zone",
                "an IANA name such as Europe/Berlin or UTC",
            )


def _list_problems(spec: TableSpec, wrong: Wrong) -> Iterator[ConfigError]:
    if not spec.key:
        yield wrong("primary_key", "is empty", "a column name or a list of them")
    for key in ("key", "exclude", "columns", "clustering"):
        names = getattr(spec, key) or ()
        if len(set(names)) < len(names):
            shown = "primary_key" if key == "key" else key
            yield wrong(shown, "names a column twice", "each column once")
    needed = spec.needed
    if spec.columns is not None and spec.exclude:
        yield wrong("exclude", "stands beside columns", "one of the two")
    if spec.columns is not None and needed - set(spec.columns):
        allowed = ", ".join(sorted(needed))
        yield wrong("columns", "lacks the key or the watermark", allowed)
    if needed & set(spec.exclude):
        yield wrong("exclude", "names the key or the watermark", "other columns")


def contract_problems(
    contract: TableContract, spec: TableSpec, where: str
) -> Iterator[ConfigError]:
    """Say what keeps a contract from serving its spec.

    Args:
        contract: The frozen columns.
        spec: The config entry.
        where: File, the subject of the messages.

    Yields:
        One error per problem.
    """
    refresh = f"run `aurora-sync contract refresh {spec.table_name}`"
    if contract.table != str(spec.source):
        yield ConfigError(
            "is the contract of another table",
            subject=where,
            got=contract.table,
            allowed=str(spec.source),
            remedy=refresh,
        )
    if contract.where != spec.where:
        yield ConfigError(
            "where is not the condition that Aurora has checked",
            subject=f"{where} ({spec.table_name})",
            got=spec.where or "none",
            allowed=contract.where or "none",
            remedy=refresh,
        )
    names = [column.name for _, column in contract.live]
    roles = {"primary_key": spec.key, "clustering": spec.clustering}
    roles |= {"watermark_col": (spec.watermark_col,) if spec.watermark_col else ()}
    roles |= {"columns": spec.columns or ()}
    roles |= {"deleted_col": (spec.deleted_col,) if spec.deleted_col else ()}
    for role, columns in roles.items():
        for name in columns:
            if name not in names:
                yield ConfigError(
                    f"{role} names a column the table does not have",
                    subject=f"{where} ({spec.table_name})",
                    got=name,
                    allowed=", ".join(names),
                    remedy=f"correct {role} in the config, or {refresh}",
                )
    yield from unknown_names(contract, spec, f"{where} ({spec.table_name})")
    for name in names:
        if name in spec.exclude or name not in (spec.columns or names):
            yield ConfigError(
                f"column {name!r} is left behind by the config",
                subject=f"{where} ({spec.table_name})",
                remedy=f"{refresh}: until then it would be exported",
            )
    yield from _type_problems(contract, spec, where)


def _type_problems(
    contract: TableContract, spec: TableSpec, where: str
) -> Iterator[ConfigError]:
    subject = f"{where} ({spec.table_name})"
    targets: dict[str, int] = {}
    for place, column in contract.live:
        yield from treatment_problems(column, spec, subject)
        try:
            rule = rule_for(column)
        except ConfigError as error:
            error.subject = subject
            yield error
            continue
        if column.name in spec.key and not (rule.key or column.mask):
            yield ConfigError(
                f"key column {column.name!r} has a type whose equality is not "
                "equality of its text",
                subject=subject,
                got=column.type,
                allowed="integers, uuid, text, dates, timestamps, numeric(p,s)",
                remedy="choose another unique key",
            )
        for target in filter(None, (column.target, column.companion)):
            other = targets.setdefault(target, place)
            if other != place:
                first = contract.columns[other - 1].name
                yield ConfigError(
                    f"columns {first!r} and {column.name!r} become the same column",
                    subject=subject,
                    got=target,
                    remedy='give one another name with "rename", or "exclude" it',
                )
        if column.target in TARGET_METADATA:
            yield ConfigError(
                f"column {column.name!r} has a name the sync needs",
                subject=subject,
                allowed="any name but " + ", ".join(TARGET_METADATA),
                remedy='give it another with "rename", or leave it behind with '
                '"exclude"',
            )
    mark = contract.column(spec.deleted_col or "")
    if mark is not None and mark.plain_type not in ("boolean", *MOMENTS):
        yield ConfigError(
            f"deleted_col {mark.name!r} has a type that marks nothing",
            subject=subject,
            got=mark.type,
            allowed=", ".join(("boolean", *MOMENTS)),
            remedy="choose another column",
        )
    watermark = contract.column(spec.watermark_col or "")
    if watermark is not None and not spec.is_full:
        yield from watermark_problems(watermark, spec, subject)
