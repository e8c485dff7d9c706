"""The documents that the program registers, by their names in the table."""

import json
from copy import deepcopy
from typing import Any

from infra.permissions import POLICIES
from infra.permissions.row import Document, Policy, Statement
from tests.infra.recording import Graph, Recorded

Documents = dict[str, Document]

# Policy -> the resource that carries it in the example.
CARRIERS = {
    "aurora-trust": "aurora-role",
    "aurora": "aurora-policy",
    "snowflake-trust": "trust-role",
    "snowflake": "trust-policy",
    "exporter-trust": "exporter-role-role",
    "exporter": "exporter-role-policy",
    "checker-trust": "checker-role",
    "checker": "checker-policy",
    "snowflake-errors-trust": "errors-role",
    "snowflake-errors": "errors-policy",
    "vault": "vault-policy",
    "bucket": "lake-policy",
    "key": "lake-key",
    "topic": "events-policy",
    "alarm-topic": "alarms-policy",
    "dead-letters": "exporter-dead-letters-policy",
    "load-queue": "exporter-load-policy",
    # The other endpoints carry the same.
    "endpoint": "network-s3",
    "function": "exporter-schedules",
    "checker-function": "checker-schedule",
}


def documents(graph: Graph) -> Documents:
    """Return the document of each policy but Vault's, which has no statements."""
    found = {}
    for policy in POLICIES:
        if policy.name != "vault":
            (carrier,) = (
                each
                for each in graph.resources
                if each.type == policy.resource and each.name == CARRIERS[policy.name]
            )
            found[policy.name] = _document(policy, carrier)
    return found


def _document(policy: Policy, carrier: Recorded) -> Document:
    if policy.input:
        document: Document = json.loads(carrier.inputs[policy.input])
        return document
    return {"Statement": [permission(carrier.inputs)]}


def permission(inputs: dict[str, Any]) -> Statement:
    """Return the statement that Lambda makes of a permission."""
    return {
        "Sid": "Schedules",
        "Effect": "Allow",
        "Principal": {"Service": inputs["principal"]},
        "Action": [inputs["action"]],
        "Resource": inputs["function"],
        "Condition": {
            "StringEquals": {"aws:SourceAccount": inputs["sourceAccount"]},
            "ArnLike": {"aws:SourceArn": inputs["sourceArn"]},
        },
    }


def statement(found: Documents, policy: str, sid: str) -> Statement:
    """Return the statement of that name."""
    (one,) = (each for each in found[policy]["Statement"] if each["Sid"] == sid)
    return one


def without(found: Documents, policy: str, sid: str, action: str) -> Documents:
    """Return the documents with one action less."""
    changed = deepcopy(found)
    one = statement(changed, policy, sid)
    actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
    one["Action"] = [each for each in actions if each != action]
    assert len(one["Action"]) == len(actions) - 1, f"{policy} {sid} has no {action}"
    if not one["Action"]:
        changed[policy]["Statement"].remove(one)
    return changed


def changed(found: Documents, policy: str, sid: str, **fields: Any) -> Documents:
    """Return the documents with other fields of one statement; None takes one out."""
    copied = deepcopy(found)
    one = statement(copied, policy, sid)
    for name, value in fields.items():
        assert one[name] != value
        if value:
            one[name] = value
        else:
            del one[name]
    return copied
