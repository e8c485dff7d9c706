"""What the deployment's tools cannot do, told before any resource is registered."""

import re
from collections.abc import Iterator

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table

# The provider takes its resources' identities apart at these characters.
# Source: https://registry.terraform.io/providers/snowflakedb/snowflake/latest/docs,
# "Identifiers"
_UNSAFE = re.compile(r"[.\"|()]")


def check_names(objects: SnowflakeObjects, tables: tuple[Table, ...]) -> None:
    """Refuse names that the Snowflake provider cannot handle.

    Raises:
        ConfigErrors: With every such name.
    """
    problems = list(_unsafe(objects, tables))
    if problems:
        raise ConfigErrors(problems)


def _unsafe(
    objects: SnowflakeObjects, tables: tuple[Table, ...]
) -> Iterator[ConfigError]:
    remedies = {
        "schema": 'give it a "target_schema"',
        "table": 'give it a "target_table"',
        "landing table": "sync a view of it with a plain name",
    }
    for table in tables:
        names = (*table.spec.target, objects.landing(table))
        for (kind, remedy), name in zip(remedies.items(), names, strict=True):
            if _UNSAFE.search(name):
                yield ConfigError(
                    f"its {kind} needs a name the Snowflake provider cannot handle",
                    subject=table.spec.table_name,
                    got=name,
                    allowed='names without . " | ( )',
                    remedy=remedy,
                )
