"""A row of the table of permissions, and how rows become documents.

A policy is a tuple of rows; a row is one statement. Resources, principals and
conditions are templates: `{bucket_arn}` stands for a value that is known when the
policy is rendered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Document = dict[str, Any]
Statement = dict[str, Any]

DOCS = "docs.aws.amazon.com"
# The test that holds what every role may do with the lake's key.
KEY_USE = "test_the_key_is_used_through_s3_only"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What carries statements.

    Attributes:
        name: Its name in the table and in docs/SECURITY.md.
        who: Who holds it, or what it guards.
        resource: Pulumi's token of the resource that carries it.
        input: That resource's input.
        part: What tells the name of the role, queue, topic or function that has it
            from the stack's others; empty where that has no such name.
    """

    name: str
    who: str
    resource: str
    input: str = "policy"
    part: str = ""


def trust(name: str, who: str, part: str) -> Policy:
    """Return the policy of who takes a role."""
    return Policy(
        name=name,
        who=who,
        resource="aws:iam/role:Role",
        input="assumeRolePolicy",
        part=part,
    )


def identity(name: str, who: str, part: str) -> Policy:
    """Return the policy of what a role may do."""
    return Policy(
        name=name, who=who, resource="aws:iam/rolePolicy:RolePolicy", part=part
    )


@dataclass(frozen=True)
class Held:
    """The test that fails when an action is missing.

    Attributes:
        by: `behaviour` on the local stack, where it enforces; else `graph`, a decision
            on the very document that the program registers.
        test: Its file below `tests/` and its name.
    """

    by: Literal["behaviour", "graph"]
    test: str


def behaviour(test: str, *actions: str) -> dict[str, Held]:
    """Return actions that a test of `tests/integration` holds."""
    return dict.fromkeys(actions, Held("behaviour", f"integration/{test}"))


def graph(test: str, *actions: str) -> dict[str, Held]:
    """Return actions that a test of `tests/infra/test_policies.py` holds."""
    return dict.fromkeys(actions, Held("graph", f"infra/test_policies.py::{test}"))


def via(service: str) -> dict[str, dict[str, list[str]]]:
    """Return the condition that a key is used through a service, not called."""
    return {"StringEquals": {"kms:ViaService": [service + ".{region}.amazonaws.com"]}}


@dataclass(frozen=True)
class Row:
    """One statement.

    Attributes:
        policy: Where it stands.
        sid: Its name there.
        actions: Each action, at Vault each capability, with the test that holds it.
        resources: Templates of what it is about; of a trust policy none.
        why: What it is needed for, or what it prevents.
        conditions: Templates; at Vault the allowed parameters of a path.
        principal: Template, in the policies of resources and trusts.
        effect: Allow or Deny.
        wide: Why an allowed action or resource may be `*`; empty where none is.
        source: Where the vendor says so.
    """

    policy: Policy
    sid: str
    actions: Mapping[str, Held]
    resources: tuple[str, ...]
    why: str
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    principal: Any = None
    effect: Literal["Allow", "Deny"] = "Allow"
    wide: str = ""
    source: str = ""

    def statement(self, **values: Any) -> Statement:
        """Return the statement for these names and ARNs."""
        found: Statement = {"Sid": self.sid, "Effect": self.effect}
        if self.principal is not None:
            found["Principal"] = filled(self.principal, values)
        actions = list(self.actions)
        found["Action"] = actions if self.resources else actions[0]
        if self.resources:
            resources = [filled(each, values) for each in self.resources]
            found["Resource"] = resources if len(resources) > 1 else resources[0]
        if self.conditions:
            found["Condition"] = filled(self.conditions, values)
        return found

    def path(self, **values: Any) -> str:
        """Return the block of Vault's policy language."""
        (template,) = self.resources
        lines = [f'path "{filled(template, values)}" {{']
        lines.append(f"  capabilities = [{_quoted(self.actions)}]")
        for block, parameters in self.conditions.items():
            lines.append(f"  {block} = {{")
            for name, allowed in filled(parameters, values).items():
                lines.append(f'    "{name}" = [{_quoted(allowed)}]')
            lines.append("  }")
        return "\n".join([*lines, "}", ""])


def _quoted(words: Any) -> str:
    return ", ".join(f'"{word}"' for word in words)


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill a template; one that is a single name may stand for a list."""
    if isinstance(template, Mapping):
        return {key: filled(each, values) for key, each in template.items()}
    if isinstance(template, (list, tuple)):
        return [filled(each, values) for each in template]
    name = template[1:-1]
    if template == f"{{{name}}}" and name in values:
        return values[name]
    return template.format_map(values)


def document(rows: tuple[Row, ...], **values: Any) -> Document:
    """Return the policy document of rows.

    Args:
        rows: Rows of one policy.
        **values: What their templates name.
    """
    return {
        "Version": "2012-10-17",
        "Statement": [row.statement(**values) for row in rows],
    }
