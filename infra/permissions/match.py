"""Which row a statement is: the table read backwards, for what is already rendered."""

import re
from collections.abc import Mapping
from typing import Any

from infra.permissions import POLICIES, rows_of
from infra.permissions.row import Document, Policy, Row, Statement

Bound = dict[str, Any]
_NAME = re.compile(r"{(\w+)}")


def strangers(document: Document, resource: str, key: str) -> list[str]:
    """Return why a document is none of the table's; empty when it is one.

    Args:
        document: What the resource's input holds.
        resource: Pulumi's token of the resource.
        key: The input.
    """
    possible = [
        policy
        for policy in POLICIES
        if (policy.resource, policy.input) == (resource, key)
    ]
    if not possible:
        return ["no policy of the table stands here"]
    found = [_differences(document, policy) for policy in possible]
    return min(found, key=len)


def _differences(document: Document, policy: Policy) -> list[str]:
    """Return how a document differs from one policy of the table."""
    rows = {row.sid: row for row in rows_of(policy)}
    bound: Bound = {}
    problems = []
    for statement in document["Statement"]:
        sid = statement.get("Sid", "")
        row = rows.pop(sid, None)
        if row is None or not _is_row(row, statement, bound):
            problems.append(f"statement {sid!r} is no row of policy {policy.name!r}")
    problems += [f"row {sid!r} of policy {policy.name!r} is missing" for sid in rows]
    return problems


def _is_row(row: Row, statement: Statement, bound: Bound) -> bool:
    """Whether a statement is the row, for the values that are bound so far."""
    template = row.statement(**_themselves(row))
    return set(template) == set(statement) and _fits(template, statement, bound)


def _themselves(row: Row) -> Mapping[str, str]:
    names = _NAME.findall(repr((row.resources, row.conditions, row.principal)))
    return {name: f"{{{name}}}" for name in names}


def _fits(template: Any, value: Any, bound: Bound) -> bool:
    if isinstance(template, dict):
        return (
            isinstance(value, dict)
            and set(template) == set(value)
            and all(_fits(each, value[key], bound) for key, each in template.items())
        )
    if isinstance(template, list):
        return (
            isinstance(value, list)
            and len(template) == len(value)
            and all(_fits(*pair, bound) for pair in zip(template, value, strict=True))
        )
    if isinstance(value, list):
        return _fits_list(template, value, bound)
    return isinstance(value, str) and _fits_text(template, value, bound)


def _fits_list(template: str, value: list[Any], bound: Bound) -> bool:
    """Whether a list stands for a single name, without wildcards."""
    name = _NAME.fullmatch(template)
    plain = all(isinstance(each, str) and "*" not in each for each in value)
    return bool(name and value and plain) and bound.setdefault(template, value) == value


def _fits_text(template: str, value: str, bound: Bound) -> bool:
    """Whether a text is the template with names filled in, which hold no wildcard.

    A name right before a wildcard ends within a word: `rule/*` would be everybody's.
    """
    parts = _NAME.split(template)
    names = parts[1::2]
    pattern = "".join(
        (
            (
                "([^*?{}]*[^*?{}/:])"
                if parts[number + 1].startswith("*")
                else "([^*?{}]+)"
            )
            if number % 2
            else re.escape(part)
        )
        for number, part in enumerate(parts)
    )
    match = re.fullmatch(pattern, value)
    return match is not None and all(
        bound.setdefault(name, text) == text
        for name, text in zip(names, match.groups(), strict=True)
    )


def is_vault_policy(text: str, policy: Policy) -> bool:
    """Whether a text in Vault's policy language is the table's."""
    rows = rows_of(policy)
    template = "".join(row.path(**_themselves(row)) for row in rows)
    # The braces of the language itself are no names.
    pattern = "".join(
        r"[^*+\"\n]+" if number % 2 else re.escape(part)
        for number, part in enumerate(_NAME.split(template))
    )
    return re.fullmatch(pattern, text) is not None
