"""What each resource accepts and from whom: the rows of resources."""

from infra.permissions.row import DOCS, Policy, Row, behaviour, graph

_ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
_QUEUE_POLICY = "aws:sqs/queuePolicy:QueuePolicy"
_TOPIC_POLICY = "aws:sns/topicPolicy:TopicPolicy"
_PERMISSION = "aws:lambda/permission:Permission"
BUCKET = Policy(
    name="bucket",
    who="The lake's bucket",
    resource="aws:s3/bucketPolicy:BucketPolicy",
)
KEY = Policy(name="key", who="The lake's key", resource="aws:kms/key:Key")
TOPIC = Policy(
    name="topic", who="The topic of new files", resource=_TOPIC_POLICY, part="files"
)
ALARM_TOPIC = Policy(
    name="alarm-topic",
    who="The topic of alarms and errors",
    resource=_TOPIC_POLICY,
    part="alarms",
)
DEAD_LETTERS = Policy(
    name="dead-letters",
    who="The queue of given up events",
    resource=_QUEUE_POLICY,
    part="dead-letters",
)
LOAD_QUEUE = Policy(
    name="load-queue",
    who="The queue of loads' chunks",
    resource=_QUEUE_POLICY,
    part="load",
)
ENDPOINT = Policy(
    name="endpoint",
    who="The ways out of the VPC to S3, DynamoDB and SQS",
    resource=_ENDPOINT,
)
FUNCTION = Policy(
    name="function",
    who="The exporter's function, who may start it",
    resource=_PERMISSION,
    input="",
    part="exporter",
)
CHECKER = Policy(
    name="checker-function",
    who="The checker's function, who may start it",
    resource=_PERMISSION,
    input="",
    part="checker",
)

_PLAIN_HTTP = {"Bool": {"aws:SecureTransport": "false"}}
_OBJECTS = "{bucket_arn}/*"
_METHOD = "s3:x-amz-server-side-encryption"
_UNDER_OUR_KEY = "test_the_bucket_takes_objects_under_its_own_key_only"
_REFUSES = "test_denials.py::test_the_bucket_refuses_what_its_policy_denies"
_KEY_SERVES = "test_the_key_serves_this_stacks_logs_alarms_and_bucket"
_THE_KEY = "in a key's policy `*` is the key itself"
_FROM_BUCKET = {
    "StringEquals": {"aws:SourceAccount": "{account_id}"},
    "ArnLike": {"aws:SourceArn": "{bucket_arn}"},
}
_S3 = {"Service": "s3.amazonaws.com"}
_FROM_ALARMS = {
    "StringEquals": {"aws:SourceAccount": "{account_id}"},
    "ArnLike": {"aws:SourceArn": "{alarms_arn}*"},
}
_ALARMS = {"Service": "cloudwatch.amazonaws.com"}
_CONDITIONS_PAGE = (
    "IAM User Guide, reference_policies_elements_condition_operators.html"
)

