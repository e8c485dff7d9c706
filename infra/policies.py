"""What each role may do and who may assume it, as pure functions of names and ARNs.

One function per role, rendered from the rows of `infra.permissions`.
"""

from infra.permissions import roles, rows_of, snowflake_roles
from infra.permissions.row import Document, document


def exports(stack: str) -> str:
    """Folder of all export files of a stack."""
    return f"exports/{stack}/"


def manifests(stack: str) -> str:
    """Folder of all manifests of a stack."""
    return f"manifests/{stack}/"


def aurora_trust(*, account_id: str, cluster_arn: str) -> Document:
    """Let this one cluster assume the export role."""
    return document(
        rows_of(roles.AURORA_TRUST), account_id=account_id, cluster_arn=cluster_arn
    )


def aurora_export(
    *, stack: str, region: str, bucket_arn: str, key_arn: str
) -> Document:
    """Let Aurora write export files, and neither read nor list anything."""
    return document(
        rows_of(roles.AURORA),
        stack=stack,
        region=region,
        bucket_arn=bucket_arn,
        key_arn=key_arn,
    )


def snowflake_trust(*, user_arn: str, external_id: str) -> Document:
    """Let Snowflake's user assume the reading role, with our external id only."""
    return document(
        rows_of(snowflake_roles.SNOWFLAKE_TRUST),
        user_arn=user_arn,
        external_id=external_id,
    )


def snowflake_lake(
    *, stack: str, region: str, bucket_arn: str, key_arn: str
) -> Document:
    """Let Snowflake read exports and manifests, and write nothing but its status."""
    return document(
        rows_of(snowflake_roles.SNOWFLAKE),
        stack=stack,
        region=region,
        bucket_arn=bucket_arn,
        key_arn=key_arn,
    )


def snowflake_errors_trust(*, user_arn: str, external_id: str) -> Document:
    """Let Snowflake's user assume the role of errors, with its own external id."""
    return document(
        rows_of(snowflake_roles.ERRORS_TRUST),
        user_arn=user_arn,
        external_id=external_id,
    )


def snowflake_publish(*, region: str, topic_arn: str, key_arn: str) -> Document:
    """Let Snowflake publish errors of pipes and tasks to the alarms' topic alone."""
    return document(
        rows_of(snowflake_roles.ERRORS),
        region=region,
        topic_arn=topic_arn,
        key_arn=key_arn,
    )


def checker_trust() -> Document:
    """Let Lambda assume the checker's role."""
    return document(rows_of(roles.CHECKER_TRUST))


def checker(
    *,
    stack: str,
    region: str,
    bucket_arn: str,
    key_arn: str,
    ledger_arn: str,
    log_group_arn: str,
) -> Document:
    """Let the checker read Snowflake's status and the ledger, and change nothing."""
    return document(
        rows_of(roles.CHECKER),
        stack=stack,
        region=region,
        bucket_arn=bucket_arn,
        key_arn=key_arn,
        ledger_arn=ledger_arn,
        log_group_arn=log_group_arn,
    )


def exporter_trust() -> Document:
    """Let Lambda assume the function's role."""
    return document(rows_of(roles.EXPORTER_TRUST))


def exporter(
    *,
    stack: str,
    region: str,
    bucket_arn: str,
    key_arn: str,
    ledger_arn: str,
    log_group_arn: str,
    dead_letters_arn: str,
    load_queue_arn: str,
    function_arn: str,
) -> Document:
    """Let the function keep its ledger and commit manifests; rows it cannot read."""
    return document(
        rows_of(roles.EXPORTER),
        stack=stack,
        region=region,
        bucket_arn=bucket_arn,
        key_arn=key_arn,
        ledger_arn=ledger_arn,
        log_group_arn=log_group_arn,
        dead_letters_arn=dead_letters_arn,
        load_queue_arn=load_queue_arn,
        function_arn=function_arn,
    )


def vault_exporter(*, database_mount: str, database_role: str) -> str:
    """Render the Vault policy: lease a user, revoke own leases, end the login."""
    return "".join(
        row.path(database_mount=database_mount, database_role=database_role)
        for row in rows_of(roles.VAULT)
    )
