"""Decides requests by policy documents, in the little of IAM that ours use.

Deny wins, then Allow, else no. A condition operator that this module does not know is
an error, so that a policy is never judged by half of what it says.
"""

from fnmatch import fnmatchcase
from typing import Any

Context = dict[str, str]


def decide(document: dict[str, Any], action: str, resource: str, **context: str) -> str:
    """Return `allow`, `deny` (explicitly) or `none`.

    Args:
        document: A policy document.
        action: Such as s3:GetObject.
        resource: An ARN.
        **context: Condition keys, with `__` for the colon and `_` for the hyphen.
    """
    known = {_key(name): value for name, value in context.items()}
    effects = {
        statement["Effect"]
        for statement in document["Statement"]
        if _any_matches(statement["Action"], action)
        and _any_matches(statement.get("Resource", "*"), resource)
        and all(
            _holds(operator, key.lower(), wanted, known)
            for operator, tests in statement.get("Condition", {}).items()
            for key, wanted in tests.items()
        )
    }
    if "Deny" in effects:
        return "deny"
    return "allow" if "Allow" in effects else "none"


def _key(name: str) -> str:
    return name.replace("__", ":").replace("_", "-").lower()


def _any_matches(patterns: str | list[str], value: str) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(value, _literal(pattern)) for pattern in listed)


def _literal(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _holds(operator: str, key: str, wanted: str | list[str], context: Context) -> bool:
    value = context.get(key)
    listed = [wanted] if isinstance(wanted, str) else wanted
    if operator == "Null":
        return (value is None) == (listed == ["true"])
    if operator == "StringNotEquals":
        return value not in listed
    if value is None:
        return False
    if operator in ("StringEquals", "Bool"):
        return value in listed
    if operator in ("StringLike", "ArnLike", "ArnEquals"):
        return _any_matches(listed, value)
    raise NotImplementedError(operator)
