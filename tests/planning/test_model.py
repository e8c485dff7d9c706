"""What may be allowed, and what is left of a plan then."""

import msgspec
import pytest

from infra.planning.model import KINDS, Kind, Plan, Refusal, TablePlan, allowing
from runtime.contract.errors import ConfigError


def refusal(kind: Kind, table: str = "") -> Refusal:
    return Refusal(kind=kind, table=table, fact="f", remedy="r")


PLAN = Plan(
    stack="dev",
    tables=tuple(
        TablePlan(
            table=name, change="changed", refusals=(refusal("drop-column", name),)
        )
        for name in ("public.a", "public.b")
    ),
    refusals=(refusal("ledger"),),
)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ((), ["ledger", "drop-column", "drop-column"]),
        (("ledger",), ["drop-column", "drop-column"]),
        (("drop-column",), ["ledger"]),
        (("drop-column:public.b", "ledger"), ["drop-column"]),
    ],
)
def test_what_is_allowed_is_no_longer_refused(given, left):
    plan = allowing(PLAN, given)
    assert [each.kind for each in plan.refused] == left
    assert plan.changes


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("everything", "is nothing that can be allowed"),
        ("", "is nothing that can be allowed"),
        ("target", "allows what the plan does not refuse"),
        ("drop-column:public.c", "allows what the plan does not refuse"),
        ("ledger:public.a", "allows what the plan does not refuse"),
    ],
)
def test_what_cannot_be_allowed_is_told_with_what_can(given, told):
    with pytest.raises(ConfigError, match=told) as caught:
        allowing(PLAN, [given])
    assert caught.value.allowed


def test_every_kind_of_refusal_can_be_read_from_the_help():
    assert sorted(KINDS) == list(KINDS)


def test_a_plan_is_data_for_programs():
    plain = msgspec.json.decode(msgspec.json.encode(PLAN))
    assert plain["tables"][0]["refusals"][0]["kind"] == "drop-column"
