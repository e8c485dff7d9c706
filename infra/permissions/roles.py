"""What our own roles may do and who may take them: the rows of identities."""

from infra.permissions.row import (
    DOCS,
    KEY_USE,
    Policy,
    Row,
    behaviour,
    graph,
    identity,
    trust,
    via,
)

AURORA_TRUST = trust("aurora-trust", "Who takes the cluster's role", "aurora")
AURORA = identity("aurora", "The Aurora cluster, when it exports", "aurora")
EXPORTER_TRUST = trust("exporter-trust", "Who takes the function's role", "exporter")
EXPORTER = identity("exporter", "The exporter's function", "exporter")
CHECKER_TRUST = trust("checker-trust", "Who takes the checker's role", "checker")
CHECKER = identity("checker", "The checker's function", "checker")
VAULT = Policy(
    name="vault",
    who="The function's login at Vault",
    resource="vault:index/policy:Policy",
    part="exporter",
)

_EXPORTER_STEP = "test_rights.py::test_without_one_right_of_the_exporter_its_step_fails"
_CHECKER_STEP = "test_alarms.py::test_without_a_right_the_checker_is_silent"
_CHECKER_READS = "test_the_checker_reads_status_and_ledger_and_changes_nothing"
_LAMBDA_ONLY = "test_the_functions_roles_are_trusted_to_lambda_only"
_OWN_LOG = "test_the_functions_write_their_own_logs_only"
_GIVING_BACK = "test_rights.py::test_what_cannot_be_given_back_fails_no_run"
_INTERFACES = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
_VPC_PAGE = f"{DOCS}/lambda/latest/dg/configuration-vpc.html"

