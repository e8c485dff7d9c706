"""What each role may do and who may assume it, as pure functions of names and ARNs.

One function per role; each grants what its one job needs and nothing on other stacks'
names. A statement whose resource is `*` says why.
"""

from typing import Any

from runtime.contract.snowflake_names import status_folder

Document = dict[str, Any]
Statement = dict[str, Any]


def document(*statements: Statement) -> Document:
    """Return a policy document of these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(
    sid: str,
    actions: list[str],
    resources: str | list[str],
    conditions: dict[str, Any] | None = None,
    principal: Any = None,
    effect: str = "Allow",
) -> Statement:
    """Return one statement; `principal` is for the policies of resources."""
    found: Statement = {"Sid": sid, "Effect": effect}
    if principal is not None:
        found["Principal"] = principal
    found |= {"Action": actions, "Resource": resources}
    if conditions:
        found["Condition"] = conditions
    return found


def _via(*services: str) -> dict[str, Any]:
    """The key may only be used through these services, not called directly."""
    return {"StringEquals": {"kms:ViaService": list(services)}}


def _folders(*folders: str) -> dict[str, Any]:
    return {"StringLike": {"s3:prefix": [f"{folder}*" for folder in folders]}}


def exports(stack: str) -> str:
    """Folder of all export files of a stack."""
    return f"exports/{stack}/"


def manifests(stack: str) -> str:
    """Folder of all manifests of a stack."""
    return f"manifests/{stack}/"


def status(stack: str) -> str:
    """Folder of what Snowflake tells of a stack."""
    return status_folder(stack)


def service_trust(service: str) -> Document:
    """Let an AWS service assume a role."""
    return document(
        {
            "Sid": "Service",
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
        }
    )


def aurora_trust(*, account_id: str, cluster_arn: str) -> Document:
    """Let this one cluster assume the export role.

    Source: Amazon Aurora User Guide, postgresql-s3-export.html
    """
    trust = service_trust("rds.amazonaws.com")
    trust["Statement"][0]["Condition"] = {
        "StringEquals": {"aws:SourceAccount": account_id},
        "ArnEquals": {"aws:SourceArn": cluster_arn},
    }
    return trust


def aurora_export(
    *, stack: str, region: str, bucket_arn: str, key_arn: str
) -> Document:
    """Let Aurora write export files, and neither read nor list anything.

    A multipart upload to an SSE-KMS bucket decrypts its own data key.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
    """
    return document(
        statement(
            "WriteExports",
            ["s3:PutObject", "s3:AbortMultipartUpload"],
            f"{bucket_arn}/{exports(stack)}*",
        ),
        statement(
            "EncryptExports",
            ["kms:GenerateDataKey", "kms:Decrypt"],
            key_arn,
            _via(f"s3.{region}.amazonaws.com"),
        ),
    )


def snowflake_trust(*, user_arn: str, external_id: str) -> Document:
    """Let Snowflake's user assume the reading role, with our external id only."""
    return document(
        {
            "Sid": "Snowflake",
            "Effect": "Allow",
            "Principal": {"AWS": user_arn},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }
    )


def snowflake_lake(
    *, stack: str, region: str, bucket_arn: str, key_arn: str
) -> Document:
    """Let Snowflake read exports and manifests, and write nothing but its status.

    An unload that overwrites a file puts it, and deletes nothing.
    Source: Snowflake's user guide, data-load-s3-config-storage-integration
    """
    folders = (exports(stack), manifests(stack))
    return document(
        statement(
            "ReadFiles",
            ["s3:GetObject", "s3:GetObjectVersion"],
            [f"{bucket_arn}/{folder}*" for folder in folders],
        ),
        statement(
            "ListFiles",
            ["s3:ListBucket"],
            bucket_arn,
            _folders(*folders, status(stack)),
        ),
        statement("WriteStatus", ["s3:PutObject"], f"{bucket_arn}/{status(stack)}*"),
        statement("FindBucket", ["s3:GetBucketLocation"], bucket_arn),
        statement(
            "UseKey",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            key_arn,
            _via(f"s3.{region}.amazonaws.com"),
        ),
    )


def snowflake_publish(*, region: str, topic_arn: str, key_arn: str) -> Document:
    """Let Snowflake publish errors of pipes and tasks to the alarms' topic alone.

    Whoever publishes to an encrypted topic needs its key.
    Source: Snowflake's user guide, creating-notification-integration-amazon-sns, and
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    """
    return document(
        statement("Publish", ["sns:Publish"], topic_arn),
        statement(
            "UseKey",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            key_arn,
            _via(f"sns.{region}.amazonaws.com"),
        ),
    )


def checker(
    *,
    stack: str,
    region: str,
    bucket_arn: str,
    key_arn: str,
    ledger_arn: str,
    log_group_arn: str,
) -> Document:
    """Let the checker read Snowflake's status and the ledger, and change nothing.

    Without the right to list, a status that is missing would look like one that it may
    not read. Its metrics are lines of its log.
    """
    return document(
        statement("Ledger", ["dynamodb:BatchGetItem"], ledger_arn),
        statement("Status", ["s3:GetObject"], f"{bucket_arn}/{status(stack)}*"),
        statement("FindStatus", ["s3:ListBucket"], bucket_arn, _folders(status(stack))),
        statement(
            "DecryptStatus",
            ["kms:Decrypt"],
            key_arn,
            _via(f"s3.{region}.amazonaws.com"),
        ),
        statement(
            "Logs",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            f"{log_group_arn}:*",
        ),
    )


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
    """Let the function keep its ledger and commit manifests; rows it cannot read.

    Lambda itself takes the chunks' messages, in the role's name.
    Source: AWS Lambda developer guide, services-sqs-configure.
    The EC2 actions are Lambda's own, for its network interfaces: they take no
    resource, and the function's code is denied them.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
    """
    interfaces = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ]
    return document(
        statement("Ledger", ["dynamodb:Query", "dynamodb:UpdateItem"], ledger_arn),
        statement(
            "Manifests",
            ["s3:GetObject", "s3:PutObject"],
            f"{bucket_arn}/{manifests(stack)}*",
        ),
        statement(
            "ListManifests",
            ["s3:ListBucket"],
            bucket_arn,
            _folders(manifests(stack)),
        ),
        statement(
            "EncryptManifests",
            ["kms:GenerateDataKey", "kms:Decrypt"],
            key_arn,
            _via(f"s3.{region}.amazonaws.com"),
        ),
        statement(
            "Logs",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            f"{log_group_arn}:*",
        ),
        statement("DeadLetters", ["sqs:SendMessage"], dead_letters_arn),
        statement(
            "Chunks",
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",
            ],
            load_queue_arn,
        ),
        statement("NetworkInterfaces", interfaces, "*"),
        statement(
            "NotFromCode",
            interfaces,
            "*",
            {"ArnEquals": {"lambda:SourceFunctionArn": function_arn}},
            effect="Deny",
        ),
    )


def vault_exporter(*, database_mount: str, database_role: str) -> str:
    """Render the Vault policy: lease a user, revoke own leases, end the login."""
    creds = f"{database_mount}/creds/{database_role}"
    return f"""path "{creds}" {{
  capabilities = ["read"]
}}
path "sys/leases/revoke" {{
  capabilities = ["update"]
  allowed_parameters = {{
    "lease_id" = ["{creds}/*"]
  }}
}}
path "auth/token/revoke-self" {{
  capabilities = ["update"]
}}
"""
