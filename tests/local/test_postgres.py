"""PostgreSQL exports as Aurora does: under the cluster's role, whole or not at all."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from psycopg2 import errors

from infra.local import aurora_uploader, aws, postgres
from infra.local.aurora_export import Export
from infra.local.aurora_extensions import make_extensions
from infra.local.aurora_put import S3Error
from infra.local.parts import AWS_REGION, HOST, LocalError, LocalStack
from infra.local.process_table import is_alive, marked_processes
from infra.local.processes import part_states, start_parts, stop_parts
from runtime.contract.aurora_sql import EXPORTER_ROLE, admin_statements
from tests.local.running import process, running, stop_part
from tests.ordinary_user import NOBODY, as_ordinary_user

pytestmark = pytest.mark.integration

PARTS = (aws.PART, postgres.PART, aurora_uploader.PART)
BUCKET = "lake"
ROLE = "aurora-export"
EXPORT = (
    "SELECT rows_uploaded, files_uploaded, bytes_uploaded "
    "FROM aws_s3.query_export_to_s3(%(query)s, %(bucket)s, %(key)s, "
    "options := 'FORMAT csv')"
)
# Rows that take their time, with enough bytes to be on their way to S3 soon.
SLOW = "SELECT repeat('x', 200000), pg_sleep(0.01)::text FROM generate_series(1, 3000)"
COMMIT_SECONDS = 1


class Scene:
    """The parts, a bucket and a role that may write below exports/ only."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.s3 = aws.client(stack, "s3")
        self.iam = aws.client(stack, "iam")
        where = {"LocationConstraint": AWS_REGION}
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
        self.role_arn = self.make_role(ROLE, "aurora")
        self.allow("exports/*")
        stack.put_fact("aurora_role_arn", self.role_arn)
        stack.put_fact("aws_s3_commit_seconds", COMMIT_SECONDS)
        self.sql = self.connect().cursor()

    def connect(self, **options: Any) -> Any:
        connection = psycopg2.connect(postgres.aurora_dsn(self.stack), **options)
        connection.autocommit = True
        return connection

    def make_role(self, name: str, trusted: str) -> str:
        trust = document("sts:AssumeRole", Principal={"AWS": aws.user_arn(trusted)})
        made = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        return made["Role"]["Arn"]

    def allow(self, below: str) -> None:
        self.iam.put_role_policy(
            RoleName=ROLE,
            PolicyName="own",
            PolicyDocument=document(
                ["s3:PutObject", "s3:AbortMultipartUpload"],
                Resource=f"arn:aws:s3:::{BUCKET}/{below}",
            ),
        )

    def export(self, query: str, key: str, bucket: str = BUCKET, sql=None) -> Any:
        cursor = sql or self.sql
        cursor.execute(EXPORT, {"query": query, "key": key, "bucket": bucket})
        return cursor.fetchone()

    def body(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [each["Key"] for each in found]

    def copied(self, query: str) -> bytes:
        """Return what PostgreSQL itself makes of the query."""
        out = io.BytesIO()
        self.sql.copy_expert(f"COPY ({query}) TO STDOUT WITH (FORMAT csv)", out)
        return out.getvalue()

    def wait_for_export(self) -> None:
        """Return when the rows of an export are under way to S3."""
        pipes = postgres.home(self.stack) / "pipes"
        wait_until(lambda: self.puts_under_way() and not list(pipes.iterdir()))

    def puts_under_way(self) -> bool:
        """Tell whether objects are begun and not ended."""
        s3 = (HOST, self.stack.port("aws"))
        sidecar = process(self.stack, "aurora_s3")
        lines = [each for each in sidecar.net_connections("tcp") if each.raddr == s3]
        # One connection is kept open for STS.
        return len(lines) > 1


def document(actions: Any, **fields: Any) -> str:
    statement = {"Effect": "Allow", "Action": actions, **fields}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def no_new_object(scene: Scene) -> Any:
    """Hold that nothing appears, and that nothing is left that could still appear."""
    before = scene.keys()
    yield
    wait_until(lambda: not scene.puts_under_way())
    assert scene.keys() == before


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    stack = LocalStack(tmp_path_factory.mktemp("postgres"))
    try:
        with running(stack, *PARTS):
            made = Scene(stack)
            yield made
            made.sql.connection.close()
    finally:
        postgres.remove(stack)


def test_psql_and_psycopg2_reach_the_database_as_superuser(scene):
    question = "SELECT current_database(), usesuper FROM pg_user WHERE usename = user"
    told = subprocess.run(
        [
            postgres.programs() / "psql",
            postgres.aurora_dsn(scene.stack),
            "-Atc",
            question,
        ],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert told.stdout == "app|t\n"
    scene.sql.execute(question)
    assert scene.sql.fetchone() == ("app", True)


def test_nobody_gets_in_without_the_password_or_from_elsewhere(scene):
    with pytest.raises(psycopg2.OperationalError, match="password authentication"):
        scene.connect(password="wrong")
    server = process(scene.stack, "postgres")
    listening = {each.laddr.ip for each in server.net_connections("all") if each.laddr}
    assert listening == {HOST}


def test_the_server_never_runs_as_root_and_its_files_are_its_own(scene):
    assert process(scene.stack, "postgres").uids().effective != 0
    data = postgres.home(scene.stack) / "data"
    assert data.stat().st_mode & 0o077 == 0
    for path in (data, data.with_name("curl.conf")):
        assert path.stat().st_uid == postgres.server_account().pw_uid
    assert not data.with_name("password").exists()


def test_prepared_transactions_exist_and_times_are_told_in_utc(scene):
    scene.sql.execute("SHOW max_prepared_transactions")
    assert int(scene.sql.fetchone()[0]) >= 10
    scene.sql.execute("SHOW timezone")
    assert scene.sql.fetchone() == ("UTC",)
    scene.sql.execute("SHOW client_connection_check_interval")
    assert scene.sql.fetchone() == ("0",)


def test_the_functions_have_auroras_signatures(scene):
    scene.sql.execute(
        "SELECT pg_get_function_arguments(oid) FROM pg_proc "
        "WHERE pronamespace::regnamespace::text IN ('aws_s3', 'aws_commons') "
        "ORDER BY proname, pronargs"
    )
    out = (
        "OUT rows_uploaded bigint, OUT files_uploaded bigint, OUT bytes_uploaded bigint"
    )
    assert [row[0] for row in scene.sql.fetchall()] == [
        "bucket text, file_path text, region text DEFAULT NULL::text",
        "query text, s3_info aws_commons._s3_uri_1, options text DEFAULT NULL::text, "
        f"kms_key text DEFAULT NULL::text, {out}",
        "query text, bucket text, file_path text, region text DEFAULT NULL::text, "
        f"options text DEFAULT NULL::text, kms_key text DEFAULT NULL::text, {out}",
    ]


def test_the_administrators_statements_are_what_a_user_needs(scene):
    scene.sql.execute("CREATE TABLE mine AS SELECT 1 AS a; CREATE TABLE other (a int)")
    scene.sql.execute("CREATE ROLE leased LOGIN PASSWORD 'secret'")
    scene.sql.execute(
        f"GRANT {EXPORTER_ROLE} TO leased; GRANT SELECT ON mine TO leased"
    )
    query = (
        "SELECT aws_s3.query_export_to_s3('SELECT a FROM {}', "
        f"aws_commons.create_s3_uri('{BUCKET}', 'exports/leased', NULL))"
    )
    with closing(scene.connect(user="leased", password="secret")) as connection:
        sql = connection.cursor()
        with pytest.raises(errors.InsufficientPrivilege, match="schema aws_"):
            sql.execute(query.format("mine"))
        for statement in admin_statements(()):
            scene.sql.execute(statement)
        sql.execute(query.format("mine"))
        assert sql.fetchone() == ("(1,1,2)",)
        with pytest.raises(errors.InsufficientPrivilege, match="table other"):
            sql.execute(query.format("other"))
        with pytest.raises(errors.InsufficientPrivilege, match="query_export_to_s3"):
            scene.export("SELECT 1", "exports/other-overload", sql=sql)


def test_the_file_is_what_copy_writes(scene):
    query = "SELECT i, NULL, '', E'a,\"b\\n\\\\.' FROM generate_series(1, 100) AS i"
    done = scene.export(query, "exports/first")
    content = scene.copied(query)
    assert scene.body("exports/first") == content
    assert done == (100, 1, len(content))


@pytest.mark.parametrize(
    ("options", "content"),
    [
        (None, b"1\tx\n"),
        ("", b"1\tx\n"),
        ("FORMAT csv, DELIMITER $$|$$, HEADER true", b"a|b\n1|x\n"),
        ("format csv , delimiter E'\\t', FORCE_QUOTE (b), null 'it''s'", b'1\t"x"\n'),
        ("FORMAT csv, FORCE_QUOTE *, ENCODING 'UTF8'", b'"1","x"\n'),
    ],
)
def test_options_are_those_of_copy(scene, options, content):
    scene.sql.execute(
        "SELECT * FROM aws_s3.query_export_to_s3('SELECT 1 AS a, ''x'' AS b', "
        "aws_commons.create_s3_uri(%s, 'exports/options', %s), options := %s)",
        (BUCKET, AWS_REGION, options),
    )
    assert scene.sql.fetchone() == (1, 1, len(content))
    assert scene.body("exports/options") == content


def test_no_rows_make_an_empty_object(scene):
    assert scene.export("SELECT 1 WHERE FALSE", "exports/empty") == (0, 1, 0)
    assert scene.body("exports/empty") == b""


def test_a_large_export_is_whole(scene):
    query = "SELECT i, repeat(md5(i::text), 4) FROM generate_series(1, 60000) AS i"
    rows, files, size = scene.export(query, "exports/large")
    assert scene.body("exports/large") == scene.copied(query)
    assert (rows, files) == (60000, 1)


def test_beyond_the_object_size_the_rows_go_on_in_part2(scene):
    scene.stack.put_fact("aws_s3_part_bytes", 1000)
    try:
        query = "SELECT repeat('x', 99) FROM generate_series(1, 25)"
        assert scene.export(query, "exports/parted") == (25, 3, 2500)
        names = ("exports/parted", "exports/parted_part2", "exports/parted_part3")
        sizes = [len(scene.body(name)) for name in names]
        assert sizes == [1000, 1000, 500]
        assert b"".join(map(scene.body, names)) == scene.copied(query)
        exact = "SELECT repeat('x', 99) FROM generate_series(1, 20)"
        assert scene.export(exact, "exports/exact") == (20, 2, 2000)
    finally:
        scene.stack.put_fact("aws_s3_part_bytes", 6 * 2**30)


def test_the_rows_are_those_of_the_callers_snapshot(scene):
    scene.sql.execute("CREATE TABLE moving AS SELECT 1 AS a")
    with closing(scene.connect()) as connection:
        sql = connection.cursor()
        sql.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        sql.execute("SELECT count(*) FROM moving")
        scene.sql.execute("INSERT INTO moving VALUES (2)")
        assert scene.export("TABLE moving", "exports/snapshot", sql=sql)[0] == 1
        sql.execute("COMMIT")


def test_kms_key_encrypts_the_object_with_that_key(scene):
    scene.sql.execute(
        "SELECT aws_s3.query_export_to_s3('SELECT 1', %s, 'exports/kms', "
        "kms_key := 'arn:aws:kms:eu-west-1:111122223333:key/one')",
        (BUCKET,),
    )
    head = scene.s3.head_object(Bucket=BUCKET, Key="exports/kms")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"].endswith("key/one")


@pytest.mark.parametrize(
    "key",
    [
        "exports/with space & $(touch hit) `touch hit` 'quote' \"double\" ;|<>\\",
        "exports/ünï%41+?&key=x#y=1",
        "exports/" + "k" * 1000,
    ],
)
def test_a_key_is_taken_as_it_is(scene, key):
    scene.export("SELECT 1", key)
    assert scene.body(key) == b"1\n"
    assert not list(postgres.home(scene.stack).rglob("hit"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"query": "SELECT 1) TO PROGRAM 'touch hit' --"}, errors.SyntaxError),
        ({"query": "SELECT 1; DROP TABLE mine"}, errors.InvalidCursorDefinition),
        ({"query": "DELETE FROM mine"}, errors.InvalidCursorDefinition),
        ({"query": "SELECT 1 /* "}, errors.SyntaxError),
        ({"options": "FORMAT csv); DROP TABLE mine; --"}, errors.SyntaxError),
        ({"options": "DELIMITER '|''); DROP TABLE mine"}, errors.SyntaxError),
        ({"options": "DELIMITER E'\\'); DROP TABLE mine; --'"}, errors.SyntaxError),
        ({"options": "FORMAT nonsense"}, errors.InvalidParameterValue),
        ({"query": "SELECT 1 / (i - 5000) FROM generate_series(1, 9000) AS i"}, None),
        ({"query": None}, errors.NullValueNotAllowed),
        ({"bucket": "lake/exports"}, errors.SystemError),
        ({"bucket": "'; touch hit; '"}, errors.SystemError),
        ({"key": ""}, errors.SystemError),
        ({"kms_key": "one\r\nx-amz-acl: public-read"}, errors.SystemError),
        ({"region": "us-east-1"}, errors.SystemError),
    ],
)
def test_what_is_not_an_export_is_an_error_and_nothing_else(scene, arguments, error):
    values = {
        "query": "SELECT 1",
        "bucket": BUCKET,
        "key": "exports/refused",
        "region": AWS_REGION,
        "options": "FORMAT csv",
        "kms_key": None,
    }
    before = scene.keys()
    with pytest.raises(error or errors.DivisionByZero):
        scene.sql.execute(
            "SELECT aws_s3.query_export_to_s3(%(query)s, %(bucket)s, %(key)s, "
            "%(region)s, %(options)s, %(kms_key)s)",
            values | arguments,
        )
    assert scene.keys() == before
    assert not list(postgres.home(scene.stack).rglob("hit"))
    scene.sql.execute("TABLE mine")


