"""A plain dump's text in statements and rows."""

import io

import pytest

from infra.local.dump_text import DumpText


def parts(text: str) -> list[str]:
    read = DumpText(io.BytesIO(text.encode()))
    found = []
    for statement, rows in read.statements():
        found.append(statement.decode())
        if rows is not None:
            found.append("rows " + rows.read(1 << 30).decode())
    assert not read.truncated
    return found


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1;\n",
        "SELECT ';\n', E'\\';\n', date'\\';\n",
        'SELECT "a;\n" /* it\'s;\n */;\n',
        "SELECT 1 -- it's;\n, 2;\n",
        "CREATE TABLE t (\na text DEFAULT 'x;',\nb int);\n",
        "CREATE RULE r AS ON UPDATE TO t DO ALSO (DELETE FROM u;\nDELETE FROM v);\n",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $_$\nSELECT $1;\n$_$;\n",
        "CREATE FUNCTION f() RETURNS int\n BEGIN ATOMIC\n SELECT 1;\nEND;\n",
        "INSERT INTO t VALUES ('costs $5$ each; not $$ 3', $1);\n",
    ],
)
def test_a_statement_ends_where_the_server_says(statement):
    assert parts(f"-- a comment\n\n{statement}SELECT 2;\n") == [
        statement,
        "SELECT 2;\n",
    ]


def test_rows_are_no_statements():
    rows = "1\tCOPY t FROM stdin;\n\\N\t'\n"
    text = f'COPY public."a b" (x, y) FROM stdin;\n{rows}\\.\n\nSELECT 1;\n'
    assert parts(text) == [text.split("\n")[0] + "\n", "rows " + rows, "SELECT 1;\n"]


def test_rows_that_nobody_reads_are_passed_over():
    read = DumpText(io.BytesIO(b"COPY t FROM stdin;\nDROP TABLE t;\n\\.\nSELECT 1;\n"))
    assert [statement for statement, _ in read.statements()][1:] == [b"SELECT 1;\n"]


@pytest.mark.parametrize(
    "text",
    ["CREATE TABLE t (a int;\n", "SELECT 'a;\n", "SELECT 1", "COPY t FROM stdin;\n1\n"],
)
def test_a_dump_that_ends_early_is_noticed(text):
    read = DumpText(io.BytesIO(text.encode()))
    for _, rows in read.statements():
        assert rows is None or rows.read(10) == b"1\n"
    assert read.truncated
