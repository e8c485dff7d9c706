"""Every value of every type arrives as the documented rule says, or its row waits."""

import re

import pytest

from runtime.contract.type_map import NAMED, rule_for
from tests.factories import make_column
from tests.types.comparing import Outcome, compare_all, told
from tests.types.conftest import MARKS
from tests.types.values import KINDS

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


def test_every_rule_of_a_type_is_drawn(scene):
    drawn = set()
    for kind in KINDS:
        plain = re.sub(r"\(.*\)", "", kind.declared)
        for typmod in ("NULL", "-1"):
            name = f"pg_catalog.format_type(%s::regtype, {typmod})"
            drawn.add(scene.value(f"SELECT {name}", plain).rpartition(".")[2])
    # The server of the tests is built without libxml.
    assert {*NAMED} - drawn == {"xml"}


def test_xml_is_exported_and_held_as_its_text():
    """The server of the tests is built without libxml: there are no values of it."""
    rule = rule_for(make_column(1, "x", "xml"))
    assert "x::pg_catalog.text" in rule.export("x")
    assert (rule.type, rule.cast("c1")) == ("VARCHAR(134217728)", "c1")
