"""Read `sync_config.json` and the contracts beside it into frozen tables.

All problems of one reading are told at once; each names the file, the entry, the
key, what is allowed and what to do. Nothing is returned when anything is wrong.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.names import SourceName
from runtime.contract.specs import AVAILABLE, Table, TableContract, TableSpec
from runtime.contract.type_map import rule_for

T = TypeVar("T", bound=msgspec.Struct)

_RATE = re.compile(
    r"rate\((?:1 (?:minute|hour|day)|(?:[2-9]|[1-9]\d+) (?:minutes|hours|days))\)"
)
_CRON = re.compile(r"cron\([0-9A-Z*,/?L#W-]+(?: [0-9A-Z*,/?L#W-]+){5}\)")


def load_specs(config: Path) -> tuple[TableSpec, ...]:
    """Read the config file alone, without contracts.

    Args:
        config: Path of `sync_config.json`.

    Raises:
        ConfigErrors: With every problem found.
    """
    problems: list[ConfigError] = []
    specs = _specs(config, problems)
    if problems:
        raise ConfigErrors(problems)
    return specs


def load_tables(config: Path) -> tuple[Table, ...]:
    """Read the config file and the contract of each of its tables.

    Args:
        config: Path of `sync_config.json`; contracts stand in the folder
            `contracts` beside it.

    Raises:
        ConfigErrors: With every problem found.
    """
    problems: list[ConfigError] = []
    tables = []
    for spec in _specs(config, problems):
        contract = _contract(contract_path(config, spec.source), spec, problems)
        if contract is not None:
            tables.append(Table(spec=spec, contract=contract))
    problems.extend(_collisions(tables))
    if problems:
        raise ConfigErrors(problems)
    return tuple(tables)


def contract_path(config: Path, source: SourceName) -> Path:
    """Return where the contract of a table stands."""
    return config.parent / "contracts" / f"{source.slug}.json"


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Raises:
        ConfigError: When the file is absent, unreadable or not JSON.
    """
    try:
        return msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError("file not found", subject=str(path), remedy=remedy) from None
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror})", subject=str(path), remedy=remedy
        ) from error
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"is not valid JSON ({error})",
            subject=str(path),
            remedy="mend the syntax at that position",
        ) from error


def convert(
    raw: Any, model: type[T], where: str, problems: list[ConfigError]
) -> T | None:
    """Turn a decoded JSON object into a struct, collecting one problem per key.

    Args:
        raw: The decoded value.
        model: The struct it should become.
        where: File and entry, the subject of the messages.
        problems: Receives what is wrong.

    Returns:
        The struct, or None when there was a problem.
    """
    if not isinstance(raw, dict):
        problems.append(
            ConfigError("is not an object", subject=where, got=raw, allowed="{...}")
        )
        return None
    fields = {field.name: field for field in msgspec.structs.fields(model)}
    found = [
        ConfigError(
            f"unknown key {key!r}",
            subject=where,
            allowed=", ".join(fields),
            remedy="remove or correct the key",
        )
        for key in raw
        if key not in fields
    ]
    for name, field in fields.items():
        if name in raw:
            found.extend(_wrong_value(raw[name], name, field, where))
        elif field.required:
            found.append(
                ConfigError(
                    f"key {name!r} is missing",
                    subject=where,
                    allowed=_meaning(field),
                    remedy="add the key",
                )
            )
    problems.extend(found)
    return None if found else msgspec.convert(raw, model)


def _wrong_value(
    value: Any, name: str, field: msgspec.structs.FieldInfo, where: str
) -> Iterator[ConfigError]:
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        yield ConfigError(
            f"key {name!r}: {_lower(str(error))}",
            subject=where,
            got=value,
            allowed=_meaning(field),
        )


def _meaning(field: msgspec.structs.FieldInfo) -> str:
    extra = getattr(msgspec.inspect.type_info(field.type), "extra_json_schema", None)
    return str((extra or {}).get("description", ""))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _specs(config: Path, problems: list[ConfigError]) -> tuple[TableSpec, ...]:
    try:
        raw = read_json(config, 'create it with {"tables": []} or `table add`')
    except ConfigError as error:
        problems.append(error)
        return ()
    entries = raw.get("tables") if isinstance(raw, dict) else None
    unknown = sorted(set(raw) - {"tables", "$schema"}) if isinstance(raw, dict) else []
    if not isinstance(entries, list) or unknown:
        problems.append(
            ConfigError(
                "is not a sync config",
                subject=str(config),
                got=", ".join(unknown) or type(raw).__name__,
                allowed='{"tables": [entry, ...]}',
                remedy="put the entries in a list under the key tables",
            )
        )
        return ()
    specs = []
    for number, entry in enumerate(entries):
        label = entry.get("table_name", "") if isinstance(entry, dict) else ""
        where = f"{config}: tables[{number}] {label}".rstrip()
        spec = convert(entry, TableSpec, where, problems)
        if spec is not None:
            wrong = list(_spec_problems(spec, where))
            problems.extend(wrong)
            if not wrong:
                specs.append(spec)
    problems.extend(_twice(specs, str(config)))
    return tuple(specs)


def _twice(specs: list[TableSpec], where: str) -> Iterator[ConfigError]:
    seen: set[SourceName] = set()
    for spec in specs:
        if spec.source in seen:
            yield ConfigError(
                "table stands twice",
                subject=where,
                got=spec.table_name,
                remedy="keep one entry",
            )
        seen.add(spec.source)


