"""Reads the settings of a stack: the only reader of `pulumi.Config`.

Everything is checked before any resource is registered, and everything that is wrong
is told at once.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import pulumi
from msgspec import Meta, Struct, field
from pulumi.runtime.config import CONFIG, get_config_env

from infra.run_settings import AlarmSettings, FunctionSettings
from infra.stack_consistency import stack_problems
from infra.stack_file import file_config
from infra.stack_rules import group_problems, tag_problems
from infra.stack_settings import (
    AuroraSettings,
    AwsSettings,
    NetworkSettings,
    PlainSettings,
    SnowflakeSettings,
    VaultSettings,
)
from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.loader import convert
from runtime.contract.names import SourceName, fit
from runtime.contract.snowflake_names import SnowflakeObjects

PROJECT = "aurora-sync"
ROOT = Path(__file__).resolve().parents[1]

Group = TypeVar("Group", bound=Struct)


def resource_name(stack: str, part: str, limit: int = 64) -> str:
    """Return the name of an AWS resource of a stack; see `StackSettings.named`."""
    return fit(f"{PROJECT}-{stack}-{part}", limit)


def rule_name(stack: str, source: SourceName) -> str:
    """Return the name of a table's schedule rule; see `StackSettings.rule_prefix`."""
    return fit(f"{PROJECT}_{stack}_{source.slug}", 64)


class _Stack(Struct, frozen=True, kw_only=True):
    # A prefix of one stack's names must never be that of another: see `rule_prefix`.
    stack: Annotated[
        str,
        Meta(
            pattern=r"^[a-z]([a-z0-9-]{0,22}[a-z0-9])?\Z",
            description="lower-case letters, digits and hyphens within, at most 24",
        ),
    ]


