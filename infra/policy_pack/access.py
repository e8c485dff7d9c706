"""Who may do what, which secrets stand where, and which previews are used."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.permissions import POLICIES
from infra.permissions.match import is_vault_policy, strangers
from infra.permissions.roles import VAULT
from infra.policy_pack.model import Resource, Rule, Unknown
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


def _in_the_table(resource: Resource) -> Iterator[str]:
    if _OTHER_WAYS.fullmatch(resource.kind):
        yield "the table of permissions has no such resource"
    if resource.inputs.get("managedPolicyArns") or resource.inputs.get(
        "inlinePolicies"
    ):
        yield "the role brings policies that the table does not have"
    if resource.kind == _PERMISSION:
        document = {"Statement": [permission(resource.inputs)]}
        yield from strangers(document, resource.type, "")
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
        if not is_vault_policy(text, VAULT):
            yield f"it is not policy {VAULT.name!r} of the table"
    elif resource.type.startswith("aws:"):
        yield from strangers(json.loads(text), resource.type, key)


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
    features = json.loads(given) if isinstance(given, str) else given
    for name in sorted(set(features) - set(PREVIEW_FEATURES)):
        yield f"preview feature {name!r} is not among those that the program names"


RULES = (
    Rule(
        name="permission-in-the-table",
        description="Every statement is a row of the table of permissions, whose "
        "wildcards say why",
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