def _spec_problems(spec: TableSpec, where: str) -> Iterator[ConfigError]:
    def wrong(key: str, fact: str, allowed: str, remedy: str = "") -> ConfigError:
        got = getattr(spec, key)
        return ConfigError(
            f"key {key!r} {fact}",
            subject=where,
            got=msgspec.to_builtins(got),
            allowed=allowed,
            remedy=remedy,
        )

    try:
        SourceName.parse(spec.table_name)
    except ConfigError as error:
        yield wrong("table_name", error.fact, error.allowed, error.remedy)
    for key, values in AVAILABLE.items():
        if getattr(spec, key) not in values:
            allowed = " or ".join(str(msgspec.to_builtins(value)) for value in values)
            yield wrong(
                key,
                "asks for something that is not available yet",
                allowed,
                "leave the key out for now",
            )
    yield from _schedule_problems(spec, wrong)
    yield from _list_problems(spec, wrong)


Wrong = Callable[..., ConfigError]


def _schedule_problems(spec: TableSpec, wrong: Wrong) -> Iterator[ConfigError]:
    expression = spec.schedule_expression
    if not (_RATE.fullmatch(expression) or _CRON.fullmatch(expression)):
        yield wrong(
            "schedule",
            "is not a schedule",
            "hourly, daily, rate(1 hour), rate(5 minutes) or cron(m h dom mon dow y)",
        )
    for key in ("lookback", "margin", "max_holdback"):
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
    needed = {*spec.key, spec.watermark_col}
    if spec.columns is not None and spec.exclude:
        yield wrong("exclude", "stands beside columns", "one of the two")
    if spec.columns is not None and needed - set(spec.columns):
        yield wrong("columns", "lacks the key or the watermark", ", ".join(needed))
    if needed & set(spec.exclude):
        yield wrong("exclude", "names the key or the watermark", "other columns")


def _contract(
    path: Path, spec: TableSpec, problems: list[ConfigError]
) -> TableContract | None:
    try:
        raw = read_json(path, f"run `aurora-sync contract refresh {spec.table_name}`")
    except ConfigError as error:
        problems.append(error)
        return None
    contract = convert(raw, TableContract, str(path), problems)
    if contract is None:
        return None
    wrong = list(contract_problems(contract, spec, str(path)))
    problems.extend(wrong)
    return None if wrong else contract


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
    names = [column.name for _, column in contract.live]
    roles = {"primary_key": spec.key, "watermark_col": (spec.watermark_col,)}
    roles["clustering"] = spec.clustering
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
    yield from _type_problems(contract, spec, where)


def _type_problems(
    contract: TableContract, spec: TableSpec, where: str
) -> Iterator[ConfigError]:
    subject = f"{where} ({spec.table_name})"
    targets: dict[str, str] = {}
    for _, column in contract.live:
        try:
            rule = rule_for(column)
        except ConfigError as error:
            error.subject = subject
            yield error
            continue
        if column.name in spec.key and not rule.key:
            yield ConfigError(
                f"key column {column.name!r} has a type whose equality is not "
                "equality of its text",
                subject=subject,
                got=column.type,
                allowed="integers, uuid, text, dates, timestamps, numeric(p,s)",
                remedy="choose another unique key",
            )
        other = targets.setdefault(column.target, column.name)
        if other != column.name:
            yield ConfigError(
                f"columns {other!r} and {column.name!r} become the same column",
                subject=subject,
                got=column.target,
                remedy='leave one behind with "exclude"',
            )
        if column.target in TARGET_METADATA:
            yield ConfigError(
                f"column {column.name!r} has a name the sync needs",
                subject=subject,
                allowed="any name but " + ", ".join(TARGET_METADATA),
                remedy='leave it behind with "exclude"',
            )
    watermark = contract.column(spec.watermark_col)
    if watermark is not None:
        yield from _watermark_problems(watermark.base_type, spec, subject)


# Columns of every target table beside the declared ones.
TARGET_METADATA = ("_SYNC_STAMP", "_SYNC_FILE", "_SYNC_AT", "_DELETED_AT")


def _watermark_problems(
    base_type: str, spec: TableSpec, subject: str
) -> Iterator[ConfigError]:
    plain = re.sub(r"\(\d+\)", "", base_type)
    if plain not in (
        "timestamp with time zone",
        "timestamp without time zone",
        "date",
    ):
        yield ConfigError(
            f"watermark column {spec.watermark_col!r} has a type that cannot be one",
            subject=subject,
            got=base_type,
            allowed="timestamp with or without time zone, date",
            remedy="choose a column that moves whenever a row is written",
        )
    elif plain != "timestamp with time zone" and spec.watermark_timezone is None:
        yield ConfigError(
            f"watermark column {spec.watermark_col!r} is written without time zone",
            subject=subject,
            got=base_type,
            allowed='"watermark_timezone": "UTC" or an IANA name',
            remedy="say in which zone the writers mean it",
        )


def _collisions(tables: list[Table]) -> Iterator[ConfigError]:
    seen: dict[tuple[str, str], str] = {}
    for table in tables:
        schema, name = table.spec.target
        other = seen.setdefault((schema, name), table.spec.table_name)
        if other != table.spec.table_name:
            yield ConfigError(
                "becomes the same Snowflake table as another one",
                subject=table.spec.table_name,
                got=f"{schema}.{name} (also {other})",
                remedy='give one of them a "target_table" or "target_schema"',
            )