ROWS = (
    Row(
        AURORA_TRUST,
        "Service",
        graph("test_aurora_is_trusted_as_this_cluster_only", "sts:AssumeRole"),
        (),
        "Aurora takes the role for this cluster; for no other, and for no account else",
        principal={"Service": "rds.amazonaws.com"},
        conditions={
            "StringEquals": {"aws:SourceAccount": "{account_id}"},
            "ArnEquals": {"aws:SourceArn": "{cluster_arn}"},
        },
        source="Amazon Aurora User Guide, postgresql-s3-export.html",
    ),
    Row(
        AURORA,
        "WriteExports",
        behaviour(
            "test_rights.py::test_without_one_right_of_aurora_the_export_fails",
            "s3:PutObject",
        )
        | graph(
            "test_aurora_writes_exports_and_nothing_else", "s3:AbortMultipartUpload"
        ),
        ("{bucket_arn}/exports/{stack}/*",),
        "aws_s3 writes files, and takes back an upload in parts that failed",
    ),
    Row(
        AURORA,
        "EncryptExports",
        graph(KEY_USE, "kms:GenerateDataKey", "kms:Decrypt"),
        ("{key_arn}",),
        "Files are encrypted; an upload in parts decrypts its own data key",
        conditions=via("s3"),
        source=f"{DOCS}/AmazonS3/latest/userguide/mpuoverview.html",
    ),
    Row(
        EXPORTER_TRUST,
        "Service",
        graph(_LAMBDA_ONLY, "sts:AssumeRole"),
        (),
        "Lambda runs the function in the role; a function of another account cannot "
        "have it, because iam:PassRole passes roles of one's own account alone",
        principal={"Service": "lambda.amazonaws.com"},
        source=f"{DOCS}/IAM/latest/UserGuide/id_roles_use_passrole.html",
    ),
    Row(
        EXPORTER,
        "Ledger",
        behaviour(_EXPORTER_STEP, "dynamodb:Query", "dynamodb:UpdateItem"),
        ("{ledger_arn}",),
        "Lease, watermark and plans of the stack, whose table holds nothing else",
    ),
    Row(
        EXPORTER,
        "Manifests",
        behaviour(_EXPORTER_STEP, "s3:GetObject", "s3:PutObject"),
        ("{bucket_arn}/manifests/{stack}/*",),
        "A run commits with its manifest; one that a crash left behind is read",
    ),
    Row(
        EXPORTER,
        "ListManifests",
        behaviour(_EXPORTER_STEP, "s3:ListBucket"),
        ("{bucket_arn}",),
        "Manifests after the ledger's last are found; no export file is",
        conditions={"StringLike": {"s3:prefix": ["manifests/{stack}/*"]}},
    ),
    Row(
        EXPORTER,
        "EncryptManifests",
        graph(KEY_USE, "kms:GenerateDataKey", "kms:Decrypt"),
        ("{key_arn}",),
        "Manifests are encrypted like every object of the lake",
        conditions=via("s3"),
    ),
    Row(
        EXPORTER,
        "Logs",
        graph(_OWN_LOG, "logs:CreateLogStream", "logs:PutLogEvents"),
        ("{log_group_arn}:*",),
        "Lambda writes the function's log in the role's name",
    ),
    Row(
        EXPORTER,
        "DeadLetters",
        graph("test_lambda_puts_down_what_failed_for_good", "sqs:SendMessage"),
        ("{dead_letters_arn}",),
        "Lambda puts down, in the role's name, events that failed for good",
    ),
    Row(
        EXPORTER,
        "Chunks",
        graph(
            "test_the_exporter_sends_and_takes_the_chunks_of_its_own_stack",
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        )
        | behaviour(_EXPORTER_STEP, "sqs:SendMessage"),
        ("{load_queue_arn}",),
        "The function sends one message per chunk; Lambda takes them in its name",
        source="AWS Lambda developer guide, services-sqs-configure",
    ),
    Row(
        EXPORTER,
        "NetworkInterfaces",
        graph("test_the_function_code_cannot_touch_network_interfaces", *_INTERFACES),
        ("*",),
        "Lambda makes the function's network interfaces in the role's name",
        wide="these EC2 actions take no resource; NotFromCode keeps them from the code",
        source=_VPC_PAGE,
    ),
    Row(
        EXPORTER,
        "NotFromCode",
        graph("test_the_function_code_cannot_touch_network_interfaces", *_INTERFACES),
        ("*",),
        "What is Lambda's alone is refused to the function's own code",
        conditions={"ArnEquals": {"lambda:SourceFunctionArn": "{function_arn}"}},
        effect="Deny",
        source=_VPC_PAGE,
    ),
    Row(
        CHECKER_TRUST,
        "Service",
        graph(_LAMBDA_ONLY, "sts:AssumeRole"),
        (),
        "Lambda runs the checker in the role; as the function's, it is passed within "
        "the account alone",
        principal={"Service": "lambda.amazonaws.com"},
        source=f"{DOCS}/IAM/latest/UserGuide/id_roles_use_passrole.html",
    ),
    Row(
        CHECKER,
        "Ledger",
        behaviour(_CHECKER_STEP, "dynamodb:BatchGetItem"),
        ("{ledger_arn}",),
        "Lateness is judged by each table's state; nothing is changed",
    ),
    Row(
        CHECKER,
        "Status",
        behaviour(_CHECKER_STEP, "s3:GetObject"),
        ("{bucket_arn}/status/{stack}/*",),
        "What Snowflake says of the tables",
    ),
    Row(
        CHECKER,
        "FindStatus",
        graph(_CHECKER_READS, "s3:ListBucket"),
        ("{bucket_arn}",),
        "A status that is missing would else look like one that it may not read",
        conditions={"StringLike": {"s3:prefix": ["status/{stack}/*"]}},
    ),
    Row(
        CHECKER,
        "DecryptStatus",
        graph(KEY_USE, "kms:Decrypt"),
        ("{key_arn}",),
        "The status is encrypted like every object of the lake",
        conditions=via("s3"),
    ),
    Row(
        CHECKER,
        "Logs",
        graph(_OWN_LOG, "logs:CreateLogStream", "logs:PutLogEvents"),
        ("{log_group_arn}:*",),
        "Lambda writes the checker's log in the role's name; its metrics are lines of "
        "it",
    ),
    Row(
        VAULT,
        "LeaseUser",
        behaviour(
            "test_rights.py"
            "::test_without_the_path_of_the_credentials_none_are_given",
            "read",
        ),
        ("{database_mount}/creds/{database_role}",),
        "A run leases a database user",
    ),
    Row(
        VAULT,
        "RevokeLease",
        behaviour(_GIVING_BACK, "update"),
        ("sys/leases/revoke",),
        "A run gives its user back, and nobody else's",
        conditions={
            "allowed_parameters": {
                "lease_id": ["{database_mount}/creds/{database_role}/*"]
            }
        },
    ),
    Row(
        VAULT,
        "EndLogin",
        behaviour(_GIVING_BACK, "update"),
        ("auth/token/revoke-self",),
        "A run ends its own login",
    ),
)
