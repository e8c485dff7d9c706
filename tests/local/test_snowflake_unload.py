"""An unload writes one file of JSON in the stage's role; a schedule repeats it."""

import json

import pytest
from snowflake.connector.errors import ProgrammingError

from infra.local import aws
from infra.local.parts import LocalStack
from infra.local.snowflake import part
from tests.local.running import running
from tests.local.snowflake_lake import BUCKET, document, make_lake, opened, wait_for

pytestmark = pytest.mark.integration

KEY = "arn:aws:kms:eu-west-1:111122223333:key/lake"
FORM = "FILE_FORMAT = (TYPE = JSON COMPRESSION = NONE) OVERWRITE = TRUE SINGLE = TRUE"
QUERY = "SELECT OBJECT_CONSTRUCT('tables', ARRAY_AGG(OBJECT_CONSTRUCT('t', id))) FROM N"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = LocalStack(tmp_path_factory.mktemp("unload"))
    with running(stack, aws.PART, part.PART):
        make_lake(stack)
        yield stack


@pytest.fixture
def lake(stack):
    allow_writing(stack, "out/*")
    with opened(stack) as lake:
        url = f"URL = 's3://{BUCKET}/out/' STORAGE_INTEGRATION = LAKE"
        kms = f"ENCRYPTION = (TYPE = 'AWS_SSE_KMS' KMS_KEY_ID = '{KEY}')"
        lake.run(f"CREATE STAGE OUT {url} {kms}")
        lake.run("CREATE TABLE N (ID NUMBER(19,0))")
        yield lake


def allow_writing(stack, objects: str) -> None:
    right = {"Effect": "Allow", "Action": "s3:PutObject"}
    where = {"Resource": f"arn:aws:s3:::{BUCKET}/{objects}"}
    aws.client(stack, "iam").put_role_policy(
        RoleName="reader", PolicyName="write", PolicyDocument=document(right | where)
    )


def written(stack, name: str) -> list:
    found = aws.client(stack, "s3").get_object(Bucket=BUCKET, Key=f"out/{name}")
    assert found["ServerSideEncryption"] == "aws:kms"
    assert found["SSEKMSKeyId"] == KEY
    return [json.loads(line) for line in found["Body"].read().splitlines()]


def test_a_file_of_that_very_name_is_written_and_replaced(lake, stack):
    lake.run("INSERT INTO N VALUES (1)")
    said = lake.run(f"COPY INTO @TEST.S.OUT/a.json FROM ({QUERY}) {FORM}")
    assert said[0][0] == "1"
    assert written(stack, "a.json") == [{"tables": [{"t": 1}]}]
    lake.run("UPDATE N SET id = 2")
    lake.run(f"COPY INTO @TEST.S.OUT/a.json FROM ({QUERY}) {FORM}")
    assert written(stack, "a.json") == [{"tables": [{"t": 2}]}]


def test_each_row_is_a_line_and_no_row_is_no_file(lake, stack):
    each = "SELECT OBJECT_CONSTRUCT('t', id) FROM N ORDER BY id"
    lake.run(f"COPY INTO @TEST.S.OUT/b.json FROM ({each}) {FORM}")
    listed = aws.client(stack, "s3").list_objects_v2(Bucket=BUCKET, Prefix="out/b")
    assert listed["KeyCount"] == 0
    lake.run("INSERT INTO N VALUES (1), (2)")
    lake.run(f"COPY INTO @TEST.S.OUT/b.json FROM ({each}) {FORM}")
    assert written(stack, "b.json") == [{"t": 1}, {"t": 2}]


def test_without_the_right_to_write_the_statement_fails(lake, stack):
    allow_writing(stack, "elsewhere/*")
    with pytest.raises(ProgrammingError, match="cannot write the file .*AccessDenied"):
        lake.run(f"COPY INTO @TEST.S.OUT/c.json FROM ({QUERY}) {FORM}")


