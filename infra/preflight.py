"""What the deployment's tools cannot do, told before any resource is registered."""

import re
from collections.abc import Iterator

from infra.run_settings import AlarmSettings
from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table

# The provider takes its resources' identities apart at these characters.
# Source: https://registry.terraform.io/providers/snowflakedb/snowflake/latest/docs,
# "Identifiers"
_UNSAFE = re.compile(r"[.\"|()]")
# Rules that an account may have on one event bus; those of others count too, and
# scheduled rules stand on the default bus alone. The quota can be raised; Cape Town
# and Milan begin with less.
# Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
_RULES = 300
_RULES_OF_REGION = {"af-south-1": 100, "eu-south-1": 100}
# The checker's.
_OWN_RULES = 1


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


def quota_warnings(tables: int, region: str) -> tuple[str, ...]:
    """Return what an account as AWS gives it out does not allow.

    A warning and no error: whether a quota has been raised is known to AWS alone, and
    a deployment that meets it goes on where it stopped.

    Args:
        tables: How many there are; each has one rule, and the checker its own.
        region: AWS region.
    """
    needed, given = tables + _OWN_RULES, _RULES_OF_REGION.get(region, _RULES)
    if needed <= given:
        return ()
    return (
        f"{tables} tables need {needed} EventBridge rules, and {region} gives an "
        f'account {given} on its default bus; raise the quota "Number of rules" of '
        "Amazon EventBridge first",
    )


def alarm_warnings(alarms: AlarmSettings) -> tuple[str, ...]:
    """Return what keeps a stack's alarms from being heard.

    A warning and no error: somebody may watch the dashboard, or subscribe by hand.

    Args:
        alarms: Who is told.
    """
    if alarms.email or alarms.https:
        return ()
    return (
        "nobody is told of alarms: name an address under aurora-sync:alarms, email or "
        "https",
    )
