"""The canonical text of a row: what PostgreSQL makes of it, and its marks."""

import hashlib
from contextlib import closing

import pytest

from infra.local import postgres
from runtime.contract.dialect import DIALECT
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.ops.checksum import source_side, target_side
from runtime.ops.source import connect
from tests.factories import make_column, make_table

OBJECTS = SnowflakeObjects(database="DB", warehouse="WH", stack="dev")
# One column of each type whose text both sides can write.
TYPES = """
  s SMALLINT, i INT, b BIGINT, n NUMERIC, n2 NUMERIC(12, 2), money MONEY,
  flag BOOLEAN, d DATE, ts TIMESTAMP, tz TIMESTAMPTZ, tm TIME, tt TIMETZ,
  iv INTERVAL, txt TEXT, vc VARCHAR(9), ch CHAR(5), bp BPCHAR, u UUID, by BYTEA,
  r INT4RANGE, ip INET, bits BIT(3), label NAME, one "char"
"""
VALUES = """
  -1, 2, 3, 1.500, 1.5, 12.5, TRUE, '2024-02-29', '2024-01-02 03:04:05.000006',
  '1890-01-01 00:00:00+00', '23:59:59.5', '01:02:03+02', '1 mon -2 days 3 h',
  E'a ~ | \\\\ "b"\\n', 'vc', 'ch', 'bp   ', '0f0e0d0c-0b0a-4908-8706-050403020100',
  '\\xdeadbeef', '[1,5)', '10.0.0.1', B'101', 'label', 'x'
"""


@pytest.fixture
def table(source) -> Table:
    source.sql(
        "CREATE TABLE {s}.t (id INT PRIMARY KEY, at TIMESTAMPTZ NOT NULL, "
        + TYPES
        + ")",
        "INSERT INTO {s}.t VALUES (1, NOW()," + VALUES + ")",
        "INSERT INTO {s}.t (id, at) VALUES (2, NOW())",
    )
    return Table(spec=source.spec(), contract=source.discover())


def ask(stack, query):
    with closing(connect(postgres.aurora_dsn(stack))) as session:
        with session.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()


# Which COPY prints without the zeros at the end of a second, as quick as can be.
SHORTENED = {
    "ts": "2024-01-02 03:04:05.000006",
    "tz": "1890-01-01 00:00:00.000000+00:00",
    "tm": "23:59:59.500000",
}


def test_a_columns_text_is_what_copy_would_export(table, stack, tmp_path):
    """Asked of COPY itself: a cast would say true for t and strip blanks."""
    side = source_side(table)
    names = [c.name for _, c in table.contract.live if c.name not in ("at", *SHORTENED)]
    exported = ", ".join(
        rule_for(column).export(f'"{column.name}"')
        for _, column in table.contract.live
        if column.name in names
    )
    options = DIALECT.copy_options.replace("DELIMITER ','", "DELIMITER E'\\x01'")
    with closing(connect(postgres.aurora_dsn(stack))) as session:
        with session.cursor() as cursor, (tmp_path / "out").open("w+") as out:
            query = f"SELECT {exported} FROM {side.name} ORDER BY id"
            cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH ({options})", out)
            out.seek(0)
            full, empty = out.read().rsplit("\n", 2)[:2]
    texts = ", ".join(side.texts[name] for name in names)
    rows = ask(stack, f"SELECT {texts} FROM {side.name} ORDER BY id")
    copied = [
        field[1:-1].replace('""', '"') if field.startswith('"') else field
        for field in full.split("\x01")
    ]
    assert list(rows[0]) == copied
    assert [text or "" for text in rows[1]] == empty.split("\x01")


def test_a_moments_text_has_all_six_digits(table, stack):
    texts = ", ".join(source_side(table).texts[name] for name in SHORTENED)
    first, second = ask(
        stack, f"SELECT {texts} FROM {table.spec.source.sql} ORDER BY id"
    )
    assert first == tuple(SHORTENED.values())
    assert second == (None, None, None)


