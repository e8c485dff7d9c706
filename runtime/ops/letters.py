"""Dead letters: what was given up, and sending it again.

Three senders leave them: the load queue a chunk that failed five times, Lambda the
event of a run that failed, EventBridge a start that it could not deliver. SQS's own
redrive moves what came from a queue and nothing else, so that each letter is told and
treated by its kind. None of them is needed for the data: the next run of a table makes
up for what was not started, and chunks without a result are sent again by themselves.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from runtime.contract.errors import QueueError

# SQS's own limit of one request; how long a letter is hidden while it is looked at.
_AT_ONCE, _HIDDEN_SECONDS = 10, 30


class Letter(Struct, frozen=True, kw_only=True):
    """One dead letter.

    Attributes:
        kind: `chunk` of a load, `run` that failed, `start` that was not delivered, or
            `unknown`.
        table: Source table.
        run: Run that sent a chunk.
        plan: Load that a chunk is of.
        chunk: Its number.
        cause: Why it was given up, as far as it is told.
        request: Lambda's id of the invocation that failed, as its log has it.
    """

    kind: Literal["chunk", "run", "start", "unknown"]
    table: str = ""
    run: str = ""
    plan: str = ""
    chunk: int | None = None
    cause: str = ""
    request: str = ""


def read_letter(body: str, attributes: dict[str, str]) -> Letter:
    """Read a message of the dead letters.

    Args:
        body: Its body.
        attributes: Its message attributes, as texts.
    """
    try:
        found = json.loads(body)
        if "requestPayload" in found:
            return _run(found)
        if "ERROR_CODE" in attributes:
            cause = f"{attributes['ERROR_CODE']} {attributes.get('ERROR_MESSAGE', '')}"
            return Letter(kind="start", table=str(found["table"]), cause=cause.strip())
        return Letter(
            kind="chunk",
            table=str(found["table"]),
            run=str(found.get("run", "")),
            plan=str(found.get("plan", "")),
            chunk=found.get("chunk"),
            cause="failed again and again; `aurora-sync status` says why",
        )
    except (ValueError, KeyError, TypeError):
        return Letter(kind="unknown", cause=body[:200])


def _run(found: dict[str, Any]) -> Letter:
    """Read what Lambda sends to a destination.

    Source: AWS Lambda developer guide, invocation-async-retain-records.
    """
    context, response = found["requestContext"], found.get("responsePayload") or {}
    return Letter(
        kind="run",
        table=str(found["requestPayload"]["table"]),
        cause=str(response.get("errorMessage") or context.get("condition", "")),
        request=str(context.get("requestId", "")),
    )


class DeadLetters:
    """The queue of a stack's dead letters.

    Args:
        client: A boto3 SQS client.
        url: URL of the queue.
        load_url: URL of the queue that chunks came from.
    """

    def __init__(self, client: Any, url: str, load_url: str) -> None:
        self._client = client
        self._url = url
        self._load_url = load_url

    def count(self) -> int:
        """Return how many letters lie there, those that are looked at included."""
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible")]
        with self._told():
            told = self._client.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=names
            )["Attributes"]
        return sum(int(told.get(name, 0)) for name in names)

    def look(self, most: int) -> list[Letter]:
        """Return letters without taking any: who clears them at once finds them.

        Args:
            most: At most so many.
        """
        received = list(self._received(most))
        self._show_again([message for _, message in received])
        return [letter for letter, _ in received]

    def clear(self) -> Iterator[Letter]:
        """Take all letters: chunks go back to their queue, the others are let go of.

        Yields:
            Each one when that is done.
        """
        kept = []
        for letter, message in self._received(self.count()):
            with self._told():
                if letter.kind == "unknown":
                    kept.append(message)
                    continue
                if letter.kind == "chunk":
                    self._client.send_message(
                        QueueUrl=self._load_url, MessageBody=message["Body"]
                    )
                self._client.delete_message(
                    QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"]
                )
            yield letter
        self._show_again(kept)

    def _show_again(self, messages: list[dict[str, Any]]) -> None:
        for start in range(0, len(messages), _AT_ONCE):
            entries = [
                {
                    "Id": str(number),
                    "ReceiptHandle": message["ReceiptHandle"],
                    "VisibilityTimeout": 0,
                }
                for number, message in enumerate(messages[start : start + _AT_ONCE])
            ]
            with self._told():
                self._client.change_message_visibility_batch(
                    QueueUrl=self._url, Entries=entries
                )

    def _received(self, most: int) -> Iterator[tuple[Letter, dict[str, Any]]]:
        seen = 0
        while seen < most:
            with self._told():
                answer = self._client.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=min(_AT_ONCE, most - seen),
                    VisibilityTimeout=_HIDDEN_SECONDS,
                    MessageAttributeNames=["All"],
                )
            messages = answer.get("Messages", [])
            if not messages:
                return
            seen += len(messages)
            for message in messages:
                given = message.get("MessageAttributes", {})
                texts = {
                    key: each.get("StringValue", "") for key, each in given.items()
                }
                yield read_letter(message["Body"], texts), message

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise QueueError(
                f"SQS does not show the dead letters ({error})",
                subject=self._url,
                remedy="check the operator's rights on the queue, or deploy",
            ) from error


def dead_letters(sqs: Any, lambda_: Any, function: str, load_url: str) -> DeadLetters:
    """Return the queue to which a function's failed events go.

    Args:
        sqs: A boto3 SQS client.
        lambda_: A boto3 Lambda client.
        function: Name of the exporter.
        load_url: URL of the load queue, from the function's settings.

    Raises:
        QueueError: When there is no such queue.
    """
    try:
        config = lambda_.get_function_event_invoke_config(FunctionName=function)
        arn = config["DestinationConfig"]["OnFailure"]["Destination"]
        url = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    except (ClientError, BotoCoreError, KeyError) as error:
        raise QueueError(
            f"the function's failed events go nowhere ({error})",
            subject=function,
            remedy="deploy again",
        ) from error
    return DeadLetters(sqs, url, load_url)
