"""Integrations: who may be asked in AWS, and as whom.

A storage integration is in force; a notification integration is recorded alone, so that
nothing is published when a pipe or task fails.
"""

from typing import Any

from infra.local import aws
from infra.local.snowflake.reader import Option, Reader, known_options

STORAGE, NOTIFICATION = "STORAGE INTEGRATION", "NOTIFICATION INTEGRATION"
# https://docs.snowflake.com/en/sql-reference/sql/
# create-notification-integration-queue-outbound-aws
_NOTIFICATION = {
    "ENABLED": Option(True, (True, False)),
    "TYPE": Option("QUEUE", ("QUEUE",)),
    "DIRECTION": Option("OUTBOUND", ("OUTBOUND",)),
    "NOTIFICATION_PROVIDER": Option("AWS_SNS", ("AWS_SNS",)),
    "AWS_SNS_TOPIC_ARN": Option(),
    "AWS_SNS_ROLE_ARN": Option(),
    "COMMENT": Option(),
}
_STORAGE = {
    "TYPE": Option("EXTERNAL_STAGE", ("EXTERNAL_STAGE",)),
    "STORAGE_PROVIDER": Option("S3", ("S3",)),
    "ENABLED": Option(True, (True, False)),
    "STORAGE_AWS_ROLE_ARN": Option(),
    "STORAGE_AWS_EXTERNAL_ID": Option(),
    "STORAGE_ALLOWED_LOCATIONS": Option(),
    "STORAGE_BLOCKED_LOCATIONS": Option([]),
    "COMMENT": Option(),
}


def read_storage(reader: Reader) -> dict[str, Any]:
    """Read the options of CREATE STORAGE INTEGRATION."""
    found = known_options(reader.options(), _STORAGE, "storage integration")
    for needed in ("STORAGE_AWS_ROLE_ARN", "STORAGE_ALLOWED_LOCATIONS"):
        if needed not in found:
            reader.refuse(needed)
    # Snowflake would make up a new external id at every CREATE; the account's own
    # pseudo-random one would break trust policies just the same.
    if "STORAGE_AWS_EXTERNAL_ID" not in found:
        reader.refuse("STORAGE_AWS_EXTERNAL_ID = '…', or every CREATE breaks the trust")
    return found


def read_notification(reader: Reader) -> dict[str, Any]:
    """Read the options of CREATE NOTIFICATION INTEGRATION; it is recorded alone."""
    found = known_options(reader.options(), _NOTIFICATION, "notification integration")
    for needed in ("AWS_SNS_TOPIC_ARN", "AWS_SNS_ROLE_ARN"):
        if needed not in found:
            reader.refuse(needed)
    return found


def describe(kind: str, name: str, definition: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of DESC INTEGRATION.

    Args:
        kind: Kind of the integration.
        name: Its name.
        definition: What `read_storage` or `read_notification` has read.
    """
    shown = (
        _notification(name, definition)
        if kind == NOTIFICATION
        else _storage(definition)
    )
    return [
        {"property": key, "property_type": "String", "property_value": value}
        for key, value in shown.items()
    ]


def _notification(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """Snowflake makes the external id up with the integration, and keeps it."""
    return definition | {
        "SF_AWS_IAM_USER_ARN": aws.user_arn("snowflake"),
        "SF_AWS_EXTERNAL_ID": f"LOCAL_SFCRole={name}",
    }


def _storage(definition: dict[str, Any]) -> dict[str, Any]:
    return {
        "ENABLED": definition["ENABLED"],
        "STORAGE_PROVIDER": definition["STORAGE_PROVIDER"],
        "STORAGE_ALLOWED_LOCATIONS": ",".join(definition["STORAGE_ALLOWED_LOCATIONS"]),
        "STORAGE_BLOCKED_LOCATIONS": ",".join(definition["STORAGE_BLOCKED_LOCATIONS"]),
        "STORAGE_AWS_IAM_USER_ARN": aws.user_arn("snowflake"),
        "STORAGE_AWS_ROLE_ARN": definition["STORAGE_AWS_ROLE_ARN"],
        "STORAGE_AWS_EXTERNAL_ID": definition["STORAGE_AWS_EXTERNAL_ID"],
        "COMMENT": definition.get("COMMENT", ""),
    }
