"""The local Snowflake answers SQL as Snowflake would: values, streams, transactions."""

import hashlib
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timezone
from decimal import Decimal

import psutil
import pytest
import snowflake.connector
from snowflake.connector.errors import DatabaseError, ProgrammingError

from infra.local import aws
from infra.local.parts import HOST, LocalStack
from infra.local.processes import start_parts
from infra.local.snowflake import part
from infra.local.snowflake.part import connect
from tests.local.running import process, running

pytestmark = pytest.mark.integration

TYPES = """"n38" NUMBER(38,0) NOT NULL, "n" NUMBER(20,6), "f" FLOAT, "b" BOOLEAN,
    "d" DATE, "t" TIME(6), "ntz" TIMESTAMP_NTZ(6), "tz" TIMESTAMP_TZ(6), "v" VARIANT,
    "bin" BINARY(67108864), "s" VARCHAR(134217728)"""
BIG = 12345678901234567890123456789012345678


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = LocalStack(tmp_path_factory.mktemp("snowflake"))
    with running(stack, aws.PART, part.PART):
        yield stack


@pytest.fixture
def run(stack):
    """Runs a statement in a fresh schema and returns its rows."""
    with connect(stack) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE IF NOT EXISTS TEST")
        cursor.execute("CREATE OR REPLACE SCHEMA TEST.S")
        yield lambda sql: rows_of(cursor, sql)


def rows_of(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def one(run, expression):
    return run(f"SELECT {expression}")[0][0]


def test_values_of_every_type_come_back_as_they_went_in(run):
    run(f"CREATE TABLE T ({TYPES}, PRIMARY KEY (\"n38\")) COMMENT = 'it''s'")
    run(f"""INSERT INTO T SELECT {BIG}, -12345678901234.123456, 'NaN'::FLOAT, TRUE,
        '2024-02-29'::DATE, '23:59:59.999999'::TIME,
        '1901-01-01 10:11:12.123456'::TIMESTAMP_NTZ(6),
        '9999-12-31 23:59:59.999999 +00:00'::TIMESTAMP_TZ(6),
        PARSE_JSON('{{"a": [1.10, {{"b": null}}]}}'), TO_BINARY('00FF', 'HEX'),
        'a''b\\\\c\n😀'""")
    run('INSERT INTO T ("n38") VALUES (1), (1)')
    full, empty, _ = run('SELECT * FROM T ORDER BY "n38" DESC')
    assert math.isnan(full[2])
    assert full[:2] + full[3:] == (
        *(BIG, Decimal("-12345678901234.123456"), True, date(2024, 2, 29)),
        *(time(23, 59, 59, 999999), datetime(1901, 1, 1, 10, 11, 12, 123456)),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc),
        *('{"a": [1.10, {"b": null}]}', b"\x00\xff", "a'b\\c\n😀"),
    )
    assert empty == (1, *[None] * 10)
    assert run('SELECT MAX("ntz") FROM T WHERE "n38" = 1') == [(None,)]


def test_checksums_are_those_of_any_other_database(run):
    run(f"CREATE TABLE T ({TYPES})")
    run("""INSERT INTO T SELECT 7, 1.5, 0.1, TRUE, '0001-01-01', '01:02:03.000004',
        '2024-01-02 03:04:05.000006', '2024-01-02 03:04:05.000006+00:00', NULL,
        TO_BINARY('deadbeef', 'HEX'), 'x'""")
    text = """TO_VARCHAR("n") || '|' || TO_VARCHAR("d", 'YYYY-MM-DD')
        || '|' || TO_VARCHAR("t", 'HH24:MI:SS.FF6')
        || '|' || TO_VARCHAR("ntz", 'YYYY-MM-DD HH24:MI:SS.FF6')
        || '|' || TO_VARCHAR(CONVERT_TIMEZONE('UTC', "tz")::TIMESTAMP_NTZ,
                             'YYYY-MM-DD HH24:MI:SS.FF6')
        || '|' || LOWER(TO_VARCHAR("bin", 'HEX'))"""
    moment = "2024-01-02 03:04:05.000006"
    expected = f"1.500000|0001-01-01|01:02:03.000004|{moment}|{moment}|deadbeef"
    assert run(f"SELECT {text} FROM T") == [(expected,)]
    number = int(hashlib.md5(expected.encode()).hexdigest()[:15], 16)
    prefix = f"TO_NUMBER(SUBSTR(MD5({text}), 1, 15), 'XXXXXXXXXXXXXXX')"
    total = run(f"SELECT SUM({prefix}::NUMBER(38,0)), SUM({BIG}::NUMBER(38,0)) FROM T")
    assert total == [(number, BIG)]


