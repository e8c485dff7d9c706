"""What moves rows in Snowflake, as the statements that the provider would send."""

from typing import Any

from infra.local.adapter.site import Handler, Inputs, Made, Site
from infra.local.adapter.snowflake_text import made, name_of, options, render
from infra.local.parts import LocalError
from runtime.contract.names import literal, quote_snowflake
from runtime.contract.snowflake_pipes import is_version, versions_of
from runtime.contract.type_rule import grows


def _stage(site: Site, name: str, inputs: Inputs) -> Made:
    integration = quote_snowflake(inputs["storageIntegration"])
    site.sql(
        f"CREATE OR REPLACE STAGE {name_of(inputs)} URL = {literal(inputs['url'])} "
        f"STORAGE_INTEGRATION = {integration}{_encryption(inputs)}"
    )
    return made(inputs)


def _encryption(inputs: Inputs) -> str:
    wanted = (inputs.get("encryption") or {}).get("awsSseKms")
    if not wanted:
        return ""
    return f" ENCRYPTION = (TYPE = 'AWS_SSE_KMS' KMS_KEY_ID = '{wanted['kmsKeyId']}')"


def _errors(inputs: Inputs) -> str:
    name = inputs.get("errorIntegration")
    return f"ERROR_INTEGRATION = {quote_snowflake(name)} " if name else ""


def _table(site: Site, name: str, inputs: Inputs) -> Made:
    """Change a table as the provider would: by name, from inputs to inputs.

    What nobody declared stays, also a column that was added by hand; unless an import
    has read it.
    """
    own = name_of(inputs)
    columns = {column["name"]: column for column in inputs["columns"]}
    before = site.before.get(("snowflake:index/table:Table", name))
    if before:
        _rename(site, before["inputs"], inputs)
    known = known_columns(site, inputs)
    if not known:
        defined = ", ".join(map(_column, columns.values()))
        cluster = inputs.get("clusterBies")
        clustered = f" CLUSTER BY ({', '.join(cluster)})" if cluster else ""
        site.sql(f"CREATE TABLE IF NOT EXISTS {own} ({defined}){clustered}")
        return made(inputs)
    declared = before["inputs"]["columns"] if before else ()
    for column in declared:
        if column["name"] in columns:
            _retype(site, own, column, columns[column["name"]])
        elif column["name"] in known:
            site.sql(f"ALTER TABLE {own} DROP COLUMN {quote_snowflake(column['name'])}")
    for column in columns.values():
        if column["name"] not in known:
            site.sql(f"ALTER TABLE {own} ADD COLUMN {_column(column)}")
    return made(inputs)


def _rename(site: Site, before: Inputs, now: Inputs) -> None:
    """Rename a table; in another schema it would be another one.

    Source: https://github.com/snowflakedb/terraform-provider-snowflake,
    pkg/resources/table.go
    """
    same = before["name"] == now["name"] or moved(before, now)
    if same or not known_columns(site, before):
        return
    site.sql(f"ALTER TABLE {name_of(before)} RENAME TO {name_of(now)}")


def moved(before: Inputs, now: Inputs) -> bool:
    """Whether a table or schema would be another one, in another place."""
    return any(before.get(key) != now.get(key) for key in ("database", "schema"))


def _retype(site: Site, own: str, before: Inputs, now: Inputs) -> None:
    if before["type"] == now["type"]:
        return
    column = quote_snowflake(now["name"])
    if not grows(before["type"], now["type"]):
        raise LocalError(
            f"column {now['name']} would change its type, which Snowflake refuses",
            subject=f"table {own}",
            got=now["type"],
            allowed=f"{before['type']}, or a longer one of its kind",
            remedy="deploy each `contract refresh` before the next: the first takes "
            "the column away, the second brings it back",
        )
    site.sql(f"ALTER TABLE {own} ALTER COLUMN {column} SET DATA TYPE {now['type']}")


def known_columns(site: Site, inputs: Inputs) -> set[str]:
    """Return the names of a table's columns as it stands; none when it does not."""
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


def _view(site: Site, name: str, inputs: Inputs) -> Made:
    site.sql(f"CREATE OR REPLACE VIEW {name_of(inputs)} AS {inputs['statement']}")
    return made(inputs)


