"""An export shows one snapshot of a locked table that is what its contract says."""

import threading
import time
from contextlib import contextmanager

import msgspec
import psycopg2
import pytest
from psycopg2 import sql

from runtime.contract.errors import (
    DriftError,
    ExportError,
    LeaseHeldError,
    SourceError,
    SourceUnavailableError,
)
from runtime.exporter import source as source_module
from runtime.exporter.credentials import DatabaseUser
from runtime.exporter.source import select
from runtime.exporter.source_errors import TooLargeError
from tests.exporter.conftest import BUCKET, ORDERS, ROLE_FACT, Scene

ALL = sql.SQL("TRUE")


@pytest.fixture
def orders(scene):
    table = scene.table(ORDERS)
    scene.sql("INSERT INTO orders SELECT n, 's' FROM generate_series(1, 10) AS n")
    return table


def look(scene: Scene, table):
    """Open and end one export transaction."""
    with scene.source() as source, source.snapshot(table, "lock") as relation:
        return relation


def export(scene: Scene, table, condition=ALL, seconds: float = 60, key: str = ""):
    key = key or scene.keys(table).export_key("run", "stamp", 3, "c")
    with scene.source(seconds) as source, source.snapshot(table, "lock"):
        query, width = select(table, condition), table.contract.width
        return source.export(table, query, key, "stamp", width)


def body(scene: Scene, key: str) -> str:
    found = scene.around.s3.get_object(Bucket=BUCKET, Key=key)
    return found["Body"].read().decode()


# --- the lock comes before the snapshot


@contextmanager
def waiting_export(scene: Scene, table, *statements: str):
    """Start an export while a session that ran these statements holds the table."""
    holder = scene.session("BEGIN", *statements)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(export(scene, table)))
    thread.start()
    for _ in range(500):
        if scene.value(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted "
            "AND relation = 'orders'::regclass)"
        ):
            break
        time.sleep(0.01)
    else:
        raise AssertionError("the export does not wait")
    yield holder, found
    holder.execute("COMMIT")
    thread.join(timeout=20)


def test_an_export_that_waited_for_a_rewrite_shows_all_rows(scene, orders):
    """With a snapshot from before it would find none, and succeed."""
    rewrite = "ALTER TABLE orders ALTER order_id TYPE BIGINT USING order_id + 100"
    with waiting_export(scene, orders, rewrite) as (_, found):
        pass
    assert found[0].rows == 10
    assert body(scene, found[0].key).startswith("101,s,")


def test_an_export_that_waited_for_a_truncate_shows_what_came_after(scene, orders):
    with waiting_export(scene, orders, "TRUNCATE orders") as (holder, found):
        holder.execute("INSERT INTO orders VALUES (77, 'new')")
    assert found[0].rows == 1
    assert body(scene, found[0].key).startswith("77,new,")


def test_an_export_that_waited_for_a_dropped_column_finds_the_drift(scene, orders):
    caught = []

    def attempt():
        try:
            export(scene, orders)
        except DriftError as error:
            caught.append(error)

    holder = scene.session("BEGIN", "ALTER TABLE orders DROP status")
    thread = threading.Thread(target=attempt)
    thread.start()
    time.sleep(0.2)
    holder.execute("COMMIT")
    thread.join(timeout=20)
    assert "column 'status' is not what the contract says" in str(caught[0])


def test_all_of_a_transaction_shows_one_moment(scene, orders):
    with scene.source() as source, source.snapshot(orders, "lock"):
        scene.sql("INSERT INTO orders VALUES (11, 's')")
        key = scene.keys(orders).exports + "a"
        file = source.export(orders, select(orders, ALL), key, "stamp", 3)
    assert file.rows == 10


