"""The function, what starts it, its log and its ledger."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.local.adapter.site import Handler, Inputs, Made, Site, arn, given


def _log_group(site: Site, name: str, inputs: Inputs) -> Made:
    logs = site.aws("logs")
    own = inputs["name"]
    try:
        logs.create_log_group(
            logGroupName=own,
            tags={tag["Key"]: tag["Value"] for tag in site.tag_list(inputs)},
            **given(kmsKeyId=inputs.get("kmsKeyId")),
        )
    except logs.exceptions.ResourceAlreadyExistsException:
        pass
    if days := inputs.get("retentionInDays"):
        logs.put_retention_policy(logGroupName=own, retentionInDays=days)
    return own, {"arn": arn("logs", f"log-group:{own}"), "name": own}


def _table(site: Site, name: str, inputs: Inputs) -> Made:
    dynamodb = site.aws("dynamodb")
    own = inputs["name"]
    try:
        dynamodb.create_table(
            TableName=own,
            KeySchema=_key_schema(inputs),
            AttributeDefinitions=[
                {"AttributeName": one["name"], "AttributeType": one["type"]}
                for one in inputs["attributes"]
            ],
            BillingMode=inputs["billingMode"],
            Tags=site.tag_list(inputs),
            **given(SSESpecification=_encryption(inputs)),
        )
    except dynamodb.exceptions.ResourceInUseException:
        pass  # its items stay
    dynamodb.update_table(
        TableName=own,
        DeletionProtectionEnabled=inputs.get("deletionProtectionEnabled", False),
    )
    if recovery := inputs.get("pointInTimeRecovery"):
        dynamodb.update_continuous_backups(
            TableName=own,
            PointInTimeRecoverySpecification={
                "PointInTimeRecoveryEnabled": recovery["enabled"]
            },
        )
    if ttl := inputs.get("ttl"):
        _set_ttl(dynamodb, own, ttl)
    return own, {"arn": arn("dynamodb", f"table/{own}"), "name": own}


def _key_schema(inputs: Inputs) -> list[dict[str, str]]:
    keys = [("HASH", inputs["hashKey"]), ("RANGE", inputs.get("rangeKey"))]
    return [{"AttributeName": name, "KeyType": kind} for kind, name in keys if name]


def _encryption(inputs: Inputs) -> dict[str, Any] | None:
    wanted = inputs.get("serverSideEncryption")
    if not wanted or not wanted.get("enabled"):
        return None
    return {
        "Enabled": True,
        **given(
            SSEType="KMS" if wanted.get("kmsKeyArn") else None,
            KMSMasterKeyId=wanted.get("kmsKeyArn"),
        ),
    }


def _set_ttl(dynamodb: Any, table: str, ttl: Inputs) -> None:
    now = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    enabled = now.get("TimeToLiveStatus") == "ENABLED"
    if enabled != ttl["enabled"]:
        dynamodb.update_time_to_live(
            TableName=table,
            TimeToLiveSpecification={
                "AttributeName": ttl["attributeName"],
                "Enabled": ttl["enabled"],
            },
        )


def _function(site: Site, name: str, inputs: Inputs) -> Made:
    lambda_ = site.aws("lambda")
    own = inputs["name"]
    code = Path(inputs["code"].path).read_bytes()
    settings = _function_settings(inputs)
    try:
        known = lambda_.get_function_configuration(FunctionName=own)
    except lambda_.exceptions.ResourceNotFoundException:
        known = lambda_.create_function(
            Code={"ZipFile": code},
            Architectures=inputs.get("architectures", ["x86_64"]),
            Tags={tag["Key"]: tag["Value"] for tag in site.tag_list(inputs)},
            **settings,
        )
    else:
        # Either ends the workers that stand ready, changed or not.
        if not _stands(known, settings):
            lambda_.update_function_configuration(**settings)
        if (
            known["CodeSha256"]
            != base64.b64encode(hashlib.sha256(code).digest()).decode()
        ):
            lambda_.update_function_code(FunctionName=own, ZipFile=code)
    # As the provider does: nothing invokes a function that is being made or changed.
    for state in ("function_active_v2", "function_updated_v2"):
        lambda_.get_waiter(state).wait(
            FunctionName=own, WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200}
        )
    _set_concurrency(lambda_, own, inputs.get("reservedConcurrentExecutions"))
    return own, {"arn": arn("lambda", f"function:{own}"), "name": own}


def _function_settings(inputs: Inputs) -> dict[str, Any]:
    network = inputs.get("vpcConfig")
    return {
        "FunctionName": inputs["name"],
        "Role": inputs["role"],
        "Runtime": inputs["runtime"],
        "Handler": inputs["handler"],
        "MemorySize": inputs["memorySize"],
        "Timeout": inputs["timeout"],
        "Environment": {"Variables": inputs["environment"]["variables"]},
        **given(
            KMSKeyArn=inputs.get("kmsKeyArn"),
            VpcConfig=network
            and {
                "SubnetIds": network["subnetIds"],
                "SecurityGroupIds": network["securityGroupIds"],
            },
        ),
    }


def _stands(known: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether a function has these settings; AWS tells more of its network."""
    network = known.get("VpcConfig") or {}
    wanted = settings.get("VpcConfig") or {}
    return all(network.get(key) == value for key, value in wanted.items()) and all(
        known.get(key) == value for key, value in settings.items() if key != "VpcConfig"
    )


