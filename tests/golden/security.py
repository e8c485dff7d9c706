"""The generated parts of docs/SECURITY.md: permissions, grants and the pack's rules."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from infra.permissions import POLICIES, rows_of
from infra.permissions.grants import GRANTS, OWN_WAREHOUSE, TARGET, Grant
from infra.permissions.row import Held, Policy, Row
from infra.policy_pack.pack import RULES
from runtime.contract.aurora_sql import admin_statements, vault_admin_statements
from runtime.contract.specs import TableSpec

_NAMES = {TARGET: "each schema of targets", OWN_WAREHOUSE: "a table's own warehouse"}


def page(document: Path, specs: Iterable[TableSpec]) -> str:
    """Return the document with its tables as the program is now."""
    text = document.read_text()
    for name, lines in {
        "permissions": _permissions(),
        "grants": _table(("Role", "May", "On", "Needed because"), _grants()),
        "aurora": _aurora(specs),
        "rules": _table(("Rule", "What it holds"), _rules()),
    }.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        assert start and end, f"{document} has no place for {name}"
        text = before + start + "\n".join(lines) + "\n" + end + after
    return text


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for cells in rows:
        yield "| " + " | ".join(cells) + " |"


def _permissions() -> Iterator[str]:
    for policy in POLICIES:
        yield f"### {policy.who} (`{policy.name}`)"
        yield ""
        head = ("Statement", "Actions", "On", "When", "Why", "Held by")
        yield from _table(head, _rows(policy))
        yield ""


def _rows(policy: Policy) -> Iterator[tuple[str, ...]]:
    """Yield a line for each test of each row."""
    for row in rows_of(policy):
        tests: dict[Held, list[str]] = {}
        for action, held in row.actions.items():
            tests.setdefault(held, []).append(action)
        for held, actions in tests.items():
            yield (
                row.sid,
                ("**denied** " if row.effect == "Deny" else "") + _code(actions),
                _code(row.resources) or _principal(row),
                _when(row),
                row.why + (f"; `*` because {row.wide}" if row.wide else ""),
                f"{held.by}: `{held.test.rpartition('::')[2]}`",
            )


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _principal(row: Row) -> str:
    return f"by {_code(row.principal.values())}"


def _when(row: Row) -> str:
    parts = []
    if row.principal is not None and row.resources:
        everybody = row.principal == "*"
        who = "anybody" if everybody else _code(row.principal.values())
        parts.append(f"by {who}")
    for operator, tests in row.conditions.items():
        for key, value in tests.items():
            told = "is given" if operator == "Null" else _told(operator, value)
            parts.append(f"`{key}` {told}")
    return ", ".join(parts) or "-"


def _told(operator: str, value: Any) -> str:
    verb = {
        "StringNotEquals": "is not",
        "ArnLike": "is like",
        "StringLike": "is like",
        "allowed_parameters": "is like",
    }.get(operator, "is")
    return f"{verb} {_code([value] if isinstance(value, str) else value)}"


def _grants() -> Iterator[tuple[str, ...]]:
    for row in GRANTS:
        yield row.role, _code(row.privileges), _on(row), row.why


def _on(row: Grant) -> str:
    place = _NAMES.get(row.on) or f"`{row.on.strip('{}').upper()}`"
    return {
        "ACCOUNT": "the account",
        "TABLES": f"future tables in {place}",
        "VIEWS": f"future views in {place}",
    }.get(row.kind, place)


def _aurora(specs: Iterable[TableSpec]) -> Iterator[str]:
    statements = (
        *admin_statements(specs),
        *vault_admin_statements("vault", "'<password>'"),
    )
    yield "```sql"
    for statement in statements:
        if statement.startswith(("GRANT", "ALTER ROLE")):
            yield f"{statement};"
    yield "```"


def _rules() -> Iterator[tuple[str, ...]]:
    for rule in RULES:
        left_out = (f"but `{name}`: {why}" for name, why in rule.exempt.items())
        yield f"`{rule.name}`", "; ".join((rule.description, *left_out))
