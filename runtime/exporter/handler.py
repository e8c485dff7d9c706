"""Lambda entry: read the event or message, run one table, report. Nothing else."""

import logging
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import boto3
import msgspec
from aws_lambda_powertools import Logger
from botocore.config import Config
from ulid import ULID

from runtime.contract import metrics
from runtime.contract.errors import (
    ConfigError,
    LeaseHeldError,
    QueueError,
    SyncError,
)
from runtime.contract.loader import DeployedTables
from runtime.contract.names import SourceName
from runtime.contract.records import MOST_KEYS, RunResult
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table
from runtime.exporter.credentials import AwsKeys
from runtime.exporter.load_queue import LoadQueue, Message
from runtime.exporter.run import Surroundings, run_table
from runtime.exporter.worker import take

CONFIG_FILE = Path(__file__).parents[2] / "config" / "sync_config.json"
# Of the time the function has, this share is planned for; the rest is for the commit.
PLANNED_SHARE = 0.8

logger = Logger(service="aurora-sync", use_rfc3339=True)


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What starts a run.

    Attributes:
        table: Source table as the config names it.
        reconcile: Compare keys now, due or not.
        accept_source: The source is another one, and that is meant: load it anew.
        repair: Keys whose rows are exported again, and nothing else: a text for each
            column of the key, as PostgreSQL reads it.
        backfill: Condition of rows to export again, as SQL; empty for all rows.
        report_errors: Answer with the error instead of failing the invocation; for
            people who wait for the answer.
    """

    table: Annotated[str, msgspec.Meta(min_length=1)]
    reconcile: bool = False
    accept_source: bool = False
    repair: Annotated[
        tuple[tuple[str, ...], ...], msgspec.Meta(max_length=MOST_KEYS)
    ] = ()
    backfill: str | None = None
    report_errors: bool = False


def handle(event: Any, context: Any) -> dict[str, Any]:
    """Run one sync of the table that the event names.

    Args:
        event: `{"table": "schema.table"}`; see `Event`.
        context: Lambda's context, which tells the time left.

    Returns:
        `RunResult` as a dictionary.

    Raises:
        SyncError: When the run failed, unless `report_errors` is set.
    """
    if record := _message(event):
        return _take(record, context)
    request = _request(event)
    # One identity from here to Snowflake's receipts; Lambda's own id ends with its log.
    run, table = str(ULID()), None
    logger.append_keys(table=request.table, request_id=context.aws_request_id, run=run)
    try:
        table = _table(request.table)
        result = run_table(
            table,
            _surroundings(),
            _seconds(context),
            request.reconcile,
            request.accept_source,
            request.repair,
            request.backfill,
            # People who wait ask as often as they like.
            counted=not request.report_errors,
            run=run,
        )
    except SyncError as error:
        return _failed(request, error, table, run)
    _measure(table, result)
    logger.info("run ended", extra={"result": msgspec.to_builtins(result)})
    return _plain(result)


def _seconds(context: Any) -> float:
    seconds: float = context.get_remaining_time_in_millis() / 1000 * PLANNED_SHARE
    return seconds


def _message(event: Any) -> dict[str, Any] | None:
    """Return the message of the load queue that an event brings, if it brings one.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    with suppress(KeyError, IndexError, TypeError):
        record: dict[str, Any] = event["Records"][0]
        if record["eventSource"] == "aws:sqs":
            return record
    return None


def _take(record: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do what a message of the load queue asks for; the queue's batches are of one."""
    message = msgspec.json.decode(record["body"], type=Message)
    run, received = str(ULID()), int(record["attributes"]["ApproximateReceiveCount"])
    logger.append_keys(
        table=message.table,
        request_id=context.aws_request_id,
        run=run,
        sent_by=message.run,
        plan=message.plan,
        chunk=message.chunk,
    )
    table = _tables().get(SourceName.parse(message.table))
    if table is None:
        logger.info("message of a table that is no longer deployed")
        return {}
    if received > 1:
        _publish(table, run, {"ChunksRetried": 1})
    around = _surroundings()
    try:
        result = take(table, around, _seconds(context), message, run)
    except SyncError as error:
        with suppress(QueueError):
            around.queue.retry_soon(record["receiptHandle"], received)
        return _failed(Event(table=message.table), error, table, run)
    logger.info("message ended", extra={"received": received})
    if result is not None:
        _measure(table, result)
        # A run of its own, which commits what chunks have exported.
        logger.info("run ended", extra={"result": msgspec.to_builtins(result)})
    return {}


def _request(event: Any) -> Event:
    try:
        return msgspec.convert(event, Event)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"is not a request for a run ({error})",
            subject="event",
            got=event,
            allowed='{"table": "schema.table"}',
            remedy="invoke the function as its schedules do",
        ) from error