def test_a_comment_at_the_end_of_the_query_is_no_harm(scene):
    assert scene.export("SELECT 1 -- all of them", "exports/comment")[0] == 1


REFUSALS = {
    "denied prefix": ({"key": "elsewhere/a"}, "AccessDenied"),
    "missing bucket": ({"bucket": "no-such-lake"}, "NoSuchBucket|AccessDenied"),
}


@pytest.mark.parametrize("rows", [1, 60000])
@pytest.mark.parametrize("case", REFUSALS)
def test_what_s3_refuses_is_an_error_as_auroras(scene, case, rows):
    arguments, code = REFUSALS[case]
    query = f"SELECT repeat('x', 150) FROM generate_series(1, {rows})"
    before = scene.keys()
    with pytest.raises(errors.SystemError) as refused:
        scene.export(query, **{"key": "exports/refused", **arguments})
    told: Any = refused.value.diag
    assert told.sqlstate == "58000"
    assert told.message_primary == "could not upload to Amazon S3"
    assert told.message_detail.startswith("Amazon S3 client returned '")
    assert any(each in told.message_detail for each in code.split("|"))
    assert scene.keys() == before


def test_a_change_of_the_roles_policy_takes_effect_at_once(scene):
    scene.export("SELECT 1", "exports/allowed")
    scene.allow("other/*")
    try:
        with pytest.raises(errors.SystemError):
            scene.export("SELECT 1", "exports/denied")
        scene.export("SELECT 1", "other/allowed")
    finally:
        scene.allow("exports/*")


