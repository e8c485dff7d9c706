import json

import pytest

from infra.local.emf import _data_of
from runtime.contract import metrics
from tests.factories import make_spec


def test_a_line_is_what_cloudwatch_reads():
    """Source: CloudWatch user guide, embedded metric format specification."""
    text = metrics.line(
        "dev", "PUBLIC", {"RunSeconds": 1.5, "RunsFailed": 0}, 7000, table="a.b"
    )
    assert "\n" not in text
    line = json.loads(text)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert line["_aws"]["Timestamp"] == 7000
    assert directive["Namespace"] == metrics.NAMESPACE
    assert directive["Dimensions"] == [["stack", "group"]]
    assert directive["Metrics"] == [
        {"Name": "RunSeconds", "Unit": "Seconds"},
        {"Name": "RunsFailed", "Unit": "Count"},
    ]
    assert (line["stack"], line["group"], line["table"]) == ("dev", "PUBLIC", "a.b")
    assert [each["Values"] for _, each in _data_of(text)] == [[1.5], [0]]


def test_what_is_of_the_whole_stack_has_no_group():
    line = json.loads(metrics.line("dev", None, {"Checked": 1}, 0))
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["stack"]]
    assert "group" not in line


def test_a_metric_without_a_unit_is_a_mistake():
    with pytest.raises(KeyError):
        metrics.line("dev", None, {"Chekced": 1}, 0)


def test_no_metric_is_of_two_kinds():
    kinds = (metrics.RUN, metrics.CHECK, metrics.LOOK)
    assert len(set().union(*kinds)) == sum(map(len, kinds))


@pytest.mark.parametrize(
    ("keys", "group"),
    [
        ({}, "PUBLIC"),
        ({"target_schema": "sales"}, "SALES"),
        ({"target_schema": "Le Monde"}, "Le-Monde-"),
        ({"target_schema": "überall"}, "-berall-"),
        ({"target_schema": "x" * 100}, "X" * 55 + "-"),
    ],
)
def test_the_group_is_the_targets_schema_in_letters_that_cloudwatch_takes(keys, group):
    found = make_spec(**keys).group
    assert found.isascii() and found.startswith(group) and len(found) <= 64
    assert found == group or len(found) == len(group) + 8


def test_two_schemas_are_never_one_group():
    names = ("a b", "a-b", "a?b", "A_B")
    assert len({make_spec(target_schema=name).group for name in names}) == 4