@pytest.mark.parametrize(
    "statement",
    [
        f"COPY INTO @TEST.S.OUT FROM ({QUERY}) {FORM}",
        f"COPY INTO @TEST.S.OUT/dir/ FROM ({QUERY}) {FORM}",
        f"COPY INTO @TEST.S.OUT/d FROM N {FORM}",
        f"COPY INTO @TEST.S.OUT/d FROM ({QUERY})",
        f"COPY INTO @TEST.S.OUT/d FROM ({QUERY}) {FORM} MAX_FILE_SIZE = 5",
        f"COPY INTO @TEST.S.OUT/d FROM ({QUERY}) {FORM.replace('TRUE', 'FALSE')}",
        f"COPY INTO @TEST.S.OUT/d FROM ({QUERY}) {FORM.replace('NONE', 'GZIP')}",
        f"COPY INTO @TEST.S.OUT/d FROM ({QUERY}) {FORM.replace('JSON', 'CSV')}",
        f"COPY INTO @TEST.S.OUT/d FROM (SELECT 1, 2) {FORM}",
        f"COPY INTO @TEST.S.NONE/d FROM ({QUERY}) {FORM}",
        f"CREATE STAGE E URL = 's3://{BUCKET}/out/' STORAGE_INTEGRATION = LAKE "
        "ENCRYPTION = (TYPE = 'AWS_SSE_S3')",
    ],
)
def test_other_forms_are_refused(lake, statement):
    with pytest.raises(ProgrammingError):
        lake.run(statement)


TASK = "CREATE OR REPLACE TASK T TARGET_COMPLETION_INTERVAL = '5 MINUTES' "


def test_a_task_with_a_schedule_unloads_again_and_again(lake, stack):
    lake.run("INSERT INTO N VALUES (7)")
    body = f"COPY INTO @TEST.S.OUT/e.json FROM ({QUERY}) {FORM}"
    lake.run(f"{TASK} SCHEDULE = '15 minutes' AS {body}")
    runs = "SELECT state, error_message FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY())"
    lake.run("ALTER TASK T RESUME")
    wait_for(lambda: lake.run(runs)[:1], [("SUCCEEDED", None)])
    assert written(stack, "e.json") == [{"tables": [{"t": 7}]}]
    lake.run("UPDATE N SET id = 8")
    lake.run("EXECUTE TASK T")
    wait_for(lambda: written(stack, "e.json"), [{"tables": [{"t": 8}]}])
    # The file stands before its run is noted. The clock starts it once in 15 minutes.
    wait_for(lambda: len(lake.run(runs)), 2)


@pytest.mark.parametrize(
    "rest",
    [
        "SCHEDULE = 'USING CRON 0 * * * * UTC' AS {}",
        "SCHEDULE = '5 MINUTES' WHEN SYSTEM$STREAM_HAS_DATA('S') AS {}",
        "AS {}",
        "SCHEDULE = '5 MINUTES' AS SELECT 1",
        "ERROR_INTEGRATION = NOBODY SCHEDULE = '5 MINUTES' AS {}",
    ],
)
def test_other_tasks_of_the_clock_are_refused(lake, rest):
    body = f"COPY INTO @TEST.S.OUT/f.json FROM ({QUERY}) {FORM}"
    with pytest.raises(ProgrammingError):
        lake.run(TASK + rest.format(body))


def test_a_notification_integration_is_recorded_and_tells_whom_to_trust(lake):
    lake.run(
        "CREATE OR REPLACE NOTIFICATION INTEGRATION TELLS ENABLED = TRUE TYPE = QUEUE "
        "DIRECTION = OUTBOUND NOTIFICATION_PROVIDER = AWS_SNS AWS_SNS_TOPIC_ARN = 't' "
        "AWS_SNS_ROLE_ARN = 'r'"
    )
    told = dict(
        (row[0], row[2]) for row in lake.run("DESC NOTIFICATION INTEGRATION TELLS")
    )
    assert told["SF_AWS_IAM_USER_ARN"] == aws.user_arn("snowflake")
    assert told["SF_AWS_EXTERNAL_ID"]
    body = f"COPY INTO @TEST.S.OUT/g.json FROM ({QUERY}) {FORM}"
    lake.run(f"{TASK} ERROR_INTEGRATION = TELLS SCHEDULE = '5 MINUTES' AS {body}")