def test_without_a_usable_role_the_cluster_has_no_credentials(scene):
    stranger = scene.make_role("not-for-aurora", "admin")
    try:
        for role, detail in ((None, "s3Export"), (stranger, "AccessDenied")):
            scene.stack.put_fact("aurora_role_arn", role)
            with pytest.raises(errors.SystemError) as refused:
                scene.export("SELECT 1", "exports/no-role")
            told: Any = refused.value.diag
            assert told.message_primary == (
                "credentials stored with the database cluster can't be accessed"
            )
            assert detail in told.message_detail
            assert "s3Export" in told.message_hint
    finally:
        scene.stack.put_fact("aurora_role_arn", scene.role_arn)
    scene.export("SELECT 1", "exports/role-again")


def test_exports_run_side_by_side(scene):
    def one(number: int) -> Any:
        with closing(scene.connect()) as connection:
            key = f"exports/parallel-{number}"
            query = f"SELECT repeat('{number}', 1000) FROM generate_series(1, 3000)"
            done = scene.export(query, key, sql=connection.cursor())
            return done, scene.body(key) == f"{str(number) * 1000}\n".encode() * 3000

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(one, range(6))) == {((3000, 1, 3003000), True)}


def test_a_cancelled_export_leaves_nothing(scene):
    with no_new_object(scene), closing(scene.connect()) as connection:
        sql = connection.cursor()
        sql.execute("SET statement_timeout = '500ms'")
        started = time.monotonic()
        with pytest.raises(errors.QueryCanceled):
            scene.export(SLOW, "exports/cancelled", sql=sql)
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("how", ["kill -9", "terminate"])
def test_the_export_of_a_killed_session_leaves_nothing(scene, how):
    connection = scene.connect()
    failed = threading.Thread(target=expect_loss, args=(scene, connection.cursor()))
    with no_new_object(scene):
        failed.start()
        session = psutil.Process(connection.info.backend_pid)
        scene.wait_for_export()
        if how == "kill -9":
            session.kill()
        else:
            scene.sql.execute("SELECT pg_terminate_backend(%s)", (session.pid,))
        failed.join(timeout=10)
    connection.close()
    if how == "kill -9":
        # PostgreSQL restarts all sessions after one was killed.
        scene.sql.connection.close()
        wait_until(lambda: postgres.PART.is_ready(scene.stack))
        scene.sql = scene.connect().cursor()
    assert scene.export("SELECT 1", "exports/after-kill") == (1, 1, 2)