@pytest.mark.parametrize(
    "expression",
    [
        "TRY_CAST('infinity' AS DATE)",
        "TRY_TO_DATE('12024-01-01', 'YYYY-MM-DD')",
        "TRY_TO_DATE('0044-03-15 BC', 'YYYY-MM-DD')",
        "TRY_TO_TIMESTAMP_NTZ('-infinity', 'YYYY-MM-DD HH24:MI:SS.FF6')",
        "TRY_TO_TIMESTAMP_NTZ(NULLIF('x', 'y'))",
        "TRY_CAST('x' AS TIMESTAMP_TZ(6))",
        "TRY_CAST('24:00:00' AS TIME(6))",
        "TRY_CAST('1x' AS NUMBER(38,0))",
        "TRY_CAST('1000' AS NUMBER(3,0))",
        "TRY_CAST('' AS BOOLEAN)",
        "TRY_TO_BINARY('0g', 'HEX')",
        "TRY_PARSE_JSON('{bad')",
        """TRY_PARSE_JSON('[{"x": {"a": 1, "\\\\u0061": 2}}]')""",
    ],
)
def test_what_does_not_cast_is_null(run, expression):
    assert one(run, expression) is None


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("SPLIT_PART('a/b/c_1.csv', '/', -1)", "c_1.csv"),
        ("REGEXP_LIKE('20240101', '[0-9]+')", True),
        ("REGEXP_LIKE('x20240101', '[0-9]+')", False),
        ("'costs $1 or $price'", "costs $1 or $price"),
        ("TO_JSON(PARSE_JSON('12345678901234567890.12'))", "12345678901234567890.12"),
        ('TO_JSON(TRY_PARSE_JSON(\'[{"k":1},{"k":1}]\'))', '[{"k":1},{"k":1}]'),
        ("(SELECT TO_VARCHAR(n) FROM (SELECT -0.5::NUMBER(5,5) AS n))", "-0.50000"),
        ("COUNT_IF(TRUE)", 1),
        ("'-inf'::FLOAT", -math.inf),
    ],
)
def test_functions_that_the_sync_uses(run, expression, value):
    assert one(run, expression) == value


def test_columns_without_an_alias_are_named_by_their_expression(stack, run):
    run("CREATE TABLE T (C NUMBER(10,0))")
    with connect(stack, "TEST") as other:
        cursor = other.cursor(snowflake.connector.DictCursor)
        assert rows_of(cursor, "SELECT count(*), MAX(c), 1 FROM TEST.S.T") == [
            {"COUNT(*)": 0, "MAX(C)": None, "1": 1}
        ]


def test_a_wrong_password_is_refused(stack):
    with pytest.raises(DatabaseError, match="Incorrect"):
        snowflake.connector.connect(
            account="local",
            user="ANYBODY",
            password="wrong",
            host=HOST,
            port=stack.port("snowflake"),
            protocol="http",
        )


def test_an_error_of_the_database_is_told_at_once(run):
    run("CREATE TABLE T (C NUMBER(3,0) NOT NULL)")
    for sql in ("SELECT PARSE_JSON('{bad')", "INSERT INTO T VALUES (NULL)"):
        with pytest.raises(ProgrammingError):
            run(sql)


def test_merge_refuses_two_source_rows_for_one_and_then_changes_nothing(run):
    run("CREATE TABLE T (ID NUMBER(10,0), V VARCHAR)")
    run("INSERT INTO T VALUES (1, 'old')")
    merge = (
        "MERGE INTO T USING (SELECT column1 AS id, column2 AS v FROM VALUES {}) AS s"
        " ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v"
        " WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)"
    )
    with pytest.raises(ProgrammingError, match="more than once"):
        run(merge.format("(1, 'a'), (1, 'b'), (2, 'c')"))
    assert run("SELECT * FROM T") == [(1, "old")]
    assert run(merge.format("(1, 'a'), (2, 'c')")) == [(1, 1)]


@pytest.fixture
def stream(run):
    run("CREATE TABLE BASE (C NUMBER(10,0))")
    run("CREATE TABLE TARGET (C NUMBER(10,0))")
    run("CREATE STREAM ST ON TABLE BASE APPEND_ONLY = TRUE")
    run("INSERT INTO BASE VALUES (1), (2)")
    return lambda: sorted(run("SELECT C FROM ST"))


def test_a_stream_is_consumed_by_committed_dml_alone(run, stream):
    assert stream() == stream() == [(1,), (2,)]
    assert run("SHOW STREAMS IN SCHEMA TEST.S")[0][1] == "ST"
    run("BEGIN")
    run("INSERT INTO TARGET SELECT C FROM ST WHERE C = 1")
    run("ROLLBACK")
    assert stream() == [(1,), (2,)]
    run("BEGIN TRANSACTION")
    run("INSERT INTO TARGET SELECT C FROM ST WHERE C = 1")
    run("INSERT INTO TARGET SELECT C * 10 FROM ST WHERE C = 2")
    run("COMMIT")
    assert stream() == []
    assert not one(run, "SYSTEM$STREAM_HAS_DATA('ST')")
    assert sorted(run("SELECT C FROM TARGET")) == [(1,), (20,)]


