"""The stacks of this checkout: networks, tags, providers; what is kept, what goes."""

import importlib
import json
from typing import Any

import pytest
import yaml

from infra.providers import PREVIEW_FEATURES
from infra.stack import PROJECT, ROOT
from tests.infra.conftest import CONFIG
from tests.infra.recording import Graph, example_settings, packed, run

STACKS = ("dev", "staging", "prod")
# Types that take no tags, and who carries them instead.
UNTAGGED = {
    "aws:cloudwatch/dashboard:Dashboard": "takes none; its name tells the stack",
    "aws:cloudwatch/eventTarget:EventTarget": "the rule",
    "aws:ec2/route:Route": "the route table",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "the route table",
    "aws:iam/rolePolicy:RolePolicy": "the role",
    "aws:kms/alias:Alias": "the key",
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": "the function",
    "aws:lambda/functionRecursionConfig:FunctionRecursionConfig": "the function",
    "aws:lambda/permission:Permission": "the function",
    "aws:rds/clusterRoleAssociation:ClusterRoleAssociation": "the cluster, not ours",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "the bucket",
    "aws:s3/bucketNotification:BucketNotification": "the bucket",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "the bucket",
    "aws:s3/bucketPolicy:BucketPolicy": "the bucket",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "the bucket",
    "aws:s3/bucketServerSideEncryptionConfiguration:"
    "BucketServerSideEncryptionConfiguration": "the bucket",
    "aws:s3/bucketVersioning:BucketVersioning": "the bucket",
    "aws:sns/topicPolicy:TopicPolicy": "the topic",
    "aws:sns/topicSubscription:TopicSubscription": "the topic",
    "aws:sqs/queuePolicy:QueuePolicy": "the queue",
}
KEYWORDS = {"lambda": "lambda_"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> dict[str, Any]:
    return {"bundle": str(packed(CONFIG, tmp_path_factory.mktemp("bundle")))}


@pytest.fixture(scope="module")
def graphs(bundle) -> dict[str, Graph]:
    """What each stack registers, by its name."""
    return {
        stack: run(example_settings(stack) | bundle, stack=stack) for stack in STACKS
    }


def takes_tags(type_: str) -> bool:
    """Whether the provider merges its default tags into a type: it shows them all."""
    package, _, name = type_.rpartition(":")
    module = package.partition(":")[2].partition("/")[0]
    found = importlib.import_module(f"pulumi_aws.{KEYWORDS.get(module, module)}")
    return hasattr(getattr(found, name), "tags_all")


def test_every_type_takes_the_providers_tags_or_is_part_of_what_does(graphs):
    types = {
        each.type
        for graph in graphs.values()
        for each in graph.resources
        if each.type.startswith("aws:")
    }
    assert {type_ for type_ in types if not takes_tags(type_)} == set(UNTAGGED)
    assert len(types - set(UNTAGGED)) > 15


def test_the_tags_name_project_stack_and_what_the_settings_say(graphs):
    for stack, graph in graphs.items():
        provider = graph.one("pulumi:providers", "aws").inputs
        assert json.loads(provider["defaultTags"])["tags"] == {
            f"{PROJECT}:project": PROJECT,
            f"{PROJECT}:stack": stack,
            **example_settings(stack)["tags"],
        }
        # A resource's own tags would hide the provider's of the same name.
        assert not [each.urn for each in graph.resources if "tags" in each.inputs]


def test_no_stack_can_deploy_to_the_account_or_region_of_another(graphs):
    for stack, graph in graphs.items():
        wanted = example_settings(stack)["aws"]
        (provider,) = graph.of("pulumi:providers", "aws")
        assert provider.inputs["region"] == wanted["region"]
        assert json.loads(provider.inputs["allowedAccountIds"]) == [
            wanted["account_id"]
        ]
    accounts = {example_settings(stack)["aws"]["account_id"] for stack in STACKS}
    assert len(accounts) == len(STACKS)


def test_snowflake_is_reached_by_a_key_pair_and_with_named_previews(graphs):
    for graph in graphs.values():
        providers = graph.of("pulumi:providers", "snowflake")
        assert len(providers) == 2
        for each in providers:
            assert each.inputs["authenticator"] == "SNOWFLAKE_JWT"
            assert "privateKey" in each.secrets and "password" not in each.inputs
            previews = json.loads(each.inputs["previewFeaturesEnabled"])
            assert previews == PREVIEW_FEATURES
    assert all(name.startswith("snowflake_") for name in PREVIEW_FEATURES)


def test_each_resource_names_its_provider(graphs):
    for stack, graph in graphs.items():
        for each in graph.resources:
            if each.custom and not each.type.startswith("pulumi:"):
                kind = each.type.partition(":")[0]
                assert f"pulumi:providers:{kind}::" in each.provider, each.urn
        file = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
        disabled = file["config"]["pulumi:disable-default-providers"]
        assert disabled == ["aws", "snowflake", "vault"]


def test_one_stack_has_a_vpc_of_its_own_and_the_others_use_theirs(graphs):
    own = {stack for stack, graph in graphs.items() if graph.of("aws:ec2/vpc")}
    assert own == {"staging"}
    # Both peers, there and back; three route tables of theirs.
    assert len(graphs["staging"].of("aws:ec2/route")) == 5
    assert {
        each.inputs["dbClusterIdentifier"]
        for graph in graphs.values()
        for each in graph.of("aws:rds/clusterRoleAssociation")
    } == {"shop-dev", "shop-staging", "shop"}
    for graph in graphs.values():
        assert not graph.of("aws:rds/cluster")
        assert not [
            each.urn for each in graph.resources if "ec2/defaultVpc" in each.type
        ]


def test_each_stack_has_a_secrets_provider_of_its_own_beside_its_settings():
    """Pulumi reads it from there; the state's place is a command, not a file's line."""
    providers = set()
    for stack in STACKS:
        file = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
        assert set(file) <= {"secretsprovider", "encryptedkey", "config"}
        region = example_settings(stack)["aws"]["region"]
        key = f"awskms://alias/{PROJECT}-pulumi-{stack}?region={region}"
        assert file["secretsprovider"] == key
        providers.add(key)
    assert len(providers) == len(STACKS)
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    assert "backend" not in project, "one backend for all stacks"


def kept(graph: Graph) -> dict[str, frozenset[str]]:
    """What outlives its resource, and how."""
    ways = frozenset(("protect", "retain_on_delete"))
    return {
        each.name: each.options & ways
        for each in graph.resources
        if each.options & ways
    }


def test_what_holds_data_is_kept_in_every_stack(graphs):
    for graph in graphs.values():
        found = kept(graph)
        holders = [
            *graph.of("aws:s3/bucket"),
            *graph.of("aws:kms/key"),
            *graph.of("aws:dynamodb/table"),
        ]
        assert len(holders) == 3
        assert {each.name for each in holders} == {
            name for name, ways in found.items() if "protect" in ways
        }
        retained = {name for name, ways in found.items() if "retain_on_delete" in ways}
        assert retained == {
            each.name
            for kind in ("database", "schema", "table")
            for each in graph.of(f"snowflake:index/{kind}")
            if "LANDING" not in (each.inputs["name"], each.inputs.get("schema"))
        }
        assert graph.one("aws:s3/bucket").inputs["forceDestroy"] is False
        ledger = graph.one("aws:dynamodb/table").inputs
        assert ledger["deletionProtectionEnabled"] is True


def test_a_stack_without_protection_can_be_torn_down_whole(bundle):
    graph = run(example_settings() | bundle | {"deletion_protection": False})
    assert kept(graph) == {}
    assert graph.one("aws:s3/bucket").inputs["forceDestroy"] is True
    ledger = graph.one("aws:dynamodb/table").inputs
    assert ledger["deletionProtectionEnabled"] is False
    # Backups and the key's waiting time are no hindrance, and stay.
    assert ledger["pointInTimeRecovery"] == {"enabled": True}
    assert graph.one("aws:kms/key").inputs["deletionWindowInDays"] == 30


def test_no_stack_of_this_checkout_gives_its_protection_up():
    for stack in STACKS:
        assert example_settings(stack).get("deletion_protection", True) is True
