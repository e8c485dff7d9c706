"""Every statement is Snowflake's SQL; a merge never takes a row back or in twice."""

import re
from functools import cache
from typing import Any

import pytest
from sqlglot import TokenType, exp, parse_one, tokenize

from runtime.contract.snowflake_names import (
    TARGET_METADATA,
    SnowflakeObjects,
    landing_columns,
    shared_tables,
    target_columns,
)
from runtime.contract.snowflake_pipes import (
    copy_statement,
    manifest_copy_statement,
    pipe_name,
)
from runtime.contract.snowflake_sql import merge_block, task_condition
from runtime.contract.specs import Table
from tests.contract.test_type_map import ALL
from tests.factories import ORDERS, make_column, make_table

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="LOADS", stack="dev")
ODD = SnowflakeObjects(database='say "x"', warehouse="my wh", stack="dev")
TZ = "timestamp with time zone"
HOSTILE = (
    ('"; DROP TABLE x; --', "bigint"),
    ("say 'x'\\", "text"),
    ("select", "text"),
    ("Mixed Case", "date"),
    ("file_name", "text"),
    ("stamp", "bigint"),
    ("v1", "integer"),
    ("c1", "text"),
    ("misfit", "text"),
    ("t", "text"),
    ("größe%s{0}", "numeric(10,2)"),
    ("updated_at", TZ),
)
TYPES = tuple(
    make_column(n, f"x{n}", column.base_type, kind=column.kind)
    for n, column in enumerate(ALL, start=4)
)
TABLES = {
    "simple": make_table(),
    "composite key": make_table(primary_key=["status", "order_id"]),
    "columns added later": make_table(
        (*ORDERS, ("note", "text"), ("total", "numeric(9,2)")), base_width=3
    ),
    "a column dropped": make_table(
        (ORDERS[0], make_column(2, "status", "text", dropped=True), ORDERS[2])
    ),
    "key and watermark alone": make_table((ORDERS[0], ORDERS[2])),
    "one column": make_table(
        (("day", "date"),),
        primary_key="day",
        watermark_col="day",
        watermark_timezone="UTC",
    ),
    "hostile names": make_table(
        HOSTILE,
        table_name='public."x\'; --"',
        primary_key=[HOSTILE[0][0], "v1"],
        target_schema='say "x"',
    ),
    "every type": make_table((*ORDERS, *TYPES)),
}
tables = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@cache
def parse(statement: str) -> Any:
    """Return the one statement as a tree, which nobody changes."""
    parsed = parse_one(statement, dialect="snowflake")
    assert not parsed.find(exp.Command)
    return parsed


def statements(table: Table, objects: SnowflakeObjects = OBJECTS) -> list[str]:
    """Return the statements of the task's block, split as a server splits them."""
    block = merge_block(objects, table)
    ends = [
        token.start
        for token in tokenize(block, "snowflake")
        if token.token_type == TokenType.SEMICOLON
    ]
    parts = [
        block[start:end].lstrip(";").strip()
        for start, end in zip([0, *ends], [*ends, len(block)], strict=True)
    ]
    head, *body, commit, rollback, again, end = parts
    assert head == "BEGIN\nBEGIN TRANSACTION"
    assert commit == "COMMIT"
    assert re.sub(r"\s+", " ", rollback) == "EXCEPTION WHEN OTHER THEN ROLLBACK"
    assert (again, end) == ("RAISE", "END")
    return body


def merge_of(table: Table) -> exp.Merge:
    merge = parse(statements(table)[2])
    assert isinstance(merge, exp.Merge)
    return merge


@tables
@pytest.mark.parametrize("objects", [OBJECTS, ODD], ids=["plain", "odd"])
def test_each_statement_of_the_task_is_snowflakes(table, objects):
    kinds = [type(parse(statement)) for statement in statements(table, objects)]
    rows = [exp.Insert, exp.Insert, exp.Merge]
    keys = [exp.Insert, exp.Insert, exp.Merge, exp.Delete]
    assert kinds == [*rows, *keys, exp.Insert, exp.Delete]


def test_keys_are_only_compared_where_that_is_wanted():
    for deletes, length in (("ignore", 5), ("soft_column", 5), ("reconcile", 9)):
        mark = "status" if deletes == "soft_column" else None
        columns = (ORDERS[0], ("status", "boolean"), ORDERS[2])
        table = make_table(columns, deletes=deletes, deleted_col=mark)
        assert len(statements(table)) == length


@pytest.mark.parametrize("kind", ["boolean", TZ, "timestamp without time zone", "date"])
def test_a_row_is_deleted_when_its_own_column_says_so(kind):
    columns = (ORDERS[0], ("gone", kind), ORDERS[2])
    table = make_table(columns, deletes="soft_column", deleted_col="gone")
    update, insert = merge_of(table).args["whens"].expressions
    for when in (update, insert):
        assert "S.V2" in when.sql("snowflake").upper().split("_SYNC_AT")[-1]


