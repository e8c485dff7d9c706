"""A contract that cannot serve its entry is refused before anything is deployed."""

import pytest

from runtime.contract.collisions import collisions
from runtime.contract.rules import contract_problems, spec_problems
from runtime.contract.specs import Table
from tests.factories import (
    ORDERS,
    make_column,
    make_contract,
    make_spec,
    make_table,
)

TZ = "timestamp with time zone"
NAIVE = "timestamp without time zone"


def problems(frozen=ORDERS, /, **keys):
    spec = make_spec(**keys)
    contract = make_contract(frozen, table=str(spec.source))
    return list(contract_problems(contract, spec, "contracts/x.json"))


def with_watermark(kind, **keys):
    return problems((("order_id", "bigint"), ("updated_at", kind)), **keys)


def with_key(base_type, **fields):
    column = make_column(1, "order_id", base_type, **fields)
    return problems((column, ("updated_at", TZ)))


def test_a_good_contract_has_no_problem():
    assert problems() == []


@pytest.mark.parametrize("kind", [TZ, "timestamp(0) with time zone"])
def test_a_timestamp_with_zone_is_a_watermark(kind):
    assert with_watermark(kind) == []


@pytest.mark.parametrize("kind", [NAIVE, "timestamp(3) without time zone", "date"])
def test_a_watermark_without_zone_needs_the_writers_zone(kind):
    (problem,) = with_watermark(kind)
    assert problem.fact.endswith("is written without time zone")
    assert problem.got == kind
    assert with_watermark(kind, watermark_timezone="UTC") == []


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("kind", [NAIVE, "date"])
def test_where_clocks_change_the_lookback_is_over_one_hour(zone, kind):
    keys = {"watermark_timezone": zone}
    (problem,) = with_watermark(kind, **keys)
    assert "repeat when clocks go back" in problem.fact
    assert "PT90M" in problem.remedy
    assert len(with_watermark(kind, **keys, lookback="PT1H")) == 1
    assert with_watermark(kind, **keys, lookback="PT61M") == []


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Etc/GMT+9"])
def test_zones_that_keep_their_clocks_need_no_long_lookback(zone):
    assert with_watermark(NAIVE, watermark_timezone=zone) == []


@pytest.mark.parametrize("kind", ["integer", "bigint"])
def test_an_integer_watermark_says_whether_it_is_a_time_or_an_id(kind):
    (problem,) = with_watermark(kind)
    assert "does not say what it counts" in problem.fact
    assert "set the unit" in problem.remedy and "set id_lookback" in problem.remedy
    assert with_watermark(kind, watermark_unit="ms") == []
    assert with_watermark(kind, id_lookback=0) == []


@pytest.mark.parametrize("key", [{"watermark_unit": "s"}, {"id_lookback": 5}])
@pytest.mark.parametrize("kind", [TZ, "date"])
def test_what_an_integer_counts_is_not_said_of_a_timestamp(kind, key):
    (problem,) = with_watermark(kind, watermark_timezone="UTC", **key)
    assert problem.fact.endswith("belong to an integer watermark")


def test_an_integer_is_not_both_a_time_and_an_id():
    spec = make_spec(watermark_unit="s", id_lookback=5)
    (problem,) = spec_problems(spec, "x")
    assert problem.fact == "key 'id_lookback' stands beside watermark_unit"


@pytest.mark.parametrize("kind", ["numeric", "text", "time without time zone", "uuid"])
def test_other_types_cannot_be_a_watermark(kind):
    (problem,) = with_watermark(kind)
    assert "has a type that cannot be one" in problem.fact
    assert problem.got == kind


@pytest.mark.parametrize(
    "kind",
    [
        "double precision",
        "real",
        "numeric",
        "jsonb",
        "public.citext",
        "interval",
        "time with time zone",
        "bpchar",
    ],
)
def test_a_key_whose_equality_is_not_its_texts_is_refused(kind):
    (problem,) = with_key(kind)
    assert "equality is not equality of its text" in problem.fact
    assert problem.got == kind


@pytest.mark.parametrize(
    ("kind", "base"),
    [("array", "integer[]"), ("composite", "public.pair"), ("range", "numrange")],
)
def test_a_key_of_values_within_values_is_refused(kind, base):
    (problem,) = with_key(base, kind=kind)
    assert "equality is not equality of its text" in problem.fact


@pytest.mark.parametrize(
    "kind", ["bigint", "uuid", "text", "numeric(20,4)", "date", "character(5)", TZ]
)
def test_a_key_whose_equality_is_its_texts_is_accepted(kind):
    assert with_key(kind) == []


def test_an_enum_may_be_a_key():
    assert with_key("public.mood", kind="enum") == []


def test_a_type_without_rule_names_column_and_remedies():
    (problem,) = problems((*ORDERS, ("shape", "public.geometry(Point,4326)")))
    assert problem.fact == "column 'shape' has a type without a rule"
    assert problem.subject == "contracts/x.json (public.orders)"
    assert problem.got == "public.geometry(Point,4326)"
    assert "exclude" in problem.remedy
    assert "view" in problem.remedy


