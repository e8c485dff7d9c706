"""`contract refresh` and `table add`: from the source's catalog to files.

Everything is read and judged first, for all tables; files are written only when
nothing is wrong.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from runtime.contract.collisions import collisions, repeated
from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.loader import contract_path, convert, load_specs, read_json
from runtime.contract.names import SourceName
from runtime.contract.rules import spec_problems
from runtime.contract.specs import Table, TableContract, TableSpec
from runtime.ops.catalog import read_relation
from runtime.ops.discover import contract_of
from runtime.ops.files import exclusive, write_all
from runtime.ops.filters import check_filter
from runtime.ops.selection import select_specs
from runtime.ops.source import told


class Refreshed(Struct, frozen=True, kw_only=True):
    """What became of one table's contract.

    Attributes:
        table: The source table.
        file: Path of the contract.
        change: Whether the file is new, different or as it was.
        columns: How many columns the table has now.
        added: Names of columns that have come.
        dropped: Names of columns that have gone.
        waiting: Those of them that have become another column and come back with the
            next refresh, once this contract is deployed.
    """

    table: str
    file: str
    change: Literal["created", "changed", "unchanged"]
    columns: int
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def refresh(
    config: Path, connection: Any, names: Sequence[str] = ()
) -> tuple[Refreshed, ...]:
    """Bring contracts in line with Aurora's catalog.

    Args:
        config: Path of `sync_config.json`.
        connection: A session made by `runtime.ops.source.connect`.
        names: Source tables; none means all of the config.

    Raises:
        ConfigErrors: With what is wrong with any of the tables; no file was written.
        SourceError: When Aurora refuses or does not answer.
    """
    with exclusive(config):
        specs = load_specs(config)
        chosen = select_specs(specs, names, config)
        found = _discovered(config, connection, chosen)
        _check_collisions(config, specs, found)
        return _written(config, found, {})


def add(
    config: Path, connection: Any, entries: Sequence[Mapping[str, Any]]
) -> tuple[Refreshed, ...]:
    """Add tables to the config and freeze their contracts; all or none.

    Args:
        config: Path of `sync_config.json`; made when absent.
        connection: A session made by `runtime.ops.source.connect`.
        entries: The new entries as they will stand in the file.

    Raises:
        ConfigErrors: With what is wrong with the config as it is, an entry or a
            table; no file was written.
        SourceError: When Aurora refuses or does not answer.
    """
    with exclusive(config):
        return _add(config, connection, entries)


def _add(
    config: Path, connection: Any, entries: Sequence[Mapping[str, Any]]
) -> tuple[Refreshed, ...]:
    specs: tuple[TableSpec, ...] = ()
    raw: dict[str, Any] = {"tables": []}
    if config.exists():
        specs = load_specs(config)
        raw = json.loads(config.read_bytes())
    problems: list[ConfigError] = []
    where = f"{config}: new entry"
    new: list[TableSpec] = []
    for entry in entries:
        spec = convert(dict(entry), TableSpec, where, problems)
        if spec is not None:
            problems.extend(spec_problems(spec, where))
            new.append(spec)
    if not problems:
        problems.extend(repeated([*specs, *new], str(config)))
    if problems:
        raise ConfigErrors(problems)
    found = _discovered(config, connection, new)
    _check_collisions(config, (*specs, *new), found)
    raw["tables"].extend(dict(entry) for entry in entries)
    text = json.dumps(raw, indent=2, ensure_ascii=False) + "\n"
    # The config comes last: a table without entry is nothing, an entry without
    # contract is an error.
    return _written(config, found, {config: text.encode()})


# What most contracts have nothing to say of.
_UNTOLD = {"where": None, "rename": None, "mask": None, "misfit": "fail"}


class _Case(NamedTuple):
    table: Table
    former: TableContract | None
    next: TableContract


Found = dict[SourceName, _Case]


def _discovered(config: Path, connection: Any, specs: Sequence[TableSpec]) -> Found:
    """Read all tables in one snapshot, and tell all their problems at once."""
    problems: list[ConfigError] = []
    found: Found = {}
    with told("Aurora"), closing(connection.cursor()) as cursor:
        for spec in specs:
            path = contract_path(config, spec.source)
            try:
                former = _former(path, spec)
                relation = read_relation(cursor, spec.source)
                contract = contract_of(relation, spec, former, str(path))
                check_filter(cursor, spec)
                found[spec.source] = _Case(
                    Table(spec=spec, contract=contract),
                    former,
                    contract_of(relation, spec, contract, str(path)),
                )
            except ConfigErrors as errors:
                problems.extend(errors.problems)
        connection.rollback()
    if problems:
        raise ConfigErrors(problems)
    return found


def _former(path: Path, spec: TableSpec) -> TableContract | None:
    """Read the contract so far, even one that no longer serves its entry."""
    if not path.exists():
        return None
    problems: list[ConfigError] = []
    remedy = "restore it from version control: it holds the places of columns in files"
    try:
        former = convert(read_json(path, remedy), TableContract, str(path), problems)
    except ConfigError as error:
        raise ConfigErrors([error]) from error
    if former is not None and former.table != str(spec.source):
        problems.append(
            ConfigError(
                "is the contract of another table",
                subject=str(path),
                got=former.table,
                allowed=str(spec.source),
                remedy="remove the file",
            )
        )
    if former is None or problems:
        raise ConfigErrors(problems)
    return former


def _check_collisions(config: Path, specs: Sequence[TableSpec], found: Found) -> None:
    """Tables that share an object in Snowflake are told before anything is written."""
    tables = []
    for spec in specs:
        if spec.source in found:
            tables.append(found[spec.source].table)
            continue
        path = contract_path(config, spec.source)
        contract = _former(path, spec)
        if contract is not None:
            tables.append(Table(spec=spec, contract=contract))
    problems = list(collisions(tables))
    if problems:
        raise ConfigErrors(problems)


def _written(
    config: Path, found: Found, more: Mapping[Path, bytes]
) -> tuple[Refreshed, ...]:
    files, results = {}, []
    for source, (table, former, later) in found.items():
        path = contract_path(config, source)
        text = _text(table.contract)
        same = path.exists() and path.read_bytes() == text
        if not same:
            files[path] = text
        was = former.live if former else ()
        names = {column.name for _, column in table.contract.live}
        old_names = {column.name for _, column in was}
        results.append(
            Refreshed(
                table=str(source),
                file=str(path),
                change="unchanged" if same else "changed" if former else "created",
                columns=len(table.contract.live),
                added=tuple(
                    column.name
                    for _, column in table.contract.live
                    if former and column.name not in old_names
                ),
                dropped=tuple(c.name for _, c in was if c.name not in names),
                waiting=tuple(c.name for _, c in later.live if c.name not in names),
            )
        )
    write_all(files | dict(more))
    return tuple(results)


def _text(contract: TableContract) -> bytes:
    plain = msgspec.to_builtins(contract)
    for each in (plain, *plain["columns"]):
        for key in [
            key for key in _UNTOLD if key in each and each[key] == _UNTOLD[key]
        ]:
            del each[key]
    return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode()