def expect_loss(scene: Scene, sql: Any) -> None:
    with pytest.raises(psycopg2.Error):
        scene.export(SLOW, "exports/killed", sql=sql)


CLIENT = """
import sys, time, psycopg2
address, options, export, query, bucket = sys.argv[1:]
sql = psycopg2.connect(address, options=options).cursor()
print(sql.connection.info.backend_pid, flush=True)
time.sleep(0.3)
sql.execute(export, {"query": query, "bucket": bucket, "key": "exports/client"})
"""


def test_the_export_of_a_client_that_died_leaves_nothing(scene):
    """As the function: killed at its time limit, with the check it sets."""
    with no_new_object(scene):
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, postgres.aurora_dsn(scene.stack)]
            + ["-c client_connection_check_interval=100", EXPORT, SLOW, BUCKET],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout
        session = psutil.Process(int(client.stdout.readline()))
        scene.wait_for_export()
        client.kill()
        client.communicate()
        wait_until(lambda: not is_alive(session))


@pytest.mark.parametrize("rows", [True, False])
def test_an_export_that_is_not_asked_for_in_time_is_dropped(scene, rows):
    call = "SELECT aurora_local.call_sidecar(%s, %s)"
    order = f"bucket={BUCKET.encode().hex()}&key={b'exports/late'.hex()}"
    name = "0" * 32
    with no_new_object(scene):
        scene.sql.execute(call, (name + ".begin", order))
        [[answer]] = scene.sql.fetchall()
        if rows:
            scene.sql.execute("COPY (SELECT 1) TO %s", (answer["pipe"],))
    with pytest.raises(errors.SystemError, match="not asked for in time"):
        scene.sql.execute(call, (name + ".commit", ""))


