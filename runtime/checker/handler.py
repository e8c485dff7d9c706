"""Lambda entry of the checker: read Snowflake's status and the ledger, print metrics.

It has no lease, no database and no network of its own; it changes nothing.
"""

import logging
import os
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import boto3
import msgspec
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runtime.checker.ages import Cadence, TableAge, judged, measured, status_age
from runtime.checker.states import read_states
from runtime.contract import metrics
from runtime.contract.errors import LakeError
from runtime.contract.loader import load_specs
from runtime.contract.settings import CheckerSettings
from runtime.contract.snowflake_status import WrittenStatus, status_key
from runtime.contract.specs import TableSpec

CONFIG_FILE = Path(__file__).parents[2] / "config" / "sync_config.json"

logger = Logger(service="aurora-sync", use_rfc3339=True)


def handle(event: Any, context: Any) -> dict[str, Any]:
    """Look once.

    Args:
        event: Whatever its schedule sends; it is not read.
        context: Lambda's context, which names the request.

    Returns:
        How old the status is, in seconds, and the tables with which something is wrong.

    Raises:
        SyncError: When ledger or bucket cannot be read; then nothing is published, and
            the alarm on silence tells.
    """
    logger.append_keys(request_id=context.aws_request_id)
    return look(_settings(), _clients(), _specs(), datetime.now(UTC))


def look(
    settings: CheckerSettings,
    clients: dict[str, Any],
    specs: tuple[TableSpec, ...],
    now: datetime,
) -> dict[str, Any]:
    """Judge all tables at a moment, and print a line of metrics for each group.

    Args:
        settings: The checker's settings.
        clients: boto3 clients of S3 and DynamoDB by name.
        specs: The deployed tables.
        now: The time that ages are counted to.
    """
    status = read_status(clients["s3"], settings.bucket, settings.stack)
    states = read_states(
        clients["dynamodb"],
        settings.ledger_table,
        settings.stack,
        [spec.source for spec in specs],
    )
    cadence = Cadence(
        heartbeat=timedelta(seconds=settings.heartbeat_seconds),
        status=timedelta(minutes=settings.status_minutes),
    )
    ages = judged(specs, states, status, cadence, now)
    milliseconds = int(now.timestamp() * 1000)
    for group, tables in groupby(sorted(ages, key=_group), _group):
        values = measured(tables)
        print(metrics.line(settings.stack, group, values, milliseconds), flush=True)
    old = {} if status is None else {"StatusAge": status_age(status, now)}
    # Last: it says that all the others have been told.
    print(
        metrics.line(settings.stack, None, {"Checked": 1, **old}, milliseconds),
        flush=True,
    )
    wrong = [msgspec.to_builtins(each) for each in ages if not each.is_well]
    for each in wrong:
        logger.warning("table is not well", extra=each)
    return {"status_seconds": old.get("StatusAge"), "tables": wrong}


def _group(age: TableAge) -> str:
    return age.group


def read_status(s3: Any, bucket: str, stack: str) -> WrittenStatus | None:
    """Return what Snowflake has written last; None when there is nothing to read.

    Args:
        s3: A boto3 S3 client.
        bucket: The lake's bucket.
        stack: Name of the deployment.

    Raises:
        LakeError: When S3 refuses or does not answer.
    """
    key = status_key(stack)
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return msgspec.json.decode(body, type=WrittenStatus)
    except s3.exceptions.NoSuchKey:
        logger.warning("Snowflake has written no status yet", extra={"key": key})
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        logger.error("is no status", extra={"key": key, "problem": str(error)})
    except (ClientError, BotoCoreError) as error:
        raise LakeError(
            f"S3 does not show the status ({error})",
            subject=f"s3://{bucket}/{key}",
            remedy="check the checker role's policy, the bucket policy and the key",
        ) from error
    return None


@cache
def _specs() -> tuple[TableSpec, ...]:
    return load_specs(CONFIG_FILE)


@cache
def _settings() -> CheckerSettings:
    settings = CheckerSettings.from_env(os.environ)
    # Not by Powertools, for which the level that Lambda filters by is the higher rule.
    logging.getLogger(logger.service).setLevel(settings.log_level)
    return settings


@cache
def _clients() -> dict[str, Any]:
    config = Config(
        connect_timeout=5,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    session = boto3.Session(region_name=_settings().region)
    return {
        "s3": session.client("s3", config=config),
        "dynamodb": session.client("dynamodb", config=config),
    }
