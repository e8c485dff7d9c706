"""Who may start a function: the permission of which Lambda makes a statement."""

import pulumi
import pulumi_aws as aws

from infra.permissions.row import Statement


def made_permission(
    name: str,
    function: aws.lambda_.Function,
    allowed: Statement,
    opts: pulumi.ResourceOptions,
) -> aws.lambda_.Permission:
    """Let rules of EventBridge start a function.

    Args:
        name: Name of the resource.
        function: The function.
        allowed: The statement, of `infra.resource_policies`.
        opts: Options of the resource.
    """
    conditions = allowed["Condition"]
    return aws.lambda_.Permission(
        name,
        action=allowed["Action"][0],
        function=function.name,
        principal=allowed["Principal"]["Service"],
        source_account=conditions["StringEquals"]["aws:SourceAccount"],
        source_arn=conditions["ArnLike"]["aws:SourceArn"],
        opts=opts,
    )
