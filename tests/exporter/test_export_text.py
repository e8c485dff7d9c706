"""PostgreSQL prints every type as its rule says, whatever the session's defaults."""

import csv
from io import StringIO

import pytest

from runtime.contract.dialect import DIALECT
from runtime.contract.errors import ConfigError, SourceError
from runtime.contract.names import quote_postgres
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from tests.exporter.conftest import Scene
from tests.factories import make_column, treated

TEXTS = {
    "SMALLINT": {"-32768": "-32768"},
    "BIGINT": {"9223372036854775807": "9223372036854775807"},
    "OID": {"4294967295": "4294967295"},
    "NUMERIC(12,2)": {"1.1": "1.10", "-0": "0.00", "NaN": "NaN"},
    "NUMERIC": {"1.1000": "1.1000", "1e30": "1" + "0" * 30, "Infinity": "Infinity"},
    "NUMERIC(3,-2)": {"12345": "12300"},
    "MONEY": {"$1,234.50": "1234.50"},
    "REAL": {"0.1": "0.1", "1e-40": "1e-40", "-Infinity": "-Infinity"},
    "DOUBLE PRECISION": {"0.1": "0.1", "1e22": "1e+22", "NaN": "NaN", "-0": "-0"},
    "BOOLEAN": {"true": "t", "false": "f"},
    "DATE": {
        "2024-02-29": "2024-02-29",
        "infinity": "infinity",
        "0044-03-15 BC": "0044-03-15 BC",
        "20000-01-01": "20000-01-01",
    },
    "TIMESTAMP": {
        "2024-03-01 12:00:00.5": "2024-03-01 12:00:00.5",
        "2024-03-01": "2024-03-01 00:00:00",
        "9999-12-31 23:59:59.999999": "9999-12-31 23:59:59.999999",
        "0001-01-01": "0001-01-01 00:00:00",
        "infinity": "infinity",
        "-infinity": "-infinity",
        "0044-03-15 BC": "0044-03-15 00:00:00 BC",
        "10000-01-01": "10000-01-01 00:00:00",
    },
    "TIMESTAMPTZ": {
        "2024-03-01 12:00:00.5+05:30": "2024-03-01 06:30:00.5+00",
        "1900-01-01 00:00:00+05:53:28": "1899-12-31 18:06:32+00",
        "infinity": "infinity",
        "0044-03-15 BC": "0044-03-15 00:00:00+00 BC",
        "10000-01-01 00:00+00": "10000-01-01 00:00:00+00",
    },
    "TIMESTAMPTZ(0)": {"2024-03-01 12:00:00.6+00": "2024-03-01 12:00:01+00"},
    "TIME": {"12:00": "12:00:00", "1:2:3.45": "01:02:03.45", "24:00:00": "24:00:00"},
    "TIMETZ": {"12:00+05:30": "12:00:00+05:30"},
    "INTERVAL": {"1 year 2 mons -3 days 04:05:06.7": "P1Y2M-3DT4H5M6.7S"},
    "TEXT": {"": "", " a ": " a ", "\\N": "\\N", "é€😀": "é€😀"},
    "VARCHAR(5)": {"ab ": "ab "},
    "CHAR(5)": {"ab": "ab   ", "": "     "},
    "BPCHAR": {"ab ": "ab "},
    "NAME": {"x": "x"},
    '"char"': {"x": "x"},
    "UUID": {
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    },
    "BYTEA": {"\\xDEADBEEF": "deadbeef", "\\x": ""},
    "JSON": {'{"b":1, "a":1e2}': '{"b":1, "a":1e2}'},
    "JSONB": {'{"b":1, "a":1e2}': '{"a": 100, "b": 1}'},
    "INET": {"10.0.0.1": "10.0.0.1/32", "::1/64": "::1/64"},
    "CIDR": {"10.0.0.0/8": "10.0.0.0/8"},
    "MACADDR": {"08-00-2B-01-02-03": "08:00:2b:01:02:03"},
    "BIT(3)": {"101": "101"},
    "VARBIT": {"": "", "1": "1"},
    "TSVECTOR": {"fat cat": "'cat' 'fat'"},
    "PG_LSN": {"16/B374D848": "16/B374D848"},
    "POINT": {"(1,2)": "(1,2)"},
    "INT[]": {
        "{1,NULL,3}": "[1, null, 3]",
        "{{1},{2}}": "[[1], [2]]",
        "{}": "[]",
        "[2:3]={1,2}": "[2:3]={1,2}",
        "[1:2][0:0]={{1},{2}}": "[1:2][0:0]={{1},{2}}",
        "[10:10]={1}": "[10:10]={1}",
    },
    "NUMERIC[]": {"{1.10,NaN}": '[1.10, "NaN"]'},
    "FLOAT[]": {"{1e22,1e-7,NaN}": '[10000000000000000000000, 0.0000001, "NaN"]'},
    "TEXT[]": {'{"a,b","c\\"d",NULL}': '["a,b", "c\\"d", null]'},
    "INT4RANGE": {"[1,5]": "[1,6)", "empty": "empty"},
    "public.mood": {"so so": "so so"},
    "public.pair": {'(1,"a b")': '{"n": 1, "t": "a b"}'},
    "public.code": {"x": "x"},
}
MADE = """
CREATE TYPE public.mood AS ENUM ('so so');
CREATE TYPE public.pair AS (n INT, t TEXT);
CREATE DOMAIN public.code AS VARCHAR(9) NOT NULL DEFAULT '';
"""


