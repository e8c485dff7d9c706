"""Where the last complete load of a chain began, and what emptying a target is."""

import pytest

from runtime.contract.snowflake_waiting import note_waiting
from runtime.ops.rebuild import Link, first_of_last_load
from tests.contract.sent import Account, Operator
from tests.contract.test_snowflake_sql import OBJECTS
from tests.factories import make_table


def chain(*links: str) -> list[Link]:
    """Return links by mode, `+` for one with a high, and a digit for a generation."""
    return [
        Link(
            seq=number,
            mode=text.strip("+23"),
            high="2026" if "+" in text else None,
            generation=int(text[-1]) if text[-1].isdigit() else 1,
            complete=True,
        )
        for number, text in enumerate(links, start=1)
    ]


@pytest.mark.parametrize(
    ("links", "first"),
    [
        (["first_load+"], 1),
        (["first_load", "first_load", "first_load+", "incremental+"], 1),
        (["first_load+", "incremental+", "first_load", "first_load+"], 3),
        (["full+", "reconcile", "full+", "reconcile", "full", "full+"], 5),
        (["full", "repair", "full+", "reconcile"], 1),
        (["full+", "full+"], 2),
        (["full", "full+", "full", "full+"], 3),
        (["first_load+", "backfill", "incremental+", "backfill"], 1),
        # A load under way: the one before still holds every row.
        (["first_load+", "incremental+", "first_load"], 1),
        (["first_load+", "first_load+2", "incremental+2"], 2),
        # Of an accepted source nothing is complete yet.
        (["first_load+", "first_load2"], None),
        (["first_load", "reconcile"], None),
        ([], None),
    ],
)
def test_it_is_the_first_link_of_the_newest_load_that_has_ended(links, first):
    assert first_of_last_load(chain(*links)) == first


def test_a_target_is_emptied_with_its_quarantine_and_the_count_of_it_at_once():
    table = make_table()
    account = Account(OBJECTS, table)
    Operator(OBJECTS, table).rebuild(account)
    said = account.said
    begun, done = said.index("BEGIN TRANSACTION"), said.index("COMMIT")
    emptied = [
        place
        for place, statement in enumerate(said)
        if statement.startswith(
            (
                f"DELETE FROM {OBJECTS.qualified(*table.spec.target)}",
                "DELETE FROM ANALYTICS.SYNC.QUARANTINE ",
            )
        )
    ]
    assert len(emptied) == 2 and begun < emptied[0] < emptied[1] < done
    assert said[done - 1] == note_waiting(OBJECTS, table)
