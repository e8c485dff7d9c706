"""Reads `Pulumi.<stack>.yaml` for commands that run without Pulumi."""

from pathlib import Path
from typing import Any

import yaml

from runtime.contract.errors import ConfigError


def file_config(stack: str, folder: Path) -> dict[str, Any]:
    """Return the block `config` of a stack's file, as it stands there.

    Args:
        stack: Name of the stack.
        folder: Where `Pulumi.<stack>.yaml` stands.

    Raises:
        ConfigError: There is no such file, or it is no YAML.
    """
    path = folder / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = sorted(each.name for each in folder.glob("Pulumi.*.yaml"))
        raise ConfigError(
            "stack has no settings",
            subject=str(path),
            allowed=", ".join(known),
            remedy="copy Pulumi.dev.yaml and change its values, or correct --stack",
        )
    try:
        whole = yaml.safe_load(path.read_text()) or {}
        return dict((whole.get("config") or {}).items())
    except (yaml.YAMLError, AttributeError) as error:
        raise ConfigError(
            f"is no YAML of settings ({error})",
            subject=str(path),
            remedy="compare it with Pulumi.dev.yaml",
        ) from error