def test_a_row_that_is_committed_late_is_seen_later_and_not_missed(stack, run, stream):
    with connect(stack, "TEST") as other:
        late = other.cursor()
        late.execute("USE SCHEMA TEST.S")
        late.execute("BEGIN")
        late.execute("INSERT INTO BASE VALUES (3)")
        run("INSERT INTO BASE VALUES (4)")
        run("INSERT INTO TARGET SELECT C FROM ST")
        assert stream() == []
        late.execute("COMMIT")
    assert stream() == [(3,)]
    run("DELETE FROM BASE")
    assert stream() == [(3,)], "an append-only stream does not follow deletions"


def test_a_stream_follows_new_columns_and_ends_with_its_table(run, stream):
    run("ALTER TABLE BASE ADD COLUMN D VARCHAR, E VARCHAR")
    run("INSERT INTO BASE (C, E) VALUES (5, 'x')")
    assert run("SELECT C, D, E FROM ST WHERE C = 5") == [(5, None, "x")]
    run("CREATE OR REPLACE TABLE BASE (C NUMBER(10,0))")
    with pytest.raises(ProgrammingError, match="recreated"):
        stream()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE X AS SELECT * FROM ST",
        "CREATE VIEW X AS SELECT * FROM ST",
        "CREATE STREAM X ON TABLE BASE",
        "ALTER TABLE BASE RENAME TO X",
        "BEGIN INSERT INTO TARGET VALUES (1); END",
        "CREATE PIPE X AS COPY INTO BASE FROM @S",
        "CREATE TASK X WAREHOUSE = W SCHEDULE = '1 MINUTE' AS SELECT 1",
    ],
)
def test_a_form_that_is_not_known_is_refused(run, stream, sql):
    with pytest.raises(ProgrammingError):
        run(sql)


def test_the_dialect_of_the_engine_is_there_before_the_first_statement(tmp_path):
    """Loaded by the first one, it is seen unfinished by those beside it."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from infra.local.parts import LocalStack\n"
        "from infra.local.snowflake.engine import Engine\n"
        "Engine(LocalStack(Path(sys.argv[1])))\n"
        "sys.exit('sqlglot.dialects.duckdb' not in sys.modules)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=tmp_path, timeout=60
    )
    assert made.returncode == 0


def test_sessions_that_write_at_once_lose_nothing(stack, run):
    run("CREATE TABLE COUNTER (N NUMBER(10,0))")
    run("INSERT INTO COUNTER VALUES (0)")
    run("CREATE TABLE LOG (ID NUMBER(10,0), BY_WHOM NUMBER(10,0))")
    run("CREATE STREAM ST ON TABLE LOG APPEND_ONLY = TRUE")
    run("CREATE TABLE SEEN (ID NUMBER(10,0))")

    def work(who):
        with connect(stack, "TEST") as own:
            cursor = own.cursor()
            cursor.execute("USE SCHEMA TEST.S")
            for turn in range(6):
                cursor.execute("UPDATE COUNTER SET n = n + 1")
                cursor.execute(
                    f"MERGE INTO LOG USING (SELECT {turn} AS id) AS s"
                    f" ON log.id = s.id AND log.by_whom = {who} WHEN NOT MATCHED"
                    f" THEN INSERT (id, by_whom) VALUES (s.id, {who})"
                )
                cursor.execute("INSERT INTO SEEN SELECT id FROM ST")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    run("INSERT INTO SEEN SELECT id FROM ST")
    assert run("SELECT n FROM COUNTER") == [(24,)]
    assert run("SELECT COUNT(*), COUNT(DISTINCT id) FROM SEEN") == [(24, 6)]


def test_a_killed_server_comes_back_with_everything_committed(stack, run, stream):
    with connect(stack, "TEST") as other:
        other.cursor().execute("BEGIN")
        other.cursor().execute("INSERT INTO TEST.S.BASE VALUES (9)")
        victim = process(stack, "snowflake")
        victim.kill()
        psutil.wait_procs([victim], timeout=10)
        start_parts(stack, (aws.PART, part.PART))
    with connect(stack, "TEST") as again:
        cursor = again.cursor()
        assert sorted(rows_of(cursor, "SELECT C FROM TEST.S.ST")) == [(1,), (2,)]
        names = rows_of(cursor, "SHOW STREAMS IN SCHEMA TEST.S")
        assert [row[1] for row in names] == ["ST"]