@tables
def test_a_file_is_loaded_by_position_and_says_where_each_row_came_from(table):
    copied = parse(copy_statement(OBJECTS, table))
    assert isinstance(copied, exp.Copy)
    landing = [column.name.lower() for column in landing_columns(table)]
    assert [column.name.lower() for column in copied.this.expressions] == landing
    (select,) = copied.args["files"]
    wanted = ["METADATA$FILENAME", "METADATA$FILE_ROW_NUMBER"]
    wanted += ["METADATA$START_SCAN_TIME"]
    values = [each.sql("snowflake") for each in select.find(exp.Select).expressions]
    places = [f"t.${place}" for place in range(1, table.contract.width + 1)]
    assert [value.replace("T.", "t.") for value in values] == wanted + places


@tables
def test_a_pipe_reads_the_folder_of_its_table_alone(table):
    """orders must not match orders_archive."""
    assert f"/{table.spec.source.slug}/ t\n" in copy_statement(OBJECTS, table)


def test_manifests_of_all_tables_come_by_one_pipe():
    copied = parse(manifest_copy_statement(OBJECTS))
    assert isinstance(copied, exp.Copy)
    assert "@ANALYTICS.LANDING.MANIFESTS/ t" in manifest_copy_statement(OBJECTS)


@tables
def test_a_merge_leaves_files_alone_that_are_wider_than_its_contract(table):
    """A run of the task before this one would null the columns that came since."""
    block, width = merge_block(OBJECTS, table), table.contract.width
    parts = "SPLIT_PART(SPLIT_PART(file_name, '/', -1), '_', 2)::NUMBER(5,0)"
    limit = f"AND {parts} <= {width}\n"
    assert block.count(limit) == block.count(" typed AS (") > 0


@tables
def test_a_task_is_triggered_by_its_own_stream(table):
    condition = task_condition(OBJECTS, table)
    (name,) = [
        token.text
        for token in tokenize(condition, "snowflake")
        if token.token_type == TokenType.STRING
    ]
    assert f"FROM {name}" in merge_block(OBJECTS, table)


# --- the merge


@tables
def test_rows_are_made_one_per_key_before_they_are_merged(table):
    """Snowflake would insert every copy of a new key without a word."""
    using = merge_of(table).args["using"].this
    (equal,) = using.args["qualify"].find_all(exp.EQ)
    window = equal.this
    assert isinstance(window, exp.Window)
    assert isinstance(window.this, exp.RowNumber)
    assert equal.expression.sql() == "1"
    parted = [each.sql("snowflake") for each in window.args["partition_by"]]
    assert parted == ["misfit IS NULL"] + [f"v{place}" for place, _ in table.keys]
    order = [each.sql("snowflake") for each in window.args["order"].expressions]
    assert order[0] == "stamp DESC NULLS LAST"
    assert [name.split()[0] for name in order[1:]] == ["file_name", "file_row"]


@tables
def test_rows_meet_on_their_cast_key(table):
    found = [
        (each.this.table, stored(each.this), each.expression.sql("snowflake"))
        for each in merge_of(table).args["on"].find_all(exp.EQ)
    ]
    wanted = [("t", column.target, f"s.v{place}") for place, column in table.keys]
    assert sorted(found) == sorted(wanted)


def stored(column: Any) -> str:
    """Return the name of a column as Snowflake stores it."""
    name = column.find(exp.Identifier)
    return name.name if name.quoted else name.name.upper()


def whens(table: Table) -> tuple[exp.When, exp.When]:
    matched, missing = merge_of(table).args["whens"].expressions
    assert matched.args["matched"]
    assert not missing.args["matched"]
    return matched, missing


@tables
def test_a_row_is_replaced_only_by_a_higher_stamp(table):
    matched, missing = whens(table)
    condition = matched.args["condition"].sql("snowflake")
    assert condition == "s.stamp > COALESCE(t._sync_stamp, '')"
    assert missing.args.get("condition") is None


def assignments(table: Table) -> dict[str, str]:
    matched, _ = whens(table)
    return {
        stored(each.this): each.expression.sql("snowflake")
        for each in matched.args["then"].expressions
    }


@tables
def test_an_update_sets_everything_but_the_key(table):
    keys = {column.target for _, column in table.keys}
    live = {column.target for _, column in table.contract.live}
    assert set(assignments(table)) == (live - keys) | set(TARGET_METADATA)


@tables
def test_a_live_row_is_not_deleted_any_more(table):
    assert assignments(table)["_DELETED_AT"] == "NULL"


@tables
def test_an_insert_sets_every_column_of_the_target(table):
    _, missing = whens(table)
    insert = missing.args["then"]
    names = [stored(each) for each in insert.this.expressions]
    assert names == [column.name for column in target_columns(table)]
    assert len(insert.expression.expressions) == len(names)


