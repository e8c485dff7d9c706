"""The policy pack passes the whole program, and each rule fails on what it is for."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml
from pulumi_policy import (
    EnforcementLevel,
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from infra.policy_pack import access, pack
from infra.policy_pack.model import Resource, Rule, StackRule
from infra.stack import ROOT
from tests.infra import deployed
from tests.infra.recording import Graph, example_settings, run

FOLDER = ROOT / "infra" / "policy_pack"
STACKS = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))
RULES = {rule.name: rule for rule in pack.RULES}
Resources = list[Resource]


def seen(graph: Graph) -> Resources:
    """Return what the pack sees of a recorded program."""
    by_urn = {each.urn: each for each in graph.resources}
    return [
        Resource(
            urn=each.urn,
            type=each.type,
            name=each.name,
            inputs=each.inputs,
            protect="protect" in each.options,
            provider=each.provider.rpartition("::")[2],
            provider_inputs=(
                by_urn[each.provider].inputs if each.provider in by_urn else {}
            ),
            needs=each.needs,
        )
        for each in graph.resources
        if each.custom
    ]


@pytest.fixture(scope="module")
def program(graph: Graph) -> Resources:
    return seen(graph)


def violations(resources: Resources) -> dict[str, list[str]]:
    """Return what each rule says, by rule."""
    found: dict[str, list[str]] = {}
    for name, rule in RULES.items():
        if isinstance(rule, StackRule):
            told = [f"{each.name}: {why}" for each, why in rule.problems(resources)]
        else:
            told = [
                f"{each.name}: {w}" for each in resources for w in rule.problems(each)
            ]
        if told:
            found[name] = told
    return found


def test_the_whole_program_passes(program):
    assert violations(program) == {}


def test_what_is_exempt_would_break_its_rule(program, monkeypatch):
    exempt = {name: set(rule.exempt) for name, rule in RULES.items() if rule.exempt}
    for name in exempt:
        monkeypatch.setitem(RULES, name, replace(RULES[name], exempt={}))
    found = {
        name: {each.partition(": ")[0] for each in told}
        for name, told in violations(program).items()
    }
    assert found == exempt


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_of_this_checkout_passes(stack, settings):
    wanted = example_settings(stack) | {"bundle": settings["bundle"]}
    assert violations(seen(run(wanted, stack=stack))) == {}


def test_a_stack_that_tells_somebody_passes(settings):
    settings["alarms"] = {
        "email": ["on-call@example.com"],
        "https": ["https://example.com/hook"],
    }
    graph = run(settings)
    assert len(graph.of("aws:sns/topicSubscription")) == 2
    assert violations(seen(graph)) == {}


def test_a_stack_without_protection_passes_as_a_whole(settings):
    settings["deletion_protection"] = False
    program = seen(run(settings))
    assert violations(program) == {}
    kept = altered(program, "aws:dynamodb/table", deletionProtectionEnabled=True)
    assert set(violations(kept)) == {"data-is-kept"}


def test_a_program_with_an_own_network_passes(settings):
    settings["network"] = {
        "cidr": "10.20.0.0/24",
        "availability_zones": ["eu-west-1a", "eu-west-1b"],
        "peers": [
            {"vpc_id": "vpc-db", "cidr": "10.0.0.0/16", "route_table_ids": ["rtb-db"]}
        ],
    }
    del settings["vault"]["security_group_id"]
    settings["vault"]["cidr"] = "10.9.0.0/24"
    assert violations(seen(run(settings))) == {}


# --- seeded violations


def altered(program: Resources, kind: str, /, of: str = "", **inputs: Any) -> Resources:
    """Change inputs of the first resource of a kind; None takes one out.

    Args:
        program: What is registered.
        kind: Kind of the resource.
        of: What its name begins with.
        **inputs: Other values.
    """
    index = next(
        i
        for i, each in enumerate(program)
        if each.kind == kind and each.name.startswith(of)
    )
    merged = dict(program[index].inputs) | inputs
    kept = {key: value for key, value in merged.items() if value is not None}
    copied = list(program)
    copied[index] = replace(program[index], inputs=kept)
    return copied


def added(program: Resources, type_: str, needs: Any = (), **inputs: Any) -> Resources:
    """Add a resource of the same providers as everything else."""
    aws = next(each for each in program if each.type.startswith("aws:"))
    more = replace(
        aws,
        urn=f"urn:{type_}",
        type=type_,
        name="seeded",
        inputs=inputs,
        protect=True,
        needs=frozenset(needs),
    )
    return [*program, more]


def removed(program: Resources, kind: str) -> Resources:
    assert any(each.kind == kind for each in program)
    return [each for each in program if each.kind != kind]


def provided(program: Resources, prefix: str, **inputs: Any) -> Resources:
    """Change what the providers of some resources were given."""
    return [
        (
            replace(each, provider_inputs={**each.provider_inputs, **inputs})
            if each.type.startswith(prefix)
            else each
        )
        for each in program
    ]


def policy_of(program: Resources, kind: str) -> dict[str, Any]:
    found = next(each for each in program if each.kind == kind)
    document: dict[str, Any] = json.loads(found.inputs["policy"])
    return document


def stated(program: Resources, kind: str, **fields: Any) -> Resources:
    """Change fields of the first statement of a policy."""
    document = policy_of(program, kind)
    document["Statement"][0] |= fields
    return altered(program, kind, policy=json.dumps(document))


def shortened(program: Resources, kind: str, sid: str) -> Resources:
    document = policy_of(program, kind)
    left = [each for each in document["Statement"] if each["Sid"] != sid]
    assert len(left) < len(document["Statement"])
    document["Statement"] = left
    return altered(program, kind, policy=json.dumps(document))


def named_otherwise(program: Resources, name: str, old: str, new: str) -> Resources:
    """Write another name into the policy of a resource, all through."""
    (one,) = (each for each in program if each.name == name)
    key = "policy" if "policy" in one.inputs else "assumeRolePolicy"
    assert old in one.inputs[key]
    changes = {key: one.inputs[key].replace(old, new)}
    return altered(program, one.kind, name, **changes)


def exchanged(program: Resources, kind: str, key: str, one: str, other: str) -> Any:
    """Give a resource the policy of another of its kind."""
    (found,) = (each for each in program if each.name == other)
    return altered(program, kind, one, **{key: found.inputs[key]})


def unprotected(program: Resources, kind: str) -> Resources:
    return [
        replace(each, protect=False) if each.kind == kind else each for each in program
    ]


MINE, FOREIGN = "111122223333", "999999999999"
BUCKET, QUEUE, TOPIC = "aws:s3/bucketPolicy", "aws:sqs/queuePolicy", "aws:sns/topic"
ROLE, ENCRYPTION = (
    "aws:iam/rolePolicy",
    "aws:s3/bucketServerSideEncryptionConfiguration",
)
INTERNET = {"destinationCidrBlock": "0.0.0.0/0"}
GROUP = {"securityGroupId": "sg-1", "ipProtocol": "tcp", "fromPort": 1, "toPort": 1}
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
SEEDED: list[tuple[str, Any]] = [
    (
        "encrypted-at-rest",
        lambda p: altered(p, "aws:sqs/queue", sqsManagedSseEnabled=False),
    ),
    ("encrypted-at-rest", lambda p: altered(p, TOPIC, kmsMasterKeyId=None)),
    (
        "encrypted-at-rest",
        lambda p: altered(p, "aws:cloudwatch/logGroup", kmsKeyId=None),
    ),
    (
        "encrypted-at-rest",
        lambda p: altered(
            p, "aws:dynamodb/table", serverSideEncryption={"enabled": False}
        ),
    ),
    (
        "bucket-under-our-key",
        lambda p: altered(
            p,
            ENCRYPTION,
            rules=[{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}],
        ),
    ),
    (
        "private-versioned-bucket",
        lambda p: altered(p, "aws:s3/bucketPublicAccessBlock", blockPublicPolicy=False),
    ),
    (
        "private-versioned-bucket",
        lambda p: altered(
            p,
            "aws:s3/bucketVersioning",
            versioningConfiguration={"status": "Suspended"},
        ),
    ),
    (
        "private-versioned-bucket",
        lambda p: altered(
            p,
            "aws:s3/bucketOwnershipControls",
            rule={"objectOwnership": "ObjectWriter"},
        ),
    ),
    ("guarded", lambda p: removed(p, BUCKET)),
    ("guarded", lambda p: removed(p, "aws:s3/bucketVersioning")),
    ("guarded", lambda p: removed(p, ENCRYPTION)),
    ("guarded", lambda p: removed(p, QUEUE)),
    ("guarded", lambda p: removed(p, "aws:sns/topicPolicy")),
    ("guarded", lambda p: [each for each in p if each.name != "alarms-policy"]),
    ("guarded", lambda p: added(p, "aws:s3/bucket:Bucket", bucket="other-bucket")),
    ("rotating-key", lambda p: altered(p, "aws:kms/key", enableKeyRotation=False)),
    # TLS-only: the statement is missing.
    ("permission-in-the-table", lambda p: shortened(p, BUCKET, "TlsOnly")),
    ("permission-in-the-table", lambda p: shortened(p, QUEUE, "TlsOnly")),
    (
        "permission-in-the-table",
        lambda p: shortened(p, "aws:sns/topicPolicy", "TlsOnly"),
    ),
    # Wildcards.
    ("permission-in-the-table", lambda p: stated(p, ROLE, Action=["s3:*"])),
    ("permission-in-the-table", lambda p: stated(p, ROLE, Resource="*")),
    (
        "permission-in-the-table",
        lambda p: stated(p, ROLE, Resource="arn:aws:s3:::*/exports/dev/*"),
    ),
    (
        "permission-in-the-table",
        lambda p: stated(p, QUEUE, Principal="*"),
    ),
    ("permission-in-the-table", lambda p: stated(p, QUEUE, Condition={})),
    # What the table does not know.
    ("permission-in-the-table", lambda p: stated(p, ROLE, Sid="Other")),
    (
        "permission-in-the-table",
        lambda p: altered(
            p, "aws:iam/role", managedPolicyArns=["arn:aws:iam::aws:policy/x"]
        ),
    ),
    ("permission-in-the-table", lambda p: added(p, "aws:iam/policy:Policy")),
    ("permission-in-the-table", lambda p: added(p, "aws:iam/user:User", name="a")),
    (
        "permission-in-the-table",
        lambda p: altered(p, "aws:lambda/permission", sourceArn=None),
    ),
    (
        "permission-in-the-table",
        lambda p: altered(p, "aws:lambda/permission", principal="*"),
    ),
    (
        "permission-in-the-table",
        lambda p: altered(
            p,
            "aws:lambda/permission",
            "checker",
            sourceArn="arn:aws:events:eu-west-1:111122223333:rule/*",
        ),
    ),
    ("permission-in-the-table", lambda p: altered(p, "aws:kms/key", policy=None)),
    ("permission-in-the-table", lambda p: altered(p, "aws:ec2/vpcEndpoint", policy="")),
    (
        "permission-in-the-table",
        lambda p: altered(
            p, "vault:index/policy", policy='path "*" { capabilities = ["sudo"] }\n'
        ),
    ),
    # Another account, region, stack or holder, the same all through a policy.
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "lake-key", MINE, FOREIGN),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "network-s3", MINE, FOREIGN),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "aurora-policy", MINE, FOREIGN),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "aurora-policy", "dev", "prod"),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "aurora-policy", "eu-west-1", "us-east-1"),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "aurora-role", MINE, FOREIGN),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "trust-role", "user/snowflake", "root"),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "events-policy", "user/snowflake", "root"),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "exporter-load-policy", "-load", "-dead-letters"),
    ),
    (
        "permission-in-the-table",
        lambda p: named_otherwise(p, "vault-policy", "sync-dev", "sync-prod"),
    ),
    (
        "permission-in-the-table",
        lambda p: exchanged(p, ROLE, "policy", "exporter-role", "trust-policy"),
    ),
    (
        "permission-in-the-table",
        lambda p: exchanged(
            p, "aws:iam/role", "assumeRolePolicy", "aurora-role", "checker-role"
        ),
    ),
    (
        "permission-in-the-table",
        lambda p: altered(p, "aws:iam/role", "exporter", name="aurora-sync-dev-more"),
    ),
    (
        "permission-in-the-table",
        lambda p: altered(p, "vault:index/policy", name="everybody"),
    ),
    (
        "permission-in-the-table",
        lambda p: provided(p, "aws:kms/key", allowedAccountIds="[]"),
    ),
    (
        "no-plain-secret",
        lambda p: altered(
            p, "aws:lambda/function", environment={"variables": {"PGPASSWORD": "x"}}
        ),
    ),
    (
        "no-plain-secret",
        lambda p: altered(
            p,
            "aws:lambda/function",
            environment={"variables": {"HOST": "postgresql://me:secret@host/db"}},
        ),
    ),
    ("no-plain-secret", lambda p: altered(p, TOPIC, displayName="AKIA" + "A" * 16)),
    (
        "no-plain-secret",
        lambda p: altered(
            p, "vault:database/secretBackendConnection", password="for-vault-only"
        ),
    ),
    (
        "named-previews",
        lambda p: provided(
            p, "snowflake:", previewFeaturesEnabled='["snowflake_job_service_resource"]'
        ),
    ),
    ("own-vpc", lambda p: added(p, "aws:ec2/defaultSubnet:DefaultSubnet")),
    (
        "own-vpc",
        lambda p: altered(p, "aws:lambda/function", "exporter", vpcConfig=None),
    ),
    ("own-vpc", lambda p: altered(p, "aws:ec2/securityGroup", vpcId=None)),
    (
        "own-vpc",
        lambda p: added(
            p, "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", egress=[{}]
        ),
    ),
    (
        "groups-by-reference",
        lambda p: added(p, INGRESS, cidrIpv4="10.0.0.0/24", **GROUP),
    ),
    ("groups-by-reference", lambda p: added(p, EGRESS, cidrIpv4="0.0.0.0/0", **GROUP)),
    (
        "groups-by-reference",
        lambda p: added(p, EGRESS, cidrIpv4="52.0.0.0/16", **GROUP),
    ),
    ("groups-by-reference", lambda p: added(p, EGRESS, cidrIpv6="::/0", **GROUP)),
    (
        "groups-by-reference",
        lambda p: added(
            p, EGRESS, referencedSecurityGroupId="sg-2", **GROUP | {"toPort": 9}
        ),
    ),
    (
        "groups-by-reference",
        lambda p: altered(p, "aws:ec2/securityGroup", ingress=[{}]),
    ),
    (
        "groups-by-reference",
        lambda p: added(p, "aws:ec2/securityGroupRule:SecurityGroupRule"),
    ),
    (
        "private-subnets",
        lambda p: added(p, "aws:ec2/subnet:Subnet", mapPublicIpOnLaunch=True),
    ),
    ("private-subnets", lambda p: added(p, "aws:ec2/natGateway:NatGateway")),
    ("private-subnets", lambda p: added(p, "aws:ec2/route:Route", **INTERNET)),
    (
        "private-subnets",
        lambda p: added(p, "aws:ec2/routeTable:RouteTable", routes=[INTERNET]),
    ),
    ("tagged", lambda p: provided(p, "aws:sns", defaultTags="{}")),
    ("named-within-limits", lambda p: altered(p, "aws:sqs/queue", name="a" * 81)),
    ("named-within-limits", lambda p: altered(p, "aws:s3/bucket", bucket="Lake_1")),
    ("named-within-limits", lambda p: altered(p, "aws:iam/role", name=None)),
    (
        "named-within-limits",
        lambda p: altered(p, "snowflake:index/pipe", name="P" * 256),
    ),
    ("data-is-kept", lambda p: unprotected(p, "aws:s3/bucket")),
    ("data-is-kept", lambda p: altered(p, "aws:s3/bucket", forceDestroy=True)),
    (
        "data-is-kept",
        lambda p: altered(p, "aws:dynamodb/table", deletionProtectionEnabled=False),
    ),
    (
        "data-comes-back",
        lambda p: altered(p, "aws:dynamodb/table", pointInTimeRecovery=None),
    ),
    (
        "data-comes-back",
        lambda p: altered(p, "aws:kms/key", deletionWindowInDays=7),
    ),
    ("logs-end", lambda p: altered(p, "aws:cloudwatch/logGroup", retentionInDays=None)),
    ("bounded", lambda p: altered(p, "aws:lambda/function", timeout=None)),
    ("bounded", lambda p: altered(p, "aws:lambda/function", loggingConfig=None)),
    (
        "bounded",
        lambda p: altered(
            p, "aws:cloudwatch/eventTarget", "table-", deadLetterConfig=None
        ),
    ),
    ("nothing-lost", lambda p: removed(p, "aws:lambda/functionEventInvokeConfig")),
    (
        "nothing-lost",
        lambda p: [
            (
                replace(each, inputs={**each.inputs, "redrivePolicy": ""})
                if each.kind == "aws:sqs/queue"
                else each
            )
            for each in p
        ],
    ),
]


@pytest.mark.parametrize(
    ("rule", "seed"),
    SEEDED,
    ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(SEEDED)],
)
def test_a_rule_fails_on_what_it_is_for(program, rule, seed):
    found = violations(seed(program))
    assert set(found) == {rule}, found


def test_every_rule_has_a_violation_here():
    assert {rule for rule, _ in SEEDED} == set(RULES)


def test_a_permission_reads_alike_for_pack_and_tests(graph):
    for each in graph.of("aws:lambda/permission"):
        read = access.permission(each.inputs)
        assert read == deployed.permission(each.inputs)


# --- as Pulumi asks


def options() -> PolicyResourceOptions:
    return PolicyResourceOptions(
        False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [], None
    )


def asked(name: str, type_: str, inputs: dict[str, Any]) -> list[str]:
    """Ask a policy as Pulumi does, unknown values as they are in a preview."""
    (policy,) = (each for each in pack.policies() if each.name == name)
    assert isinstance(policy, ResourceValidationPolicy)
    found: list[str] = []

    def report(message: str, urn: str | None) -> None:
        found.append(message)

    policy.validate(
        ResourceValidationArgs(
            type_, unknown_checking_proxy(inputs), "urn", "name", options(), None
        ),
        report,
    )
    return found


def test_in_a_preview_what_is_not_known_yet_is_no_violation():
    topic = "aws:sns/topic:Topic"
    key = {"kmsMasterKeyId": UNKNOWN_STRING_VALUE}
    assert asked("encrypted-at-rest", topic, key) == []
    assert asked("encrypted-at-rest", topic, {}) == ["it is not encrypted"]
    policy = {"policy": UNKNOWN_STRING_VALUE}
    type_ = "aws:iam/rolePolicy:RolePolicy"
    assert asked("permission-in-the-table", type_, policy) == []
    started = {"function": UNKNOWN_STRING_VALUE, "principal": "events.amazonaws.com"}
    type_ = "aws:lambda/permission:Permission"
    assert asked("permission-in-the-table", type_, started) == []
    rules: dict[str, Any] = {"rules": [{"applyServerSideEncryptionByDefault": {}}]}
    type_ = (
        "aws:s3/bucketServerSideEncryptionConfiguration:"
        "BucketServerSideEncryptionConfiguration"
    )
    assert len(asked("bucket-under-our-key", type_, rules)) == 2


def test_a_stack_rule_names_the_resource(program):
    (policy,) = (each for each in pack.policies() if each.name == "guarded")
    known: dict[str, PolicyResource] = {}
    for each in removed(program, BUCKET):
        aws = PolicyProviderResource("pulumi:providers:aws", {}, "urn:aws", "aws")
        known[each.urn] = PolicyResource(
            each.type, each.inputs, each.urn, each.name, options(), aws, None, [], {}
        )
    for each in program:
        if each.urn in known:
            known[each.urn].dependencies = [known[u] for u in each.needs if u in known]
    found: list[Any] = []

    def report(message: str, urn: str | None) -> None:
        found.append((urn, message))

    assert isinstance(policy, StackValidationPolicy)
    policy.validate(StackValidationArgs(list(known.values())), report)
    ((urn, message),) = found
    assert urn.endswith("::lake-bucket") and "aws:s3/bucketPolicy" in message


def test_every_rule_is_mandatory():
    assert {each.enforcement_level for each in pack.policies()} == {
        EnforcementLevel.MANDATORY
    }
    assert all(isinstance(each, (Rule, StackRule)) for each in pack.RULES)


@pytest.fixture
def server() -> Iterator[str]:
    """The pack as Pulumi starts it: a process that prints its port."""
    process = subprocess.Popen(
        [sys.executable, str(FOLDER)],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate(timeout=20)


@pytest.mark.slow
def test_the_server_of_the_pack_tells_its_rules_and_what_breaks_them(server):
    assert server.isdigit(), server
    # What Pulumi speaks, which has no type stubs.
    grpc: Any = importlib.import_module("grpc")
    empty_pb2: Any = importlib.import_module("google.protobuf.empty_pb2")
    proto: Any = importlib.import_module("pulumi.runtime.proto.analyzer_pb2")
    stubs: Any = importlib.import_module("pulumi.runtime.proto.analyzer_pb2_grpc")
    type_ = "aws:cloudwatch/logGroup:LogGroup"
    request = proto.AnalyzeRequest(
        type=type_, urn=f"urn:pulumi:dev::aurora-sync::{type_}::logs", name="logs"
    )
    request.properties.update({"name": "/aws/lambda/x", "retentionInDays": 30})
    with grpc.insecure_channel(f"127.0.0.1:{server}") as channel:
        stub = stubs.AnalyzerStub(channel)
        info = stub.GetAnalyzerInfo(empty_pb2.Empty(), timeout=20)
        answer = stub.Analyze(request, timeout=20)
    assert info.name == "aurora-sync"
    assert {policy.name for policy in info.policies} == set(RULES)
    broken = {each.policyName: each for each in answer.diagnostics}
    assert set(broken) == {"encrypted-at-rest", "tagged"}
    assert "it is not encrypted" in broken["encrypted-at-rest"].message
    assert {each.enforcementLevel for each in answer.diagnostics} == {proto.MANDATORY}


def test_pulumi_finds_the_pack():
    project = yaml.safe_load((FOLDER / "PulumiPolicy.yaml").read_text())
    assert project["runtime"]["name"] == "python"
    virtualenv = FOLDER / project["runtime"]["options"]["virtualenv"]
    assert virtualenv.resolve() == ROOT / ".venv"
