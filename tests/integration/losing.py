"""Taking one right away from what is deployed, and giving it back."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra.local.vault import vault_client
from tests.integration.conftest import Sandbox
from tests.integration.refusing import Scene


@contextmanager
def without_action(
    sandbox: Sandbox, role: str, action: str, resource: str = ""
) -> Iterator[None]:
    """Take an action from the role's only policy, as it is deployed.

    Args:
        sandbox: The running stack.
        role: Name of the role.
        action: What the role may no longer do.
        resource: Text in the resources that lose it; all of them by default.
    """
    iam = sandbox.aws("iam")
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    named = {"RoleName": role, "PolicyName": policy}
    before = iam.get_role_policy(**named)["PolicyDocument"]
    after = before | {"Statement": _reduced(before["Statement"], action, resource)}
    assert after != before, f"{role} has no {action} on {resource or 'anything'}"
    iam.put_role_policy(**named, PolicyDocument=json.dumps(after))
    try:
        yield
    finally:
        iam.put_role_policy(**named, PolicyDocument=json.dumps(before))


def _reduced(
    statements: list[dict[str, Any]], action: str, resource: str
) -> list[dict[str, Any]]:
    left = []
    for each in statements:
        resources = each["Resource"]
        resources = [resources] if isinstance(resources, str) else resources
        kept = [one for one in resources if resource not in one]
        if each["Effect"] == "Deny" or action not in each["Action"]:
            left.append(each)
            continue
        if kept:
            left.append(each | {"Resource": kept})
        if others := [one for one in each["Action"] if one != action]:
            lost = [one for one in resources if one not in kept]
            left.append(each | {"Action": others, "Resource": lost})
    return left


@contextmanager
def changed_trust(sandbox: Sandbox, role: str, **fields: Any) -> Iterator[None]:
    """Change the one statement of a role's trust."""
    iam = sandbox.aws("iam")
    before = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    (statement,) = before["Statement"]
    after = before | {"Statement": [statement | fields]}
    assert after != before
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(after))
    try:
        yield
    finally:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(before))


@contextmanager
def without_path(scene: Scene, path: str) -> Iterator[None]:
    """Take one path from the exporter's policy at Vault, as it is deployed."""
    system: Any = vault_client(scene.sandbox.local).sys
    name = scene.settings.vault_database_role
    before = system.read_policy(name)["data"]["rules"]
    block = re.compile(rf'^path "{re.escape(path)}" {{$.*?^}}$\n', re.M | re.S)
    after = block.sub("", before)
    assert after != before, f"the policy has no {path}"
    system.create_or_update_policy(name, after)
    try:
        yield
    finally:
        system.create_or_update_policy(name, before)


@contextmanager
def in_aurora(sandbox: Sandbox, change: str, back: str) -> Iterator[None]:
    """Run a statement as Aurora's superuser, and its opposite at the end."""
    sandbox.aurora(change)
    try:
        yield
    finally:
        sandbox.aurora(back)