def _set_concurrency(lambda_: Any, function: str, reserved: int | None) -> None:
    if reserved is None or reserved < 0:
        lambda_.delete_function_concurrency(FunctionName=function)
    else:
        lambda_.put_function_concurrency(
            FunctionName=function, ReservedConcurrentExecutions=reserved
        )


def _invoke_config(site: Site, name: str, inputs: Inputs) -> Made:
    failure = (inputs.get("destinationConfig") or {}).get("onFailure")
    site.aws("lambda").put_function_event_invoke_config(
        FunctionName=inputs["functionName"],
        MaximumRetryAttempts=inputs["maximumRetryAttempts"],
        MaximumEventAgeInSeconds=inputs["maximumEventAgeInSeconds"],
        DestinationConfig=(
            {"OnFailure": {"Destination": failure["destination"]}} if failure else {}
        ),
    )
    return inputs["functionName"], {}


def _recursion(site: Site, name: str, inputs: Inputs) -> Made:
    own = inputs["functionName"]
    site.aws("lambda").put_function_recursion_config(
        FunctionName=own, RecursiveLoop=inputs["recursiveLoop"]
    )
    return own, {}


def _event_source(site: Site, name: str, inputs: Inputs) -> Made:
    lambda_ = site.aws("lambda")
    wanted = {
        "FunctionName": inputs["functionName"],
        "BatchSize": inputs["batchSize"],
        "ScalingConfig": {
            "MaximumConcurrency": inputs["scalingConfig"]["maximumConcurrency"]
        },
    }
    source = inputs["eventSourceArn"]
    known = lambda_.list_event_source_mappings(EventSourceArn=source)
    for standing in known["EventSourceMappings"]:
        own = standing["UUID"]
        lambda_.update_event_source_mapping(UUID=own, **wanted)
        return own, {"uuid": own}
    own = lambda_.create_event_source_mapping(EventSourceArn=source, **wanted)["UUID"]
    return own, {"uuid": own}


def _permission(site: Site, name: str, inputs: Inputs) -> Made:
    lambda_ = site.aws("lambda")
    function = inputs["function"]
    own = inputs.get("statementId") or name
    try:
        lambda_.remove_permission(FunctionName=function, StatementId=own)
    except lambda_.exceptions.ResourceNotFoundException:
        pass
    lambda_.add_permission(
        FunctionName=function,
        StatementId=own,
        Action=inputs["action"],
        Principal=inputs["principal"],
        **given(
            SourceArn=inputs.get("sourceArn"),
            SourceAccount=inputs.get("sourceAccount"),
        ),
    )
    return own, {"statementId": own}


def _rule(site: Site, name: str, inputs: Inputs) -> Made:
    events = site.aws("events")
    wanted = {
        "Name": inputs["name"],
        "ScheduleExpression": inputs["scheduleExpression"],
        "State": inputs.get("state", "ENABLED"),
        "Description": inputs.get("description", ""),
    }
    try:
        standing = events.describe_rule(Name=inputs["name"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        standing = {}
    # Writing a rule again makes the emulator count its interval from now.
    if {key: standing.get(key, "") for key in wanted} != wanted:
        events.put_rule(Tags=site.tag_list(inputs), **wanted)
    return inputs["name"], {
        "arn": arn("events", f"rule/{inputs['name']}"),
        "name": inputs["name"],
    }


def _target(site: Site, name: str, inputs: Inputs) -> Made:
    own = inputs.get("targetId") or name
    retry = inputs.get("retryPolicy")
    letters = inputs.get("deadLetterConfig")
    site.aws("events").put_targets(
        Rule=inputs["rule"],
        Targets=[
            {
                "Id": own,
                "Arn": inputs["arn"],
                "Input": inputs["input"],
                **given(
                    RetryPolicy=retry
                    and {
                        "MaximumRetryAttempts": retry["maximumRetryAttempts"],
                        "MaximumEventAgeInSeconds": retry["maximumEventAgeInSeconds"],
                    },
                    DeadLetterConfig=letters and {"Arn": letters["arn"]},
                ),
            }
        ],
    )
    return own, {"targetId": own}


def disable_rule(site: Site, inputs: Inputs) -> bool:
    """Stop the schedule of a table that the config no longer has; False of no rule."""
    events = site.aws("events")
    try:
        events.disable_rule(Name=inputs["name"])
    except events.exceptions.ResourceNotFoundException:
        return False
    return True


HANDLERS: dict[str, Handler] = {
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:dynamodb/table:Table": _table,
    "aws:lambda/function:Function": _function,
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": _invoke_config,
    "aws:lambda/functionRecursionConfig:FunctionRecursionConfig": _recursion,
    "aws:lambda/eventSourceMapping:EventSourceMapping": _event_source,
    "aws:lambda/permission:Permission": _permission,
    "aws:cloudwatch/eventRule:EventRule": _rule,
    "aws:cloudwatch/eventTarget:EventTarget": _target,
}
