"""A bucket that tells a topic of its files, a role that reads it, and Snowflake."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from infra.local import aws
from infra.local.parts import LocalStack
from infra.local.snowflake.part import connect

BUCKET = "lake"
ROLE = "arn:aws:iam::111122223333:role/reader"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:files"
FORMAT = """TYPE = CSV COMPRESSION = NONE FIELD_OPTIONALLY_ENCLOSED_BY = '"'
    ESCAPE = NONE ESCAPE_UNENCLOSED_FIELD = NONE NULL_IF = () MULTI_LINE = TRUE
    EMPTY_FIELD_AS_NULL = TRUE SKIP_BYTE_ORDER_MARK = FALSE"""

Rows = Iterable[Iterable[Any]]


def as_csv(rows: Rows) -> bytes:
    """Print rows as PostgreSQL's COPY does."""

    def cell(value: Any) -> str:
        if value is None:
            return ""
        if value == "" or any(mark in value for mark in ',"\r\n'):
            return '"' + str(value).replace('"', '""') + '"'
        return str(value)

    return "".join(",".join(map(cell, row)) + "\n" for row in rows).encode()


def wait_for(look: Callable[[], Any], wanted: Any, seconds: float = 8) -> None:
    """Look until it is as wanted."""
    deadline = time.monotonic() + seconds
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert seen == wanted


def document(*statements: dict[str, Any]) -> str:
    """Render a policy."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def make_lake(stack: LocalStack) -> None:
    """Make the bucket, its topic and the role that Snowflake assumes."""
    s3, sns, iam = (aws.client(stack, name) for name in ("s3", "sns", "iam"))
    place = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    sns.create_topic(Name="files")
    policy = document(
        {
            "Effect": "Allow",
            "Action": "sns:Publish",
            "Resource": TOPIC,
            "Principal": {"Service": "s3.amazonaws.com"},
        },
        {
            "Effect": "Allow",
            "Action": "sns:Subscribe",
            "Resource": TOPIC,
            "Principal": {"AWS": aws.user_arn("snowflake")},
        },
    )
    sns.set_topic_attributes(
        TopicArn=TOPIC, AttributeName="Policy", AttributeValue=policy
    )
    target = {"TopicArn": TOPIC, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"TopicConfigurations": [target]}
    )
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": aws.user_arn("snowflake")},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "right"}},
    }
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=document(trust))
    allow(stack, "in/*")


def allow(stack: LocalStack, objects: str) -> None:
    """Let the role read these objects and list the bucket; nothing else."""
    bucket = f"arn:aws:s3:::{BUCKET}"
    rights = (("s3:GetObject", f"{bucket}/{objects}"), ("s3:ListBucket", bucket))
    statements = [
        {"Effect": "Allow", "Action": action, "Resource": on} for action, on in rights
    ]
    aws.client(stack, "iam").put_role_policy(
        RoleName="reader", PolicyName="read", PolicyDocument=document(*statements)
    )


class Lake:
    """A session in a fresh schema TEST.S with a stage on the bucket.

    Args:
        stack: The local stack.
        cursor: Of the session.
    """

    def __init__(self, stack: LocalStack, cursor: Any) -> None:
        self.stack = stack
        self._cursor = cursor

    def run(self, sql: str) -> list[Any]:
        """Run a statement and return its rows."""
        self._cursor.execute(sql)
        return list(self._cursor.fetchall())

    def put(self, key: str, content: bytes) -> str:
        """Write an object below `in/` and return its key."""
        s3 = aws.client(self.stack, "s3")
        s3.put_object(Bucket=BUCKET, Key=f"in/{key}", Body=content)
        return f"in/{key}"

    def integrate(self, external_id: str) -> None:
        """Make the integration with that external id."""
        self.run(
            "CREATE OR REPLACE STORAGE INTEGRATION LAKE TYPE = EXTERNAL_STAGE"
            " STORAGE_PROVIDER = 'S3' ENABLED = TRUE"
            f" STORAGE_AWS_ROLE_ARN = '{ROLE}'"
            f" STORAGE_AWS_EXTERNAL_ID = '{external_id}'"
            f" STORAGE_ALLOWED_LOCATIONS = ('s3://{BUCKET}/')"
        )

    def copy_of(self, table: str, columns: list[str], fmt: str = "CSV") -> str:
        """Return the COPY that fills a table from the folder of its name."""
        values = ", ".join(f"t.${n + 1}" for n in range(len(columns)))
        return (
            f"COPY INTO {table} (FILE, N, {', '.join(columns)}) FROM (SELECT"
            f" METADATA$FILENAME, METADATA$FILE_ROW_NUMBER, {values}"
            f" FROM @TEST.S.STAGE/{table}/ t)"
            f" FILE_FORMAT = (FORMAT_NAME = 'TEST.S.{fmt}') ON_ERROR = SKIP_FILE"
        )

    def pipe(self, name: str, columns: str = "A B C", pattern: str = "") -> None:
        """Make a table of text columns and a pipe on the folder of its name."""
        matched = f" PATTERN = '{pattern}'" if pattern else ""
        texts = ", ".join(f"{column} VARCHAR" for column in columns.split())
        self.run(f"CREATE TABLE {name} (FILE VARCHAR, N NUMBER(19,0), {texts})")
        self.run(
            f"CREATE OR REPLACE PIPE P_{name} AUTO_INGEST = TRUE"
            f" AWS_SNS_TOPIC = '{TOPIC}' AS {self.copy_of(name, columns.split())}"
            f"{matched}"
        )

    def count(self, table: str) -> int:
        """Return the number of rows."""
        return int(self.run(f"SELECT COUNT(*) FROM {table}")[0][0])

    def wait_count(self, table: str, wanted: int, seconds: float = 8) -> None:
        """Wait until a table has so many rows."""
        wait_for(lambda: self.count(table), wanted, seconds)

    def status(self, pipe: str) -> dict[str, Any]:
        """Return a pipe's status."""
        found = self.run(f"SELECT SYSTEM$PIPE_STATUS('{pipe}')")
        return dict(json.loads(found[0][0]))

    def history(self, table: str) -> list[Any]:
        """Return name, state, rows and error of each file, by name."""
        return self.run(
            "SELECT file_name, status, row_count, first_error_message"
            f" FROM TABLE(INFORMATION_SCHEMA.COPY_HISTORY(TABLE_NAME => '{table}'))"
            " ORDER BY file_name"
        )

    def wait_states(self, table: str, *wanted: str) -> None:
        """Wait until a table's files, by name, have these states."""
        wait_for(lambda: [row[1] for row in self.history(table)], list(wanted))


@contextmanager
def opened(stack: LocalStack) -> Iterator[Lake]:
    """Yield a lake whose schema is empty but for stage and formats."""
    with connect(stack) as connection:
        lake = Lake(stack, connection.cursor())
        lake.run("CREATE DATABASE IF NOT EXISTS TEST")
        lake.run("CREATE OR REPLACE SCHEMA TEST.S")
        lake.integrate("right")
        lake.run(f"CREATE FILE FORMAT CSV {FORMAT}")
        lake.run("CREATE FILE FORMAT JSON TYPE = JSON")
        url = f"URL = 's3://{BUCKET}/in/' STORAGE_INTEGRATION = LAKE"
        lake.run(f"CREATE STAGE STAGE {url}")
        yield lake
