"""What the local Snowflake reads of a statement, and what it refuses."""

import io
from itertools import product

import pytest
from snowflake.connector.errors import ProgrammingError

from infra.local.snowflake import files
from infra.local.snowflake.copy import read_copy
from infra.local.snowflake.files import fetched
from infra.local.snowflake.objects import Catalog, file_format, read_stage
from infra.local.snowflake.reader import Name, Reader
from infra.local.snowflake.bodies import read_block
from runtime.contract.dialect import DIALECT
from runtime.contract.errors import WarehouseError
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.snowflake_pipes import copy_statement
from runtime.contract.snowflake_sql import merge_block
from tests.factories import make_table

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="W", stack="dev")
TAIL = "COMMIT; EXCEPTION WHEN OTHER THEN ROLLBACK; RAISE; END"
COPY = (
    "COPY INTO A.B.T (x) FROM (SELECT {} FROM @A.B.S/in/ t)"
    " FILE_FORMAT = (FORMAT_NAME = 'A.B.F'){}"
)


@pytest.fixture
def catalog(tmp_path):
    found = Catalog(tmp_path / "objects.json")
    for name in (Name("A", "B", "F"), Name("ANALYTICS", "LANDING", "EXPORT_CSV")):
        found.put("FILE FORMAT", name, file_format(dict(DIALECT.file_format)))
    integration = {"ENABLED": True, "STORAGE_BLOCKED_LOCATIONS": []}
    integration["STORAGE_ALLOWED_LOCATIONS"] = ["s3://lake/exports/"]
    found.put("STORAGE INTEGRATION", Name("", "", "I"), integration)
    return found


def test_names_are_folded_unless_quoted_and_completed_from_the_session():
    read = Reader('orders "a.B".c.D', "DB", "S")
    assert read.name() == Name("DB", "S", "ORDERS")
    assert read.name() == Name("a.B", "C", "D")
    assert Name("a.B", "C", "D").sql == '"a.B".C.D'


def test_a_word_in_a_string_or_a_comment_is_no_keyword():
    read = Reader("A = 'AS WHEN' /* AS */ B = (TYPE = CSV X = (1, 'y')) AS body;")
    assert read.options("AS") == {"A": "AS WHEN", "B": {"TYPE": "CSV", "X": [1, "y"]}}
    read.need("AS")
    assert read.rest() == "body"


def test_our_own_task_is_read_statement_by_statement():
    block = merge_block(OBJECTS, make_table())
    verbs = [statement.split()[0] for statement in read_block(block + ";")]
    rows, keys = ["INSERT", "INSERT", "MERGE"], ["INSERT", "INSERT", "MERGE", "DELETE"]
    assert verbs == [*rows, *keys, "INSERT", "DELETE"]
    assert read_block(f"EXECUTE IMMEDIATE $${block}$$") == read_block(block)


@pytest.mark.parametrize(
    "body",
    [
        "DELETE FROM T",
        f"BEGIN BEGIN TRANSACTION; {TAIL}",
        f"BEGIN DELETE FROM T; {TAIL}",
        f"BEGIN BEGIN TRANSACTION; SELECT 1; {TAIL}",
        f"BEGIN BEGIN TRANSACTION; CALL P(); {TAIL}",
        f"BEGIN BEGIN TRANSACTION; DELETE FROM T; COMMIT; DELETE FROM T; {TAIL}",
        "BEGIN BEGIN TRANSACTION; DELETE FROM T; COMMIT; END",
        f"BEGIN BEGIN TRANSACTION; DELETE FROM T; {TAIL.replace('RAISE; ', '')}",
        f"DECLARE x; BEGIN BEGIN TRANSACTION; DELETE FROM T; {TAIL}",
    ],
)
def test_a_task_that_is_not_one_guarded_transaction_is_refused(body):
    with pytest.raises(WarehouseError):
        read_block(body)


def test_our_own_copy_is_read(catalog):
    copy = read_copy(Reader(copy_statement(OBJECTS, make_table())), catalog)
    assert copy.stage == Name("ANALYTICS", "LANDING", "EXPORTS")
    assert (copy.path, copy.fields, copy.skip_file) == ("public.orders/", 3, True)


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ("COUNT(*)", ""),
        ("t.*", ""),
        ("name", ""),
        ("METADATA$FILE_CONTENT_KEY", ""),
        ("(SELECT 1)", ""),
        ("$1", " ON_ERROR = CONTINUE"),
        ("$1", " SIZE_LIMIT = 1"),
        ("$1", " PURGE = TRUE"),
        ("$1", " ON_ERROR = SKIP_FILE nonsense"),
    ],
)
def test_a_copy_of_another_shape_is_refused(catalog, values, more):
    with pytest.raises(WarehouseError):
        read_copy(Reader(COPY.format(values, more)), catalog)


def test_a_copy_by_an_unknown_format_is_refused(catalog):
    with pytest.raises(ProgrammingError, match="does not exist"):
        read_copy(Reader(COPY.format("$1", "").replace("B.F", "B.G")), catalog)


@pytest.mark.parametrize(
    "option",
    [
        {"TRIM_SPACE": True},
        {"MULTI_LINE": False},
        {"ESCAPE": "\\"},
        {"ESCAPE_UNENCLOSED_FIELD": "\\"},
        {"ENCODING": "WINDOWS1252"},
        {"FIELD_DELIMITER": "||"},
        {"SURPRISE": 1},
    ],
)
def test_a_format_option_that_would_be_ignored_is_refused(option):
    with pytest.raises(WarehouseError):
        file_format(DIALECT.file_format | option)


def test_snowflakes_own_default_is_refused_when_it_would_not_be_honoured():
    given = dict(DIALECT.file_format)
    del given["ESCAPE_UNENCLOSED_FIELD"]
    with pytest.raises(WarehouseError, match="Snowflake's default"):
        file_format(given)


@pytest.mark.parametrize("url", ["s3://lake/export", "s3://other/exports/", "/tmp/x"])
def test_a_stage_outside_the_integrations_locations_is_refused(catalog, url):
    with pytest.raises(WarehouseError):
        read_stage(Reader(f"URL = '{url}' STORAGE_INTEGRATION = I"), catalog)


class OneObject:
    """Stands for S3 with one object in it."""

    def __init__(self, content):
        self.content = content

    def get_object(self, **_):
        return {"Body": io.BytesIO(self.content)}


def arrived(content, folder, **options):
    options = file_format(DIALECT.file_format | options)
    with fetched(OneObject(content), "b", "k", options, folder) as path:
        return path.read_bytes()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_blank_lines_and_open_quotes_are_found_at_any_cut(tmp_path, monkeypatch, size):
    monkeypatch.setattr(files, "_CHUNK", size)
    for cells in product(["a", '"\n\n"', '"""\r\n\r\n"""', '""', ""], repeat=3):
        line = ",".join(cells).encode() + b"\n"
        assert arrived(line * 2, tmp_path).endswith(line * 2)
        for blank in (b"\n" + line, line + b"\n", line + b"\r\n" + line):
            with pytest.raises(WarehouseError, match="blank line"):
                arrived(blank, tmp_path)
        with pytest.raises(WarehouseError, match="quoted field"):
            arrived(line + b'"a', tmp_path)
        assert arrived(line + b"\n", tmp_path, SKIP_BLANK_LINES=True)
    assert not list(tmp_path.iterdir())
