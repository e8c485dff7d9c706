"""Resources as they stand beside those that the program would register."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.local.adapter.cloud import UNKNOWN, shown
from infra.local.adapter.record import Resource
from infra.planning.model import Action, Kind, Refusal, ResourceChange
from infra.planning.recording import Recording, Registered
from runtime.contract.errors import SyncError

# What tells a resource from another one: with another name it is another one. Of its
# other inputs the provider decides, which only a preview asks.
_IDENTITY = frozenset({"name", "bucket", "database", "schema", "hashKey", "rangeKey"})
# What holds data, by the kind of loss.
_HOLDING: dict[str, Kind] = {
    "aws:s3/bucket:Bucket": "bucket",
    "aws:dynamodb/table:Table": "ledger",
    "aws:kms/key:Key": "key",
    "snowflake:index/database:Database": "database",
    "snowflake:index/schema:Schema": "database",
    "snowflake:index/table:Table": "database",
}
_TABLE = "table-"
# A path, which says nothing of what is in the bundle.
_CODE = "code"
_FUNCTION = "aws:lambda/function:Function"
_TARGET = ("snowflake:index/table:Table", "-target")
_OPS: dict[str, Action] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
}


def compare(
    standing: Mapping[tuple[str, str], Resource],
    planned: Recording,
    *,
    new_code: bool = False,
) -> tuple[ResourceChange, ...]:
    """Return what changes, in the order of the program; what goes comes last.

    Args:
        standing: Resources as they stand, by type and name.
        planned: What the program registers.
        new_code: Whether the function's code, or a contract in it, is another.
    """
    order = planned.order()
    wanted = sorted(
        (each for each in planned.resources if _is_real(each)),
        key=lambda each: (order[each.urn], each.type, each.name),
    )
    changes = [
        _change(standing.get((each.type, each.name)), each, new_code) for each in wanted
    ]
    kept = {(each.type, each.name) for each in wanted}
    gone = [
        ResourceChange(action=_end(kind, name), type=kind, name=name)
        for kind, name in sorted(standing)
        if (kind, name) not in kept and not kind.startswith("pulumi:")
    ]
    return (*(each for each in changes if each is not None), *gone)


def _is_real(each: Registered) -> bool:
    return each.custom and not each.type.startswith("pulumi:")


def _end(kind: str, name: str) -> Action:
    """Targets of tables are retained when they leave the program."""
    retained = kind == _TARGET[0] and name.startswith(_TABLE)
    return "leave" if retained and name.endswith(_TARGET[1]) else "delete"


def _change(
    before: Resource | None, now: Registered, new_code: bool
) -> ResourceChange | None:
    if before is None:
        return ResourceChange(action="create", type=now.type, name=now.name)
    keys = tuple(_differing(before.inputs, shown(now.inputs)))
    if new_code and now.type == _FUNCTION:
        keys = (_CODE, *keys)
    if not keys:
        return None
    action: Action = "replace" if _IDENTITY & set(keys) else "update"
    return ResourceChange(action=action, type=now.type, name=now.name, keys=keys)


def _differing(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *now} - {_CODE}):
        if not _same(before.get(key), now.get(key)):
            yield key


def _same(before: Any, now: Any) -> bool:
    """What is known only after the deployment differs from nothing."""
    if now == UNKNOWN:
        return True
    if isinstance(before, dict) and isinstance(now, dict):
        return all(_same(before.get(key), now.get(key)) for key in {*before, *now})
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_same, before, now))
    return bool(before == now)


def previewed(text: str) -> tuple[ResourceChange, ...]:
    """Read what `pulumi preview --json` prints.

    Source: https://www.pulumi.com/docs/iac/cli/commands/pulumi_preview/ and
    PreviewDigest in github.com/pulumi/pulumi, pkg/display/json.go

    Raises:
        PreviewError: When it is something else.
    """
    try:
        steps = [_step(each) for each in json.loads(text).get("steps", ())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PreviewError(
            f"cannot be read ({type(error).__name__})",
            subject="output of `pulumi preview --json`",
            got=text[:200],
            remedy="run it by hand and read what it says",
        ) from error
    found = {(one.type, one.name, one.action): one for one in steps if one is not None}
    return tuple(found.values())


class PreviewError(SyncError):
    """Pulumi's preview fails, or says what cannot be read."""

    code = "preview"


def _step(step: Mapping[str, Any]) -> ResourceChange | None:
    op, urn = str(step["op"]), str(step["urn"])
    kind, name = urn.split("::")[-2].rpartition("$")[2], urn.split("::")[-1]
    state = step.get("newState") or step.get("oldState") or {}
    if op not in _OPS or kind.startswith("pulumi:") or state.get("custom") is False:
        return None
    reasons = step.get("replaceReasons") or step.get("diffReasons") or ()
    keys = tuple(str(each) for each in reasons)
    action = _end(kind, name) if op == "delete" else _OPS[op]
    return ResourceChange(action=action, type=kind, name=name, keys=keys)


def resource_refusals(changes: Sequence[ResourceChange]) -> tuple[Refusal, ...]:
    """Find what holds data of the whole stack and would go or be made anew.

    Args:
        changes: What changes; tables' own resources are judged with their tables.
    """
    return tuple(
        Refusal(
            kind=_HOLDING[each.type],
            table="",
            fact=f"{each.type.rpartition(':')[2]} {each.name} would "
            + ("be deleted" if each.action == "delete" else "be another one")
            + (f" ({', '.join(each.keys)})" if each.keys else "")
            + ": what it holds stays behind or is lost",
            remedy="set back what names it (the stack's name, account, region or "
            "database); to move, deploy a second stack and let it load",
        )
        for each in changes
        if each.action in ("replace", "delete")
        and each.type in _HOLDING
        and not each.name.startswith(_TABLE)
    )
