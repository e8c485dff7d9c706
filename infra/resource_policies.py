"""What each resource accepts and from whom, as pure functions of names and ARNs.

One function per resource, rendered from the rows of `infra.permissions`.
"""

from infra.permissions import resources, rows_of
from infra.permissions.row import Document, Statement, document


def bucket(*, bucket_arn: str, key_arn: str) -> Document:
    """Refuse plain HTTP and every other encryption than with the lake's key."""
    return document(rows_of(resources.BUCKET), bucket_arn=bucket_arn, key_arn=key_arn)


def key(
    *,
    account_id: str,
    region: str,
    bucket_arn: str,
    log_group_arns: list[str],
    alarms_arn: str,
) -> Document:
    """Give the key to the account's IAM, and to S3 events, alarms and logs alone.

    Args:
        account_id: The stack's account.
        region: Its region.
        bucket_arn: The lake's bucket.
        log_group_arns: The log groups of the stack's functions.
        alarms_arn: What the ARNs of the stack's alarms begin with.
    """
    return document(
        rows_of(resources.KEY),
        account_id=account_id,
        region=region,
        bucket_arn=bucket_arn,
        log_group_arns=log_group_arns,
        alarms_arn=alarms_arn,
    )


def topic(
    *, account_id: str, topic_arn: str, bucket_arn: str, subscriber_arns: list[str]
) -> Document:
    """Let the bucket publish, and Snowflake's user subscribe Snowflake's queues."""
    return document(
        rows_of(resources.TOPIC),
        account_id=account_id,
        topic_arn=topic_arn,
        bucket_arn=bucket_arn,
        subscriber_arns=subscriber_arns,
    )


def alarm_topic(*, account_id: str, topic_arn: str, alarms_arn: str) -> Document:
    """Let this stack's alarms publish; Snowflake has a role for it.

    Args:
        account_id: The stack's account.
        topic_arn: The topic.
        alarms_arn: What the ARNs of the stack's alarms begin with.
    """
    return document(
        rows_of(resources.ALARM_TOPIC),
        account_id=account_id,
        topic_arn=topic_arn,
        alarms_arn=alarms_arn,
    )


def subscribers(policy: Document) -> list[str]:
    """Return who Snowflake says will subscribe.

    Args:
        policy: The policy that SYSTEM$GET_AWS_SNS_IAM_POLICY returned.
    """
    arns: set[str] = set()
    for each in policy["Statement"]:
        named = each["Principal"]["AWS"]
        arns |= {named} if isinstance(named, str) else set(named)
    return sorted(arns)


def dead_letters(*, queue_arn: str, rules_arn: str) -> Document:
    """Let the stack's schedule rules put down events they could not deliver.

    Args:
        queue_arn: The queue.
        rules_arn: What the ARNs of the stack's rules begin with.
    """
    return document(
        rows_of(resources.DEAD_LETTERS), queue_arn=queue_arn, rules_arn=rules_arn
    )


def load_queue(*, queue_arn: str) -> Document:
    """Refuse plain HTTP; who sends and takes chunks, the exporter's policy says."""
    return document(rows_of(resources.LOAD_QUEUE), queue_arn=queue_arn)


def endpoint(*, account_id: str) -> Document:
    """Let what passes the endpoint reach this account's resources only."""
    return document(rows_of(resources.ENDPOINT), account_id=account_id)


def schedules(*, account_id: str, function_name: str, rules_arn: str) -> Statement:
    """Let the stack's rules start the function; Lambda writes the policy itself.

    Args:
        account_id: The stack's account.
        function_name: The function.
        rules_arn: What the ARNs of the stack's rules begin with.
    """
    (row,) = rows_of(resources.FUNCTION)
    return row.statement(
        account_id=account_id, function_name=function_name, rules_arn=rules_arn
    )


def checker_schedule(
    *, account_id: str, function_name: str, rule_arn: str
) -> Statement:
    """Let the checker's one rule start it; Lambda writes the policy itself."""
    (row,) = rows_of(resources.CHECKER)
    return row.statement(
        account_id=account_id, function_name=function_name, rule_arn=rule_arn
    )
