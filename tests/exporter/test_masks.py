"""What is masked leaves Aurora masked, and nobody but the key's owner sees the key."""

import hmac

import psycopg2
import pytest

from infra.local import postgres

from runtime.contract.masks import HASH_FUNCTION
from runtime.contract.specs import Table
from tests.exporter.conftest import Scene
from tests.factories import make_spec, treated

DDL = """
CREATE TABLE public.people (
  id INT PRIMARY KEY, email TEXT, short VARCHAR(9), born DATE, seen TIMESTAMPTZ,
  ok BOOLEAN, doc JSON, updated_at TIMESTAMPTZ
)
"""
MASKS = {
    "email": "hash",
    "short": "truncate:2",
    "born": "truncate",
    "seen": "truncate",
    "ok": "hash",
    "doc": "redact",
}
KEY = b"a key of the tests"


def people(scene: Scene, **masks: str) -> Table:
    keys = {"table_name": "public.people", "primary_key": "id", "masks": masks}
    table = scene.table(DDL, **keys)
    return Table(spec=table.spec, contract=treated(table.contract, table.spec))


def use_key(scene: Scene, key: bytes) -> None:
    scene.sql("SELECT aurora_sync.new_mask_key(%s)", key)


def hashed(text: str, key: bytes = KEY) -> str:
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def exported(scene: Scene, table: Table) -> list[list[str]]:
    scene.run(table)
    return scene.rows(*scene.manifests(table))


def test_files_hold_masks_and_no_clear_value(scene):
    table = people(scene, **MASKS)
    use_key(scene, KEY)
    scene.sql(
        "INSERT INTO people VALUES (1, 'é@x.org', 'héllo', '1999-12-31', "
        "'2024-06-01 00:00:01+02', TRUE, '{\"a\": 1}', NOW()), "
        "(2, NULL, NULL, NULL, NULL, NULL, NULL, NOW()), "
        "(3, '', '', 'infinity', '-infinity', FALSE, 'null', NOW())"
    )
    first, second, third = sorted(exported(scene, table))
    assert first[1:7] == [
        hashed("é@x.org"),
        "hé",
        "1999-01-01",
        "2024-01-01 00:00:00+00",
        hashed("t"),
        "***",
    ]
    assert second[1:7] == [""] * 6
    assert third[1:7] == [
        hashed(""),
        "",
        "infinity",
        "-infinity",
        hashed("f"),
        "***",
    ]


def test_null_exports_nothing_of_a_column(scene):
    table = people(scene, email="null", born="null")
    scene.sql("INSERT INTO people VALUES (1, 'x', 'y', '1999-12-31')")
    (row,) = exported(scene, table)
    assert row[1:4] == ["", "y", ""]


@pytest.mark.parametrize("length", [0, 1, 64, 65, 300])
def test_the_hash_is_the_hmac_of_rfc_2104(scene, length):
    people(scene, email="hash")
    key = bytes(range(256))[:length] if length <= 256 else bytes(range(200)) * 2
    use_key(scene, key)
    for text in ("", "x", "é€😀" * 50):
        assert scene.value(f"SELECT {HASH_FUNCTION}(%s)", text) == hashed(text, key)


def test_equal_values_have_equal_hashes_in_whatever_type(scene):
    table = people(scene, email="hash", short="hash")
    scene.sql("INSERT INTO people VALUES (1, 'ab', 'ab')")
    (row,) = exported(scene, table)
    assert row[1] == row[2]


def test_a_key_is_made_once_and_only_replaced_on_purpose(scene):
    people(scene, email="hash")
    first = scene.value(f"SELECT {HASH_FUNCTION}('x')")
    people_again = make_spec(table_name="public.people", masks={"email": "hash"})
    scene.table(None, table_name=people_again.table_name, masks={"email": "hash"})
    assert scene.value(f"SELECT {HASH_FUNCTION}('x')") == first
    scene.sql("SELECT aurora_sync.new_mask_key()")
    assert scene.value(f"SELECT {HASH_FUNCTION}('x')") != first


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT inner_pad FROM aurora_sync.mask_key",
        "SELECT aurora_sync.new_mask_key()",
        "DELETE FROM aurora_sync.mask_key",
        f"CREATE OR REPLACE FUNCTION {HASH_FUNCTION}(value TEXT) RETURNS TEXT "
        "LANGUAGE sql AS 'SELECT $1'",
    ],
)
def test_the_exporter_hashes_without_a_right_to_the_key(scene, statement):
    people(scene, email="hash")
    with scene.source() as source:
        source.cursor.execute(f"SELECT {HASH_FUNCTION}('x')")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            source.cursor.execute(statement)


def test_the_key_stands_in_no_query_that_others_can_see(scene):
    table = people(scene, email="hash")
    use_key(scene, KEY)
    scene.sql("INSERT INTO people VALUES (1, 'x')")
    scene.sql("ALTER SYSTEM SET log_statement = 'all'; ")
    scene.sql("SELECT pg_reload_conf()")
    try:
        exported(scene, table)
    finally:
        scene.sql("ALTER SYSTEM RESET log_statement")
        scene.sql("SELECT pg_reload_conf()")
    log = scene.stack.log_file(postgres.PART.name).read_text(errors="replace")
    assert HASH_FUNCTION in log
    pads = scene.sql("SELECT inner_pad, outer_pad FROM aurora_sync.mask_key")[0]
    for secret in (KEY, *map(bytes, pads)):
        assert secret.hex() not in log
        assert secret.decode("latin-1") not in log
