"""Snowflake resources as the statements that the provider would send."""

import json
from typing import Any

from infra.local.adapter.site import Call, Handler, Inputs, Made, Site, snake
from infra.local.aws import user_arn
from infra.local.processes import LocalError
from runtime.contract.names import literal, quote_snowflake

_WORDS = ("NONE", "AUTO")


def _name(inputs: Inputs) -> str:
    """Return the full name of an object, quoted where it must be."""
    parts = (inputs.get("database"), inputs.get("schema"), inputs["name"])
    return ".".join(quote_snowflake(part) for part in parts if part)


def _full(*parts: str) -> str:
    """Return a full name as the provider tells it: always quoted."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _made(inputs: Inputs) -> Made:
    parts = [inputs.get(key) for key in ("database", "schema", "name")]
    full = _full(*(part for part in parts if part))
    return full, {"name": inputs["name"], "fullyQualifiedName": full}


def _options(inputs: Inputs, *but: str) -> str:
    """Render the inputs beside the object's name as options."""
    skipped = ("database", "schema", "name", *but)
    rendered = [
        f"{snake(key).upper()} = {_value(value)}"
        for key, value in inputs.items()
        if key not in skipped and value is not None
    ]
    return " ".join(rendered)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "(" + ", ".join(literal(str(item)) for item in value) + ")"
    if isinstance(value, bool) or value in ("true", "false"):
        return str(value).upper()
    if isinstance(value, int):
        return str(value)
    return value if value in _WORDS else literal(value)


def _database(site: Site, name: str, inputs: Inputs) -> Made:
    own = _name(inputs)
    known = {row["name"] for row in site.sql("SHOW DATABASES")}
    if inputs["name"] not in known:
        site.sql(f"CREATE DATABASE {own}")
        if inputs.get("dropPublicSchemaOnCreation"):
            site.sql(f"DROP SCHEMA {own}.PUBLIC")
    return _made(inputs)


def _schema(site: Site, name: str, inputs: Inputs) -> Made:
    transient = "TRANSIENT " if inputs.get("isTransient") == "true" else ""
    managed = (
        " WITH MANAGED ACCESS" if inputs.get("withManagedAccess") == "true" else ""
    )
    own = _name(inputs)
    site.sql(f"CREATE {transient}SCHEMA IF NOT EXISTS {own}{managed}")
    return _made(inputs)


def _warehouse(site: Site, name: str, inputs: Inputs) -> Made:
    site.sql(f"CREATE OR REPLACE WAREHOUSE {_name(inputs)} WITH {_options(inputs)}")
    return _made(inputs)


def _role(site: Site, name: str, inputs: Inputs) -> Made:
    site.sql(f"CREATE ROLE IF NOT EXISTS {_name(inputs)}")
    return _made(inputs)


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
        + _options(inputs)
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
    own_id, outputs = _made(inputs)
    return own_id, {**outputs, "describeOutputs": [described]}


def _file_format(kind: str) -> Handler:
    def make(site: Site, name: str, inputs: Inputs) -> Made:
        options = _options(inputs, "nullIfs")
        if inputs.get("nullIfs") is not None:
            options += f" NULL_IF = {_value(inputs['nullIfs'])}"
        site.sql(
            f"CREATE OR REPLACE FILE FORMAT {_name(inputs)} TYPE = {kind} {options}"
        )
        return _made(inputs)

    return make


def _stage(site: Site, name: str, inputs: Inputs) -> Made:
    integration = quote_snowflake(inputs["storageIntegration"])
    site.sql(
        f"CREATE OR REPLACE STAGE {_name(inputs)} URL = {literal(inputs['url'])} "
        f"STORAGE_INTEGRATION = {integration}"
    )
    return _made(inputs)


def _table(site: Site, name: str, inputs: Inputs) -> Made:
    own = _name(inputs)
    columns = {column["name"]: _column(column) for column in inputs["columns"]}
    cluster = inputs.get("clusterBies")
    clustered = f" CLUSTER BY ({', '.join(cluster)})" if cluster else ""
    site.sql(
        f"CREATE TABLE IF NOT EXISTS {own} ({', '.join(columns.values())}){clustered}"
    )
    _refuse_changed_types(site, name, inputs)
    known = _known_columns(site, inputs)
    for column, definition in columns.items():
        if column not in known:
            site.sql(f"ALTER TABLE {own} ADD COLUMN {definition}")
    return _made(inputs)


def _known_columns(site: Site, inputs: Inputs) -> set[str]:
    rows = site.sql(
        "SELECT column_name "
        f"FROM {quote_snowflake(inputs['database'])}.INFORMATION_SCHEMA.COLUMNS "
        f"WHERE table_schema = {literal(inputs['schema'])} "
        f"AND table_name = {literal(inputs['name'])}"
    )
    return {row["COLUMN_NAME"] for row in rows}


def _column(column: Inputs) -> str:
    limit = "" if column.get("nullable", True) else " NOT NULL"
    return f"{quote_snowflake(column['name'])} {column['type']}{limit}"


