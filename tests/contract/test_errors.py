"""An error reads: subject, fact, what was got, what is allowed, what to do."""

import pytest

from runtime.contract import errors
from runtime.contract.errors import ConfigError, ConfigErrors, SyncError


def test_an_error_says_all_it_knows_in_one_line():
    error = SyncError("is odd", subject="x", got=[1], allowed="even", remedy="add one")
    assert str(error) == "x: is odd; got [1]; allowed: even; add one"
    assert str(SyncError("is odd")) == "is odd"


@pytest.mark.parametrize("got", [0, "", False, []])
def test_an_empty_value_is_shown_too(got):
    assert str(SyncError("is odd", got=got)) == f"is odd; got {got!r}"


def test_several_errors_are_told_at_once():
    both = ConfigErrors([ConfigError("one", subject="a"), ConfigError("two")])
    assert str(both) == "a: one\ntwo"
    assert both.as_dict()["message"] == "a: one\ntwo"


def test_an_error_is_told_to_machines():
    error = errors.DriftError("is gone", subject="t", remedy="refresh")
    assert error.as_dict() == {
        "code": "drift",
        "retryable": False,
        "message": "t: is gone; refresh",
        "remedy": "refresh",
    }


def tree(kind: type[SyncError] = SyncError) -> set[type[SyncError]]:
    below = set[type[SyncError]]().union(*map(tree, kind.__subclasses__()))
    return {each for each in {kind} | below if each.__module__ == errors.__name__}


def test_every_error_of_the_tree_has_a_code_of_its_own():
    codes = [kind.code for kind in tree() - {ConfigErrors}]
    assert len(set(codes)) == len(codes) > 10


def test_what_passes_by_itself_can_be_tried_again_and_only_that():
    again = {
        errors.VaultUnavailableError,
        errors.SourceUnavailableError,
        errors.ExportError,
        errors.LakeError,
        errors.LedgerError,
        errors.QueueError,
        errors.LeaseHeldError,
        errors.FencedError,
    }
    assert {kind for kind in tree() if kind.retryable} == again