def _pipe(site: Site, name: str, inputs: Inputs) -> Made:
    own = name_of(inputs)
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
            f"AUTO_INGEST = {render(inputs['autoIngest'])} "
            f"AWS_SNS_TOPIC = {literal(inputs['awsSnsTopicArn'])} "
            f"{_errors(inputs)}AS\n{statement}"
        )
        standing = _standing(site, "PIPES", inputs)
    site.sql(f"ALTER PIPE {own} SET PIPE_EXECUTION_PAUSED = FALSE")
    own_id, outputs = made(inputs)
    channel = standing["notification_channel"] if standing else None
    return own_id, {**outputs, "notificationChannel": channel}


def _hears(site: Site, topic: str, channel: str) -> bool:
    found = site.aws("sns").list_subscriptions_by_topic(TopicArn=topic)
    return channel in [each["Endpoint"] for each in found["Subscriptions"]]


def _standing(site: Site, plural: str, inputs: Inputs) -> dict[str, Any] | None:
    place = name_of({"database": inputs["database"], "name": inputs["schema"]})
    rows = site.sql(f"SHOW {plural} IN SCHEMA {place}")
    return next((row for row in rows if row["name"] == inputs["name"]), None)


def _stream(site: Site, name: str, inputs: Inputs) -> Made:
    site.sql(
        f"CREATE STREAM IF NOT EXISTS {name_of(inputs)} ON TABLE {inputs['table']} "
        f"APPEND_ONLY = {render(inputs['appendOnly'])}"
    )
    return made(inputs)


def _task(site: Site, name: str, inputs: Inputs) -> Made:
    own = name_of(inputs)
    skipped = ["warehouse", "when", "sqlStatement", "started", "schedule"]
    skipped.append("errorIntegration")
    where = f"WAREHOUSE = {quote_snowflake(inputs.get('warehouse') or '')}"
    if target := inputs.get("targetCompletionInterval"):
        [(unit, number)] = target.items()
        where = f"TARGET_COMPLETION_INTERVAL = {literal(f'{number:g} {unit}')}"
        skipped.append("targetCompletionInterval")
    # The default, for which the local Snowflake knows no option.
    formats = ("timestampInputFormat", "timeInputFormat")
    skipped += [name for name in formats if inputs.get(name) == "AUTO"]
    given = _errors(inputs) + options(inputs, *skipped)
    if schedule := inputs.get("schedule"):
        [(unit, number)] = schedule.items()
        given += f" SCHEDULE = {literal(f'{number:g} {unit}')}"
    when = f"WHEN {inputs['when']}\n" if inputs.get("when") else ""
    site.sql(
        f"CREATE OR REPLACE TASK {own} {where} {given}\n"
        f"{when}AS\n{inputs['sqlStatement']}"
    )
    if inputs["started"]:
        site.sql(f"ALTER TASK {own} RESUME")
    return made(inputs)


def pause_pipe(site: Site, inputs: Inputs) -> bool:
    """Stop the loads of a table that the config no longer has; False of no pipe."""
    standing = _standing(site, "PIPES", inputs) is not None
    if standing:
        site.sql(f"ALTER PIPE {name_of(inputs)} SET PIPE_EXECUTION_PAUSED = TRUE")
    return standing


def drop_older_pipes(site: Site, inputs: Inputs) -> None:
    """Drop other versions of a pipe that stands, as Pulumi does at its end."""
    place = name_of({"database": inputs["database"], "name": inputs["schema"]})
    pipes = versions_of(inputs["name"])
    for row in site.sql(f"SHOW PIPES IN SCHEMA {place}"):
        if row["name"] != inputs["name"] and is_version(row["name"], pipes):
            site.sql(f"DROP PIPE {name_of({**inputs, 'name': row['name']})}")


def suspend_task(site: Site, inputs: Inputs) -> bool:
    """Stop the merges of a table that the config no longer has; False of no task."""
    standing = _standing(site, "TASKS", inputs) is not None
    if standing:
        site.sql(f"ALTER TASK {name_of(inputs)} SUSPEND")
    return standing


def _token(kind: str) -> str:
    return f"snowflake:index/{kind[0].lower()}{kind[1:]}:{kind}"


HANDLERS: dict[str, Handler] = {
    _token("Pipe"): _pipe,
    _token("StageExternalS3"): _stage,
    _token("StreamOnTable"): _stream,
    _token("Table"): _table,
    _token("Task"): _task,
    _token("View"): _view,
}
