"""What each resource accepts and from whom, as pure functions of names and ARNs."""

from typing import Any

from infra.policies import Document, document, statement


def bucket(*, bucket_arn: str, key_arn: str) -> Document:
    """Refuse plain HTTP and every other encryption than with the lake's key.

    A request without encryption headers gets the bucket's default, which is that
    key; negated operators hold for absent headers too, hence the Null conditions.
    Source: IAM User Guide, reference_policies_elements_condition_operators.html
    """
    everything = [bucket_arn, f"{bucket_arn}/*"]
    method = "s3:x-amz-server-side-encryption"
    key = f"{method}-aws-kms-key-id"
    return document(
        statement(
            "TlsOnly",
            ["s3:*"],
            everything,
            {"Bool": {"aws:SecureTransport": "false"}},
            principal="*",
            effect="Deny",
        ),
        *(
            statement(
                sid,
                ["s3:PutObject"],
                f"{bucket_arn}/*",
                {"Null": {header: "false"}, "StringNotEquals": {header: value}},
                principal="*",
                effect="Deny",
            )
            for sid, header, value in (
                ("OnlyKms", method, "aws:kms"),
                ("OnlyOurKey", key, key_arn),
            )
        ),
    )


def key(
    *,
    account_id: str,
    region: str,
    bucket_arn: str,
    log_group_arns: list[str],
    alarms_arn: str,
) -> Document:
    """Give the key to the account's IAM, and to S3 events, alarms and logs alone.

    In a key's policy the resource `*` is the key itself.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html,
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html,
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    """
    return document(
        statement(
            "Account",
            ["kms:*"],
            "*",
            principal={"AWS": f"arn:aws:iam::{account_id}:root"},
        ),
        statement(
            "BucketEvents",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            "*",
            _from(account_id, bucket_arn),
            principal={"Service": "s3.amazonaws.com"},
        ),
        statement(
            "Alarms",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            "*",
            _from(account_id, alarms_arn),
            principal={"Service": "cloudwatch.amazonaws.com"},
        ),
        statement(
            "LogGroup",
            [
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey*",
                "kms:ReEncrypt*",
            ],
            "*",
            {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": log_group_arns}},
            principal={"Service": f"logs.{region}.amazonaws.com"},
        ),
    )


def _from(account_id: str, source_arn: str) -> dict[str, Any]:
    """Only when a service acts for this resource of this account."""
    return {
        "StringEquals": {"aws:SourceAccount": account_id},
        "ArnLike": {"aws:SourceArn": source_arn},
    }


def topic(
    *, account_id: str, topic_arn: str, bucket_arn: str, subscriber_arns: list[str]
) -> Document:
    """Let the bucket publish, and Snowflake's user subscribe Snowflake's queues."""
    return document(
        statement(
            "BucketEvents",
            ["sns:Publish"],
            topic_arn,
            _from(account_id, bucket_arn),
            principal={"Service": "s3.amazonaws.com"},
        ),
        statement(
            "Snowpipe",
            ["sns:Subscribe"],
            topic_arn,
            principal={"AWS": subscriber_arns},
        ),
    )


def alarm_topic(*, account_id: str, topic_arn: str, alarms_arn: str) -> Document:
    """Let this stack's alarms publish; Snowflake has a role for it.

    Source: CloudWatch user guide, Notify_Users_Alarm_Changes.
    """
    return document(
        statement(
            "Alarms",
            ["sns:Publish"],
            topic_arn,
            _from(account_id, alarms_arn),
            principal={"Service": "cloudwatch.amazonaws.com"},
        ),
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

    EventBridge tells the rule, whose ARN holds the account, and no account beside it.
    Source: Amazon EventBridge User Guide, eb-rule-dlq.html
    """
    return document(
        statement(
            "Schedules",
            ["sqs:SendMessage"],
            queue_arn,
            {"ArnLike": {"aws:SourceArn": rules_arn}},
            principal={"Service": "events.amazonaws.com"},
        ),
    )


def endpoint(*, account_id: str) -> Document:
    """Let what passes the endpoint reach this account's resources only.

    Other callers in the same subnets use the endpoint too, so that it names the
    account and not our bucket: nothing can be carried out to a foreign one.
    """
    return document(
        statement(
            "OwnAccount",
            ["*"],
            "*",
            {"StringEquals": {"aws:ResourceAccount": account_id}},
            principal="*",
        )
    )
