"""What is tagged, named, kept, and not lost when it fails."""

import json
import re
from collections.abc import Iterator, Sequence

from infra.policy_pack.limits import LIMITS
from infra.policy_pack.model import Resource, Rule, StackRule, Unknown
from infra.stack import PROJECT

_TAGS = {f"{PROJECT}:project", f"{PROJECT}:stack"}
# What holds data, and in how many ways it can be kept from deletion.
_WAYS = {"aws:s3/bucket": 2, "aws:kms/key": 1, "aws:dynamodb/table": 2}
_LONGEST_SECONDS = 900
_NEXT_LOOK = "a look that fails is not made up for; its silence is an alarm"


def _tagged(resource: Resource) -> Iterator[str]:
    """Default tags reach every resource that can be tagged."""
    if not resource.type.startswith("aws:"):
        return
    given = resource.provider_inputs.get("defaultTags") or "{}"
    defaults = json.loads(given) if isinstance(given, str) else given
    tags = {*(defaults.get("tags") or {}), *(resource.inputs.get("tags") or {})}
    for name in sorted(_TAGS - tags):
        yield f"neither it nor its provider has the tag {name}"


def _named(resource: Resource) -> Iterator[str]:
    limit = LIMITS.get(resource.type)
    if limit is None:
        return
    name = resource.inputs.get(limit.key)
    if not name:
        yield "it has no name of its own: Pulumi would make one up"
    elif not isinstance(name, Unknown):
        if len(name) > limit.most or not re.fullmatch(limit.form, name):
            yield (
                f"the name {name!r} is not {limit.form} of at most {limit.most} "
                f"characters: {limit.source}"
            )


def _recoverable(resource: Resource) -> Iterator[str]:
    inputs = resource.inputs
    if resource.kind == "aws:dynamodb/table":
        if (inputs.get("pointInTimeRecovery") or {}).get("enabled") is not True:
            yield "the table cannot be recovered"
    if resource.kind == "aws:kms/key" and inputs.get("deletionWindowInDays") != 30:
        yield "the key does not wait for 30 days before it is deleted"


def _kept(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    """Hold all data or, where the stack gives its protection up, none."""
    open_ones = [(each, list(_deletable(each))) for each in resources]
    holding = [(each, ways) for each, ways in open_ones if each.kind in _WAYS]
    if all(len(ways) == _WAYS[each.kind] for each, ways in holding):
        return
    for resource, ways in open_ones:
        for way in ways:
            yield resource, way


def _deletable(resource: Resource) -> Iterator[str]:
    """Yield the ways in which data would go with its resource."""
    inputs = resource.inputs
    if resource.kind in _WAYS and not resource.protect:
        yield "it holds data and is not protected"
    if inputs.get("forceDestroy"):
        yield "its content would be deleted with it"
    if resource.kind == "aws:dynamodb/table":
        if inputs.get("deletionProtectionEnabled") is not True:
            yield "the table can be deleted"


def _logs_end(resource: Resource) -> Iterator[str]:
    if resource.kind == "aws:cloudwatch/logGroup":
        if not resource.inputs.get("retentionInDays"):
            yield "the log is kept for ever"


def _bounded(resource: Resource) -> Iterator[str]:
    inputs = resource.inputs
    if resource.kind == "aws:lambda/function":
        timeout = inputs.get("timeout")
        if not timeout or (
            not isinstance(timeout, Unknown) and timeout > _LONGEST_SECONDS
        ):
            yield f"the function has no timeout of at most {_LONGEST_SECONDS} s"
        if not (inputs.get("loggingConfig") or {}).get("logGroup"):
            yield "the function's log is not ours: Lambda would make one without end"
    elif resource.kind == "aws:cloudwatch/eventTarget":
        if not (inputs.get("deadLetterConfig") or {}).get("arn"):
            yield "events that cannot be delivered are lost"


def _not_lost(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    config = "aws:lambda/functionEventInvokeConfig"
    by_urn = {each.urn: each for each in resources}
    for resource in resources:
        if resource.kind == "aws:lambda/function":
            configs = [
                each
                for each in resources
                if each.kind == config and resource.urn in each.needs
            ]
            if not any(_destination(each) for each in configs):
                yield resource, "events that the function gives up are lost"
        if resource.kind == "aws:lambda/eventSourceMapping":
            for urn in sorted(resource.needs & set(by_urn)):
                queue = by_urn[urn]
                if queue.kind == "aws:sqs/queue" and not queue.inputs.get(
                    "redrivePolicy"
                ):
                    yield queue, "messages that the function gives up are lost"


def _destination(config: Resource) -> bool:
    wanted = config.inputs.get("destinationConfig") or {}
    return bool((wanted.get("onFailure") or {}).get("destination"))


RULES = (
    Rule(
        name="tagged",
        description="Every resource of AWS carries the tags of project and stack",
        check=_tagged,
    ),
    Rule(
        name="named-within-limits",
        description="Names are given and fit their service",
        check=_named,
    ),
    StackRule(
        name="data-is-kept",
        description="What holds data cannot be deleted by mistake, unless the whole "
        "stack has `deletion_protection: false`; what Pulumi leaves behind in "
        "Snowflake, which it does not tell a policy, the program's tests hold",
        check=_kept,
    ),
    Rule(
        name="data-comes-back",
        description="Deleted data can be recovered for a time, in every stack",
        check=_recoverable,
    ),
    Rule(name="logs-end", description="Logs are kept for a time", check=_logs_end),
    Rule(
        name="bounded",
        description="Functions have a timeout and a log of ours, targets dead letters",
        check=_bounded,
        exempt={"checker-target": _NEXT_LOOK},
    ),
    StackRule(
        name="nothing-lost",
        description="What a function gives up goes to the dead letters",
        check=_not_lost,
        exempt={"checker-function": _NEXT_LOOK},
    ),
)
