"""Read `sync_config.json` and the contracts beside it into frozen tables.

All problems of one reading are told at once; each names the file, the entry, the
key, what is allowed and what to do. Nothing is returned when anything is wrong.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from runtime.contract.collisions import collisions, repeated
from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.names import SourceName
from runtime.contract.rules import contract_problems, spec_problems
from runtime.contract.specs import Table, TableContract, TableSpec

T = TypeVar("T", bound=msgspec.Struct)


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
    problems.extend(collisions(tables))
    if problems:
        raise ConfigErrors(problems)
    return tuple(tables)


def load_table(config: Path, spec: TableSpec) -> Table:
    """Read the contract of one table.

    Args:
        config: Path of `sync_config.json`.
        spec: The table's entry.

    Raises:
        ConfigErrors: With every problem found.
    """
    problems: list[ConfigError] = []
    contract = _contract(contract_path(config, spec.source), spec, problems)
    if contract is None or problems:
        raise ConfigErrors(problems)
    return Table(spec=spec, contract=contract)


class DeployedTables(Mapping[SourceName, Table]):
    """The tables of a config that was checked when it was deployed, read by need.

    To read a thousand contracts takes seconds of a small function's CPU; a run needs
    one of them.

    Args:
        config: Path of `sync_config.json`.

    Raises:
        ConfigErrors: With every problem of the config; those of a table's contract
            when that table is asked for.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self._specs = {spec.source: spec for spec in load_specs(config)}
        self._read: dict[SourceName, Table] = {}

    def __getitem__(self, source: SourceName) -> Table:
        if source not in self._read:
            self._read[source] = load_table(self._config, self._specs[source])
        return self._read[source]

    def __iter__(self) -> Iterator[SourceName]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
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
            ConfigError(
                "is not an object",
                subject=where,
                got=raw,
                allowed="{...}",
                remedy="write the keys and their values between braces",
            )
        )
        return None
    # What is right needs no look at each key, which takes ten times as long.
    if raw.keys() <= set(model.__struct_encode_fields__):
        with suppress(msgspec.ValidationError):
            return msgspec.convert(raw, model)
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
            remedy="correct the value",
        )


def _meaning(field: msgspec.structs.FieldInfo) -> str:
    extra = getattr(msgspec.inspect.type_info(field.type), "extra_json_schema", None)
    return str((extra or {}).get("description", ""))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(raw: Any) -> str:
    """Show the beginning of a value that is not of the right kind."""
    text = msgspec.json.encode(raw).decode()
    return text if len(text) <= 60 else f"{text[:60]}…"


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
                got=", ".join(unknown) or _shown(raw),
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
            wrong = list(spec_problems(spec, where))
            problems.extend(wrong)
            if not wrong:
                specs.append(spec)
    problems.extend(repeated(specs, str(config)))
    return tuple(specs)


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
