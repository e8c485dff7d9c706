"""Dead letters by their senders, and what becomes of each."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from runtime.contract.errors import QueueError
from runtime.ops.letters import DeadLetters, Letter, dead_letters, read_letter

CHUNK = {"table": "public.a", "plan": "P", "chunk": 3, "contract": "x", "run": "01R"}
RUN = {
    "version": "1.0",
    "requestContext": {"requestId": "r-1", "condition": "RetriesExhausted"},
    "requestPayload": {"table": "public.b"},
    "responsePayload": {"errorMessage": "Aurora refuses", "errorType": "SourceError"},
}
START = {"table": "public.c"}
FAILED = {"ERROR_CODE": "THROTTLED", "ERROR_MESSAGE": "too many", "RULE_ARN": "arn"}


class Queues:
    """SQS that hides what has been received."""

    def __init__(self, *letters: tuple[Any, dict[str, str]]) -> None:
        self.waiting = [
            {
                "Body": body if isinstance(body, str) else json.dumps(body),
                "ReceiptHandle": str(number),
                "MessageAttributes": {
                    key: {"StringValue": value} for key, value in given.items()
                },
            }
            for number, (body, given) in enumerate(letters)
        ]
        self.hidden: list[dict[str, Any]] = []
        self.sent: list[tuple[str, Any]] = []

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": str(len(self.waiting)),
                "ApproximateNumberOfMessagesNotVisible": str(len(self.hidden)),
            }
        }

    def receive_message(self, MaxNumberOfMessages: int, **_: Any) -> dict[str, Any]:
        taken = self.waiting[:MaxNumberOfMessages]
        self.hidden += taken
        self.waiting = self.waiting[len(taken) :]
        return {"Messages": taken} if taken else {}

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:
        self.sent.append((QueueUrl, json.loads(MessageBody)))

    def delete_message(self, ReceiptHandle: str, **_: Any) -> None:
        self.hidden = [
            each for each in self.hidden if each["ReceiptHandle"] != ReceiptHandle
        ]

    def change_message_visibility_batch(self, Entries: Any, **_: Any) -> None:
        shown = {each["ReceiptHandle"] for each in Entries}
        assert len(shown) <= 10
        assert {each["VisibilityTimeout"] for each in Entries} == {0}
        again = [each for each in self.hidden if each["ReceiptHandle"] in shown]
        self.hidden = [each for each in self.hidden if each not in again]
        self.waiting += again


def queue(*letters: tuple[Any, dict[str, str]]) -> tuple[DeadLetters, Queues]:
    sqs = Queues(*letters)
    return DeadLetters(sqs, "letters", "load"), sqs


def test_each_sender_is_told_by_its_letter():
    assert read_letter(json.dumps(RUN), {}) == Letter(
        kind="run", table="public.b", cause="Aurora refuses", request="r-1"
    )
    assert read_letter(json.dumps(START), FAILED) == Letter(
        kind="start", table="public.c", cause="THROTTLED too many"
    )
    found = read_letter(json.dumps(CHUNK), {})
    assert (found.kind, found.table, found.chunk) == ("chunk", "public.a", 3)
    assert (found.plan, found.run) == ("P", "01R")


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", "5", '{"requestPayload": 1}'])
def test_what_nobody_knows_is_shown_as_it_is(body):
    assert read_letter(body, {}) == Letter(kind="unknown", cause=body)


def test_looking_takes_nothing():
    letters, sqs = queue((CHUNK, {}), (RUN, {}))
    assert [each.kind for each in letters.look(10)] == ["chunk", "run"]
    assert letters.count() == 2 and sqs.sent == []


def test_what_somebody_has_just_looked_at_can_be_cleared():
    letters, sqs = queue(*[(CHUNK, {})] * 11, ("hello", {}))
    assert len(letters.look(100)) == 12
    assert len(list(letters.clear())) == 11
    assert [each.kind for each in letters.look(100)] == ["unknown"]
    assert len(sqs.sent) == 11 and letters.count() == 1


def test_chunks_go_back_and_what_the_next_run_covers_goes():
    odd: tuple[Any, dict[str, str]] = ("hello", {})
    letters, sqs = queue((CHUNK, {}), (RUN, {}), (START, FAILED), odd)
    assert [each.kind for each in letters.clear()] == ["chunk", "run", "start"]
    assert sqs.sent == [("load", CHUNK)]
    assert letters.count() == 1, "what nobody knows is left to a person"


def test_more_letters_than_one_request_brings_are_all_cleared():
    letters, sqs = queue(*[(CHUNK, {})] * 23)
    assert len(list(letters.clear())) == 23
    assert letters.count() == 0 and len(sqs.sent) == 23


class Refusing:
    def __getattr__(self, name: str) -> Any:
        def refuse(**_: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, name)

        return refuse


def test_a_refusal_is_told():
    with pytest.raises(QueueError, match="AccessDenied"):
        DeadLetters(Refusing(), "letters", "load").count()
    with pytest.raises(QueueError, match="go nowhere"):
        dead_letters(Refusing(), Refusing(), "f", "load")
