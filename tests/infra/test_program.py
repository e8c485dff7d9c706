"""The resource graph: what starts what, what waits for what, what is kept."""

import hashlib
import json
import re

import pulumi
import pytest

from infra.components.vault_access import REVOCATION
from runtime.contract.settings import HANDLER, ExporterSettings
from runtime.contract.snowflake_pipes import versions_of
from runtime.exporter.credentials import TIMEOUT_SECONDS
from runtime.exporter.handler import PLANNED_SHARE
from tests.factories import make_table
from tests.infra.recording import SECRETS, example_settings, run, run_recording

TABLES = ("public.customers", "public.order_items", "public.orders")


def test_nothing_is_taken_from_a_default_vpc(graph):
    assert not [each for each in graph.resources if "/default" in each.type]
    function = graph.one("aws:lambda/function", "exporter")
    wanted = example_settings()["network"]
    assert function.inputs["vpcConfig"]["subnetIds"] == wanted["subnet_ids"]
    groups = graph.of("aws:ec2/securityGroup")
    assert {each.inputs["vpcId"] for each in groups} == {wanted["vpc_id"]}


def test_an_own_network_is_private_and_closed(settings):
    settings["network"] = {
        "cidr": "10.20.0.0/24",
        "availability_zones": ["eu-west-1a", "eu-west-1b"],
        "peers": [
            {"vpc_id": "vpc-db", "cidr": "10.0.0.0/16", "route_table_ids": ["rtb-db"]}
        ],
    }
    graph = run(settings)
    subnets = graph.of("aws:ec2/subnet")
    assert [each.inputs["cidrBlock"] for each in subnets] == [
        "10.20.0.0/26",
        "10.20.0.64/26",
    ]
    assert {each.inputs["mapPublicIpOnLaunch"] for each in subnets} == {False}
    for kind in ("internetGateway", "natGateway", "defaultVpc", "defaultSubnet"):
        assert graph.of(f"aws:ec2/{kind}") == []
    closed = graph.one("aws:ec2/defaultSecurityGroup")
    assert set(closed.inputs) == {"vpcId"}
    routes = {each.inputs["routeTableId"]: each for each in graph.of("aws:ec2/route")}
    assert {
        key: each.inputs["destinationCidrBlock"] for key, each in routes.items()
    } == {
        "network-routes-id": "10.0.0.0/16",
        "rtb-db": "10.20.0.0/24",
    }
    endpoints = graph.of("aws:ec2/vpcEndpoint")
    assert {each.name: each.inputs["vpcEndpointType"] for each in endpoints} == {
        "network-s3": "Gateway",
        "network-dynamodb": "Gateway",
        "network-sqs": "Interface",
    }
    (peering,) = graph.of("aws:ec2/vpcPeeringConnection")
    for rule in graph.of("aws:vpc/securityGroupEgressRule", "to-aurora"):
        assert peering.urn in graph.above(rule)
    function = graph.one("aws:lambda/function", "exporter")
    assert function.inputs["vpcConfig"]["subnetIds"] == [
        "network-eu-west-1a-id",
        "network-eu-west-1b-id",
    ]


def test_the_function_reaches_five_places_and_no_others(graph):
    own = "network-exporter-id"
    rules = [
        each.inputs
        for each in graph.of("aws:vpc/securityGroupEgressRule")
        if each.inputs["securityGroupId"] == own
    ]
    settings = example_settings()
    reached = {
        (
            rule.get("referencedSecurityGroupId") or rule.get("prefixListId"),
            int(rule["fromPort"]),
            int(rule["toPort"]),
            rule["ipProtocol"],
        )
        for rule in rules
    }
    assert reached == {
        (settings["aurora"]["security_group_id"], 5432, 5432, "tcp"),
        (settings["vault"]["security_group_id"], 8200, 8200, "tcp"),
        ("pl-network-s3", 443, 443, "tcp"),
        ("pl-network-dynamodb", 443, 443, "tcp"),
        (settings["network"]["sqs_security_group_id"], 443, 443, "tcp"),
    }
    assert not [rule for rule in rules if "cidrIpv4" in rule]
    admitted = graph.of("aws:vpc/securityGroupIngressRule")
    assert {each.inputs["referencedSecurityGroupId"] for each in admitted} == {own}


