"""Each PostgreSQL type travels by one rule; a type without one is refused."""

import re

import pytest
from sqlglot import exp, parse_one

from runtime.contract.errors import ConfigError
from runtime.contract.type_map import rule_for
from runtime.contract.type_rule import TEXT_TYPE
from runtime.contract.type_rule import grows
from tests.factories import make_column

# type -> (Snowflake type, orderable, may be a key)
RULES = {
    "smallint": ("NUMBER(5,0)", True, True),
    "integer": ("NUMBER(10,0)", True, True),
    "bigint": ("NUMBER(19,0)", True, True),
    "oid": ("NUMBER(10,0)", False, True),
    "numeric": (TEXT_TYPE, False, False),
    "numeric(12,2)": ("NUMBER(12,2)", False, True),
    "numeric(38,37)": ("NUMBER(38,37)", False, True),
    "numeric(38,0)": ("NUMBER(38,0)", False, True),
    "numeric(39,0)": (TEXT_TYPE, False, True),
    "numeric(38,38)": (TEXT_TYPE, False, True),
    "numeric(1000,500)": (TEXT_TYPE, False, True),
    "numeric(3,-2)": ("NUMBER(5,0)", False, True),
    "numeric(37,-2)": (TEXT_TYPE, False, True),
    "numeric(2,4)": ("NUMBER(4,4)", False, True),
    "money": (TEXT_TYPE, False, True),
    "real": ("FLOAT", False, False),
    "double precision": ("FLOAT", False, False),
    "boolean": ("BOOLEAN", False, True),
    "date": ("DATE", True, True),
    "timestamp without time zone": ("TIMESTAMP_NTZ(6)", True, True),
    "timestamp(3) without time zone": ("TIMESTAMP_NTZ(6)", True, True),
    "timestamp with time zone": ("TIMESTAMP_TZ(6)", True, True),
    "timestamp(0) with time zone": ("TIMESTAMP_TZ(6)", True, True),
    "time without time zone": ("TIME(6)", False, True),
    "time(3) without time zone": ("TIME(6)", False, True),
    "time with time zone": (TEXT_TYPE, False, False),
    "interval": (TEXT_TYPE, False, False),
    "text": (TEXT_TYPE, False, True),
    "character varying": (TEXT_TYPE, False, True),
    "character varying(20)": ("VARCHAR(20)", False, True),
    "character(5)": ("VARCHAR(5)", False, True),
    "bpchar": (TEXT_TYPE, False, False),
    "name": (TEXT_TYPE, False, True),
    '"char"': (TEXT_TYPE, False, True),
    "uuid": ("VARCHAR(36)", True, True),
    "bytea": ("BINARY(67108864)", False, True),
    "json": ("VARIANT", False, False),
    "jsonb": ("VARIANT", False, False),
    "public.hstore": ("VARIANT", False, False),
    "public.citext": (TEXT_TYPE, False, False),
    "ext.ltree": (TEXT_TYPE, False, True),
    "inet": (TEXT_TYPE, False, True),
    "cidr": (TEXT_TYPE, False, True),
    "macaddr8": (TEXT_TYPE, False, True),
    "bit(3)": (TEXT_TYPE, False, True),
    "bit varying(8)": (TEXT_TYPE, False, True),
    "bit varying": (TEXT_TYPE, False, True),
    "xml": (TEXT_TYPE, False, True),
    "tsvector": (TEXT_TYPE, False, False),
    "pg_lsn": (TEXT_TYPE, False, True),
    "point": (TEXT_TYPE, False, False),
}
KINDS = {
    "enum": ("public.mood", TEXT_TYPE, True),
    "range": ("int4range", TEXT_TYPE, False),
    "array": ("integer[]", "VARIANT", False),
    "composite": ("public.pair", "VARIANT", False),
}


@pytest.mark.parametrize("base_type", RULES)
def test_a_type_has_its_rule(base_type):
    rule = rule_for(make_column(1, "x", base_type))
    assert (rule.type, rule.orderable, rule.key) == RULES[base_type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_made_up_type_has_the_rule_of_its_kind(kind):
    base_type, snowflake, key = KINDS[kind]
    rule = rule_for(make_column(1, "x", base_type, kind=kind))
    assert (rule.type, rule.key) == (snowflake, key)


@pytest.mark.parametrize("kind", ["range", "array", "composite", "enum"])
def test_the_kind_goes_before_the_name(kind):
    """An enum may be called money."""
    assert rule_for(make_column(1, "x", "money", kind=kind)).export("x") != (
        rule_for(make_column(1, "x", "money")).export("x")
    )


@pytest.mark.parametrize(
    "base_type",
    ["public.geometry(Point,4326)", "public.vector(3)", "unknown", "", "integer(3)x"],
)
def test_an_unknown_type_names_the_column_and_the_remedies(base_type):
    with pytest.raises(ConfigError) as caught:
        rule_for(make_column(1, "shape", base_type, type="declared"))
    assert caught.value.fact == "column 'shape' has a type without a rule"
    assert caught.value.got == "declared"
    assert "exclude" in caught.value.remedy
    assert "view" in caught.value.remedy


ALL = [make_column(1, "x", base_type) for base_type in RULES] + [
    make_column(1, "x", KINDS[kind][0], kind=kind) for kind in KINDS
]


@pytest.mark.parametrize("column", ALL, ids=lambda column: column.base_type)
def test_the_expressions_of_a_rule_are_sql_of_their_side(column):
    rule = rule_for(column)
    parse_one(rule.export('"odd ""name"""'), dialect="postgres")
    for expression in (rule.cast("c1"), rule.text and rule.text("t.x")):
        if expression:
            parsed = parse_one(expression, dialect="snowflake")
            assert not parsed.find(exp.Command)


@pytest.mark.parametrize("column", ALL, ids=lambda column: column.base_type)
def test_a_cast_never_fails_on_a_text_it_does_not_know(column):
    """A bad value goes to quarantine; a failing cast would stop the whole merge."""
    assert re.match(r"(CASE WHEN .* THEN )?TRY_|c1\Z", rule_for(column).cast("c1"))


@pytest.mark.parametrize("column", ALL, ids=lambda column: column.base_type)
def test_only_types_with_a_canonical_text_are_compared_by_it(column):
    rule = rule_for(column)
    assert (rule.text is None) == (rule.type in ("VARIANT", "FLOAT"))
    if rule.key:
        assert rule.text is not None


@pytest.mark.parametrize("column", ALL, ids=lambda column: column.base_type)
def test_types_of_pg_catalog_are_named_in_full(column):
    """The session's search path is pg_catalog alone, but a view's reader's is not."""
    assert not re.search(r"::(?!pg_catalog\.)", rule_for(column).export("x"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("NUMBER(10,0)", "NUMBER(19,0)", True),
        ("NUMBER(10,2)", "NUMBER(10,2)", True),
        ("NUMBER(19,0)", "NUMBER(10,0)", False),
        ("NUMBER(10,2)", "NUMBER(12,4)", False),
        ("VARCHAR(5)", "VARCHAR(134217728)", True),
        ("VARCHAR(9)", "VARCHAR(5)", False),
        ("NUMBER(5,0)", "VARCHAR(9)", False),
        ("TIMESTAMP_NTZ(6)", "TIMESTAMP_TZ(6)", False),
    ],
)
def test_only_what_grows_can_be_altered(before, after, expected):
    assert grows(before, after) is expected
