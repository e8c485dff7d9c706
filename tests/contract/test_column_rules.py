"""What the config does to a column is frozen, and refused where it would do harm."""

import pytest

from runtime.contract.names import literal
from runtime.contract.rules import contract_problems
from runtime.contract.snowflake_names import SnowflakeObjects, target_columns
from runtime.contract.snowflake_sql import merge_block
from runtime.contract.type_map import rule_for
from tests.factories import (
    ORDERS,
    make_column,
    make_contract,
    make_spec,
    make_table,
    treated,
)

OBJECTS = SnowflakeObjects(database="ANALYTICS", warehouse="LOADS", stack="dev")
COLUMNS = (
    *ORDERS,
    ("born", "date"),
    ("email", "character varying(80)"),
    ("doc", "json"),
    ("ok", "boolean"),
)


def problems(**keys):
    """Return what is wrong with an entry whose contract was refreshed with it."""
    spec = make_spec(**keys)
    contract = treated(make_contract(COLUMNS, table=str(spec.source)), spec)
    return list(contract_problems(contract, spec, "contracts/x.json"))


GOOD = [
    {"masks": {"email": "hash", "born": "truncate", "doc": "redact", "ok": "null"}},
    {"masks": {"status": "truncate:3"}},
    {"misfits": {"born": "text", "doc": "null"}},
    {"misfits": {"updated_at": "text"}},
    {"rename": {"status": "state", "email": "Mail Address"}},
    {"rename": {"order_id": "id"}},
    {"where": "status <> 'draft' -- unfinished"},
    {"masks": {"born": "truncate"}, "misfits": {"born": "null"}},
]


@pytest.mark.parametrize("keys", GOOD, ids=str)
def test_what_can_be_done_to_columns_is_accepted(keys):
    assert problems(**keys) == []


BAD = [
    ({"masks": {"emial": "hash"}}, "masks names a column the contract does not have"),
    ({"rename": {"x": "y"}}, "rename names a column the contract does not have"),
    ({"misfits": {"x": "text"}}, "misfits names a column the contract does not have"),
    ({"masks": {"order_id": "hash"}}, "masks names column 'order_id', by which rows"),
    ({"masks": {"updated_at": "truncate"}}, "masks names column 'updated_at', by"),
    ({"masks": {"doc": "truncate"}}, "column 'doc' cannot be masked so"),
    ({"masks": {"ok": "truncate"}}, "column 'ok' cannot be masked so"),
    ({"masks": {"born": "truncate:4"}}, "column 'born' cannot be masked so"),
    ({"misfits": {"email": "text"}}, "misfits names column 'email', whose every"),
    ({"masks": {"doc": "hash"}, "misfits": {"doc": "null"}}, "misfits names column"),
    (
        {"deletes": "soft_column", "deleted_col": "born", "misfits": {"born": "null"}},
        "misfits names column 'born', which says what row it is or whether it lives",
    ),
    (
        {"deletes": "soft_column", "deleted_col": "ok", "masks": {"ok": "null"}},
        "masks names column 'ok', by which rows are found",
    ),
    ({"rename": {"status": "EMAIL"}}, "columns 'status' and 'email' become the same"),
    ({"rename": {"status": "_sync_at"}}, "column 'status' has a name the sync needs"),
    (
        {"rename": {"status": "born__text"}, "misfits": {"born": "text"}},
        "columns 'status' and 'born' become the same column",
    ),
]


@pytest.mark.parametrize(("keys", "fact"), BAD, ids=str)
def test_what_would_do_harm_is_refused(keys, fact):
    (problem,) = problems(**keys)
    assert problem.fact.startswith(fact)
    assert problem.remedy


@pytest.mark.parametrize(
    "keys",
    [
        {"masks": {"email": "hash"}},
        {"misfits": {"born": "text"}},
        {"rename": {"email": "mail"}},
        {"where": "ok"},
    ],
    ids=str,
)
def test_what_was_not_frozen_by_a_refresh_is_not_deployed(keys):
    """A mask that stands in the config alone would leave the values clear."""
    contract = make_contract(COLUMNS)
    for spec, frozen in (
        (make_spec(**keys), contract),
        (make_spec(), treated(contract, make_spec(**keys))),
    ):
        (problem,) = contract_problems(frozen, spec, "contracts/x.json")
        assert "contract refresh public.orders" in problem.remedy


def test_a_column_that_waits_for_its_next_refresh_may_be_named():
    """Masked otherwise, it leaves the target first, see ADR 0016."""
    spec = make_spec(masks={"email": "hash"})
    columns = (*ORDERS, make_column(4, "email", "text", dropped=True))
    contract = make_contract(columns)
    assert list(contract_problems(contract, spec, "contracts/x.json")) == []


def target(**keys):
    table = make_table(COLUMNS, **keys)
    return {column.name: column.type for column in target_columns(table)}


def test_a_masked_column_has_the_type_of_what_arrives():
    found = target(masks={"email": "hash", "born": "truncate", "doc": "redact"})
    assert found["EMAIL"] == "VARCHAR(64)"
    assert found["BORN"] == "DATE"
    assert found["DOC"] == "VARCHAR(3)"


def test_texts_of_misfits_stand_beside_their_column():
    found = target(
        misfits={"born": "text", "doc": "null"}, rename={"born": "Birth Day"}
    )
    names = list(found)
    assert names[names.index("Birth Day") + 1] == "Birth Day__TEXT"
    assert "DOC__TEXT" not in names
    assert found["Birth Day__TEXT"] == found["STATUS"]


def test_no_clear_value_stands_in_the_query_of_a_masked_column():
    for mask in ("hash", "redact", "null", "truncate:2"):
        column = make_column(1, "email", "text", mask=mask)
        export = rule_for(column).export('"email"')
        if mask != "truncate:2":
            shown = export.replace('"email" IS NOT NULL', "")
            assert '"email"' not in shown or "aurora_sync.masked_hash(" in shown


def test_a_renamed_column_is_merged_under_its_other_name():
    block = merge_block(OBJECTS, make_table(COLUMNS, rename={"born": "Day of it"}))
    assert '"Day of it" = s.v4' in block
    assert " born" not in block
    assert literal("born") in block  # the quarantine tells the source's name
