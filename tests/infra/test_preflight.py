"""What a deployment warns of before it makes anything."""

import logging

import pytest

from infra.preflight import alarm_warnings
from infra.run_settings import AlarmSettings
from tests.infra.conftest import CONFIG
from tests.infra.recording import example_settings, packed, run
from tests.infra.test_environments import STACKS


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 1),
        ({"email": ("on-call@example.com",)}, 0),
        ({"https": ("https://example.com/alarms",)}, 0),
    ],
)
def test_alarms_that_tell_nobody_are_warned_of(given, count):
    assert len(alarm_warnings(AlarmSettings(**given))) == count


@pytest.mark.parametrize("stack", STACKS)
def test_every_example_tells_somebody_and_links_to_a_page(stack):
    alarms = example_settings(stack)["alarms"]
    assert alarms["email"] and alarms["runbook"].startswith("https://")


def test_without_subscribers_alarms_stand_and_tell_nobody(tmp_path, caplog):
    given = example_settings() | {"bundle": str(packed(CONFIG, tmp_path))}
    del given["alarms"]
    with caplog.at_level(logging.WARNING):
        graph = run(given)
    assert any("nobody is told of alarms" in each for each in caplog.messages)
    assert graph.of("aws:sns/topicSubscription") == []
    assert graph.of("aws:cloudwatch/metricAlarm")