def test_a_query_whose_sidecar_died_under_way_fails(scene):
    connection = scene.connect()
    failed: list[Any] = []

    def export() -> None:
        try:
            scene.export(SLOW, "exports/orphan", sql=connection.cursor())
        except errors.SystemError as error:
            failed.append(str(error))

    exporting = threading.Thread(target=export)
    with no_new_object(scene):
        exporting.start()
        scene.wait_for_export()
        process(scene.stack, "aurora_s3").kill()
        exporting.join(timeout=10)
        wait_until(lambda: part_states(scene.stack)["aurora_s3"] == "dead")
        start_parts(scene.stack, PARTS)
    connection.close()
    assert "Unable to connect to endpoint" in failed[0]


class BrokenS3:
    """Takes an object's head and then fails in a way that nobody has foreseen."""

    def begin(self, *_: Any) -> Any:
        return self

    def send(self, rows: memoryview) -> None:
        raise ZeroDivisionError

    def finish(self) -> None:
        raise AssertionError("a broken object must never appear")


def test_rows_that_were_lost_on_the_way_are_never_committed(tmp_path, monkeypatch):
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    s3: Any = BrokenS3()
    names: Any = {"bucket": "b", "key": "k", "encryption": {}, "object_bytes": 9}
    export = Export(s3, tmp_path / "pipe", **names)
    with suppress(BrokenPipeError), (tmp_path / "pipe").open("wb") as pipe:
        pipe.write(b"rows")
    with pytest.raises(S3Error, match="InternalError"):
        export.commit()
    wait_until(lambda: told)
    assert told[0].exc_type is ZeroDivisionError


