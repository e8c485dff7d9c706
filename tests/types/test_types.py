"""Every value of every type arrives as the documented rule says, or its row waits."""

import re

import pytest

from runtime.contract.type_map import _BASE, _TEXT_TYPES, rule_for
from tests.factories import make_column
from tests.types.comparing import Outcome, compare_all, told
from tests.types.conftest import MARKS
from tests.types.documents import OPEN, RAW
from tests.types.judge import Column
from tests.types.values import KINDS
from tests.types.world import DrawnTable

pytestmark = MARKS
VALUES, SEED = 300, 1


@pytest.mark.timeout(300)  # to make what fails small
def test_values_of_every_type_arrive_as_they_are_or_are_told(scene, tmp_path):
    outcome = Outcome()
    compare_all(scene, tmp_path, KINDS, VALUES, SEED, outcome)
    assert not outcome.found, told(scene, tmp_path, outcome)
    assert not outcome.unseen(KINDS)
    assert {kind.declared for kind in KINDS} == set(outcome.compared)
    assert min(outcome.compared.values()) >= VALUES


@pytest.mark.xfail(reason="json_fit looks at the exponent alone, as it is written")
def test_json_with_a_number_that_no_double_is_waits(scene, tmp_path):
    table = DrawnTable(scene, tmp_path / "open", [Column("c", RAW, True, "null")], 0)
    try:
        assert not table.compare([(value,) for value in OPEN]).differences
    finally:
        table.close()


def test_every_rule_of_a_type_is_drawn(scene):
    drawn = set()
    for kind in KINDS:
        plain = re.sub(r"\(.*\)", "", kind.declared)
        for typmod in ("NULL", "-1"):
            name = f"pg_catalog.format_type(%s::regtype, {typmod})"
            drawn.add(scene.value(f"SELECT {name}", plain).rpartition(".")[2])
    # The server of the tests is built without libxml.
    assert {*_BASE, *_TEXT_TYPES} - drawn == {"xml"}


def test_xml_is_exported_and_held_as_its_text():
    """The server of the tests is built without libxml: there are no values of it."""
    rule = rule_for(make_column(1, "x", "xml"))
    assert "x::pg_catalog.text" in rule.export("x")
    assert (rule.type, rule.cast("c1")) == ("VARCHAR(134217728)", "c1")
