"""Who may do what, which secrets stand where, and which previews are used."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.permissions import POLICIES
from infra.permissions.match import is_vault_policy, strangers
from infra.permissions.roles import VAULT
from infra.permissions.row import Policy
from infra.policy_pack.model import Resource, Rule, Unknown
from infra.policy_pack.place import Place
from infra.providers import PREVIEW_FEATURES

# Other ways to give rights, which the table does not know.
_OTHER_WAYS = re.compile(
    r"aws:iam/(policy|rolePolicyAttachment|policyAttachment|group\w*|user\w*|accessKey)"
    r"|aws:secretsmanager/secretPolicy|aws:lambda/functionUrl"
    r"|aws:s3/bucketAcl|aws:s3/accessPoint\w*|aws:kms/grant|aws:kms/keyPolicy"
    r"|aws:dynamodb/resourcePolicy"
)
_INPUTS = ("policy", "assumeRolePolicy")
_PERMISSION = "aws:lambda/permission"


def permission(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statement that Lambda makes of a permission."""
    conditions: dict[str, Any] = {}
    if account := inputs.get("sourceAccount"):
        conditions["StringEquals"] = {"aws:SourceAccount": account}
    if source := inputs.get("sourceArn"):
        conditions["ArnLike"] = {"aws:SourceArn": source}
    return {
        "Sid": "Schedules",
        "Effect": "Allow",
        "Principal": {"Service": inputs["principal"]},
        "Action": [inputs["action"]],
        "Resource": inputs["function"],
        "Condition": conditions,
    }


# Which input tells whose a policy is: the last word of a name, an ARN or a URL.
_HOLDERS = {
    "aws:iam/role:Role": "name",
    "aws:iam/rolePolicy:RolePolicy": "role",
    "aws:lambda/permission:Permission": "function",
    "aws:s3/bucketPolicy:BucketPolicy": "bucket",
    "aws:sns/topicPolicy:TopicPolicy": "arn",
    "aws:sqs/queuePolicy:QueuePolicy": "queueUrl",
    "vault:index/policy:Policy": "name",
}


def _in_the_table(resource: Resource) -> Iterator[str]:
    if _OTHER_WAYS.fullmatch(resource.kind):
        yield "the table of permissions has no such resource"
    if resource.inputs.get("managedPolicyArns") or resource.inputs.get(
        "inlinePolicies"
    ):
        yield "the role brings policies that the table does not have"
    if resource.kind == _PERMISSION:
        if not any(isinstance(each, Unknown) for each in resource.inputs.values()):
            yield from _strangers(
                resource, "", {"Statement": [permission(resource.inputs)]}
            )
    for key in _INPUTS:
        text = resource.inputs.get(key)
        if text and isinstance(text, str) and not isinstance(text, Unknown):
            yield from _text(resource, key, text)
    for policy in POLICIES:
        if policy.resource == resource.type and policy.input:
            if not resource.inputs.get(policy.input):
                yield f"{policy.input} is missing: AWS would set one of its own"


def _text(resource: Resource, key: str, text: str) -> Iterator[str]:
    if resource.type == VAULT.resource:
        place = Place(resource.stack, "", "")
        mine = _is_holders(resource, VAULT, place)
        if not mine or not is_vault_policy(text, VAULT, place.known):
            yield f"it is not policy {VAULT.name!r} of the table"
    elif resource.type.startswith("aws:"):
        yield from _strangers(resource, key, json.loads(text))


def _strangers(resource: Resource, key: str, document: dict[str, Any]) -> Iterator[str]:
    given = resource.provider_inputs
    accounts = _parsed(given.get("allowedAccountIds") or "[]")
    if len(accounts) != 1 or not given.get("region"):
        yield "its provider is not held to one account and one region"
        return
    place = Place(resource.stack, accounts[0], given["region"])
    possible = [
        policy
        for policy in POLICIES
        if (policy.resource, policy.input) == (resource.type, key)
        and _is_holders(resource, policy, place)
    ]
    yield from strangers(document, possible, place.known)


def _is_holders(resource: Resource, policy: Policy, place: Place) -> bool:
    """Whether a policy is for the role, queue, topic, bucket or function there."""
    told = resource.inputs.get(_HOLDERS.get(resource.type, ""))
    if not told or isinstance(told, Unknown):
        return True
    return re.split("[/:]", told)[-1] == place.holder(policy)


def _parsed(given: Any) -> Any:
    """Return what a provider was given, which Pulumi passes as JSON text."""
    return json.loads(given) if isinstance(given, str) else given


# Names of inputs that hold secrets, and where the program may set one: Pulumi hides
# from a policy which values are secret; that these are is held by the program's tests.
_SECRET_NAME = re.compile(
    r"(?i)(password|passphrase|secret_?key|private_?key|token)(wo)?"
)
_SECRET_PLACES = {
    ("pulumi:providers:snowflake", "privateKey"),
    (
        "vault:database/secretBackendConnection:SecretBackendConnection",
        "postgresql.passwordWo",
    ),
}
_SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bA[KS]IA[0-9A-Z]{16}\b|\bhv[sb]\.[\w-]{20,}"
    r"|://[^/\s:@{]+:[^/\s@{]+@"
)


def _values(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _values(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _values(each, path)
    else:
        yield path, value


def _no_secret(resource: Resource) -> Iterator[str]:
    for path, value in _values(resource.inputs, ""):
        if not isinstance(value, str) or (resource.type, path) in _SECRET_PLACES:
            continue
        if value and _SECRET_NAME.fullmatch(path.rpartition(".")[2].split("__")[0]):
            yield f"{path} is a secret that stands in the program"
        elif _SECRET_VALUE.search(value):
            yield f"{path} holds a key or a password"
        elif path.startswith("environment.") and re.search(
            r"PASSWORD|PRIVATE_KEY|SECRET_KEY|TOKEN", path
        ):
            yield f"{path} gives the function a secret"


def _named_previews(resource: Resource) -> Iterator[str]:
    if resource.type.startswith("snowflake:"):
        given = resource.provider_inputs.get("previewFeaturesEnabled", [])
    elif resource.type == "pulumi:providers:snowflake":
        given = resource.inputs.get("previewFeaturesEnabled", [])
    else:
        return
    for name in sorted(set(_parsed(given)) - set(PREVIEW_FEATURES)):
        yield f"preview feature {name!r} is not among those that the program names"


RULES = (
    Rule(
        name="permission-in-the-table",
        description="Every statement is a row of the table of permissions, whose "
        "wildcards say why, with the names of this stack, account and region, and "
        "stands at whose it is",
        check=_in_the_table,
    ),
    Rule(
        name="no-plain-secret",
        description="No password, key or token stands in an input",
        check=_no_secret,
    ),
    Rule(
        name="named-previews",
        description="Of Snowflake's previews only the named ones are used",
        check=_named_previews,
    ),
)