def test_a_backend_that_waits_for_a_dead_sidecar_is_released_by_the_next(scene):
    pipe = postgres.home(scene.stack) / "pipes" / ("1" * 32)
    os.mkfifo(pipe)
    account = postgres.server_account()
    os.chown(pipe, account.pw_uid, account.pw_gid)
    connection = scene.connect()

    def copy() -> None:
        # Whether its one row finds the pipe open still is a matter of luck.
        with suppress(psycopg2.InternalError):
            connection.cursor().execute(f"COPY (SELECT 1) TO '{pipe}'")

    waiting = threading.Thread(target=copy)
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    stop_part(scene.stack, "aurora_s3")
    start_parts(scene.stack, PARTS)
    waiting.join(timeout=10)
    assert not waiting.is_alive()
    assert not pipe.exists()
    connection.close()


def test_a_sidecar_that_is_down_is_an_error_until_it_is_back(scene):
    stop_part(scene.stack, "aurora_s3")
    with pytest.raises(errors.SystemError) as refused:
        scene.export("SELECT 1", "exports/down")
    assert "Unable to connect to endpoint" in str(refused.value)
    start_parts(scene.stack, PARTS)
    assert scene.export("SELECT 1", "exports/up") == (1, 1, 2)


def test_answers_are_swept_away_when_they_are_old(scene):
    answers = postgres.home(scene.stack) / "answers"
    scene.export("SELECT 1", "exports/answered")
    assert list(answers.iterdir())
    for answer in answers.iterdir():
        os.utime(answer, (0, 0))
    wait_until(lambda: not list(answers.iterdir()))


def test_the_sidecar_takes_calls_of_its_own_postgresql_only(scene):
    done = subprocess.run(
        ["curl", "-sS", "-X", "POST", scene.stack.url("aurora_s3") + "/x"],
        capture_output=True,
        timeout=10,
        text=True,
    )
    assert "AccessDenied" in done.stdout


