"""What a Snowflake account has once: database, schemas, warehouse, roles, the trust.

The local Snowflake records warehouses, roles and grants; it enforces none of them.
"""

import json
from typing import Any

from infra.local.adapter.site import Call, Handler, Inputs, Made, Site
from infra.local.adapter.snowflake_text import made, name_of, options
from infra.local.aws import user_arn
from runtime.contract.names import quote_snowflake


def _database(site: Site, name: str, inputs: Inputs) -> Made:
    own = name_of(inputs)
    known = {row["name"] for row in site.sql("SHOW DATABASES")}
    if inputs["name"] not in known:
        site.sql(f"CREATE DATABASE {own}")
        if inputs.get("dropPublicSchemaOnCreation"):
            site.sql(f"DROP SCHEMA {own}.PUBLIC")
    return made(inputs)


def _schema(site: Site, name: str, inputs: Inputs) -> Made:
    transient = "TRANSIENT " if inputs.get("isTransient") == "true" else ""
    managed = (
        " WITH MANAGED ACCESS" if inputs.get("withManagedAccess") == "true" else ""
    )
    own = name_of(inputs)
    site.sql(f"CREATE {transient}SCHEMA IF NOT EXISTS {own}{managed}")
    return made(inputs)


def _warehouse(site: Site, name: str, inputs: Inputs) -> Made:
    site.sql(f"CREATE OR REPLACE WAREHOUSE {name_of(inputs)} WITH {options(inputs)}")
    return made(inputs)


def _role(site: Site, name: str, inputs: Inputs) -> Made:
    site.sql(f"CREATE ROLE IF NOT EXISTS {name_of(inputs)}")
    return made(inputs)


def _role_grant(site: Site, name: str, inputs: Inputs) -> Made:
    role = quote_snowflake(inputs["roleName"])
    parent = quote_snowflake(inputs["parentRoleName"])
    site.sql(f"GRANT ROLE {role} TO ROLE {parent}")
    return f"{role}|ROLE|{parent}", {}


def _grant(site: Site, name: str, inputs: Inputs) -> Made:
    privileges = ", ".join(inputs["privileges"])
    role = quote_snowflake(inputs["accountRoleName"])
    site.sql(f"GRANT {privileges} ON {_granted(inputs)} TO ROLE {role}")
    return f"{role}|{privileges}|{_granted(inputs)}", {}


def _granted(inputs: Inputs) -> str:
    if inputs.get("onAccount"):
        return "ACCOUNT"
    if one := inputs.get("onAccountObject"):
        return f"{one['objectType']} {quote_snowflake(one['objectName'])}"
    if schema := inputs.get("onSchema"):
        return f"SCHEMA {schema['schemaName']}"
    one = inputs["onSchemaObject"]
    if future := one.get("future"):
        return f"FUTURE {future['objectTypePlural']} IN SCHEMA {future['inSchema']}"
    return f"{one['objectType']} {one['objectName']}"


def _integration(site: Site, name: str, inputs: Inputs) -> Made:
    own = quote_snowflake(inputs["name"])
    site.sql(
        f"CREATE OR REPLACE STORAGE INTEGRATION {own} TYPE = EXTERNAL_STAGE "
        + options(inputs)
    )
    told = {
        row["property"]: row["property_value"]
        for row in site.sql(f"DESC STORAGE INTEGRATION {own}")
    }
    described = {
        "iamUserArn": told["STORAGE_AWS_IAM_USER_ARN"],
        "externalId": told["STORAGE_AWS_EXTERNAL_ID"],
        "roleArn": told["STORAGE_AWS_ROLE_ARN"],
    }
    own_id, outputs = made(inputs)
    return own_id, {**outputs, "describeOutputs": [described]}


def _notification(site: Site, name: str, inputs: Inputs) -> Made:
    own = quote_snowflake(inputs["name"])
    site.sql(
        f"CREATE OR REPLACE NOTIFICATION INTEGRATION {own} TYPE = QUEUE "
        f"DIRECTION = OUTBOUND {options(inputs)}"
    )
    told = {
        row["property"]: row["property_value"]
        for row in site.sql(f"DESC NOTIFICATION INTEGRATION {own}")
    }
    own_id, outputs = made(inputs)
    return own_id, {
        **outputs,
        "awsSnsIamUserArn": told["SF_AWS_IAM_USER_ARN"],
        "awsSnsExternalId": told["SF_AWS_EXTERNAL_ID"],
    }


def _sns_policy(site: Site, args: Inputs) -> dict[str, Any]:
    statement = {
        "Sid": "1",
        "Effect": "Allow",
        "Principal": {"AWS": user_arn("snowflake")},
        "Action": ["sns:Subscribe"],
        "Resource": [args["awsSnsTopicArn"]],
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    text = json.dumps(document)
    return {**args, "id": args["awsSnsTopicArn"], "awsSnsTopicPolicyJson": text}


HANDLERS: dict[str, Handler] = {
    "snowflake:index/accountRole:AccountRole": _role,
    "snowflake:index/database:Database": _database,
    "snowflake:index/grantAccountRole:GrantAccountRole": _role_grant,
    "snowflake:index/grantPrivilegesToAccountRole:GrantPrivilegesToAccountRole": _grant,
    "snowflake:index/notificationIntegration:NotificationIntegration": _notification,
    "snowflake:index/schema:Schema": _schema,
    "snowflake:index/storageIntegrationAws:StorageIntegrationAws": _integration,
    "snowflake:index/warehouse:Warehouse": _warehouse,
}
CALLS: dict[str, Call] = {
    "snowflake:index/getSystemGetAwsSnsIamPolicy:getSystemGetAwsSnsIamPolicy": (
        _sns_policy
    ),
}