def test_existing_endpoints_are_used_as_they_are(settings):
    del settings["network"]["route_table_ids"]
    graph = run(settings)
    assert graph.of("aws:ec2/vpcEndpoint") == []
    lists = {
        each.inputs["prefixListId"]
        for each in graph.of("aws:vpc/securityGroupEgressRule")
        if "prefixListId" in each.inputs
    }
    assert lists == {
        "pl-com.amazonaws.eu-west-1.s3",
        "pl-com.amazonaws.eu-west-1.dynamodb",
    }


def test_every_resource_has_its_explicit_provider(graph):
    expected = {"aws": {"aws"}, "vault": {"vault"}}
    expected["snowflake"] = {"snowflake", "snowflake-loader"}
    seen = set()
    for each in graph.resources:
        if each.custom and not each.type.startswith("pulumi:"):
            name = each.provider.rpartition("::")[2]
            seen.add(name)
            assert name in expected[each.type.partition(":")[0]], each.urn
    assert seen == {"aws", "vault", "snowflake", "snowflake-loader"}


def test_everything_in_aws_is_tagged_by_its_provider(graph):
    (provider,) = graph.of("pulumi:providers", "aws")
    assert json.loads(provider.inputs["defaultTags"])["tags"] == {
        "aurora-sync:project": "aurora-sync",
        "aurora-sync:stack": "dev",
        "owner": "data-platform",
    }
    assert json.loads(provider.inputs["allowedAccountIds"]) == ["111122223333"]


def test_preview_features_of_snowflake_are_named_one_by_one(graph):
    for provider in graph.of("pulumi:providers", "snowflake"):
        assert json.loads(provider.inputs["previewFeaturesEnabled"]) == [
            "snowflake_notification_integration_resource",
            "snowflake_pipe_resource",
            "snowflake_system_get_aws_sns_iam_policy_datasource",
            "snowflake_table_resource",
        ]
        assert provider.inputs["authenticator"] == "SNOWFLAKE_JWT"


def test_secrets_come_from_vault_and_stay_secret(graph):
    carried = {
        (each.type.rpartition(":")[2], key)
        for each in graph.resources
        for key, value in each.inputs.items()
        if any(secret in json.dumps(value, default=str) for secret in SECRETS.values())
    }
    kept = {
        (each.type.rpartition(":")[2], key)
        for each in graph.resources
        for key in each.secrets
    }
    assert carried == {
        ("snowflake", "privateKey"),
        ("SecretBackendConnection", "postgresql"),
    }
    assert kept == carried
    asked = {call.args["name"] for call in graph.calls if "mount" in call.args}
    assert asked == {"aurora-sync/dev/snowflake", "aurora-sync/dev/database-admin"}


def test_each_rule_starts_its_own_table(graph):
    found = graph.of("aws:cloudwatch/eventRule", "table-")
    rules = {each.inputs["name"]: each for each in found}
    targets = graph.of("aws:cloudwatch/eventTarget", "table-")
    function = graph.one("aws:lambda/function", "exporter")
    started = {
        each.inputs["rule"]: json.loads(each.inputs["input"]) for each in targets
    }
    assert started == {f"aurora-sync_dev_{name}": {"table": name} for name in TABLES}
    assert set(rules) == set(started)
    assert {each.inputs["state"] for each in rules.values()} == {"ENABLED"}
    orders = rules["aurora-sync_dev_public.orders"].inputs
    assert orders["scheduleExpression"] == "rate(15 minutes)"
    for each in targets:
        assert each.inputs["arn"].endswith(function.inputs["name"])
        assert each.inputs["deadLetterConfig"]["arn"].endswith("dev-dead-letters")


def test_one_permission_admits_all_rules_of_the_stack_and_no_others(graph):
    """One per rule would fill the 20 KB of a function's policy at sixty tables."""
    permission = graph.one("aws:lambda/permission", "exporter").inputs
    assert permission["principal"] == "events.amazonaws.com"
    assert permission["sourceAccount"] == "111122223333"
    pattern = permission["sourceArn"].rpartition("/")[2]
    assert pattern == "aurora-sync_dev_*"
    for rule in graph.of("aws:cloudwatch/eventRule"):
        assert rule.inputs["name"].startswith(pattern[:-1])