def test_a_table_in_use_is_told_after_the_lock_timeout(scene, orders, monkeypatch):
    monkeypatch.setattr(source_module, "LOCK_SECONDS", 0.1)
    scene.session("BEGIN", "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(SourceUnavailableError) as caught:
        look(scene, orders)
    assert caught.value.retryable
    assert type(caught.value) is not TooLargeError
    assert "lock timeout" in str(caught.value)


def test_writers_are_not_kept_waiting_by_an_export(scene, orders):
    with scene.source() as source, source.snapshot(orders, "lock"):
        scene.session("SET lock_timeout = 100", "UPDATE orders SET status = 'x'")


def test_two_exports_of_a_table_exclude_one_another(scene, orders):
    with scene.source() as first, first.snapshot(orders, "dev#orders"):
        with scene.source() as second:
            with pytest.raises(LeaseHeldError, match="another session exports"):
                with second.snapshot(orders, "dev#orders"):
                    pass
        with scene.source() as other, other.snapshot(orders, "prod#orders"):
            pass
    with scene.source() as again, again.snapshot(orders, "dev#orders"):
        pass


# --- drift


def test_a_table_as_in_its_contract_has_no_drift(scene, orders):
    relation = look(scene, orders)
    assert relation.drift == ()
    assert relation.oid == scene.value("SELECT 'orders'::regclass::oid::int8")
    assert relation.relfilenode == scene.value("SELECT pg_relation_filenode('orders')")


def test_an_added_column_is_reported_and_the_export_goes_on(scene, orders):
    scene.sql("ALTER TABLE orders ADD note TEXT, ADD total NUMERIC")
    assert look(scene, orders).drift == ("note", "total")
    assert export(scene, orders).rows == 10


def test_an_added_column_that_the_config_leaves_behind_is_no_drift(scene, orders):
    scene.sql("ALTER TABLE orders ADD note TEXT, ADD total NUMERIC")
    spec = msgspec.structs.replace(orders.spec, exclude=("note",))
    table = msgspec.structs.replace(orders, spec=spec)
    assert look(scene, table).drift == ("total",)
    named = ("order_id", "status", "updated_at")
    spec = msgspec.structs.replace(orders.spec, columns=named)
    assert look(scene, msgspec.structs.replace(orders, spec=spec)).drift == ()


DRIFT = {
    "dropped": ("ALTER TABLE orders DROP status", "got 'nothing'"),
    "renamed": (
        "ALTER TABLE orders RENAME status TO state",
        "got 'state text'; allowed: status text",
    ),
    "retyped": (
        "ALTER TABLE orders ALTER status TYPE VARCHAR(20)",
        "got 'status character varying(20)'",
    ),
    "re-added": (
        "ALTER TABLE orders DROP status, ADD status TEXT",
        "got 'nothing'",
    ),
    "swapped": (
        "ALTER TABLE orders RENAME status TO x; "
        "ALTER TABLE orders RENAME updated_at TO status; "
        "ALTER TABLE orders RENAME x TO updated_at",
        "got 'updated_at text'",
    ),
    "other precision": (
        "ALTER TABLE orders ALTER updated_at TYPE TIMESTAMPTZ(3)",
        "got 'updated_at timestamp(3) with time zone'",
    ),
}


@pytest.mark.parametrize("form", DRIFT)
def test_a_changed_column_stops_the_export_and_names_it(scene, orders, form):
    ddl, told = DRIFT[form]
    scene.sql(ddl)
    with pytest.raises(DriftError) as caught:
        look(scene, orders)
    assert told in str(caught.value)
    assert "contract refresh public.orders" in caught.value.remedy


@pytest.mark.parametrize("wider", ["NUMERIC(14,2)", "NUMERIC(12,4)", "NUMERIC"])
def test_a_widened_numeric_stops_the_export(scene, wider):
    table = scene.table(ORDERS.replace("TEXT", "NUMERIC(12,2)"))
    scene.sql(f"ALTER TABLE orders ALTER status TYPE {wider}")
    with pytest.raises(DriftError, match="numeric"):
        look(scene, table)


def test_a_column_dropped_before_the_contract_keeps_its_place(scene):
    scene.sql(ORDERS.replace("status TEXT", "old INT, status TEXT"))
    scene.sql("ALTER TABLE orders DROP old")
    table = scene.table()
    assert [column.attnum for _, column in table.contract.live] == [1, 3, 4]
    assert look(scene, table).drift == ()


def test_a_dropped_column_of_the_contract_is_exported_as_null(scene, orders):
    scene.sql("ALTER TABLE orders DROP status")
    columns = [
        msgspec.structs.replace(column, dropped=column.name == "status")
        for column in orders.contract.columns
    ]
    contract = msgspec.structs.replace(orders.contract, columns=tuple(columns))
    table = msgspec.structs.replace(orders, contract=contract)
    file = export(scene, table, sql.SQL("order_id = 1"))
    assert file.columns == 3
    assert body(scene, file.key).startswith("1,,")


GONE = ["DROP TABLE orders", "ALTER TABLE orders RENAME TO old_orders"]


@pytest.mark.parametrize("ddl", GONE)
def test_a_table_that_is_gone_is_drift(scene, orders, ddl):
    scene.sql(ddl)
    with pytest.raises(DriftError, match="the table is gone"):
        look(scene, orders)


def test_a_schema_that_is_gone_is_drift(scene):
    scene.sql("CREATE SCHEMA shop")
    table = scene.table(ORDERS.replace("public", "shop"), table_name="shop.orders")
    scene.sql("DROP SCHEMA shop CASCADE")
    with pytest.raises(DriftError, match="the table is gone"):
        look(scene, table)


WITHOUT_KEY = ORDERS.replace("PRIMARY KEY", "NOT NULL")
NOT_KEYS = {
    "no index": "SELECT 1",
    "not unique": "CREATE INDEX ON orders (order_id)",
    "of part of the rows": "CREATE UNIQUE INDEX ON orders (order_id) "
    "WHERE status <> ''",
    "of more columns": "CREATE UNIQUE INDEX ON orders (order_id, status)",
    "of other columns": "CREATE UNIQUE INDEX ON orders (status)",
    "of an expression": "CREATE UNIQUE INDEX ON orders ((order_id + 0))",
    "deferrable": "ALTER TABLE orders ADD UNIQUE (order_id) DEFERRABLE",
    "invalid": "CREATE UNIQUE INDEX i ON orders (order_id); "
    "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'i'::regclass",
    "nullable": "CREATE UNIQUE INDEX ON orders (order_id); "
    "ALTER TABLE orders ALTER order_id DROP NOT NULL",
}


@pytest.mark.parametrize("kind", NOT_KEYS)
def test_a_key_that_nothing_keeps_unique_stops_the_export(scene, kind):
    table = scene.table(WITHOUT_KEY)
    scene.sql(NOT_KEYS[kind])
    with pytest.raises(DriftError, match="no valid unique index") as caught:
        look(scene, table)
    assert caught.value.got == "order_id"


def test_a_dropped_primary_key_stops_the_export(scene, orders):
    scene.sql("ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    with pytest.raises(DriftError, match="no valid unique index"):
        look(scene, orders)


ARE_KEYS = {
    "constraint": "ALTER TABLE orders ADD UNIQUE (order_id)",
    "index": "CREATE UNIQUE INDEX ON orders (order_id)",
    "with more data": "CREATE UNIQUE INDEX ON orders (order_id) INCLUDE (status)",
    "descending": "CREATE UNIQUE INDEX ON orders (order_id DESC)",
}


@pytest.mark.parametrize("kind", ARE_KEYS)
def test_any_unique_index_of_the_key_will_do(scene, kind):
    table = scene.table(WITHOUT_KEY)
    scene.sql(ARE_KEYS[kind])
    assert look(scene, table).drift == ()


def test_the_order_of_key_columns_does_not_matter(scene):
    scene.sql(WITHOUT_KEY)
    scene.sql("CREATE UNIQUE INDEX ON orders (status, order_id)")
    table = scene.table(primary_key=["order_id", "status"])
    assert look(scene, table).drift == ()


def test_a_partitioned_table_is_locked_with_its_partitions(scene):
    table = scene.table(ORDERS + "PARTITION BY RANGE (order_id)")
    scene.sql("CREATE TABLE part PARTITION OF orders FOR VALUES FROM (0) TO (9)")
    scene.sql("INSERT INTO orders VALUES (1, 's')")
    with scene.source() as source, source.snapshot(table, "lock"):
        assert scene.sql(
            "SELECT relation::regclass::text FROM pg_locks "
            "WHERE mode = 'AccessShareLock' AND granted AND pid = %s AND "
            "relation IN ('orders'::regclass, 'part'::regclass) ORDER BY 1",
            source.cursor.connection.info.backend_pid,
        ) == [("orders",), ("part",)]
    assert export(scene, table).rows == 1


def test_a_view_is_exported(scene, orders):
    scene.sql("CREATE VIEW public.v AS SELECT * FROM orders WHERE order_id > 5")
    table = scene.table(table_name="public.v")
    assert export(scene, table).rows == 5


# --- rights


def test_rows_hidden_by_row_security_are_an_error_not_a_gap(scene, orders):
    scene.sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    scene.sql("CREATE POLICY few ON orders USING (order_id < 3)")
    with pytest.raises(SourceError, match="row-level security"):
        export(scene, orders)


def test_a_table_without_grant_names_the_remedy(scene, orders):
    scene.sql("REVOKE SELECT ON orders FROM aurora_sync_exporter")
    with pytest.raises(SourceError, match="permission denied") as caught:
        look(scene, orders)
    assert "administrator's statements" in caught.value.remedy
    assert not caught.value.retryable


def test_the_exporter_cannot_write(scene, orders):
    with scene.source() as source:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            source.cursor.execute("INSERT INTO public.orders VALUES (99, 's')")


# --- the connection


def test_the_session_is_set_up_so_that_values_are_printed_in_one_way(scene, orders):
    expected = {
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "iso_8601",
        "extra_float_digits": "3",
        "bytea_output": "hex",
        "client_encoding": "UTF8",
        "search_path": "pg_catalog",
        "row_security": "off",
        "lock_timeout": "30s",
        "idle_in_transaction_session_timeout": "30s",
        "client_connection_check_interval": "1s",
        "application_name": "aurora-sync test",
        "transaction_isolation": "repeatable read",
        "transaction_read_only": "on",
    }
    with scene.source() as source, source.snapshot(orders, "lock"):
        found = {}
        for name in expected:
            source.cursor.execute(f"SHOW {name}")
            found[name] = source.cursor.fetchone()[0]
    assert found == expected


def test_statements_are_bounded_by_the_time_left(scene, orders):
    with scene.source(seconds=30) as source:
        source.cursor.execute("SHOW statement_timeout")
        first = source.cursor.fetchone()[0]
        source._deadline -= 20
        with source.snapshot(orders, "lock"):
            source.cursor.execute("SHOW statement_timeout")
            second = source.cursor.fetchone()[0]
    assert 25_000 < int(first.removesuffix("ms")) <= 30_000
    assert 5_000 < int(second.removesuffix("ms")) <= 10_000


def test_a_database_that_cannot_be_reached_is_told(scene):
    with pytest.raises(SourceUnavailableError, match="cannot be reached") as caught:
        with scene.source(aurora_port=1):
            pass
    assert caught.value.retryable
    assert f"127.0.0.1:1/{scene.around.settings.aurora_database}" in str(caught.value)


def test_a_wrong_password_is_told_without_the_password(scene):
    scene.user = DatabaseUser(name=scene.user.name, password="guessed-secret")
    with pytest.raises(SourceError, match="password authentication failed") as caught:
        with scene.source():
            pass
    assert "guessed-secret" not in str(caught.value)
    assert "guessed-secret" not in repr(scene.user)


def test_an_error_ends_the_connection_and_with_it_the_transaction(scene, orders):
    with scene.source() as source:
        with pytest.raises(ZeroDivisionError):
            with source.snapshot(orders, "lock"):
                raise ZeroDivisionError
        assert source.cursor.connection.closed
    look(scene, orders)


# --- the export


def test_an_export_names_rows_bytes_and_columns(scene, orders):
    file = export(scene, orders)
    text = body(scene, file.key)
    assert file.rows == 10 == text.count("\n")
    assert file.bytes == len(text.encode())
    assert file.columns == 3
    assert file.stamp == "stamp"


def test_no_row_is_no_file(scene, orders):
    assert export(scene, orders, sql.SQL("order_id > 10")) is None


def test_the_object_is_encrypted_with_the_stacks_key(scene, orders):
    found = scene.around.s3.head_object(Bucket=BUCKET, Key=export(scene, orders).key)
    assert found["ServerSideEncryption"] == "aws:kms"
    assert found["SSEKMSKeyId"] == scene.around.settings.kms_key_arn


TEXTS = [None, "", " ", "\\N", "\\.", "a,b", 'say "hi"', "a\nb", "a\r\nb", "\\", "é€😀"]


def test_texts_arrive_as_they_are_and_null_is_not_the_empty_text(scene):
    table = scene.table(ORDERS.replace("TEXT NOT NULL", "TEXT"))
    for number, text in enumerate(TEXTS):
        scene.sql("INSERT INTO orders VALUES (%s, %s)", number, text)
    file = export(scene, table)
    assert read_csv(body(scene, file.key), 1) == TEXTS


def read_csv(text: str, column: int) -> list[str | None]:
    """Read CSV as its rules say: quotes double, NULL is a bare empty field."""
    rows: list[list[str | None]] = [[]]
    at = 0
    while at < len(text):
        if text[at] == '"':
            end = at + 1
            while text[end] != '"' or text[end : end + 2] == '""':
                end += 2 if text[end] == '"' else 1
            rows[-1].append(text[at + 1 : end].replace('""', '"'))
            at = end + 1
        else:
            end = min(text.find(mark, at) for mark in ",\n" if mark in text[at:])
            rows[-1].append(text[at:end] or None)
            at = end
        if text[at] == "\n":
            rows.append([])
        at += 1
    return [row[column] for row in rows if row]


def test_an_export_that_takes_too_long_is_too_large(scene, orders):
    slow = sql.SQL("pg_catalog.pg_sleep(30) IS NOT NULL")
    began = time.monotonic()
    with pytest.raises(TooLargeError, match="cancelled") as caught:
        export(scene, orders, slow, seconds=0.5)
    assert caught.value.retryable
    assert time.monotonic() - began < 5


@contextmanager
def facts(scene: Scene, **changes: object):
    """Change what the emulated Aurora goes by, for a while; None takes a fact away."""
    with scene.stack.locked() as state:
        before = dict(state["facts"])
        known = state["facts"] | changes
        state["facts"] = {name: known[name] for name in known if known[name]}
    try:
        yield
    finally:
        with scene.stack.locked() as state:
            state["facts"] = before


def test_an_export_of_several_parts_is_too_large(scene, orders):
    """Parts after the first have names of their own, which nothing would load."""
    with facts(scene, aws_s3_part_bytes=100):
        with pytest.raises(TooLargeError, match="4 parts"):
            export(scene, orders)


def test_a_cluster_without_its_role_cannot_export(scene, orders):
    with facts(scene, **{ROLE_FACT: None}):
        with pytest.raises(ExportError, match="could not write to S3") as caught:
            export(scene, orders)
    assert caught.value.retryable
    assert "s3Export" in caught.value.remedy


def test_a_place_that_the_role_may_not_write_cannot_be_exported_to(scene, orders):
    with pytest.raises(ExportError, match="AccessDenied"):
        export(scene, orders, key="manifests/not/yours.csv")


def test_a_query_that_fails_in_the_middle_is_the_sources_error(scene, orders):
    with pytest.raises(SourceError, match="division by zero") as caught:
        export(scene, orders, sql.SQL("1 / (order_id - 5) IS NOT NULL"))
    assert type(caught.value) is SourceError
    assert "22012" in str(caught.value)


def test_hostile_names_are_exported_like_others(scene):
    table_name, column = "we\"ird%s {0} \\ ';--", "c%(x)s{}\"';--"
    quoted, inner = table_name.replace('"', '""'), column.replace('"', '""')
    scene.session().execute(
        f'CREATE TABLE public."{quoted}" ("{inner}" INT PRIMARY KEY, '
        '"select" TEXT, updated_at TIMESTAMPTZ DEFAULT NOW())'
    )
    scene.session().execute(f"INSERT INTO public.\"{quoted}\" VALUES (5, 'x')")
    table = scene.table(table_name=f'public."{quoted}"', primary_key=column)
    result = scene.run(table)
    assert result.rows_exported == 1
    assert scene.rows(*scene.manifests(table))[0][:2] == ["5", "x"]
