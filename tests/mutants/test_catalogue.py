"""Every mutant fits today's source; whether it is noticed, `make mutants` tells."""

import re
from collections import Counter

import pytest

from tests.mutants.catalogue import ROOT, Mutant, is_test, mutants
from tests.mutants.permissions import permissions

each = pytest.mark.parametrize(
    "mutant", mutants(), ids=lambda mutant: f"{mutant.rule}: {mutant.breaks}"
)


@each
def test_a_mutant_changes_one_place_of_the_product(mutant):
    """After a refactoring: give `old` in mutants.toml the new text of that place."""
    assert mutant.file.startswith(("runtime/", "infra/"))
    assert mutant.old != mutant.new
    assert mutant.fault((ROOT / mutant.file).read_text()) == ""


@each
def test_the_tests_that_must_notice_exist(mutant):
    assert mutant.tests
    assert [test for test in mutant.tests if not is_test(test)] == []


def test_every_enforced_permission_can_be_taken_from_the_table():
    """As `python -m tests.mutants.permissions` does."""
    taken = list(permissions())
    assert len(taken) > 10
    assert {each.fault((ROOT / each.file).read_text()) for each in taken} == {""}
    assert all(is_test(test) for each in taken for test in each.tests)


def test_the_page_tells_of_every_enforced_permission_that_it_was_taken_away():
    """Of a new one run `python -m tests.mutants.permissions --only` and add its row."""
    page = (ROOT / "docs" / "SECURITY.md").read_text()
    _, _, rest = page.partition("<!-- removal -->\n")
    told, _, _ = rest.partition("<!-- end of removal -->")
    rows = re.findall(r"^\| `(.+?)` \| (.+? lacks .+?) \| `test_", told, re.M)
    taken = [(each.rule, each.breaks) for each in permissions()]
    assert sorted(rows) == sorted(taken)
    assert f": {len(taken)} of {len(taken)} noticed" in told


def test_no_mutant_stands_twice():
    texts = Counter((mutant.file, mutant.old, mutant.new) for mutant in mutants())
    assert [text for text, times in texts.items() if times > 1] == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("a = 1", ""),
        ("b = 1", "no longer applies: its text stands 0 times in x.py"),
        ("a = 1; a = 1", "no longer applies: its text stands 2 times in x.py"),
        ("(a = 1", "is no Python: '(' was never closed (x.py, line 1)"),
    ],
)
def test_what_does_not_apply_is_told(source, fault):
    mutant = Mutant(rule="X", breaks="", file="x.py", old="a = 1", new="a", tests=())
    assert mutant.fault(source) == fault
