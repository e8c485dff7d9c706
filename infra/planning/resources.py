"""Resources as they stand beside those that the program would register."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from infra.local.adapter.cloud import UNKNOWN, shown
from infra.local.adapter.record import RETAINED, Resource
from infra.local.adapter.retained import TABLE
from infra.planning.model import Action, Kind, Refusal, ResourceChange
from infra.planning.recording import Recording, Registered
from infra.planning.targets import PREFIX, TARGET
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
    TABLE: "database",
}
# A path, which says nothing of what is in the bundle.
_CODE = "code"
_FUNCTION = "aws:lambda/function:Function"
# What its provider renames in place.
_PLACES = {TABLE: _IDENTITY - {"name"}}
_OPS: dict[str, Action] = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "import": "import",
    "import-replacement": "replace",
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
        ResourceChange(
            action="leave" if RETAINED in one.options else "delete",
            type=kind,
            name=name,
        )
        for (kind, name), one in sorted(standing.items(), key=lambda item: item[0])
        if (kind, name) not in kept and not kind.startswith("pulumi:")
    ]
    return (*(each for each in changes if each is not None), *gone)


def _is_real(each: Registered) -> bool:
    return each.custom and not each.type.startswith("pulumi:")


def _change(
    before: Resource | None, now: Registered, new_code: bool
) -> ResourceChange | None:
    if before is None:
        action: Action = "import" if now.import_id else "create"
        return ResourceChange(action=action, type=now.type, name=now.name)
    keys = tuple(_differing(before.inputs, shown(now.inputs)))
    if new_code and now.type == _FUNCTION:
        keys = (_CODE, *keys)
    if not keys:
        return None
    named = _PLACES.get(now.type, _IDENTITY)
    action = "replace" if named & set(keys) else "update"
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
    action = _OPS[op]
    if op == "delete" and (step.get("oldState") or {}).get("retainOnDelete"):
        action = "leave"
    return ResourceChange(action=action, type=kind, name=name, keys=keys)


def resource_refusals(
    changes: Sequence[ResourceChange], told: Collection[str] = ()
) -> tuple[Refusal, ...]:
    """Find what holds data and would go or be made anew.

    Args:
        changes: What changes; what moves a table's rows on is judged with the table.
        told: Slugs of tables whose target was judged to be another one already.
    """
    lost = [each for each in changes if each.action in ("replace", "delete")]
    found = []
    for each in lost:
        if each.type == TABLE and each.name.startswith(PREFIX):
            name = each.name.removeprefix(PREFIX).removesuffix(TARGET)
            if each.name.endswith(TARGET) and name not in told:
                found.append(_of_target(each, name))
        elif each.type in _HOLDING:
            found.append(_of_stack(each))
    return tuple(found)


def _of_target(change: ResourceChange, table: str) -> Refusal:
    if change.action == "delete":
        return Refusal(
            kind="removed-table",
            table=table,
            fact="its target would be dropped with all rows: the stack stands with "
            "deletion_protection: false",
            remedy="set deletion_protection: true and deploy before the entry goes; or "
            "clone the target (CREATE TABLE … CLONE) and allow it",
        )
    return Refusal(
        kind="target",
        table=table,
        fact=f"the target would be made anew{_because(change)}: its rows stay behind, "
        "or go",
        remedy="set back what names it; or allow it and run `aurora-sync backfill "
        f"{table}` after the deployment",
    )


def _of_stack(change: ResourceChange) -> Refusal:
    fact = "be deleted with what it holds"
    if change.action == "replace":
        fact = (
            f"be another one{_because(change)}: what it holds stays behind or is lost"
        )
    return Refusal(
        kind=_HOLDING[change.type],
        table="",
        fact=f"{change.type.rpartition(':')[2]} {change.name} would {fact}",
        remedy="set back what names it (the stack's name, account, region or "
        "database); to move, deploy a second stack and let it load",
    )


def _because(change: ResourceChange) -> str:
    return f" ({', '.join(change.keys)})" if change.keys else ""
