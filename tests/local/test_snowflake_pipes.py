"""Files that appear in S3 reach their tables, once each and unchanged."""

import time

import pytest
from snowflake.connector.errors import ProgrammingError

from infra.local import aws
from infra.local.parts import LocalStack
from infra.local.snowflake import part
from tests.local.running import running
from tests.local.snowflake_lake import TOPIC, allow, as_csv, make_lake, opened, wait_for

pytestmark = pytest.mark.integration

HOSTILE: list[list[str | None]] = [
    ["a", None, ""],
    ["back\\slash", "\\.", "\\N"],
    ["line\nbreak", "cr\rx", "crlf\r\n\r\nx"],
    ['"quoted"', "a,b", '""'],
    ["in\ufeffside", "\ufefffirst,", "😀 \u2028\u0085"],
    [" blank ", "\ttab\t", "NULL"],
    ["'", ";", "x" * 3_000_000],
    ["", None, '"'],
    [None, None, None],
    ["end\\", "\x01\x7f", "\\"],
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = LocalStack(tmp_path_factory.mktemp("pipes"))
    with running(stack, aws.PART, part.PART):
        make_lake(stack)
        yield stack


@pytest.fixture
def lake(stack):
    with opened(stack) as lake:
        yield lake


def test_every_text_arrives_as_it_was_exported(lake):
    lake.pipe("HOSTILE")
    key = lake.put("HOSTILE/run=1/a b+ü.csv", as_csv(HOSTILE))
    lake.wait_count("HOSTILE", len(HOSTILE))
    rows = lake.run("SELECT a, b, c, n, file FROM HOSTILE ORDER BY n")
    assert [list(row[:3]) for row in rows] == HOSTILE
    assert [row[3:] for row in rows] == [(n + 1, key) for n in range(len(HOSTILE))]
    assert lake.history("HOSTILE") == [("HOSTILE/run=1/a b+ü.csv", "Loaded", 10, None)]


def test_a_carriage_return_in_the_first_text_ends_no_line(lake):
    lake.pipe("RETURNS")
    rows = [["cr\r", "😀\r\n", "\r"], ["1", "2", "3"]]
    lake.put("RETURNS/1.csv", as_csv(rows))
    lake.wait_states("RETURNS", "Loaded")
    assert sorted(map(list, lake.run("SELECT A, B, C FROM RETURNS"))) == sorted(rows)


def test_a_file_of_one_column_keeps_its_texts(lake):
    lake.pipe("SINGLE", "A")
    texts = [["\\."], [""], ["a,b"], ["\ufeff"], ["2"]]
    lake.put("SINGLE/1.csv", as_csv(texts))
    lake.wait_count("SINGLE", len(texts))
    assert lake.run("SELECT a FROM SINGLE ORDER BY n") == [(row[0],) for row in texts]


def test_files_with_fewer_and_with_more_columns_load_by_position(lake):
    lake.pipe("WIDTHS")
    lake.put("WIDTHS/old.csv", as_csv([["1", "2"], ["3", ""]]))
    lake.put("WIDTHS/new.csv", as_csv([["4", "5", "6", "7"]]))
    lake.put("WIDTHS/none.csv", b"")
    lake.wait_states("WIDTHS", *["Loaded"] * 3)
    rows = lake.run("SELECT a, b, c FROM WIDTHS ORDER BY a")
    assert rows == [("1", "2", None), ("3", "", None), ("4", "5", "6")]


def test_json_documents_load_into_a_variant_unchanged(lake):
    lake.run("CREATE TABLE DOCS (FILE VARCHAR, N NUMBER(19,0), BODY VARIANT)")
    lake.run(
        f"CREATE PIPE P AUTO_INGEST = TRUE AWS_SNS_TOPIC = '{TOPIC}'"
        f" AS {lake.copy_of('DOCS', ['BODY'], 'JSON')}"
    )
    lake.put(
        "DOCS/1.json", b'{"rows": 12345678901234567890.10,\n "files": [{"k": "a"}]}'
    )
    lake.wait_count("DOCS", 1)
    assert lake.run("SELECT body:files[0].k::VARCHAR, body FROM DOCS") == [
        ("a", '{"rows": 12345678901234567890.10,\n "files": [{"k": "a"}]}')
    ]


DAMAGED = {
    "blank": (b"1,2,3\n\n4,5,6\n", "blank line"),
    "open": (b'1,2,3\n4,5,"6\n', "inside a quoted field"),
    "text": (b"1,2,3\n\xff,5,6\n", "not utf-8"),
    "wide": (b"1,2,3\n4,5,6,7\n", "Expected Number of Columns: 3 Found: 4"),
}


def test_a_damaged_file_loads_not_at_all_and_others_go_on(lake):
    lake.pipe("DAMAGED")
    for name, (content, _) in DAMAGED.items():
        lake.put(f"DAMAGED/{name}.csv", content)
    lake.put("DAMAGED/a.csv", as_csv([["1", "2", "3"]]))
    states = ["Loaded"] + ["Load failed"] * len(DAMAGED)
    lake.wait_states("DAMAGED", *states)
    for told, (_, reason) in zip(lake.history("DAMAGED")[1:], DAMAGED.values()):
        assert reason in told[3]
    assert lake.count("DAMAGED") == 1


def test_a_failed_file_is_loaded_by_name_and_not_by_its_pipe(lake):
    lake.pipe("MENDED")
    lake.put("MENDED/1.csv", b"\n")
    lake.wait_states("MENDED", "Load failed")
    lake.put("MENDED/1.csv", as_csv([["1", "2", "3"]]))
    time.sleep(0.5)
    assert lake.count("MENDED") == 0, "a pipe remembers names, also of failures"
    by_name = lake.copy_of("MENDED", ["A", "B", "C"]) + " FILES = ('1.csv')"
    assert lake.run(by_name)[0][1] == "LOADED"
    assert lake.run(by_name)[0][1] == "LOAD_SKIPPED"
    assert lake.run(by_name + " FORCE = TRUE")[0][1] == "LOADED"
    assert lake.count("MENDED") == 2


def test_an_event_that_comes_again_loads_nothing_again(lake):
    lake.pipe("AGAIN")
    for turn in range(3):
        lake.put("AGAIN/1.csv", as_csv([["1", "2", str(turn)]]))
    lake.put("AGAIN/2.csv", as_csv([["1", "2", "3"]]))
    wait_for(lambda: len(lake.history("AGAIN")), 2)
    lake.run("ALTER PIPE P_AGAIN REFRESH")
    time.sleep(0.5)
    assert lake.count("AGAIN") == 2


def test_a_paused_pipe_keeps_its_files_and_a_new_one_can_be_refreshed(lake):
    lake.pipe("PAUSED")
    lake.run("ALTER PIPE P_PAUSED SET PIPE_EXECUTION_PAUSED = TRUE")
    lake.put("PAUSED/1.csv", as_csv([["1", "2", "3"]]))
    wait_for(lambda: lake.status("P_PAUSED")["pendingFileCount"], 1)
    assert lake.status("P_PAUSED")["executionState"] == "PAUSED"
    lake.run("ALTER PIPE P_PAUSED SET PIPE_EXECUTION_PAUSED = FALSE")
    lake.wait_count("PAUSED", 1)
    lake.run("DROP TABLE PAUSED")
    lake.pipe("PAUSED")
    assert lake.run("ALTER PIPE P_PAUSED REFRESH") == [("1.csv", "SENT")]
    lake.wait_count("PAUSED", 1)


def test_a_pipe_takes_only_files_whose_names_match_its_pattern(lake):
    lake.pipe("MATCHED", pattern="(.*/)?[^/_]*_([1-9]|1[0-3])_[^/]*")
    lake.put("MATCHED/run/1_14_c0.csv", as_csv([["1", "2", "3"]]))
    lake.put("MATCHED/run/1_13_c0.csv", as_csv([["4", "5", "6"]]))
    lake.wait_states("MATCHED", "Loaded")
    assert lake.run("ALTER PIPE P_MATCHED REFRESH") == []
    assert lake.run("SELECT A FROM MATCHED") == [("4",)]


def test_a_missing_right_is_the_pipes_error_until_it_is_given(lake):
    lake.pipe("RIGHTS")
    allow(lake.stack, "elsewhere/*")
    try:
        lake.put("RIGHTS/1.csv", as_csv([["1", "2", "3"]]))
        lake.wait_states("RIGHTS", "Load failed")
    finally:
        allow(lake.stack, "in/*")
    assert "AccessDenied" in lake.status("P_RIGHTS")["error"]
    lake.put("RIGHTS/2.csv", as_csv([["1", "2", "3"]]))
    lake.wait_count("RIGHTS", 1)
    assert "error" not in lake.status("P_RIGHTS")


def test_a_role_that_trusts_another_external_id_is_not_assumed(lake):
    lake.pipe("TRUST")
    lake.integrate("wrong")
    lake.put("TRUST/1.csv", as_csv([["1", "2", "3"]]))
    lake.wait_states("TRUST", "Load failed")
    assert "AssumeRole" in lake.status("P_TRUST")["error"]


def test_a_pipe_that_could_not_work_is_refused(lake):
    lake.run("CREATE TABLE T (FILE VARCHAR, N NUMBER(19,0), A VARCHAR)")
    copy = lake.copy_of("T", ["A"])
    for text in (
        f"CREATE PIPE X AS {copy}",
        f"CREATE PIPE X AUTO_INGEST = FALSE AWS_SNS_TOPIC = 'arn' AS {copy}",
        f"CREATE PIPE X AUTO_INGEST = TRUE AWS_SNS_TOPIC = 'arn' AS {copy}"
        " FILES = ('a')",
        "CREATE PIPE X AUTO_INGEST = TRUE AWS_SNS_TOPIC = 'arn' AS "
        + copy.replace("STAGE", "NOWHERE"),
    ):
        with pytest.raises(ProgrammingError):
            lake.run(text)