def test_many_rows_take_no_more_memory_than_few(scene):
    sidecar = process(scene.stack, "aurora_s3")
    peaks = []
    for rows in (20_000, 2_000_000):
        export = threading.Thread(
            target=scene.export,
            args=(f"SELECT i, md5('x') FROM generate_series(1, {rows}) i", "exports/m"),
        )
        export.start()
        seen = []
        while export.is_alive():
            seen.append(sidecar.memory_info().rss)
            time.sleep(0.01)
        export.join()
        peaks.append(max(seen))
    assert peaks[1] < peaks[0] * 1.1


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A stack with PostgreSQL only, for tests that end it; each of them starts it."""
    stack = LocalStack(tmp_path_factory.mktemp("alone"))
    yield stack
    stop_parts(stack)
    postgres.remove(stack)


def test_rows_survive_a_restart(alone):
    start_parts(alone, [postgres.PART])
    with closing(psycopg2.connect(postgres.aurora_dsn(alone))) as connection:
        connection.cursor().execute("CREATE TABLE kept AS SELECT 1 AS a")
        connection.commit()
    stop_parts(alone)
    start_parts(alone, [postgres.PART])
    with closing(psycopg2.connect(postgres.aurora_dsn(alone))) as connection:
        sql = connection.cursor()
        sql.execute("TABLE kept")
        assert sql.fetchall() == [(1,)]


def test_busy_sessions_end_with_the_stack_although_the_server_was_killed(alone):
    """They have overwritten their environment, and have no parent any more."""
    start_parts(alone, [postgres.PART])
    connection = psycopg2.connect(postgres.aurora_dsn(alone))
    query = "SELECT count(*) FROM generate_series(1, 1000000000)"
    session = psutil.Process(connection.info.backend_pid)
    asked = threading.Thread(target=expect_error, args=(connection, query))
    asked.start()
    wait_until(lambda: session.cpu_percent(0.05) > 10)
    process(alone, "postgres").kill()
    wait_until(lambda: part_states(alone) == {"postgres": "dead"})
    assert session in set(marked_processes(alone))
    stop_parts(alone)
    assert not is_alive(session)
    assert not list(marked_processes(alone))
    asked.join(timeout=10)
    connection.close()


def test_nothing_outside_the_stack_survives_its_removal(alone):
    start_parts(alone, [postgres.PART])
    home = postgres.home(alone)
    stop_parts(alone)
    assert (home / "data").exists()
    postgres.remove(alone)
    shutil.rmtree(alone.dir)
    assert not home.exists()


def expect_error(connection: Any, query: str) -> None:
    with pytest.raises(psycopg2.OperationalError):
        connection.cursor().execute(query)


def test_a_folder_that_somebody_else_made_is_not_trusted(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres, "_OUTSIDE", tmp_path)
    (tmp_path / "aurora-sync-root").mkdir(mode=0o777)
    (tmp_path / "aurora-sync-root").chmod(0o777)
    with pytest.raises(LocalError, match="not root's alone"):
        postgres.home(LocalStack(tmp_path / "stack"))


AS_ORDINARY_USER = """
import sys; from pathlib import Path
from infra.local import postgres
from infra.local.parts import LocalStack
from infra.local.processes import start_parts, stop_parts
stack = LocalStack(Path(sys.argv[1]))
start_parts(stack, [postgres.PART])
assert postgres.home(stack).is_relative_to(stack.dir), postgres.home(stack)
assert postgres.PART.is_ready(stack)
stop_parts(stack)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="all other tests run as an ordinary user")
def test_an_ordinary_user_needs_nothing_outside_the_stack():
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, NOBODY, NOBODY)
    try:
        done = subprocess.run(
            [*as_ordinary_user(), sys.executable, "-c", AS_ORDINARY_USER, str(folder)],
            cwd=folder,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(folder)


def test_a_folder_with_a_colon_is_refused_with_the_way_out(tmp_path):
    """PostgreSQL would look for the extension in two halves of the path."""
    with pytest.raises(LocalError, match="colon.*--dir"):
        make_extensions(tmp_path / "a:b")
    assert not (tmp_path / "a:b").exists()