def exported(scene: Scene, name: str) -> list[str]:
    """Return the values of a type as an export writes them."""
    scene.sql(MADE)
    table = scene.table(
        f"CREATE TABLE public.x (k INT PRIMARY KEY, v {name}, updated_at TIMESTAMPTZ)",
        table_name="public.x",
        primary_key="k",
    )
    for number, value in enumerate(TEXTS[name]):
        scene.sql("INSERT INTO x VALUES (%s, %s)", number, value)
    column = table.contract.column("v")
    assert column is not None
    out = StringIO()
    with scene.source() as source:
        source.cursor.copy_expert(
            f"COPY (SELECT k, {rule_for(column).export('v')} FROM public.x ORDER BY k) "
            f"TO STDOUT WITH ({DIALECT.copy_options})",
            out,
        )
    return [row[1] for row in csv.reader(StringIO(out.getvalue()))]


@pytest.mark.parametrize("name", TEXTS)
def test_a_value_is_exported_as_one_text(scene, name):
    assert exported(scene, name) == list(TEXTS[name].values())


def test_null_stays_null_in_every_type(scene):
    scene.sql(MADE)
    names = [name for name in TEXTS if name != "public.code"]
    columns = ", ".join(f"c{place} {name}" for place, name in enumerate(names))
    table = scene.table(
        f"CREATE TABLE public.x (k INT PRIMARY KEY, updated_at TIMESTAMPTZ, {columns})",
        table_name="public.x",
        primary_key="k",
    )
    scene.sql("INSERT INTO x VALUES (1, NOW())")
    scene.run(table)
    rows = scene.rows(*scene.manifests(table))
    assert rows[0][2:] == [""] * len(names)


