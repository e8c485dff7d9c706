"""What is loaded again, in which order and how often."""

import pytest

from tests.contract.landed import row

pytestmark = pytest.mark.integration


def test_keys_and_seals_wait_until_no_older_file_is_missing(shop):
    """A row that came after the seal which should have marked it would live."""
    rows, keys, later = shop.land(1), shop.land(2, name="k"), shop.land(3)
    shop.commit(1, (rows, 1))
    shop.commit(2, (keys, 1))
    shop.commit(3, (later, 1))
    assert shop.overdue() == [rows, later]
    shop.land(1, row(1))
    shop.merge()
    assert shop.overdue() == [keys, later]


def test_keys_and_seals_wait_until_no_older_manifest_is_missing(shop):
    keys = shop.land(2, name="k")
    shop.commit(2, (keys, 1))
    [gap] = shop.overdue("seq")
    assert int(gap) == 1
    shop.commit(1)
    assert shop.overdue() == [keys]


@pytest.mark.parametrize(("times", "minutes"), [(0, 15), (1, 30), (4, 240), (12, 7680)])
def test_what_does_not_help_is_tried_less_and_less_often(shop, times, minutes):
    file = shop.land(1)
    shop.commit(1, (file, 1))
    for _ in range(times):
        shop.run(
            "INSERT INTO ANALYTICS.SYNC.SWEEPS (table_name, file_name, problem, "
            f"swept_at) VALUES ('t', '{file}', 'denied', '2026-01-01 00:00:00')"
        )
    since = "DATEDIFF(MINUTE, '2026-01-01 00:00:00'::TIMESTAMP_NTZ, due_at)"
    assert [int(waits) for waits in shop.overdue(since)] == [minutes]
