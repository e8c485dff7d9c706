"""What Snowflake's two roles in AWS may do and who may take them."""

from infra.permissions.row import (
    DOCS,
    KEY_USE,
    Row,
    behaviour,
    graph,
    identity,
    trust,
    via,
)

SNOWFLAKE_TRUST = trust(
    "snowflake-trust", "Who takes Snowflake's role of the lake", "snowflake"
)
SNOWFLAKE = identity(
    "snowflake", "Snowflake, when it loads and tells its status", "snowflake"
)
ERRORS_TRUST = trust(
    "snowflake-errors-trust", "Who takes Snowflake's role of errors", "snowflake-errors"
)
ERRORS = identity(
    "snowflake-errors", "Snowflake, when a pipe or a task fails", "snowflake-errors"
)

_READING = (
    "test_reading_rights.py"
    "::test_without_one_right_of_snowflake_what_it_reads_does_not_arrive"
)
_READS_FOLDERS = "test_snowflake_reads_both_folders_and_writes_nothing_there"
_PUBLISHES = "test_snowflake_publishes_its_errors_to_the_alarms_topic_alone"
_LAKE_PAGE = "Snowflake's user guide, data-load-s3-config-storage-integration"
_ERRORS_PAGE = "Snowflake's user guide, creating-notification-integration-amazon-sns"

ROWS = (
    Row(
        SNOWFLAKE_TRUST,
        "Snowflake",
        behaviour(_READING, "sts:AssumeRole"),
        (),
        "Snowflake's user takes the role, and only when it acts for our integration",
        principal={"AWS": "{user_arn}"},
        conditions={"StringEquals": {"sts:ExternalId": "{external_id}"}},
        source=_LAKE_PAGE,
    ),
    Row(
        SNOWFLAKE,
        "ReadFiles",
        behaviour(_READING, "s3:GetObject")
        | graph(_READS_FOLDERS, "s3:GetObjectVersion"),
        ("{bucket_arn}/exports/{stack}/*", "{bucket_arn}/manifests/{stack}/*"),
        "Pipes load files and manifests",
        source=_LAKE_PAGE,
    ),
    Row(
        SNOWFLAKE,
        "ListFiles",
        behaviour(
            "test_reading_rights.py"
            "::test_without_listing_snowflake_finds_no_files_that_it_was_not_told_of",
            "s3:ListBucket",
        ),
        ("{bucket_arn}",),
        "A refresh finds files that no event told of; an unload looks at its place",
        conditions={
            "StringLike": {
                "s3:prefix": [
                    "exports/{stack}/*",
                    "manifests/{stack}/*",
                    "status/{stack}/*",
                ]
            }
        },
        source=_LAKE_PAGE,
    ),
    # An unload that overwrites a file puts it, and deletes nothing.
    Row(
        SNOWFLAKE,
        "WriteStatus",
        behaviour(
            "test_alarms.py"
            "::test_without_the_right_to_write_snowflakes_status_task_fails",
            "s3:PutObject",
        ),
        ("{bucket_arn}/status/{stack}/*",),
        "A task tells how far the tables are, and the checker reads it",
        source=_LAKE_PAGE,
    ),
    Row(
        SNOWFLAKE,
        "FindBucket",
        graph(_READS_FOLDERS, "s3:GetBucketLocation"),
        ("{bucket_arn}",),
        "Snowflake asks in which region the bucket is",
        source=_LAKE_PAGE,
    ),
    Row(
        SNOWFLAKE,
        "UseKey",
        graph(KEY_USE, "kms:Decrypt", "kms:GenerateDataKey"),
        ("{key_arn}",),
        "What is read and the status that is written are encrypted",
        conditions=via("s3"),
        source=_LAKE_PAGE,
    ),
    Row(
        ERRORS_TRUST,
        "Snowflake",
        graph(
            "test_snowflakes_user_publishes_with_the_external_id_that_it_told",
            "sts:AssumeRole",
        ),
        (),
        "Snowflake's user takes the role, with the external id that Snowflake made up "
        "for this integration",
        principal={"AWS": "{user_arn}"},
        conditions={"StringEquals": {"sts:ExternalId": "{external_id}"}},
        source=_ERRORS_PAGE,
    ),
    Row(
        ERRORS,
        "Publish",
        graph(_PUBLISHES, "sns:Publish"),
        ("{topic_arn}",),
        "Pipes and tasks that fail say so to the alarms' topic at once",
        source=_ERRORS_PAGE,
    ),
    Row(
        ERRORS,
        "UseKey",
        graph(_PUBLISHES, "kms:Decrypt", "kms:GenerateDataKey"),
        ("{key_arn}",),
        "Whoever publishes to an encrypted topic needs its key",
        conditions=via("sns"),
        source=f"{DOCS}/sns/latest/dg/sns-key-management.html",
    ),
)