def _refuse_changed_types(site: Site, name: str, inputs: Inputs) -> None:
    before = site.before.get(("snowflake:index/table:Table", name))
    types = {column["name"]: column["type"] for column in inputs["columns"]}
    for column in before["inputs"]["columns"] if before else ():
        if types.get(column["name"], column["type"]) != column["type"]:
            raise LocalError(
                f"column {column['name']} would change its type",
                subject=f"table {_name(inputs)}",
                got=types[column["name"]],
                allowed=column["type"],
                remedy="sync it under another name, or start a new local stack",
            )


def _view(site: Site, name: str, inputs: Inputs) -> Made:
    site.sql(f"CREATE OR REPLACE VIEW {_name(inputs)} AS {inputs['statement']}")
    return _made(inputs)


def _pipe(site: Site, name: str, inputs: Inputs) -> Made:
    own = _name(inputs)
    standing = _standing(site, "PIPES", inputs)
    statement = inputs["copyStatement"]
    # A pipe that is made again forgets what it loaded: only another text is worth it,
    # or an emulated AWS that was killed and lost who hears of new files.
    if (
        standing is None
        or standing["definition"] != statement
        or not _hears(site, inputs["awsSnsTopicArn"], standing["notification_channel"])
    ):
        site.sql(
            f"CREATE OR REPLACE PIPE {own} "
            f"AUTO_INGEST = {_value(inputs['autoIngest'])} "
            f"AWS_SNS_TOPIC = {literal(inputs['awsSnsTopicArn'])} AS\n{statement}"
        )
        standing = _standing(site, "PIPES", inputs)
    site.sql(f"ALTER PIPE {own} SET PIPE_EXECUTION_PAUSED = FALSE")
    own_id, outputs = _made(inputs)
    channel = standing["notification_channel"] if standing else None
    return own_id, {**outputs, "notificationChannel": channel}


def _hears(site: Site, topic: str, channel: str) -> bool:
    found = site.aws("sns").list_subscriptions_by_topic(TopicArn=topic)
    return channel in [each["Endpoint"] for each in found["Subscriptions"]]


def _standing(site: Site, plural: str, inputs: Inputs) -> dict[str, Any] | None:
    place = _full(inputs["database"], inputs["schema"])
    rows = site.sql(f"SHOW {plural} IN SCHEMA {place}")
    return next((row for row in rows if row["name"] == inputs["name"]), None)


def _stream(site: Site, name: str, inputs: Inputs) -> Made:
    site.sql(
        f"CREATE STREAM IF NOT EXISTS {_name(inputs)} ON TABLE {inputs['table']} "
        f"APPEND_ONLY = {_value(inputs['appendOnly'])}"
    )
    return _made(inputs)


def _task(site: Site, name: str, inputs: Inputs) -> Made:
    own = _name(inputs)
    warehouse = quote_snowflake(inputs["warehouse"])
    options = _options(inputs, "warehouse", "when", "sqlStatement", "started")
    site.sql(
        f"CREATE OR REPLACE TASK {own} WAREHOUSE = {warehouse} {options}\n"
        f"WHEN {inputs['when']}\nAS\n{inputs['sqlStatement']}"
    )
    if inputs["started"]:
        site.sql(f"ALTER TASK {own} RESUME")
    return _made(inputs)


def pause_pipe(site: Site, inputs: Inputs) -> None:
    """Stop the loads of a table that the config no longer has."""
    if _standing(site, "PIPES", inputs):
        site.sql(f"ALTER PIPE {_name(inputs)} SET PIPE_EXECUTION_PAUSED = TRUE")


def suspend_task(site: Site, inputs: Inputs) -> None:
    """Stop the merges of a table that the config no longer has."""
    if _standing(site, "TASKS", inputs):
        site.sql(f"ALTER TASK {_name(inputs)} SUSPEND")


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


def _of(kind: str) -> str:
    return f"snowflake:index/{kind[0].lower()}{kind[1:]}:{kind}"


HANDLERS: dict[str, Handler] = {
    _of("AccountRole"): _role,
    _of("Database"): _database,
    _of("FileFormatCsv"): _file_format("CSV"),
    _of("FileFormatJson"): _file_format("JSON"),
    _of("GrantAccountRole"): _role_grant,
    _of("GrantPrivilegesToAccountRole"): _grant,
    _of("Pipe"): _pipe,
    _of("Schema"): _schema,
    _of("StageExternalS3"): _stage,
    _of("StorageIntegrationAws"): _integration,
    _of("StreamOnTable"): _stream,
    _of("Table"): _table,
    _of("Task"): _task,
    _of("View"): _view,
    _of("Warehouse"): _warehouse,
}
CALLS: dict[str, Call] = {
    "snowflake:index/getSystemGetAwsSnsIamPolicy:getSystemGetAwsSnsIamPolicy": (
        _sns_policy
    ),
}
