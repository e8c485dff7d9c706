"""An IAM role with its one policy."""

import pulumi
import pulumi_aws as aws


def made_role(
    name: str,
    role_name: str,
    *,
    trust: pulumi.Input[str],
    policy_name: str,
    policy: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
    """Make a role and what it may do; who needs both waits for the policy.

    Args:
        name: What the resources' names begin with.
        role_name: The role's name in IAM.
        trust: JSON text of who may assume it.
        policy_name: Name of the policy within the role.
        policy: JSON text of what it may do.
        opts: Options of both resources.
    """
    role = aws.iam.Role(
        f"{name}-role", name=role_name, assume_role_policy=trust, opts=opts
    )
    allowed = aws.iam.RolePolicy(
        f"{name}-policy", name=policy_name, role=role.name, policy=policy, opts=opts
    )
    return role, allowed