def test_the_defaults_of_a_database_do_not_change_a_text(scene):
    name = scene.around.settings.aurora_database
    odd = {
        "datestyle": "SQL, DMY",
        "intervalstyle": "sql_standard",
        "timezone": "Asia/Kolkata",
        "extra_float_digits": "0",
        "bytea_output": "escape",
        "search_path": "public",
    }
    try:
        for setting, value in odd.items():
            scene.sql(f"ALTER DATABASE {name} SET {setting} = '{value}'")
        scene.sql(MADE)
        table = scene.table(
            "CREATE TABLE public.x (k INT PRIMARY KEY, d DATE, i INTERVAL, f FLOAT, "
            "b BYTEA, m public.mood, updated_at TIMESTAMPTZ)",
            table_name="public.x",
            primary_key="k",
        )
        scene.sql(
            "INSERT INTO x VALUES (1, '2024-02-01'::DATE, 'P1DT2H', "
            "0.30000000000000004, '\\xde', 'so so', '2024-03-01 12:00+00')"
        )
        scene.run(table)
    finally:
        scene.sql(f"ALTER DATABASE {name} RESET ALL")
    (row,) = scene.rows(*scene.manifests(table))
    assert row == [
        "1",
        "2024-02-01",
        "P1DT2H",
        "0.30000000000000004",
        "de",
        "so so",
        "2024-03-01 12:00:00+00",
    ]


# Of its own catalogs, or of what its indexes hold; no table of a shop has them.
REFUSED = {
    "aclitem",
    "gtsvector",
    "int2vector",
    "oidvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
}


def test_every_type_of_the_server_has_a_rule_or_is_refused_by_name(scene):
    with scene.source() as source:
        source.cursor.execute(
            "SELECT pg_catalog.format_type(t.oid, NULL) FROM pg_catalog.pg_type AS t "
            "WHERE t.typtype = 'b' AND NOT EXISTS ("
            "SELECT 1 FROM pg_catalog.pg_type AS e WHERE e.typarray = t.oid)"
        )
        types = {name for (name,) in source.cursor.fetchall()}
    refused = set()
    for name in types:
        try:
            rule_for(make_column(1, "x", name))
        except ConfigError as error:
            assert error.got == name
            refused.add(name)
    assert len(types) > 60
    assert refused == REFUSED


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_type_is_named_with_its_column(name):
    with pytest.raises(ConfigError, match="'odd'.*exclude") as caught:
        rule_for(make_column(1, "odd", name))
    assert caught.value.got == name


LONG = {
    "TEXT": "repeat('x', 134217729)",
    "BYTEA": "convert_to(repeat('x', 67108865), 'UTF8')",
}
FITTING = {
    "TEXT": "repeat('é', 67108864)",
    "JSONB": "to_jsonb(repeat('x', 100000))",
}


@pytest.mark.parametrize("name", LONG)
def test_a_value_over_snowflakes_limit_stops_its_table_by_name(scene, name):
    table = holding(scene, name, LONG[name])
    with pytest.raises(SourceError) as caught:
        scene.load(table)
    assert "column v's has a value of over " in str(caught.value)
    assert "exclude" in caught.value.remedy and "truncate" in caught.value.remedy
    assert scene.manifests(table) == ()


@pytest.mark.parametrize("name", FITTING)
def test_a_value_up_to_the_limit_is_exported_whole(scene, name):
    table = holding(scene, name, FITTING[name])
    with scene.source() as source:
        source.cursor.execute(
            f"SELECT pg_catalog.octet_length({export_of(table)}) FROM public.x"
        )
        assert source.cursor.fetchone()[0] >= 100_000


def test_a_mask_that_cuts_lets_a_long_value_through(scene):
    table = holding(scene, "TEXT", LONG["TEXT"], masks={"v's": "truncate:3"})
    table = Table(spec=table.spec, contract=treated(table.contract, table.spec))
    scene.load(table)
    assert scene.rows(*scene.manifests(table))[0][1] == "xxx"


def holding(scene: Scene, name: str, value: str, **keys: object) -> Table:
    """Make a table with one value, in a column whose name needs care."""
    table = scene.table(
        f'CREATE TABLE public.x (k INT PRIMARY KEY, "v\'s" {name}, '
        "updated_at TIMESTAMPTZ)",
        table_name="public.x",
        primary_key="k",
        **keys,
    )
    scene.sql(f"INSERT INTO x VALUES (1, {value}, NOW() - INTERVAL '1 h')")
    return table


def export_of(table: Table) -> str:
    column = table.contract.column("v's")
    assert column is not None
    return rule_for(column).export(quote_postgres("v's"))
