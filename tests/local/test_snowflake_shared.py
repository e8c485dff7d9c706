"""What a task's statements share is computed once, and only where that is the same."""

import pytest

from infra.local.snowflake.shared import share

CTE = "WITH raw AS (SELECT a FROM s), typed AS (SELECT a + 1 AS b FROM raw)"
ONE = f"INSERT INTO t (b) {CTE} SELECT b FROM typed WHERE b > 1"
TWO = (
    f"MERGE INTO u USING ({CTE}, more AS (SELECT b FROM typed) SELECT b FROM more) AS m"
    " ON u.b = m.b WHEN NOT MATCHED THEN INSERT (b) VALUES (m.b)"
)


def test_the_common_beginning_is_read_from_one_table():
    query, statements = share((ONE, TWO))
    assert query is not None
    assert query.sql() == f"{CTE} SELECT * FROM typed"
    assert statements == (
        "INSERT INTO t (b) SELECT b FROM TEMP.MAIN._SHARED AS typed WHERE b > 1",
        "MERGE INTO u USING (WITH more AS (SELECT b FROM TEMP.MAIN._SHARED AS typed)"
        " SELECT b FROM more) AS m ON u.b = m.b"
        " WHEN NOT MATCHED THEN INSERT (b) VALUES (m.b)",
    )


@pytest.mark.parametrize(
    "other",
    [
        "DELETE FROM t WHERE b = 1",
        ONE.replace("a + 1", "a + 2").replace("raw AS (SELECT a", "raw AS (SELECT c"),
        ONE.replace("SELECT b FROM typed", "SELECT a FROM raw"),
        "INSERT INTO s (a) WITH raw AS (SELECT a FROM s) SELECT a FROM raw",
    ],
    ids=["no query", "another query", "an inner one is read", "its source is written"],
)
def test_statements_stay_as_they_are_when_sharing_could_change_them(other):
    assert share((ONE, other)) == (None, (ONE, other))


def test_a_statement_that_begins_otherwise_is_not_in_the_way():
    other = "INSERT INTO v (c) WITH kept AS (SELECT c FROM k) SELECT c FROM kept"
    query, statements = share((ONE, other, TWO))
    assert query is not None
    assert statements[1] == other
    assert all("_SHARED" in each for each in (statements[0], statements[2]))
