"""The table of permissions: each action is held by a test that fails without it."""

import inspect

import pytest

from infra.permissions import POLICIES, ROWS
from infra.permissions.row import Row
from tests.infra import test_policies
from tests.infra.deployed import CARRIERS, Documents, changed, statement, without
from tests.mutants.catalogue import is_test

GRAPH = [
    pytest.param(row, action, id=f"{row.policy.name}-{row.sid}-{action}")
    for row in ROWS
    for action, held in row.actions.items()
    if held.by == "graph"
]
DOCUMENTED = [
    pytest.param(row, id=f"{row.policy.name}-{row.sid}")
    for row in ROWS
    if row.policy.name != "vault"
]


def test_every_policy_has_its_place_and_every_statement_its_own_name():
    assert set(CARRIERS) == {policy.name for policy in POLICIES}
    names = [(row.policy.name, row.sid) for row in ROWS]
    assert len(set(names)) == len(names)
    assert [row.sid for row in ROWS if not row.why or not row.actions] == []


def test_every_permission_names_a_test_that_exists():
    named = {held.test for row in ROWS for held in row.actions.values()}
    assert [test for test in sorted(named) if not is_test(test)] == []


def test_a_wildcard_says_why_and_nothing_else_does():
    """Denied to everybody is no wildcard to be explained."""
    wide = {
        row.sid
        for row in ROWS
        if row.effect == "Allow"
        and ("*" in row.resources or any("*" in action for action in row.actions))
    }
    assert wide == {row.sid for row in ROWS if row.wide}


@pytest.mark.parametrize(("row", "action"), GRAPH)
def test_without_a_permission_its_test_fails(
    documents: Documents, row: Row, action: str
):
    name = row.actions[action].test.rpartition("::")[2]
    test = getattr(test_policies, name)
    test(documents)
    with pytest.raises((AssertionError, ValueError)):
        test(without(documents, row.policy.name, row.sid, action))


def noticed(documents: Documents) -> bool:
    """Whether a test of the documents fails."""
    for name, test in vars(test_policies).items():
        if name.startswith("test_") and list(inspect.signature(test).parameters) == [
            "documents"
        ]:
            try:
                test(documents)
            except AssertionError:
                return True
    return False


@pytest.mark.parametrize("row", DOCUMENTED)
def test_a_wider_permission_makes_a_test_fail(documents: Documents, row: Row):
    """Without one of its conditions, for everybody, or on everything."""
    assert not noticed(documents)
    policy, sid = row.policy.name, row.sid
    before = statement(documents, policy, sid)
    for operator, tests in before.get("Condition", {}).items():
        for key in tests:
            left = {
                other: {
                    name: value
                    for name, value in there.items()
                    if (other, name) != (operator, key)
                }
                for other, there in before["Condition"].items()
            }
            left = {other: there for other, there in left.items() if there}
            assert noticed(changed(documents, policy, sid, Condition=left)), key
    if before.get("Principal", "*") != "*":
        assert noticed(changed(documents, policy, sid, Principal="*"))
    if row.effect == "Allow" and before.get("Resource", "*") != "*":
        assert noticed(changed(documents, policy, sid, Resource="*"))
