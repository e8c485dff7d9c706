"""The resource graph of the last deployment: `resources.json` in a stack's folder."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# An option: what is made stays when its resource goes.
RETAINED = "retain_on_delete"


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource that was made.

    Attributes:
        type: Pulumi's token of its type.
        name: Logical name.
        id: Physical id.
        inputs: Its inputs; secrets are left out.
        outputs: What it was answered with beside its inputs.
        options: What its registration asked of the engine.
    """

    type: str
    name: str
    id: str
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()


def resources(folder: Path) -> list[Resource]:
    """Return the graph of a stack; empty before its first deployment."""
    try:
        entries = json.loads(_file(folder).read_text())
    except FileNotFoundError:
        return []
    return [
        Resource(**{**entry, "options": tuple(entry.get("options", ()))})
        for entry in entries
    ]


def options_of(request: Any) -> tuple[str, ...]:
    """Return which options a registration asks of the engine.

    Args:
        request: Pulumi's RegisterResourceRequest.
    """
    chosen = {
        "protect": request.protect,
        RETAINED: request.retainOnDelete,
        "delete_before_replace": request.deleteBeforeReplace,
    }
    return tuple(key for key, wanted in chosen.items() if wanted)


def write(folder: Path, made: Iterable[Resource]) -> None:
    """Replace the graph of a stack."""
    ordered = sorted(made, key=lambda one: (one.type, one.name))
    draft = _file(folder).with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as out:
        json.dump([asdict(one) for one in ordered], out, indent=1)
    draft.replace(_file(folder))


def _file(folder: Path) -> Path:
    return folder / "resources.json"
