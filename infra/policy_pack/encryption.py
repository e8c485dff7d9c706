"""Encryption at rest and on the way, and what guards a bucket, a queue or a topic."""

from collections.abc import Iterator, Sequence

from infra.policy_pack.model import Resource, Rule, StackRule

_PUBLIC_ACCESS = (
    "blockPublicAcls",
    "blockPublicPolicy",
    "ignorePublicAcls",
    "restrictPublicBuckets",
)
# What must stand beside a resource and refer to it.
_GUARDS = {
    "aws:s3/bucket": (
        "aws:s3/bucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning",
        "aws:s3/bucketPublicAccessBlock",
        "aws:s3/bucketOwnershipControls",
        "aws:s3/bucketPolicy",
    ),
    "aws:sqs/queue": ("aws:sqs/queuePolicy",),
    "aws:sns/topic": ("aws:sns/topicPolicy",),
}


def _at_rest(resource: Resource) -> Iterator[str]:
    inputs = resource.inputs
    encrypted = {
        "aws:sqs/queue": inputs.get("sqsManagedSseEnabled") is True
        or inputs.get("kmsMasterKeyId"),
        "aws:sns/topic": inputs.get("kmsMasterKeyId"),
        "aws:cloudwatch/logGroup": inputs.get("kmsKeyId"),
        "aws:dynamodb/table": (inputs.get("serverSideEncryption") or {}).get("enabled"),
    }
    if not encrypted.get(resource.kind, True):
        yield "it is not encrypted"


def _bucket_encryption(resource: Resource) -> Iterator[str]:
    if resource.kind == "aws:s3/bucketServerSideEncryptionConfiguration":
        for rule in resource.inputs["rules"]:
            default = rule.get("applyServerSideEncryptionByDefault") or {}
            if default.get("sseAlgorithm") != "aws:kms":
                yield "the bucket's default encryption is not aws:kms"
            if not default.get("kmsMasterKeyId"):
                yield "the bucket's default encryption names no key"


def _bucket_settings(resource: Resource) -> Iterator[str]:
    inputs = resource.inputs
    if resource.kind == "aws:s3/bucketPublicAccessBlock":
        for name in _PUBLIC_ACCESS:
            if inputs.get(name) is not True:
                yield f"{name} is not true"
    elif resource.kind == "aws:s3/bucketVersioning":
        if inputs["versioningConfiguration"].get("status") != "Enabled":
            yield "versioning is not enabled"
    elif resource.kind == "aws:s3/bucketOwnershipControls":
        if inputs["rule"].get("objectOwnership") != "BucketOwnerEnforced":
            yield "objects can belong to others than the bucket's owner"


def _guarded(resources: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    for resource in resources:
        beside = {each.kind for each in resources if resource.urn in each.needs}
        for guard in _GUARDS.get(resource.kind, ()):
            if guard not in beside:
                yield resource, f"no {guard} stands beside it"


def _rotated(resource: Resource) -> Iterator[str]:
    if resource.kind == "aws:kms/key":
        if resource.inputs.get("enableKeyRotation") is not True:
            yield "the key does not rotate"


RULES = (
    Rule(
        name="encrypted-at-rest",
        description="Queues, topics, log groups and tables are encrypted",
        check=_at_rest,
    ),
    Rule(
        name="bucket-under-our-key",
        description="Buckets encrypt with a key of KMS that is named",
        check=_bucket_encryption,
    ),
    Rule(
        name="private-versioned-bucket",
        description="Buckets are private, versioned and own their objects",
        check=_bucket_settings,
    ),
    Rule(
        name="rotating-key",
        description="Keys rotate",
        check=_rotated,
    ),
    StackRule(
        name="guarded",
        description="Each bucket, queue and topic has its policy, each bucket its "
        "encryption, versioning, ownership and public access block; that a policy "
        "refuses plain HTTP, the rule permission-in-the-table holds",
        check=_guarded,
    ),
)
