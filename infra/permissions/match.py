"""Which row a statement is: the table read backwards, for what is already rendered."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.permissions import rows_of
from infra.permissions.row import Document, Policy, Row, Statement

# What names may stand for in a policy, as regular expressions without groups; what a
# name stands for is the same in all of it.
Known = Callable[[Policy], Mapping[str, str]]
_NAME = re.compile(r"{(\w+)}")


@dataclass
class _Names:
    """What names stand for in one policy.

    Attributes:
        known: Regular expressions of what names may stand for.
        found: What they stand for in the policy so far.
    """

    known: Mapping[str, str]
    found: dict[str, Any] = field(default_factory=dict)

    def fit(self, template: str, text: str) -> bool:
        """Whether a text is the template with names filled in."""
        parts = _NAME.split(template)
        names = parts[1::2]
        pattern = "".join(
            f"({self.known[part]})" if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )
        match = re.fullmatch(pattern, text)
        return match is not None and all(
            self.found.setdefault(name, value) == value
            for name, value in zip(names, match.groups(), strict=True)
        )

    def fit_list(self, template: str, values: list[Any]) -> bool:
        """Whether a list stands for a single name."""
        name = _NAME.fullmatch(template)
        if not name or not values:
            return False
        pattern = self.known[name[1]]
        return (
            all(isinstance(one, str) and re.fullmatch(pattern, one) for one in values)
            and self.found.setdefault(name[1], values) == values
        )


def strangers(
    document: Document, policies: Iterable[Policy], known: Known
) -> list[str]:
    """Return why a document is none of these policies; empty when it is one.

    Args:
        document: What a resource's input holds.
        policies: The policies of the table that may stand there.
        known: What names stand for.
    """
    found = [_differences(document, policy, known) for policy in policies]
    return min(found, key=len, default=["no policy of the table stands here"])


def _differences(document: Document, policy: Policy, known: Known) -> list[str]:
    """Return how a document differs from one policy of the table."""
    rows = {row.sid: row for row in rows_of(policy)}
    names = _Names(known(policy))
    problems = []
    for statement in document["Statement"]:
        sid = statement.get("Sid", "")
        row = rows.pop(sid, None)
        if row is None or not _is_row(row, statement, names):
            problems.append(
                f"statement {sid!r} is no row of policy {policy.name!r} in this stack"
            )
    problems += [f"row {sid!r} of policy {policy.name!r} is missing" for sid in rows]
    return problems


def _is_row(row: Row, statement: Statement, names: _Names) -> bool:
    """Whether a statement is the row, for what names stand for so far."""
    template = row.statement(**_themselves(row))
    return set(template) == set(statement) and _fits(template, statement, names)


def _themselves(row: Row) -> Mapping[str, str]:
    names = _NAME.findall(repr((row.resources, row.conditions, row.principal)))
    return {name: f"{{{name}}}" for name in names}


def _fits(template: Any, value: Any, names: _Names) -> bool:
    if isinstance(template, dict):
        return (
            isinstance(value, dict)
            and set(template) == set(value)
            and all(_fits(each, value[key], names) for key, each in template.items())
        )
    if isinstance(template, list):
        return (
            isinstance(value, list)
            and len(template) == len(value)
            and all(_fits(*pair, names) for pair in zip(template, value, strict=True))
        )
    if isinstance(value, list):
        return names.fit_list(template, value)
    return isinstance(value, str) and names.fit(template, value)


def is_vault_policy(text: str, policy: Policy, known: Known) -> bool:
    """Whether a text in Vault's policy language is the table's."""
    template = "".join(row.path(**_themselves(row)) for row in rows_of(policy))
    return _Names(known(policy)).fit(template, text)
