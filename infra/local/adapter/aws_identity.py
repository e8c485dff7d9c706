"""Roles, keys and the cluster's role, with what the emulator does differently."""

import json
from typing import Any

from botocore.exceptions import ClientError

from infra.local import postgres
from infra.local.adapter.site import NAME_TAG, Call, Handler, Inputs, Made, Site, given
from infra.local.aws import user_arn
from runtime.contract.errors import ConfigError


def _role(site: Site, name: str, inputs: Inputs) -> Made:
    iam = site.aws("iam")
    own = inputs["name"]
    policy = _trust(inputs["assumeRolePolicy"])
    try:
        role = iam.create_role(
            RoleName=own,
            AssumeRolePolicyDocument=policy,
            Tags=site.tag_list(inputs),
            **given(
                Path=inputs.get("path"),
                Description=inputs.get("description"),
                MaxSessionDuration=inputs.get("maxSessionDuration"),
                PermissionsBoundary=inputs.get("permissionsBoundary"),
            ),
        )["Role"]
    except iam.exceptions.EntityAlreadyExistsException:
        iam.update_assume_role_policy(RoleName=own, PolicyDocument=policy)
        role = iam.get_role(RoleName=own)["Role"]
    return own, {"arn": role["Arn"], "name": own, "uniqueId": role["RoleId"]}


def _trust(policy: str) -> str:
    """Let the user that plays Aurora's service take a role made for RDS.

    The emulator lets only the root user assume a role as an AWS service, and with
    conditions on aws:SourceArn nobody.
    """
    document = json.loads(policy)
    services: list[Any] = []
    for statement in document["Statement"]:
        principal = statement["Principal"]
        service = principal.get("Service", []) if isinstance(principal, dict) else []
        services += service if isinstance(service, list) else [service]
    if "rds.amazonaws.com" not in services:
        return policy
    document["Statement"].append(
        {
            "Sid": "LocalEmulatorOnly",
            "Effect": "Allow",
            "Principal": {"AWS": user_arn("aurora")},
            "Action": "sts:AssumeRole",
        }
    )
    return json.dumps(document)


def _role_policy(site: Site, name: str, inputs: Inputs) -> Made:
    role, own = inputs["role"], inputs["name"]
    site.aws("iam").put_role_policy(
        RoleName=role, PolicyName=own, PolicyDocument=inputs["policy"]
    )
    return f"{role}:{own}", {}


def _cluster_role(site: Site, name: str, inputs: Inputs) -> Made:
    # The emulator has no AddRoleToDBCluster: the part that plays aws_s3 reads the
    # role from the stack's facts, and fails as Aurora does when there is none.
    cluster, role = inputs["dbClusterIdentifier"], inputs["roleArn"]
    if inputs.get("featureName") != "s3Export":
        raise ConfigError(
            "Aurora does not export by this feature",
            subject=f"role of cluster {cluster}",
            got=inputs.get("featureName"),
            allowed="s3Export",
            remedy="correct the feature's name in the program",
        )
    site.aws("rds").describe_db_clusters(DBClusterIdentifier=cluster)
    site.stack.put_fact("aurora_role_arn", role)
    return f"{cluster},{role}", {}


def _cluster(site: Site, inputs: Inputs) -> dict[str, Any]:
    """Tell one database from another as Aurora's resource ids do."""
    site.aws("rds").describe_db_clusters(
        DBClusterIdentifier=inputs["clusterIdentifier"]
    )
    return {"clusterResourceId": postgres.resource_id(site.stack)}


def _key(site: Site, name: str, inputs: Inputs) -> Made:
    kms = site.aws("kms")
    policy = inputs["policy"]
    key = _key_of(site, name)
    if key is None:
        tags = [
            {"TagKey": tag["Key"], "TagValue": tag["Value"]}
            for tag in site.tag_list(inputs, name)
        ]
        made = kms.create_key(
            Policy=policy, Description=inputs.get("description", ""), Tags=tags
        )
        key = made["KeyMetadata"]
    else:
        kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=policy)
    own = key["KeyId"]
    if inputs.get("enableKeyRotation"):
        kms.enable_key_rotation(KeyId=own)
    return own, {"arn": key["Arn"], "keyId": own}


def _key_of(site: Site, name: str) -> Any:
    kms = site.aws("kms")
    wanted = {"TagKey": NAME_TAG, "TagValue": name}
    for key in kms.list_keys()["Keys"]:
        try:
            tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
        except ClientError as error:
            # A key whose own policy does not know the deployer is not ours.
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            continue
        if wanted in tags:
            return kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    return None


def _key_alias(site: Site, name: str, inputs: Inputs) -> Made:
    kms = site.aws("kms")
    alias = {"AliasName": inputs["name"], "TargetKeyId": inputs["targetKeyId"]}
    try:
        kms.create_alias(**alias)
    except kms.exceptions.AlreadyExistsException:
        kms.update_alias(**alias)
    return inputs["name"], {}


HANDLERS: dict[str, Handler] = {
    "aws:iam/role:Role": _role,
    "aws:iam/rolePolicy:RolePolicy": _role_policy,
    "aws:rds/clusterRoleAssociation:ClusterRoleAssociation": _cluster_role,
    "aws:kms/key:Key": _key,
    "aws:kms/alias:Alias": _key_alias,
}
CALLS: dict[str, Call] = {"aws:rds/getCluster:getCluster": _cluster}