ROWS = (
    Row(
        BUCKET,
        "TlsOnly",
        behaviour(_REFUSES, "s3:*"),
        ("{bucket_arn}", _OBJECTS),
        "Nothing travels in the clear",
        principal="*",
        conditions=_PLAIN_HTTP,
        effect="Deny",
    ),
    # A request without encryption headers gets the bucket's default, which is our key;
    # negated operators hold for absent headers too, hence the Null conditions.
    Row(
        BUCKET,
        "OnlyKms",
        behaviour(_REFUSES, "s3:PutObject"),
        (_OBJECTS,),
        "No object under another method of encryption",
        principal="*",
        conditions={
            "Null": {_METHOD: "false"},
            "StringNotEquals": {_METHOD: "aws:kms"},
        },
        effect="Deny",
        source=_CONDITIONS_PAGE,
    ),
    Row(
        BUCKET,
        "OnlyOurKey",
        graph(_UNDER_OUR_KEY, "s3:PutObject"),
        (_OBJECTS,),
        "No object under another key",
        principal="*",
        conditions={
            "Null": {f"{_METHOD}-aws-kms-key-id": "false"},
            "StringNotEquals": {f"{_METHOD}-aws-kms-key-id": "{key_arn}"},
        },
        effect="Deny",
        source=_CONDITIONS_PAGE,
    ),
    Row(
        BUCKET,
        "NoCallersKey",
        graph(_UNDER_OUR_KEY, "s3:PutObject"),
        (_OBJECTS,),
        "No object under a key that only its writer has, which holds data to ransom",
        principal="*",
        conditions={"Null": {f"{_METHOD}-customer-algorithm": "false"}},
        effect="Deny",
        source="Amazon S3 User Guide, ServerSideEncryptionCustomerKeys.html",
    ),
    Row(
        KEY,
        "Account",
        graph("test_the_account_keeps_hold_of_its_key", "kms:*"),
        ("*",),
        "The account's own policies decide who uses the key; without it nobody could "
        "mend it",
        principal={"AWS": "arn:aws:iam::{account_id}:root"},
        wide=_THE_KEY,
        source=f"{DOCS}/kms/latest/developerguide/key-policies.html",
    ),
    Row(
        KEY,
        "BucketEvents",
        graph(_KEY_SERVES, "kms:Decrypt", "kms:GenerateDataKey"),
        ("*",),
        "S3 publishes to the encrypted topic",
        principal=_S3,
        conditions=_FROM_BUCKET,
        wide=_THE_KEY,
        source=f"{DOCS}/sns/latest/dg/sns-key-management.html",
    ),
    Row(
        KEY,
        "Alarms",
        graph(_KEY_SERVES, "kms:Decrypt", "kms:GenerateDataKey"),
        ("*",),
        "Alarms publish to the encrypted topic",
        principal=_ALARMS,
        conditions=_FROM_ALARMS,
        wide=_THE_KEY,
        source=f"{DOCS}/sns/latest/dg/sns-key-management.html",
    ),
    Row(
        KEY,
        "LogGroup",
        graph(
            _KEY_SERVES,
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey*",
            "kms:ReEncrypt*",
        ),
        ("*",),
        "The functions' logs are encrypted",
        principal={"Service": "logs.{region}.amazonaws.com"},
        conditions={
            "ArnEquals": {"kms:EncryptionContext:aws:logs:arn": "{log_group_arns}"}
        },
        wide=f"{_THE_KEY}; CloudWatch Logs asks for the families of actions",
        source=f"{DOCS}/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html",
    ),
    Row(
        TOPIC,
        "BucketEvents",
        graph(
            "test_the_topic_takes_events_of_this_bucket_and_snowflakes_queues",
            "sns:Publish",
        ),
        ("{topic_arn}",),
        "The bucket tells of new files",
        principal=_S3,
        conditions=_FROM_BUCKET,
    ),
    Row(
        TOPIC,
        "Snowpipe",
        behaviour(
            "test_denials.py::test_snowflake_listens_to_the_topic_while_it_may",
            "sns:Subscribe",
        ),
        ("{topic_arn}",),
        "Snowflake subscribes the queue of its pipes",
        principal={"AWS": "{subscriber_arns}"},
        source="Snowflake's SYSTEM$GET_AWS_SNS_IAM_POLICY",
    ),
    Row(
        ALARM_TOPIC,
        "Alarms",
        graph("test_alarms_publish_to_their_topic_and_nobody_else", "sns:Publish"),
        ("{topic_arn}",),
        "This stack's alarms tell; Snowflake has a role for it",
        principal=_ALARMS,
        conditions=_FROM_ALARMS,
        source="CloudWatch user guide, Notify_Users_Alarm_Changes",
    ),
    *(
        Row(
            policy,
            "TlsOnly",
            graph("test_topics_and_queues_refuse_plain_http", "sns:Publish"),
            ("{topic_arn}",),
            "Nothing is published in the clear",
            principal="*",
            conditions=_PLAIN_HTTP,
            effect="Deny",
            source=f"{DOCS}/sns/latest/dg/sns-security-best-practices.html",
        )
        for policy in (TOPIC, ALARM_TOPIC)
    ),
    # EventBridge tells the rule, whose ARN holds the account, and no account beside it.
    Row(
        DEAD_LETTERS,
        "Schedules",
        graph("test_dead_letters_come_from_this_stacks_rules", "sqs:SendMessage"),
        ("{queue_arn}",),
        "The stack's schedule rules put down events that they could not deliver",
        principal={"Service": "events.amazonaws.com"},
        conditions={"ArnLike": {"aws:SourceArn": "{rules_arn}*"}},
        source="Amazon EventBridge User Guide, eb-rule-dlq.html",
    ),
    *(
        Row(
            policy,
            "TlsOnly",
            graph("test_topics_and_queues_refuse_plain_http", "sqs:*"),
            ("{queue_arn}",),
            "Nothing is sent or taken in the clear",
            principal="*",
            conditions=_PLAIN_HTTP,
            effect="Deny",
            source=f"{DOCS}/AWSSimpleQueueService/latest/"
            "SQSDeveloperGuide/sqs-security-best-practices.html",
        )
        for policy in (DEAD_LETTERS, LOAD_QUEUE)
    ),
    Row(
        ENDPOINT,
        "OwnAccount",
        graph("test_endpoints_lead_to_this_account_only", "*"),
        ("*",),
        "What passes the endpoint reaches resources of this account: nothing can be "
        "carried out to a foreign bucket, table or queue",
        principal="*",
        conditions={"StringEquals": {"aws:ResourceAccount": "{account_id}"}},
        wide="others in the same subnets pass it too; who may do what, their own "
        "policies say",
    ),
    Row(
        FUNCTION,
        "Schedules",
        graph(
            "test_schedules_of_this_stack_alone_start_the_function",
            "lambda:InvokeFunction",
        ),
        ("{function_name}",),
        "The stack's schedule rules start the function",
        principal={"Service": "events.amazonaws.com"},
        conditions={
            "StringEquals": {"aws:SourceAccount": "{account_id}"},
            "ArnLike": {"aws:SourceArn": "{rules_arn}*"},
        },
        source=f"{DOCS}/lambda/latest/dg/access-control-resource-based.html",
    ),
    Row(
        CHECKER,
        "Schedules",
        graph(
            "test_its_schedule_alone_starts_the_checker",
            "lambda:InvokeFunction",
        ),
        ("{function_name}",),
        "One rule starts the checker",
        principal={"Service": "events.amazonaws.com"},
        conditions={
            "StringEquals": {"aws:SourceAccount": "{account_id}"},
            "ArnLike": {"aws:SourceArn": "{rule_arn}"},
        },
        source=f"{DOCS}/lambda/latest/dg/access-control-resource-based.html",
    ),
)
