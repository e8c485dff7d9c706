"""Where the last complete load of a chain began."""

import pytest

from runtime.ops.rebuild import Link, first_of_last_load


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