def test_a_file_sets_only_the_columns_it_has():
    found = assignments(TABLES["columns added later"])
    assert found["STATUS"] == "s.v2"
    assert found["NOTE"] == "IFF(s.width >= 4, s.v4, t.note)"
    assert found["TOTAL"] == "IFF(s.width >= 5, s.v5, t.total)"


def test_a_dropped_column_is_neither_read_nor_written():
    block = merge_block(OBJECTS, TABLES["a column dropped"])
    assert not re.search(r"\b[cv]2\b", block)
    assert "STATUS" not in assignments(TABLES["a column dropped"])


def test_no_source_column_can_be_mistaken_for_ours():
    """Inside the block columns go by place; their names stand in the target alone."""
    ours = re.compile(
        r"(file_name|file_row|stamp|width|misfit|place|wins|loaded|applied|span"
        r"|first_row|last_row|nulled"
        r"|[cv]\d+)\Z"
    )
    quarantine, receipts, merge = map(parse, statements(TABLES["hostile names"])[:3])
    using = merge.args["using"].this
    for part in (quarantine.expression, receipts.expression, using):
        for column in part.find_all(exp.Column):
            assert column.table == "t" or ours.match(column.name), column.sql()


def test_rows_that_do_not_cast_are_quarantined_and_left_out():
    quarantine, _, merge = statements(TABLES["every type"])[:3]
    assert quarantine.endswith("WHERE misfit IS NOT NULL")
    assert "WHERE misfit IS NULL" in merge


def test_a_value_that_does_not_cast_is_never_taken_for_null():
    """Each column whose cast may fail is asked; a text that is the value is not."""
    quarantine = statements(TABLES["every type"])[0]
    asked = set(re.findall(r"c(\d+) IS NOT NULL AND v\1 IS NULL", quarantine))
    types = {each.name: each.type for each in target_columns(TABLES["every type"])}
    casting = {
        str(place)
        for place, column in TABLES["every type"].contract.live
        if not types[column.target].startswith("VARCHAR")
    }
    assert casting - {"1"} == asked
    # A key must be there at all.
    assert "WHEN v1 IS NULL THEN 1" in quarantine


def test_every_table_in_a_statement_is_named_in_full():
    for table in TABLES.values():
        for statement in statements(table):
            parsed = parse(statement)
            own = {cte.alias for cte in parsed.find_all(exp.CTE)}
            for source in parsed.find_all(exp.Table):
                assert source.name in own or source.catalog == "ANALYTICS"


# --- the tables


@tables
def test_landing_takes_any_text(table):
    columns = landing_columns(table)
    assert len(columns) == table.contract.width + 3
    texts = [column for column in columns if column.name.startswith("C")]
    assert all(column.type.startswith("VARCHAR") for column in texts)
    assert all(column.nullable for column in columns)


@tables
def test_a_target_has_the_declared_columns_and_ours(table):
    columns = target_columns(table)
    assert tuple(column.name for column in columns[-4:]) == TARGET_METADATA
    keys = {column.target for _, column in table.keys}
    assert {column.name for column in columns if not column.nullable} == keys
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)


def test_shared_tables_have_the_columns_that_statements_write():
    shared = shared_tables()
    for statement in (*statements(make_table())[:2], statements(make_table())[-2]):
        into = parse(statement).this
        names = {column.name.upper() for column in into.expressions}
        assert names == {column.name for column in shared[into.this.name]}


def test_tables_that_tasks_share_are_only_inserted_into():
    """An UPDATE, a DELETE or a MERGE would let tasks wait for each other."""
    shared = {f"ANALYTICS.SYNC.{name}" for name in shared_tables()}
    written = {
        (type(tree), tree.find(exp.Table).sql("snowflake").partition(" ")[0])
        for tree in map(parse, statements(make_table()))
    }
    kinds = {kind for kind, name in written if name in shared}
    assert kinds == {exp.Insert} and {exp.Merge, exp.Delete} < {k for k, _ in written}


def test_stages_show_the_folders_that_keys_begin_with():
    urls = OBJECTS.stage_urls("lake")
    assert urls == {
        "EXPORTS": "s3://lake/exports/dev/",
        "MANIFESTS": "s3://lake/manifests/dev/",
        "STATUS": "s3://lake/status/dev/",
    }
    keys = OBJECTS.keys(make_table())
    assert f"s3://lake/{keys.exports}".startswith(urls["EXPORTS"])
    assert f"s3://lake/{keys.manifests}".startswith(urls["MANIFESTS"])


def test_objects_of_a_table_have_names_of_their_own():
    table = make_table()
    names = [
        OBJECTS.landing(table),
        pipe_name(OBJECTS, table),
        OBJECTS.stream(table),
        OBJECTS.task(table),
    ]
    assert len(set(names)) == 4
    assert OBJECTS.qualified("LANDING", names[0]) == "ANALYTICS.LANDING.PUBLIC__ORDERS"