@pytest.mark.parametrize("role", ["primary_key", "watermark_col", "clustering"])
def test_a_role_of_an_absent_column_is_refused(role):
    value = ["absent"] if role == "clustering" else "absent"
    found = problems(**{role: value})
    assert found[0].fact == f"{role} names a column the table does not have"
    assert found[0].got == "absent"
    assert found[0].allowed == "order_id, status, updated_at"


def test_a_dropped_column_can_play_no_role():
    columns = (*ORDERS, make_column(4, "old_key", "bigint", dropped=True))
    (problem,) = problems(columns, primary_key="old_key")
    assert problem.got == "old_key"


def test_columns_that_become_one_in_snowflake_are_refused():
    (problem,) = problems((*ORDERS, ("Status", "text")))
    assert problem.fact == "columns 'status' and 'Status' become the same column"
    assert problem.got == "STATUS"


def test_a_column_named_twice_is_refused():
    (problem,) = problems((*ORDERS, ("status", "text")))
    assert problem.fact == "columns 'status' and 'status' become the same column"


@pytest.mark.parametrize("name", ["_sync_stamp", "_SYNC_FILE", "_sync_at"])
def test_a_column_named_like_ours_is_refused(name):
    (problem,) = problems((*ORDERS, (name, "text")))
    assert problem.fact == f"column {name!r} has a name the sync needs"


def test_a_column_that_the_config_leaves_behind_must_not_stand_in_the_contract():
    """A contract older than `exclude` would go on exporting the column."""
    (problem,) = problems(exclude=["status"])
    assert problem.fact == "column 'status' is left behind by the config"
    assert "contract refresh public.orders" in problem.remedy
    (problem,) = problems(columns=["order_id", "updated_at"])
    assert problem.fact == "column 'status' is left behind by the config"
    gone = (ORDERS[0], make_column(2, "status", "text", dropped=True), ORDERS[2])
    assert problems(gone, exclude=["status"]) == []


def test_a_column_that_the_config_asks_for_must_stand_in_the_contract():
    (problem,) = problems(columns=["order_id", "status", "updated_at", "note"])
    assert problem.fact == "columns names a column the table does not have"
    assert problem.got == "note"


def collide(*tables: Table):
    return [problem.got for problem in collisions(list(tables))]


def test_tables_with_the_same_target_are_refused():
    first = make_table()
    second = make_table(table_name="shop.orders", target_schema="PUBLIC")
    (problem,) = collisions([first, second])
    assert problem.subject == "shop.orders"
    assert problem.got == "PUBLIC.ORDERS (also public.orders)"
    assert "target_table or target_schema" in problem.remedy


def test_tables_that_differ_in_letter_case_alone_share_target_and_landing():
    assert collide(make_table(), make_table(table_name="public.Orders")) == [
        "PUBLIC.ORDERS (also public.orders)",
        "PUBLIC__ORDERS (also public.orders)",
        "PUBLIC__ORDERS_STREAM (also public.orders)",
        "PUBLIC__ORDERS_KEYS (also public.orders)",
    ]


def test_tables_whose_landing_names_join_to_one_are_refused():
    assert collide(
        make_table(table_name="a_.b"), make_table(table_name="a._b", target_table="c")
    ) == [
        "A___B (also a_.b)",
        "A___B_STREAM (also a_.b)",
        "A___B_KEYS (also a_.b)",
    ]


def test_a_table_named_like_the_stream_of_another_is_refused():
    """Both would be found by the same name in a FROM clause."""
    assert collide(make_table(), make_table(table_name="public.orders_stream")) == [
        "PUBLIC__ORDERS_STREAM (also public.orders)"
    ]


def test_different_tables_share_nothing():
    assert collide(make_table(), make_table(table_name="public.orders_archive")) == []


def of_mode_full(**keys):
    return [str(each) for each in spec_problems(make_spec(mode="full", **keys), "e")]


def test_mode_full_needs_no_watermark_and_minds_none():
    assert of_mode_full(watermark_col=None) == of_mode_full() == []
    (problem,) = spec_problems(make_spec(watermark_col=None), "e")
    assert problem.fact == "key 'watermark_col' is missing"
    assert 'set "mode": "full"' in problem.remedy
    # Whatever type it has, and wherever it is written.
    assert with_watermark("text", mode="full") == []
    assert problems(watermark_col="nowhere", mode="full") != []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lookback", "PT1H"),
        ("margin", "PT0S"),
        ("watermark_timezone", "UTC"),
        ("watermark_unit", "ms"),
        ("null_watermark", "fail"),
        ("max_null_rows", 1),
        ("id_lookback", 1000),
        ("max_holdback", "PT1H"),
        ("reconcile_interval", "PT1H"),
    ],
)
def test_what_says_how_a_watermark_moves_contradicts_mode_full(key, value):
    (text,) = of_mode_full(**{key: value})
    assert f"key '{key}' stands beside mode full" in text