def test_nothing_that_fails_to_run_is_lost(graph):
    config = graph.one("aws:lambda/functionEventInvokeConfig", "exporter").inputs
    assert config["maximumRetryAttempts"] == 1
    destination = config["destinationConfig"]["onFailure"]["destination"]
    assert destination.endswith("aurora-sync-dev-dead-letters")
    for queue in graph.of("aws:sqs/queue"):
        assert queue.inputs["sqsManagedSseEnabled"] is True
        assert queue.inputs["messageRetentionSeconds"] == 14 * 24 * 3600


def test_chunks_of_loads_are_taken_one_by_one_and_a_few_at_once(graph):
    mapping = graph.one("aws:lambda/eventSourceMapping").inputs
    assert mapping["eventSourceArn"].endswith(":aurora-sync-dev-load")
    assert mapping["batchSize"] == 1
    assert mapping["scalingConfig"] == {"maximumConcurrency": 4}
    queue = graph.one("aws:sqs/queue", "load-queue").inputs
    function = graph.one("aws:lambda/function", "exporter").inputs
    assert queue["visibilityTimeoutSeconds"] == 6 * function["timeout"]
    redrive = json.loads(queue["redrivePolicy"])
    assert redrive["maxReceiveCount"] == 5
    assert "dead-letters" in redrive["deadLetterTargetArn"]
    letters = graph.one("aws:sqs/queue", "dead-letters").inputs
    assert json.loads(letters["redriveAllowPolicy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [mapping["eventSourceArn"]],
    }


def test_lambda_does_not_take_a_load_for_an_endless_loop(graph):
    config = graph.one("aws:lambda/functionRecursionConfig").inputs
    assert config["recursiveLoop"] == "Allow"


def test_finished_chunks_do_not_stay_for_ever(graph):
    ledger = graph.one("aws:dynamodb/table").inputs
    assert ledger["ttl"] == {"attributeName": "expires", "enabled": True}


def test_each_pipe_reads_the_prefix_of_its_table_only(graph):
    prefixes = {}
    for pipe in graph.of("snowflake:index/pipe"):
        (place,) = re.findall(r"FROM @(\S+)", pipe.inputs["copyStatement"])
        assert place.endswith("/")
        prefixes[versions_of(pipe.inputs["name"])] = place
    exports = "SHOP_DEV.LANDING.EXPORTS"
    assert prefixes == {
        "MANIFESTS_PIPE": "SHOP_DEV.LANDING.MANIFESTS/",
        "PUBLIC__CUSTOMERS_PIPE": f"@{exports}/public.customers/"[1:],
        "PUBLIC__ORDER_ITEMS_PIPE": f"{exports}/public.order_items/",
        "PUBLIC__ORDERS_PIPE": f"{exports}/public.orders/",
    }


def test_a_pipe_of_another_statement_stands_before_the_older_one_goes(graph):
    """Its name tells the two apart; deleted first, events would find no pipe."""
    pipes = graph.of("snowflake:index/pipe")
    assert len(pipes) == len(TABLES) + 1
    for pipe in pipes:
        digest = hashlib.sha256(pipe.inputs["copyStatement"].encode()).hexdigest()[:8]
        assert pipe.inputs["name"].endswith(f"_PIPE_{digest.upper()}")
        # Another resource, not the same one replaced: that would delete first.
        assert pipe.name.endswith(f"-pipe-{digest}")
        assert not pipe.options


def test_stages_and_integration_show_the_stacks_folders_only(graph):
    bucket = "s3://aurora-sync-dev-111122223333-eu-west-1"
    names = ("exports", "manifests", "status")
    folders = {f"{bucket}/{name}/dev/" for name in names}
    stages = graph.of("snowflake:index/stageExternalS3")
    assert {each.inputs["url"] for each in stages} == folders
    integration = graph.one("snowflake:index/storageIntegrationAws").inputs
    assert set(integration["storageAllowedLocations"]) == folders
    assert {each.inputs["storageIntegration"] for each in stages} == {"SHOP_DEV_LAKE"}
    role = graph.one("aws:iam/role", "trust-role").inputs["name"]
    assert integration["storageAwsRoleArn"].endswith(f"role/{role}")


def test_the_bucket_has_one_notification_to_one_topic(graph):
    notification = graph.one("aws:s3/bucketNotification")
    topic = graph.one("aws:sns/topic", "events")
    found = {
        (each["topicArn"].rpartition(":")[2], each["filterPrefix"], *each["events"])
        for each in notification.inputs["topics"]
    }
    assert found == {
        (topic.inputs["name"], "exports/dev/", "s3:ObjectCreated:*"),
        (topic.inputs["name"], "manifests/dev/", "s3:ObjectCreated:*"),
    }
    assert set(notification.inputs) == {"bucket", "topics"}
    assert graph.one("aws:sns/topicPolicy", "events").urn in graph.above(notification)
    listening = {
        each.inputs["awsSnsTopicArn"] for each in graph.of("snowflake:index/pipe")
    }
    assert listening == {notification.inputs["topics"][0]["topicArn"]}


def test_a_pipe_is_made_when_its_events_arrive_and_its_role_may_read(graph):
    waited_for = [
        graph.one("aws:s3/bucketNotification"),
        graph.one("aws:iam/rolePolicy", "trust"),
        graph.one("snowflake:index/stageExternalS3", "exports"),
    ]
    for pipe in graph.of("snowflake:index/pipe", "table-"):
        above = graph.above(pipe)
        landing = pipe.name.rpartition("-pipe-")[0] + "-landing"
        waited = [*waited_for, graph.one("snowflake:index/table", landing)]
        assert [each.name for each in waited if each.urn not in above] == []


def test_a_task_starts_when_all_it_touches_exists(graph):
    written = ("file_receipts", "quarantine", "quarantine_counts", "reconciles")
    shared = {
        each.urn
        for each in graph.of("snowflake:index/table")
        if each.name in {f"landing-{name}" for name in written}
    }
    assert len(shared) == len(written)
    for task in graph.of("snowflake:index/task", "table-"):
        above = graph.above(task)
        stream = graph.one(
            "snowflake:index/streamOnTable", task.name.replace("-task", "-stream")
        )
        target = graph.one(
            "snowflake:index/table", task.name.replace("-task", "-target")
        )
        assert {stream.urn, target.urn} | shared <= above
        inputs = task.inputs
        assert inputs["started"] is True
        assert inputs["userTaskMinimumTriggerIntervalInSeconds"] == 60
        assert inputs["timezone"] == "UTC"
        assert inputs["timestampInputFormat"] == inputs["timeInputFormat"] == "AUTO"
        assert inputs["errorOnNondeterministicMerge"] is True
        assert "schedule" not in inputs
        assert stream.inputs["name"] in inputs["when"]
        assert stream.inputs["name"] in inputs["sqlStatement"]
        assert stream.inputs["appendOnly"] == "true"


def test_a_schedule_starts_after_everything_its_files_pass(graph):
    for rule in graph.of("aws:cloudwatch/eventRule", "table-"):
        parent = next(each for each in graph.resources if each.urn == rule.parent)
        name = parent.name.removesuffix("-schedule")
        ready = [
            *graph.of("snowflake:index/pipe", f"{name}-pipe-"),
            graph.one("snowflake:index/task", f"{name}-task"),
        ]
        assert parent.needs == {each.urn for each in ready}
        assert len(ready) == 2


def test_the_function_runs_when_it_may_and_can(graph):
    function = graph.one("aws:lambda/function", "exporter")
    above = graph.above(function)
    needed = [
        graph.one("aws:iam/rolePolicy", "exporter"),
        graph.one("aws:cloudwatch/logGroup", "exporter"),
        graph.one("aws:s3/bucketPolicy"),
        graph.one("aws:s3/bucketServerSideEncryptionConfiguration"),
        graph.one("vault:aws/authBackendRole"),
        *graph.of("aws:vpc/securityGroupEgressRule"),
        *graph.of("aws:vpc/securityGroupIngressRule"),
    ]
    assert [each.name for each in needed if each.urn not in above] == []


def test_the_function_gets_new_contracts_after_snowflake(graph):
    """A pipe of the contract before would leave a new column out without a word."""
    above = graph.above(graph.one("aws:lambda/function", "exporter"))
    ways = [
        *graph.of("snowflake:index/pipe", "table-"),
        *graph.of("snowflake:index/task", "table-"),
        *graph.of("snowflake:index/table", "table-"),
    ]
    assert len(ways) == 5 * len(TABLES)
    assert [each.name for each in ways if each.urn not in above] == []


def test_the_sweep_starts_when_a_manifest_comes_and_keeps_no_warehouse_up(graph):
    task = graph.one("snowflake:index/task", "landing-sweep")
    stream = graph.one("snowflake:index/streamOnTable", "landing-manifests-stream")
    view = graph.one("snowflake:index/view", "landing-sync_overdue")
    assert {stream.urn, view.urn} <= graph.above(task)
    assert '"MANIFESTS"' in stream.inputs["table"]
    assert graph.one("snowflake:index/table", "landing-manifests").inputs[
        "changeTracking"
    ]
    inputs = task.inputs
    assert "warehouse" not in inputs and "schedule" not in inputs
    assert inputs["userTaskManagedInitialWarehouseSize"] == "XSMALL"
    assert inputs["targetCompletionInterval"] == {"minutes": 15}
    assert inputs["userTaskMinimumTriggerIntervalInSeconds"] == 15 * 60
    assert inputs["timezone"] == "UTC" and inputs["started"] is True
    assert inputs["timestampInputFormat"] == "AUTO"
    assert stream.inputs["name"] in inputs["when"]


def test_what_holds_data_outlives_a_mistake(graph):
    protected = {each.name for each in graph.resources if "protect" in each.options}
    assert protected == {"lake-key", "lake-bucket", "exporter-ledger"}
    retained = {
        each.name for each in graph.resources if "retain_on_delete" in each.options
    }
    assert retained == {
        "snowflake-database",
        "snowflake-schema-PUBLIC",
        "snowflake-schema-SYNC",
        *(
            f"landing-{name}"
            for name in (
                *("manifests", "quarantine", "quarantine_counts", "file_receipts"),
                *("reconciles", "sweeps"),
            )
        ),
        *(f"table-{name}-target" for name in TABLES),
    }
    ledger = graph.one("aws:dynamodb/table").inputs
    assert ledger["deletionProtectionEnabled"] is True
    assert ledger["pointInTimeRecovery"] == {"enabled": True}
    assert ledger["serverSideEncryption"]["enabled"] is True


def test_what_stands_already_is_imported_where_the_stack_says_so(settings):
    kinds = ("snowflake:index/table", "snowflake:index/schema")

    def imported(graph):
        return {
            each.name: each.import_id
            for kind in kinds
            for each in graph.of(kind)
            if each.import_id
        }

    assert imported(run(settings)) == {}
    [name, *_] = TABLES
    found = imported(run(settings | {"adopt": [name]}))
    target = f"SHOP_DEV|PUBLIC|{name.rpartition('.')[2].upper()}"
    assert found == {
        f"table-{name}-target": target,
        "snowflake-schema-PUBLIC": '"SHOP_DEV"."PUBLIC"',
    }


def test_what_people_set_on_a_target_is_left_to_them(graph):
    """An import reads it, and the update after it would take it back."""
    for name in TABLES:
        [target] = graph.of("snowflake:index/table", f"table-{name}-target")
        assert target.ignored == {
            *("changeTracking", "comment", "dataRetentionTimeInDays")
        }


def test_a_table_to_adopt_that_the_config_lacks_is_told(settings, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", told.append)
    run(settings | {"adopt": ["public.nothing"]})
    assert [text.partition(" names ")[2] for text in told] == [
        "public.nothing, which the config does not have; take it out"
    ]


def test_the_bucket_is_private_versioned_and_encrypted_by_default(graph):
    block = dict(graph.one("aws:s3/bucketPublicAccessBlock").inputs)
    assert block.pop("bucket")
    assert set(block.values()) == {True} and len(block) == 4
    (rule,) = graph.one("aws:s3/bucketServerSideEncryptionConfiguration").inputs[
        "rules"
    ]
    default = rule["applyServerSideEncryptionByDefault"]
    assert default["sseAlgorithm"] == "aws:kms"
    assert default["kmsMasterKeyId"].endswith("lake-key")
    assert rule["bucketKeyEnabled"] is True
    versioning = graph.one("aws:s3/bucketVersioning").inputs
    assert versioning["versioningConfiguration"] == {"status": "Enabled"}
    ownership = graph.one("aws:s3/bucketOwnershipControls").inputs["rule"]
    assert ownership == {"objectOwnership": "BucketOwnerEnforced"}
    assert graph.one("aws:kms/key").inputs["enableKeyRotation"] is True


def test_exports_expire_and_manifests_stay(graph):
    rules = graph.one("aws:s3/bucketLifecycleConfiguration").inputs["rules"]
    expiring = {rule["filter"]["prefix"] for rule in rules if "expiration" in rule}
    assert expiring == {"exports/dev/"}
    assert [rule for rule in rules if "abortIncompleteMultipartUpload" in rule]


def test_the_functions_environment_is_what_the_exporter_reads(graph, read_settings):
    function = graph.one("aws:lambda/function", "exporter").inputs
    variables = function["environment"]["variables"]
    found = ExporterSettings.from_env(variables)
    assert found.bucket == read_settings.bucket
    assert found.ledger_table == graph.one("aws:dynamodb/table").inputs["name"]
    assert found.vault_role == graph.one("vault:aws/authBackendRole").inputs["role"]
    users = graph.one("vault:database/secretBackendRole").inputs["name"]
    assert found.vault_database_role == users
    assert found.aurora_sslrootcert == "config/certs/eu-west-1-bundle.pem"
    assert set(variables) == set(found.to_env())
    assert not [key for key in variables if "SNOWFLAKE" in key or "PASSWORD" in key]
    assert function["handler"] == HANDLER
    assert function["runtime"] == "python3.13"
    assert function["loggingConfig"]["logFormat"] == "JSON"
    assert len(json.dumps(variables)) < 4096


def test_vault_leases_members_of_the_exporters_role_and_leaves_nothing(graph):
    users = graph.one("vault:database/secretBackendRole").inputs
    (creation,) = users["creationStatements"]
    assert 'IN ROLE "aurora_sync_exporter"' in creation
    assert "VALID UNTIL '{{expiration}}'" in creation
    assert "CONNECTION LIMIT 2" in creation
    assert users["revocationStatements"] == [REVOCATION]
    # Vault splits a statement at semicolons unless this word stands in it.
    assert " END " in REVOCATION


def test_a_lease_outlasts_the_longest_run_and_a_run_its_function(graph):
    users = graph.one("vault:database/secretBackendRole").inputs
    login = graph.one("vault:aws/authBackendRole").inputs
    # Login, lease, and both given back, none of them answered in time.
    vault = 4 * TIMEOUT_SECONDS
    timeout = graph.one("aws:lambda/function", "exporter").inputs["timeout"]
    assert timeout == 300
    margin = 60
    assert users["defaultTtl"] > 2 * (timeout + vault) + margin
    assert users["maxTtl"] == users["defaultTtl"]
    # The lease ends with the token that took it.
    assert login["tokenTtl"] == login["tokenMaxTtl"] == users["defaultTtl"]
    # Work ends when it is planned to; giving back comes after it.
    assert timeout * PLANNED_SHARE + 2 * TIMEOUT_SECONDS + margin / 2 < timeout


def test_vault_binds_the_functions_role_only(graph):
    role = graph.one("aws:iam/role", "exporter").inputs["name"]
    login = graph.one("vault:aws/authBackendRole").inputs
    (bound,) = login["boundIamPrincipalArns"]
    assert bound.endswith(f":{role}")
    assert login["authType"] == "iam"
    assert login["resolveAwsUniqueIds"] is True
    assert login["tokenNoDefaultPolicy"] is True
    client = graph.one("vault:aws/authBackendClient").inputs
    assert client["iamServerIdHeaderValue"] == "vault.example.com"
    connection = graph.one("vault:database/secretBackendConnection").inputs
    assert connection["allowedRoles"] == ["aurora-sync-dev-exporter"]


def test_what_exists_at_vault_is_not_made_again(settings):
    settings["vault"] |= {"manage_mounts": False}
    for key in ("connection_url", "admin_user", "admin_secret"):
        del settings["vault"][key]
    graph = run(settings)
    made = {each.type for each in graph.resources if each.type.startswith("vault:")}
    assert made == {
        "vault:index/policy:Policy",
        "vault:database/secretBackendRole:SecretBackendRole",
        "vault:aws/authBackendRole:AuthBackendRole",
    }
    users = graph.one("vault:database/secretBackendRole").inputs
    assert users["backend"] == "database" and users["dbName"] == "aurora"


def test_landing_is_transient_and_schemas_are_managed(graph):
    schemas = {
        each.inputs["name"]: each.inputs for each in graph.of("snowflake:index/schema")
    }
    assert {name: each["isTransient"] for name, each in schemas.items()} == {
        "LANDING": "true",
        "SYNC": "false",
        "PUBLIC": "false",
    }
    assert {each["withManagedAccess"] for each in schemas.values()} == {"true"}
    database = graph.one("snowflake:index/database").inputs
    assert database["dropPublicSchemaOnCreation"] is True


def test_each_pipe_says_every_option_of_its_files(graph):
    """A default of Snowflake's would eat backslashes and turn texts into NULL.

    Here no object can be altered behind the pipe, and no provider turns "none" into
    "not given".
    """
    for pipe in graph.of("snowflake:index/pipe", "table-"):
        statement = pipe.inputs["copyStatement"]
        for option in (
            "NULL_IF = ()",
            "ESCAPE = NONE",
            "ESCAPE_UNENCLOSED_FIELD = NONE",
            "EMPTY_FIELD_AS_NULL = TRUE",
            "TRIM_SPACE = FALSE",
            "SKIP_HEADER = 0",
        ):
            assert f" {option} " in statement


def test_landing_tables_keep_their_change_tracking(graph):
    for table in graph.of("snowflake:index/table", "table-"):
        expected = table.name.endswith("-landing")
        assert table.inputs["changeTracking"] is expected, table.name


def test_clustering_is_of_the_target(graph):
    clustered = {
        each.name: each.inputs["clusterBies"]
        for each in graph.of("snowflake:index/table")
        if each.inputs.get("clusterBies")
    }
    assert clustered == {"table-public.orders-target": ["placed_at"]}


def test_the_number_of_resources_grows_by_few_per_table(with_tables):
    def count(tables: int) -> int:
        specs = [make_table(table_name=f"public.t{number}") for number in range(tables)]
        graph = run(with_tables(specs))
        return len([each for each in graph.resources if each.custom])

    one, many = count(1), count(11)
    assert (many - one) / 10 == 8


def test_hostile_names_stay_names(with_tables):
    hostile = ["public.Order; DROP --", "public.naïve '$$' %s {{name}}"]
    tables = [
        make_table(table_name=name, target_table=f"safe {number}")
        for number, name in enumerate(hostile)
    ]
    graph = run(with_tables(tables))
    asked = {
        json.loads(each.inputs["input"])["table"]
        for each in graph.of("aws:cloudwatch/eventTarget", "table-")
    }
    assert asked == set(hostile)
    for rule in graph.of("aws:cloudwatch/eventRule"):
        assert re.fullmatch(r"[.\-_A-Za-z0-9]{1,64}", rule.inputs["name"])
    for pipe in graph.of("snowflake:index/pipe", "table-"):
        (slug,) = re.findall(r"EXPORTS/(\S+)/ t$", pipe.inputs["copyStatement"], re.M)
        assert re.fullmatch(r"[a-z0-9_.-]+", slug)
    statements = [
        each.inputs["sqlStatement"]
        for each in graph.of("snowflake:index/task", "table-")
    ]
    assert len(statements) == 2
    for statement in statements:
        quoted = re.sub(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""", "", statement)
        assert "DROP" not in quoted and "$$" not in quoted


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"table_name": '"we.ird".orders', "target_schema": "a"}, "landing table"),
        ({"table_name": 'public."we""ird"', "target_table": "a"}, "landing table"),
        ({"target_schema": "a|b"}, "schema"),
        ({"target_table": "a(b)"}, "table"),
    ],
)
def test_names_that_the_provider_cannot_handle_are_refused(with_tables, keys, kind):
    graph, error = run_recording(with_tables([make_table(**keys)]))
    assert graph.resources == []
    assert f"its {kind} needs a name the Snowflake provider" in error


def test_children_belong_to_their_component(graph):
    urns = {each.urn: each for each in graph.resources}
    for each in graph.resources:
        if each.type.startswith(("aurora-sync:index:Schedule", "aws:", "snowflake:")):
            parent = urns[each.parent]
            assert parent.type.startswith("aurora-sync:index:")
            assert each.name.startswith(f"{parent.name}-"), each.name
