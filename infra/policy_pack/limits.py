"""What services take as a name: length, form, and where they say so.

A type of resource that has a name and no entry here fails `tests/infra/test_names.py`.
"""

from dataclasses import dataclass

AWS = "docs.aws.amazon.com"
_LOGS = f"{AWS}/AmazonCloudWatchLogs"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What one kind of name may be.

    Attributes:
        key: Input of the resource that holds it.
        most: Characters.
        form: Regular expression of the whole name.
        source: Page of the service.
    """

    key: str = "name"
    most: int
    form: str
    source: str


_SNOWFLAKE = Limit(
    most=255,
    form=r"[^\0]+",
    source="docs.snowflake.com/en/sql-reference/identifiers",
)
# Vault documents no limit of names but that of its storage; ours is short of any.
_VAULT = "developer.hashicorp.com/vault/docs/internals/limits"
_NAME = r"[\w.-]+"
_MOUNT = r"[\w.-]+(/[\w.-]+)*"

LIMITS = {
    "aws:cloudwatch/eventRule:EventRule": Limit(
        most=64,
        form=r"[.\-_A-Za-z0-9]+",
        source=f"{AWS}/eventbridge/latest/APIReference/API_PutRule.html",
    ),
    "aws:cloudwatch/dashboard:Dashboard": Limit(
        key="dashboardName",
        most=255,
        form=r"[A-Za-z0-9_-]+",
        source=f"{AWS}/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html",
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": Limit(
        most=255,
        form=r"[ -~]+",
        source=f"{AWS}/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html",
    ),
    "aws:cloudwatch/logGroup:LogGroup": Limit(
        most=512,
        form=r"[.\-_/#A-Za-z0-9]+",
        source=f"{_LOGS}/latest/APIReference/API_CreateLogGroup.html",
    ),
    "aws:dynamodb/table:Table": Limit(
        most=255,
        form=r"[a-zA-Z0-9_.-]{3,}",
        source=f"{AWS}/amazondynamodb/latest/APIReference/API_CreateTable.html",
    ),
    "aws:ec2/securityGroup:SecurityGroup": Limit(
        most=255,
        form=r"(?!sg-)[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]+",
        source=f"{AWS}/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html",
    ),
    "aws:iam/role:Role": Limit(
        most=64,
        form=r"[\w+=,.@-]+",
        source=f"{AWS}/IAM/latest/APIReference/API_CreateRole.html",
    ),
    "aws:iam/rolePolicy:RolePolicy": Limit(
        most=128,
        form=r"[\w+=,.@-]+",
        source=f"{AWS}/IAM/latest/APIReference/API_PutRolePolicy.html",
    ),
    "aws:kms/alias:Alias": Limit(
        most=256,
        form=r"alias/(?!aws/)[a-zA-Z0-9/_-]+",
        source=f"{AWS}/kms/latest/APIReference/API_CreateAlias.html",
    ),
    "aws:lambda/function:Function": Limit(
        most=64,
        form=r"[a-zA-Z0-9_-]+",
        source=f"{AWS}/lambda/latest/api/API_CreateFunction.html",
    ),
    "aws:s3/bucket:Bucket": Limit(
        key="bucket",
        most=63,
        form=r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9][a-z0-9-]+[a-z0-9](?<!-s3alias)",
        source=f"{AWS}/AmazonS3/latest/userguide/bucketnamingrules.html",
    ),
    "aws:sns/topic:Topic": Limit(
        most=256,
        form=r"[a-zA-Z0-9_-]+",
        source=f"{AWS}/sns/latest/api/API_CreateTopic.html",
    ),
    "aws:sqs/queue:Queue": Limit(
        most=80,
        form=r"[a-zA-Z0-9_-]+",
        source=f"{AWS}/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html",
    ),
    **dict.fromkeys(
        (
            "snowflake:index/accountRole:AccountRole",
            "snowflake:index/database:Database",
            "snowflake:index/notificationIntegration:NotificationIntegration",
            "snowflake:index/pipe:Pipe",
            "snowflake:index/schema:Schema",
            "snowflake:index/stageExternalS3:StageExternalS3",
            "snowflake:index/storageIntegrationAws:StorageIntegrationAws",
            "snowflake:index/streamOnTable:StreamOnTable",
            "snowflake:index/table:Table",
            "snowflake:index/task:Task",
            "snowflake:index/view:View",
            "snowflake:index/warehouse:Warehouse",
        ),
        _SNOWFLAKE,
    ),
    "vault:index/policy:Policy": Limit(most=128, form=_NAME, source=_VAULT),
    "vault:database/secretBackendConnection:SecretBackendConnection": Limit(
        most=128, form=_NAME, source=_VAULT
    ),
    "vault:database/secretBackendRole:SecretBackendRole": Limit(
        most=128, form=_NAME, source=_VAULT
    ),
    "vault:aws/authBackendRole:AuthBackendRole": Limit(
        key="role", most=128, form=_NAME, source=_VAULT
    ),
    "vault:index/authBackend:AuthBackend": Limit(
        key="path", most=128, form=_MOUNT, source=_VAULT
    ),
    "vault:index/mount:Mount": Limit(key="path", most=128, form=_MOUNT, source=_VAULT),
}
# Longest texts that services take beside names, in characters by type and input.
# Sources, below https://docs.aws.amazon.com/: IAM/latest/UserGuide/
# reference_iam-quotas.html, AmazonS3/latest/userguide/bucket-policies.html,
# kms/latest/developerguide/resource-limits.html, sns/latest/api/
# API_SetTopicAttributes.html, AWSSimpleQueueService/latest/SQSDeveloperGuide/
# quotas-policies.html, vpc/latest/privatelink/vpc-limits-endpoints.html,
# eventbridge/latest/APIReference/API_PutRule.html and API_Target.html,
# AWSEC2/latest/APIReference/API_CreateSecurityGroup.html; and
# https://docs.snowflake.com/en/user-guide/query-size-limits
TEXTS = {
    ("aws:iam/rolePolicy:RolePolicy", "policy"): 10_240,
    ("aws:iam/role:Role", "assumeRolePolicy"): 2_048,
    ("aws:s3/bucketPolicy:BucketPolicy", "policy"): 20_480,
    ("aws:kms/key:Key", "policy"): 32_768,
    ("aws:sns/topicPolicy:TopicPolicy", "policy"): 30_720,
    ("aws:sqs/queuePolicy:QueuePolicy", "policy"): 8_192,
    ("aws:ec2/vpcEndpoint:VpcEndpoint", "policy"): 20_480,
    ("aws:cloudwatch/eventRule:EventRule", "description"): 512,
    ("aws:cloudwatch/eventTarget:EventTarget", "input"): 8_192,
    ("aws:ec2/securityGroup:SecurityGroup", "description"): 255,
    ("snowflake:index/view:View", "statement"): 1_000_000,
    ("snowflake:index/task:Task", "sqlStatement"): 1_000_000,
    ("snowflake:index/pipe:Pipe", "copyStatement"): 1_000_000,
}
ENVIRONMENT = 4_096  # lambda/latest/dg/gettingstarted-limits.html, names and values
