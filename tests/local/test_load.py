"""Somebody's database in the local Aurora: all of it or nothing, and no secret told."""

import gzip
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from infra.local import dump_source, postgres
from infra.local.load import Loaded, load
from infra.local.parts import LocalError, LocalStack
from runtime.contract.errors import ConfigError, SyncError
from tests.local.pg_dumps import SCHEMA, dump, psql
from tests.local.running import running

pytestmark = pytest.mark.integration
_TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"


def query(dsn, statement):
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Iterator[LocalStack]:
    stack = LocalStack(tmp_path_factory.mktemp("load"))
    try:
        with running(stack, postgres.PART):
            yield stack
    finally:
        postgres.remove(stack)


@pytest.fixture(scope="module")
def shop(local) -> str:
    """Address of a database on the same server, with the password in it."""
    query(postgres.aurora_dsn(local), "CREATE DATABASE shop")
    query(
        postgres.aurora_dsn(local), "ALTER DATABASE shop SET timezone TO 'Asia/Tokyo'"
    )
    dsn = make_dsn(postgres.aurora_dsn(local), dbname="shop")
    psql(dsn, SCHEMA)
    return dsn


@pytest.fixture
def empty(local) -> LocalStack:
    """The stack with an empty Aurora."""
    dsn = postgres.aurora_dsn(local)
    query(dsn, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    query(dsn, "ALTER DATABASE app RESET ALL")
    return local


def loaded(stack: LocalStack, source: object) -> Loaded:
    return load(stack, str(source), lambda what, state: None)


def refused(stack: LocalStack, source: object) -> str:
    """Return why a source is refused; nothing is there afterwards."""
    with pytest.raises(SyncError) as caught:
        loaded(stack, source)
    assert query(postgres.aurora_dsn(stack), _TABLES) == [(0,)]
    return str(caught.value)


def script(tmp_path, text: str):
    path = tmp_path / "dump.sql"
    path.write_text(text)
    return path


def test_a_database_is_loaded_as_it_is(empty, shop):
    found = loaded(empty, shop)
    assert (found.tables, found.missing, found.failed) == (5, (), ())
    here = postgres.aurora_dsn(empty)
    for table in ("film", "film_actor", "payment", "log"):
        rows = (
            f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t"
        )
        assert query(here, f"SET timezone TO 'UTC'; {rows}") == query(
            shop, f"SET timezone TO 'UTC'; {rows}"
        )
    assert query(here, "SHOW timezone") == [("Asia/Tokyo",)]
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert query(here, owners) == [("postgres",)]


@pytest.mark.parametrize("form", ["plain", "custom", "tar", "directory", "gz"])
def test_a_dump_of_any_form_is_loaded(empty, shop, tmp_path, form):
    path = dump(shop, "plain" if form == "gz" else form, tmp_path / "dump")
    if form == "gz":
        packed = gzip.compress(path.read_bytes())
        path.write_bytes(packed)
    query(shop, "ALTER ROLE shop_owner RENAME TO gone")
    try:
        assert loaded(empty, path).tables == 5
    finally:
        query(shop, "ALTER ROLE gone RENAME TO shop_owner")
    here = postgres.aurora_dsn(empty)
    assert query(here, "SELECT count(*) FROM payment") == [(60,)]


def test_a_missing_extension_costs_only_what_hangs_on_it(empty, tmp_path):
    path = script(
        tmp_path,
        "CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;\n"
        'CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;\n'
        "CREATE EXTENSION aws_s3;\n"
        "CREATE TABLE public.place (id int, at public.geometry);\n"
        "CREATE TABLE public.kept (id uuid DEFAULT public.uuid_generate_v4());\n"
        "COPY public.place (id, at) FROM stdin;\n1\tDROP TABLE public.kept;\n\\.\n"
        "INSERT INTO public.kept DEFAULT VALUES;\n",
    )
    found = loaded(empty, path)
    assert (found.tables, found.missing) == (1, ("postgis", "uuid-ossp"))
    assert found.failed == (
        'type "public.geometry" does not exist',
        'relation "public.place" does not exist',
    )
    assert query(postgres.aurora_dsn(empty), "SELECT count(id) FROM kept") == [(1,)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("CREATE EXTENSION postgis;\nSELECT 1 / 0;\n", "division by zero"),
        ("SELECT nope;\n", 'column "nope" does not exist'),
        ("\\! touch {path}\n", "is a script, not a dump"),
        ("ROLLBACK;\n", "is a script, not a dump"),
        ("CREATE TABLE u (\n", "ends in the middle"),
        ("COPY t FROM stdin;\n1\n", "ends in the middle"),
    ],
)
def test_any_other_failure_leaves_nothing(empty, tmp_path, text, told):
    text = f"BEGIN;\nCREATE TABLE t (a int);\nCOMMIT;\n{text}"
    assert told in refused(empty, script(tmp_path, text.format(path=tmp_path / "x")))
    assert not (tmp_path / "x").exists()


def test_a_cut_file_leaves_nothing(empty, shop, tmp_path):
    whole = dump(shop, "custom", tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) - 2000])
    assert "pg_restore: fails" in refused(empty, tmp_path / "a")
    packed = gzip.compress(dump(shop, "plain", tmp_path / "b").read_bytes())
    (tmp_path / "b").write_bytes(packed[: len(packed) // 2])
    assert "ends in the middle" in refused(empty, tmp_path / "b")


def test_what_is_there_already_is_told(empty, shop):
    loaded(empty, shop)
    with pytest.raises(LocalError, match="already exists.*load into an empty stack"):
        loaded(empty, shop)


def test_no_error_tells_the_password(empty, shop):
    secret = parse_dsn(shop)["password"]
    for source in (
        make_dsn(shop, dbname="nope"),
        make_dsn(shop, password="wrong" + secret),
        f"postgresql://u:{secret}%zz@127.0.0.1/x",
    ):
        assert secret not in refused(empty, source)


def test_the_password_is_on_no_command_line(empty, shop, monkeypatch):
    started = []
    popen = subprocess.Popen

    def noted(argv, **options):
        started.append((list(map(str, argv)), options["env"]))
        return popen(argv, **options)

    monkeypatch.setattr("infra.local.dump_source.subprocess.Popen", noted)
    loaded(empty, shop)
    secret = parse_dsn(shop)["password"]
    [(argv, env)] = started
    assert not any(secret in each for each in argv)
    assert env["PGPASSWORD"] == secret


def test_tls_needs_a_pg_dump_that_speaks_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match="apt-get install postgresql-client-16"):
        dump_source.pg_dump(16, encrypted=True)
    assert dump_source.pg_dump(16, encrypted=False).startswith(str(postgres.programs()))


@pytest.mark.parametrize("content", [b"PK\x03\x04\x00\x00", "CREATE".encode("utf-16")])
def test_what_is_no_dump_is_told(empty, tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert "is not a dump" in refused(empty, tmp_path / "x")
    with pytest.raises(ConfigError, match="No such file"):
        loaded(empty, tmp_path / "nope")


def test_ctrl_c_leaves_nothing(empty, tmp_path):
    path = script(tmp_path, "CREATE TABLE t (a int);\nSELECT pg_sleep(600);\n")
    code = (
        "import sys; from pathlib import Path; from infra.local.load import load;"
        "from infra.local.parts import LocalStack;"
        "load(LocalStack(Path(sys.argv[1])), sys.argv[2], print)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(empty.dir), str(path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sl%'"
    here, deadline = postgres.aurora_dsn(empty), time.monotonic() + 20
    while query(here, sleeping) != [(1,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in said
    assert query(here, sleeping) == query(here, _TABLES) == [(0,)]
