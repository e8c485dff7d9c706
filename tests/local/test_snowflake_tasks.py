"""Tasks run when their stream has rows: all of a run happens, or nothing."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local import aws
from infra.local.parts import LocalStack
from infra.local.snowflake import part
from tests.local.running import running
from tests.local.snowflake_lake import as_csv, make_lake, opened, wait_for

pytestmark = pytest.mark.integration

BLOCK = """BEGIN BEGIN TRANSACTION; {}; COMMIT;
    EXCEPTION WHEN OTHER THEN ROLLBACK; RAISE; END"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = LocalStack(tmp_path_factory.mktemp("tasks"))
    with running(stack, aws.PART, part.PART):
        make_lake(stack)
        yield stack


@pytest.fixture
def lake(stack):
    with opened(stack) as lake:
        yield lake


@pytest.fixture
def task(lake):
    """A pipe, its stream, and a task that moves numbers on."""
    lake.pipe("LANDING")
    lake.run("CREATE STREAM ST ON TABLE LANDING APPEND_ONLY = TRUE")
    lake.run("CREATE TABLE TARGET (ID NUMBER(10,0), V VARCHAR, STAMP VARCHAR)")
    lake.run("CREATE TABLE RECEIPTS (FILE VARCHAR, ROWS_LOADED NUMBER(19,0))")
    receipts = "INSERT INTO RECEIPTS SELECT file, COUNT(*) FROM ST GROUP BY file"
    merge = """MERGE INTO TARGET AS t USING (
        SELECT a::NUMBER(10,0) AS id, b AS v, c AS stamp FROM ST
        QUALIFY ROW_NUMBER() OVER (PARTITION BY id ORDER BY c DESC NULLS LAST) = 1
      ) AS s ON t.id = s.id
      WHEN MATCHED AND s.stamp > COALESCE(t.stamp, '')
        THEN UPDATE SET v = s.v, stamp = s.stamp
      WHEN NOT MATCHED THEN INSERT (id, v, stamp) VALUES (s.id, s.v, s.stamp)"""
    lake.run(
        "CREATE TASK MERGE_IT WAREHOUSE = W SUSPEND_TASK_AFTER_NUM_FAILURES = 2"
        " USER_TASK_MINIMUM_TRIGGER_INTERVAL_IN_SECONDS = 30"
        " WHEN SYSTEM$STREAM_HAS_DATA('ST')"
        f" AS {BLOCK.format(receipts + '; ' + merge)}"
    )


def test_a_failing_task_changes_nothing_and_is_suspended(lake, task):
    began = lake.run("SELECT CURRENT_TIMESTAMP()::TIMESTAMP_NTZ")[0][0]

    def failures():
        return lake.run(
            "SELECT error_message FROM TABLE(INFORMATION_SCHEMA.TASK_HISTORY("
            f"TASK_NAME => 'MERGE_IT', SCHEDULED_TIME_RANGE_START => '{began}'))"
            " WHERE state = 'FAILED' AND completed_time >= query_start_time"
        )

    def states():
        return [
            row[5] for row in lake.run("SHOW TASKS LIKE 'MERGE_IT' IN SCHEMA TEST.S")
        ]

    lake.run("ALTER TASK MERGE_IT RESUME")
    lake.put("LANDING/1.csv", as_csv([["no number", "v", "1"], ["5", "v", "1"]]))
    wait_for(states, ["suspended"])
    assert len(failures()) == 2
    assert "no number" in failures()[0][0]
    assert lake.count("RECEIPTS") == lake.count("TARGET") == 0
    lake.run("EXECUTE TASK MERGE_IT")
    wait_for(lambda: len(failures()), 3)
    assert lake.count("ST") == 2, "a rolled back transaction does not consume"


def test_a_task_runs_when_its_stream_has_rows_and_once_it_is_resumed(lake, task):
    lake.put("LANDING/2.csv", as_csv([["1", "new", "0002"], ["2", "two", "0002"]]))
    lake.wait_count("LANDING", 2)
    time.sleep(0.5)
    assert lake.count("TARGET") == 0, "tasks are made suspended"
    lake.run("ALTER TASK MERGE_IT RESUME")
    lake.wait_count("TARGET", 2)
    lake.put("LANDING/1.csv", as_csv([["1", "old", "0001"], ["3", "three", "0001"]]))
    lake.wait_count("TARGET", 3)
    assert sorted(lake.run("SELECT id, v FROM TARGET")) == [
        *((1, "new"), (2, "two"), (3, "three"))
    ]
    assert sorted(lake.run("SELECT rows_loaded FROM RECEIPTS")) == [(2,), (2,)]
    assert not lake.run("SELECT SYSTEM$STREAM_HAS_DATA('ST')")[0][0]


def test_many_files_for_many_pipes_arrive_once_each(lake, task):
    lake.run("ALTER TASK MERGE_IT RESUME")
    lake.pipe("SECOND")
    rows = [[str(n), "v", "1"] for n in range(50)]

    def write(n):
        lake.put(
            f"LANDING/m{n:02d}.csv",
            as_csv([[f"{n}{row[0]}", *row[1:]] for row in rows]),
        )
        lake.put(f"SECOND/m{n:02d}.csv", as_csv(rows))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(8)))
    lake.wait_count("SECOND", 400, seconds=20)
    wait_for(
        lambda: lake.run("SELECT SUM(rows_loaded) FROM RECEIPTS"), [(400,)], seconds=20
    )
    assert lake.run(
        "SELECT COUNT(*), COUNT(DISTINCT file || '|' || n) FROM LANDING"
    ) == [(400, 400)]
    assert len(lake.run("SELECT file FROM RECEIPTS")) == 8