class StackSettings(Struct, frozen=True, kw_only=True):
    """All settings of one stack; one attribute per key of `Pulumi.<stack>.yaml`.

    Attributes:
        stack: Name of the deployment; part of every name.
        sync_config: Path of `sync_config.json`, relative to the project's folder.
        bundle: Path of the function's zip, relative to the project's folder.
        tags: Tags of every AWS resource, beside those that name project and stack.
        deletion_protection: True keeps what holds data when its resource goes; false
            lets `pulumi destroy` empty and remove the whole stack.
        adopt: Source tables whose targets stand in Snowflake, and which the next
            deployment takes over.
    """

    stack: str
    aws: AwsSettings
    network: NetworkSettings
    aurora: AuroraSettings
    vault: VaultSettings
    snowflake: SnowflakeSettings
    function: FunctionSettings = FunctionSettings()
    alarms: AlarmSettings = AlarmSettings()
    sync_config: str = "config/sync_config.json"
    bundle: str = "build/exporter.zip"
    tags: dict[str, str] = field(default_factory=dict)
    deletion_protection: bool = True
    adopt: tuple[str, ...] = ()

    @classmethod
    def from_pulumi(cls) -> "StackSettings":
        """Read the stack that Pulumi runs.

        Raises:
            ConfigErrors: With every wrong setting.
        """
        raw: dict[str, str] = {**get_config_env(), **CONFIG.get()}
        return cls.read(_mine(raw), pulumi.get_stack())

    @classmethod
    def from_file(cls, stack: str, folder: Path = ROOT) -> "StackSettings":
        """Read the settings of a stack that need not be deployed, without Pulumi.

        Args:
            stack: Name of the stack.
            folder: Where `Pulumi.<stack>.yaml` stands.

        Raises:
            ConfigErrors: With every wrong setting.
            ConfigError: There is no such file, or it is no YAML.
        """
        mine = _mine(file_config(stack, folder))
        texts = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in mine.items()
        }
        return cls.read(texts, stack)

    @classmethod
    def read(cls, raw: Mapping[str, str], stack: str) -> "StackSettings":
        """Turn configuration values into settings.

        Args:
            raw: Values by key without the project's name; objects as JSON text.
            stack: Name of the stack.

        Raises:
            ConfigErrors: With every wrong setting.
        """
        problems: list[ConfigError] = []
        where = f"Pulumi.{stack}.yaml"
        known = convert({"stack": stack}, _Stack, f"{where}: name", problems)
        fields = {item.name: item.type for item in msgspec.structs.fields(cls)}
        del fields["stack"]
        problems.extend(_unknown_keys(raw, fields, where))
        values = {key: _decoded(key, raw[key]) for key in raw if key in fields}
        groups = {
            key: kind
            for key, kind in fields.items()
            if isinstance(kind, type) and issubclass(kind, Struct)
        }
        found: dict[str, Any] = {}
        for key, model in groups.items():
            subject = f"{where}: {PROJECT}:{key}"
            group = convert(values.pop(key, {}), model, subject, problems)
            wrong = [] if group is None else list(group_problems(group, subject))
            problems.extend(wrong)
            if group is not None and not wrong:
                found[key] = group
        problems.extend(stack_problems(found, f"{where}: {PROJECT}"))
        rest = convert(values, PlainSettings, where, problems)
        if rest is not None:
            problems.extend(tag_problems(rest.tags, f"{where}: {PROJECT}:tags"))
        if problems or rest is None or known is None:
            raise ConfigErrors(problems)
        return cls(stack=stack, **found, **msgspec.structs.asdict(rest))

    def named(self, part: str, limit: int = 64) -> str:
        """Return the name of an AWS resource.

        Args:
            part: What tells it from the stack's other resources.
            limit: The service's limit in characters.
        """
        return resource_name(self.stack, part, limit)

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account and region."""
        return f"arn:aws:{service}:{self.aws.region}:{self.aws.account_id}:{resource}"

    def role_arn(self, name: str) -> str:
        """Return the ARN of an IAM role of this account."""
        return f"arn:aws:iam::{self.aws.account_id}:role/{name}"

    @property
    def rule_prefix(self) -> str:
        """What the names of this stack's schedule rules begin with, and no others'."""
        return f"{PROJECT}_{self.stack}_"

    @property
    def bucket(self) -> str:
        """Name of the lake's bucket; unique in the world by the account."""
        place = f"{self.aws.account_id}-{self.aws.region}"
        return self.named(place, 63)

    @property
    def exporter(self) -> str:
        """Name of the exporter's function, of its role and at Vault."""
        return self.named("exporter")

    @property
    def log_group(self) -> str:
        """Name of the function's log group."""
        return f"/aws/lambda/{self.exporter}"

    @property
    def checker(self) -> str:
        """Name of the checker's function and of its role."""
        return self.named("checker")

    @property
    def checker_log_group(self) -> str:
        """Name of the checker's log group."""
        return f"/aws/lambda/{self.checker}"

    @property
    def checker_rule(self) -> str:
        """Name of the checker's schedule rule; that of a table has a dot in it."""
        return f"{self.rule_prefix}checker"

    def alarm_name(self, label: str) -> str:
        """Return the name of an alarm."""
        return fit(f"{self.rule_prefix}{label}", 255)

    @property
    def alarms_arn(self) -> str:
        """What the ARNs of this stack's alarms begin with."""
        return self.arn("cloudwatch", f"alarm:{self.rule_prefix}")

    @property
    def ledger(self) -> str:
        """Name of the ledger's table."""
        return self.named("ledger", 255)

    @property
    def dead_letters(self) -> str:
        """Name of the queue of events that were given up."""
        return self.named("dead-letters", 80)

    @property
    def load_queue(self) -> str:
        """Name of the queue of loads' chunks."""
        return self.named("load", 80)

    @property
    def cluster_arn(self) -> str:
        """ARN of the Aurora cluster."""
        return self.arn("rds", f"cluster:{self.aurora.cluster_identifier}")

    @property
    def objects(self) -> SnowflakeObjects:
        """Where the sync lives in Snowflake."""
        return SnowflakeObjects(
            database=self.snowflake.database,
            warehouse=self.snowflake.warehouse,
            stack=self.stack,
        )

    @property
    def config_path(self) -> Path:
        """Where `sync_config.json` stands."""
        return ROOT / self.sync_config

    @property
    def bundle_path(self) -> Path:
        """Where the function's zip stands."""
        return ROOT / self.bundle


def _mine(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the project's own keys, without its name."""
    return {
        key.partition(":")[2]: value
        for key, value in raw.items()
        if str(key).startswith(f"{PROJECT}:")
    }


def _unknown_keys(
    raw: Mapping[str, str], known: Mapping[str, Any], where: str
) -> Iterator[ConfigError]:
    for key in sorted(set(raw) - set(known)):
        yield ConfigError(
            f"unknown key {PROJECT}:{key}",
            subject=where,
            allowed=", ".join(known),
            remedy="remove or correct the key",
        )


def _decoded(key: str, text: str) -> Any:
    """Read an object's JSON; a plain value stays the text it is."""
    if key in ("sync_config", "bundle"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
