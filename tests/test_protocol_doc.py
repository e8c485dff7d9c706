"""docs/PROTOCOL.md: each rule has an id of its own, tests that exist, and a mutant."""

import re
from pathlib import Path

from tests.mutants.catalogue import is_test, mutants

PAGE = Path(__file__).parents[1].joinpath("docs", "PROTOCOL.md").read_text()
RULES = re.findall(
    r"^\| ([A-Z]\d+) \| (.+) \| (.+) \|$",
    PAGE.split("\n## Rules and their tests\n")[1],
    re.M,
)


def test_every_rule_has_an_id_of_its_own_and_some_words():
    ids = [rule for rule, _, _ in RULES]
    assert len(set(ids)) == len(ids) > 50
    assert all(len(words.split()) > 3 for _, words, _ in RULES)


def test_every_rule_is_held_by_tests_that_exist():
    for rule, _, held in RULES:
        tests = re.findall(r"`tests/([^`]+)`", held)
        assert tests, rule
        assert held == ", ".join(f"`tests/{test}`" for test in tests), rule
        assert [test for test in tests if not is_test(test)] == [], rule


def test_every_rule_is_broken_by_a_mutant_and_every_mutant_breaks_a_rule():
    ids = {rule for rule, _, _ in RULES}
    assert {mutant.rule for mutant in mutants()} == ids


def test_the_page_can_be_read_in_one_sitting():
    assert len(PAGE.splitlines()) <= 350