def test_the_checksum_is_the_sum_of_md5_prefixes(table, stack):
    side = source_side(table)
    joined = " || '|' || ".join(side.parts.values())
    texts = [row[0] for row in ask(stack, f"SELECT {joined} FROM {side.name}")]
    assert sorted(texts)[1].endswith("|~N" * 24)
    expected = sum(int(hashlib.md5(t.encode()).hexdigest()[:15], 16) for t in texts)
    query = side.aggregate("'due'", "TRUE")
    sums = ask(stack, query)
    assert {len(bucket) for bucket, *_ in sums} == {4}
    assert sum(checksum for *_, checksum in sums) == expected
    assert [rows for *_, rows, _ in sums] == [1, 1]


def test_the_marks_cannot_be_imitated(source, stack):
    """All texts of up to three of the marks' letters, in two columns: all differ."""
    source.sql(
        "CREATE TABLE {s}.t (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        "at TIMESTAMPTZ DEFAULT NOW(), a TEXT, b TEXT)",
        "INSERT INTO {s}.t (a, b) WITH RECURSIVE w AS (SELECT '' AS x UNION ALL "
        "SELECT w.x || c FROM w, unnest(ARRAY['~', '|', 'N']) AS c "
        "WHERE length(w.x) < 3), o AS (SELECT x FROM w UNION ALL SELECT NULL) "
        "SELECT p.x, q.x FROM o AS p CROSS JOIN o AS q",
    )
    table = Table(spec=source.spec(), contract=source.discover())
    parts = source_side(table).parts
    query = f"SELECT {parts['a']} || '|' || {parts['b']} FROM {source.schema}.t"
    texts = ask(stack, query)
    assert len(texts) == 41 * 41 == len(set(texts))


def test_rows_come_in_the_order_of_hexadecimal_digits(table, stack):
    side = source_side(table)
    rows = ask(stack, side.rows("'due'", "TRUE"))
    expected = sorted(hashlib.md5(str(n).encode()).hexdigest() for n in (1, 2))
    assert [row[0] for row in rows] == expected
    assert {row[3] for row in rows} == {"1", "2"}
    assert ask(stack, side.rows("'due'", "TRUE", [expected[1][:4]])) == rows[1:]
    picked = ask(stack, source_side(table).picked(expected[:1]))
    assert [row[0] for row in picked] == expected[:1]


def test_the_policy_on_missing_watermarks_leaves_the_same_rows_behind(source, stack):
    source.sql(
        "CREATE TABLE {s}.t (id INT PRIMARY KEY, at TIMESTAMPTZ)",
        "INSERT INTO {s}.t VALUES (1, NOW()), (2, NULL), (3, 'infinity')",
    )
    contract = source.discover()
    counts = {}
    for policy in ("include", "exclude"):
        table = Table(spec=source.spec(null_watermark=policy), contract=contract)
        side = source_side(table)
        query = f"SELECT COUNT(*) FROM {side.name} WHERE {side.where}"
        ((counts[policy],),) = ask(stack, query)
    assert counts == {"include": 3, "exclude": 1}


def test_the_target_is_asked_in_snowflakes_words():
    table = make_table(
        (
            ("order_id", "bigint"),
            ("status", "text"),
            make_column(3, "json", "jsonb"),
            make_column(4, "Größe", "real"),
            ("updated_at", "timestamp with time zone"),
        )
    )
    side = target_side(table, OBJECTS)
    assert side.name == "DB.PUBLIC.ORDERS"
    assert side.values == {"json": "TO_JSON(json)", "Größe": '"Größe"'}
    assert side.rows("x", "y", ["00ff"]) == (
        "SELECT MD5(COALESCE(TO_VARCHAR(order_id), '~N')) AS r0, "
        "MD5(COALESCE(TO_VARCHAR(order_id), '~N') || '|' || "
        "COALESCE(REPLACE(REPLACE(status, '~', '~~'), '|', '~|'), '~N') || '|' || "
        "COALESCE(TO_VARCHAR(CONVERT_TIMEZONE('UTC', updated_at)::TIMESTAMP_NTZ, "
        "'YYYY-MM-DD HH24:MI:SS.FF6') || '+00:00', '~N')) AS r1, x AS r2, "
        'TO_VARCHAR(order_id) AS r3, TO_JSON(json) AS r4, "Größe" AS r5 '
        "FROM DB.PUBLIC.ORDERS WHERE (y) AND "
        "LEFT(MD5(COALESCE(TO_VARCHAR(order_id), '~N')), 4) IN ('00ff') ORDER BY 1"
    )
