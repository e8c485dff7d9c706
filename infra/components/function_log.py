"""The log of a function: encrypted, kept for a time, JSON."""

import pulumi
import pulumi_aws as aws

from infra.run_settings import FunctionSettings

# Lines of metrics have no level, and Lambda takes a line without one for INFO: with a
# higher filter there would be no metrics. Our own lines the functions filter.
# Source: AWS Lambda developer guide, monitoring-cloudwatchlogs-log-level
_WITH_METRICS = ("DEBUG", "INFO")


def made_log(
    name: str,
    group_name: str,
    wanted: FunctionSettings,
    key_arn: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> aws.lambda_.FunctionLoggingConfigArgs:
    """Make a function's log group; return how the function writes to it.

    Args:
        name: What the resource's name begins with.
        group_name: Name of the group.
        wanted: How long it is kept, and from which level on there are lines.
        key_arn: Key that encrypts it.
        opts: Options of the resource.
    """
    group = aws.cloudwatch.LogGroup(
        f"{name}-logs",
        name=group_name,
        retention_in_days=wanted.log_retention_days,
        kms_key_id=key_arn,
        opts=opts,
    )
    return aws.lambda_.FunctionLoggingConfigArgs(
        log_format="JSON",
        log_group=group.name,
        application_log_level=(
            wanted.log_level if wanted.log_level in _WITH_METRICS else "INFO"
        ),
        system_log_level="WARN",
    )
