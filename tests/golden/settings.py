"""The table of a stack's settings in docs/DEPLOYMENT.md, from their models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.inspect import type_info

from infra.stack import StackSettings
from tests.golden.costs import replaced

# Those without a group, which StackSettings itself describes.
_PLAIN = {
    "sync_config": "path of `sync_config.json`, from the project's folder",
    "bundle": "path of the function's zip, from the project's folder",
    "adopt": "source tables whose targets stand in Snowflake and are taken over; "
    "for one deployment, see [below](#a-table-comes-back)",
    "tags": "at most 40 names with texts; tags of every AWS resource",
}
_KINDS = {"StrType": "text", "IntType": "number", "BoolType": "true or false"}


def page(document: Path) -> str:
    """Return the document with its table as the settings are now."""
    return replaced(document.read_text(), "settings", _rows())


def groups() -> dict[str, type[Struct]]:
    """Return the groups of settings by their key."""
    return {
        field.name: field.type
        for field in msgspec.structs.fields(StackSettings)
        if isinstance(field.type, type) and issubclass(field.type, Struct)
    }


def plain() -> tuple[str, ...]:
    """Return the keys without a group."""
    every = {field.name for field in msgspec.structs.fields(StackSettings)}
    return tuple(sorted(every - set(groups()) - {"stack"}))


def _rows() -> Iterator[str]:
    yield "| Key | What | Default |"
    yield "| --- | --- | --- |"
    for group, model in groups().items():
        for field in msgspec.structs.fields(model):
            said = _described(field.type)
            yield f"| `{group}.{field.name}` | {said} | {_default(field)} |"
    for name in plain():
        (field,) = (f for f in msgspec.structs.fields(StackSettings) if f.name == name)
        said = _PLAIN.get(name) or _described(field.type)
        yield f"| `{name}` | {said} | {_default(field)} |"


def _described(annotated: Any) -> str:
    """Return the description that an error shows as allowed, or the type's name."""
    metas = getattr(annotated, "__metadata__", ())
    said = [meta.description for meta in metas if meta.description]
    if said:
        # As it is: an angle bracket would begin an element.
        return str(said[0]).replace("|", "\\|").replace("<", "&lt;")
    return _KINDS.get(type(type_info(annotated)).__name__, "text")


def _default(field: Any) -> str:
    if field.default is NODEFAULT and field.default_factory is NODEFAULT:
        return "**needed**"
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in (None, "", (), {}) else "-"
