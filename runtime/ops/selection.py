"""Which tables a command is about."""

from collections.abc import Sequence
from pathlib import Path

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.loader import load_tables
from runtime.contract.names import SourceName
from runtime.contract.specs import Table, TableSpec


def select_specs(
    specs: Sequence[TableSpec], names: Sequence[str], config: Path
) -> tuple[TableSpec, ...]:
    """Return the entries of the named tables, in the config's order.

    Args:
        specs: All entries.
        names: Source tables as people wrote them; none means all.
        config: Where the entries stand, for messages.

    Raises:
        ConfigErrors: When a name is no table's of the config, or when there is none.
    """
    problems: list[ConfigError] = []
    known = {spec.source: spec for spec in specs}
    wanted = set()
    for name in names:
        try:
            source = SourceName.parse(name)
        except ConfigError as error:
            error.subject = "argument TABLE"
            problems.append(error)
            continue
        if source not in known:
            problems.append(
                ConfigError(
                    "is not in the config",
                    subject=f"table {name}",
                    allowed=", ".join(str(each) for each in known) or "none yet",
                    remedy=f"add it to {config} with `aurora-sync table add`",
                )
            )
        wanted.add(source)
    if not specs and not names:
        problems.append(
            ConfigError(
                "lists no tables",
                subject=str(config),
                remedy="add one with `aurora-sync table add`",
            )
        )
    if problems:
        raise ConfigErrors(problems)
    return tuple(spec for spec in specs if not names or spec.source in wanted)


def select_tables(config: Path, names: Sequence[str]) -> tuple[Table, ...]:
    """Return the named tables with their contracts, in the config's order.

    Args:
        config: Path of `sync_config.json`.
        names: Source tables as people wrote them; none means all.

    Raises:
        ConfigErrors: As `select_specs` does, and for what the loader refuses.
    """
    tables = load_tables(config)
    chosen = select_specs([each.spec for each in tables], names, config)
    sources = {spec.source for spec in chosen}
    return tuple(each for each in tables if each.spec.source in sources)