def _failed(
    request: Event, error: SyncError, table: Table | None, run: str
) -> dict[str, Any]:
    held = isinstance(error, LeaseHeldError)
    first_time = isinstance(error, LeaseHeldError) and error.times < 2
    if table is not None:
        _publish(table, run, {"RunsFailed": not first_time, "LeaseHeld": held})
    logger.error("run failed", extra={"error": error.as_dict()})
    if request.report_errors:
        return _plain(
            RunResult(
                status="failed", table=request.table, run=run, error=error.as_dict()
            )
        )
    if first_time:
        return _plain(
            RunResult(
                status="busy", table=request.table, run=run, error=error.as_dict()
            )
        )
    raise error


def _measure(table: Table, result: RunResult) -> None:
    values = {
        "RunsFailed": 0,
        "RowsExported": result.rows_exported,
        "BytesExported": result.bytes,
        "RunSeconds": result.seconds,
        "LeaseHeld": 0,
        "HoldbackSeconds": (result.held_by or {}).get("age_seconds", 0),
        "LateRows": result.late_rows,
        "LookbackUsed": 100 * result.lookback_used,
        "RowsWithoutWatermark": result.null_rows or 0,
    }
    _publish(table, result.run, values, mode=result.mode, seq=result.seq)


def _publish(table: Table, run: str, values: dict[str, Any], **more: Any) -> None:
    """Print values where CloudWatch finds them."""
    stack, spec = os.environ.get("SYNC_STACK"), table.spec
    if stack is None:
        # The error of the environment is what has to be told.
        return
    numbers = {name: float(value) for name, value in values.items()}
    more |= {"table": str(spec.source), "run": run}
    now = int(time.time() * 1000)
    print(metrics.line(stack, spec.group, numbers, now, **more), flush=True)


def _plain(result: RunResult) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.to_builtins(result)
    return answer


@cache
def _tables() -> DeployedTables:
    return DeployedTables(CONFIG_FILE)


def _table(name: str) -> Table:
    table = _tables().get(SourceName.parse(name))
    if table is None:
        raise ConfigError(
            "is not in the config that was deployed",
            subject="table",
            got=name,
            allowed=", ".join(str(source) for source in _tables()),
            remedy="add it with `aurora-sync table add` and deploy",
        )
    return table


@cache
def _surroundings() -> Surroundings:
    settings = ExporterSettings.from_env(os.environ)
    # Not by Powertools, for which the level that Lambda filters by is the higher rule.
    logging.getLogger(logger.service).setLevel(settings.log_level)
    config = Config(
        connect_timeout=5,
        read_timeout=15,
        retries={"mode": "standard", "total_max_attempts": 4},
    )
    session = boto3.Session(region_name=settings.region)
    return Surroundings(
        settings=settings,
        ledger_table=session.resource("dynamodb", config=config).Table(
            settings.ledger_table
        ),
        s3=session.client("s3", config=config),
        aws_keys=lambda: _aws_keys(session),
        queue=LoadQueue(session.client("sqs", config=config), settings.load_queue_url),
    )


def _aws_keys(session: boto3.Session) -> AwsKeys:
    credentials = session.get_credentials()
    frozen = credentials.get_frozen_credentials() if credentials else None
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        raise ConfigError(
            "has no AWS credentials",
            subject="function",
            remedy="let it run in its role: deploy it again",
        )
    return AwsKeys(
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        token=frozen.token,
    )
