"""The rules as Pulumi's policies, all of them mandatory."""

from collections.abc import Iterator, Mapping
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from infra.policy_pack import access, encryption, keeping, networking
from infra.policy_pack.model import Resource, Rule, StackRule, Unknown
from infra.stack import PROJECT

RULES: tuple[Rule | StackRule, ...] = (
    *encryption.RULES,
    *access.RULES,
    *networking.RULES,
    *keeping.RULES,
)


def plain(value: Any) -> Any:
    """Return a value of Pulumi's without its wrappers, unknown ones as `Unknown`."""
    if isinstance(value, Mapping):
        return {key: _known(value, key) for key in value}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "_ListProxy":
        return [_known(value, number) for number in range(len(value))]
    return value


def _known(values: Any, key: Any) -> Any:
    try:
        value = values[key]
    except UnknownValueError as error:
        return Unknown(error.message)
    return plain(value)


def _seen(resource: Any, needs: frozenset[str] = frozenset()) -> Resource:
    provider = resource.provider
    return Resource(
        urn=resource.urn,
        type=resource.resource_type,
        name=resource.name,
        inputs=plain(resource.props),
        protect=bool(resource.opts.protect),
        provider=provider.name if provider else "",
        provider_inputs=plain(provider.props) if provider else {},
        needs=needs,
    )


def _resource_policy(rule: Rule) -> Policy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for problem in rule.problems(_seen(args)):
            report(problem, None)

    return ResourceValidationPolicy(
        name=rule.name,
        description=rule.description,
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
    )


def _stack_policy(rule: StackRule) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        seen = [
            _seen(each, frozenset(other.urn for other in each.dependencies))
            for each in args.resources
        ]
        for resource, problem in rule.problems(seen):
            report(problem, resource.urn)

    return StackValidationPolicy(
        name=rule.name,
        description=rule.description,
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
    )


def policies() -> Iterator[Policy]:
    """Return the rules for Pulumi."""
    for rule in RULES:
        yield (
            _resource_policy(rule) if isinstance(rule, Rule) else _stack_policy(rule)
        )


def serve() -> None:
    """Answer Pulumi until it ends the process; building the pack starts its server."""
    PolicyPack(name=PROJECT, policies=list(policies()))
