"""The queue of a load's chunks: the same function consumes it, a few at a time.

A message may come twice, late, or after its plan is gone: all it does is conditional.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from runtime.contract.errors import QueueError

# SQS's own limits of one request, and of a delay in seconds.
_AT_ONCE, _LONGEST_DELAY = 10, 900
_RETRY_SECONDS = 60


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message: a chunk to export, or without one a table to run.

    Attributes:
        table: Source table.
        plan: Identity of the load.
        chunk: Number of the chunk in it.
        contract: Fingerprint of the columns that the load is of.
        run: Run that has sent it; of a message of an operator or a worker it may be
            empty.
    """

    table: str
    plan: str = ""
    chunk: int | None = None
    contract: str = ""
    run: str = ""


class LoadQueue:
    """The queue.

    Args:
        client: A boto3 SQS client.
        url: URL of the queue.
    """

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, messages: Sequence[Message], delay: int = 0) -> None:
        """Send messages.

        Args:
            messages: What to send.
            delay: Seconds until they can be received.

        Raises:
            QueueError: When SQS has not taken all of them.
        """
        for start in range(0, len(messages), _AT_ONCE):
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": msgspec.json.encode(message).decode(),
                    "DelaySeconds": delay,
                }
                for number, message in enumerate(messages[start : start + _AT_ONCE])
            ]
            with self._told():
                answer = self._client.send_message_batch(
                    QueueUrl=self._url, Entries=entries
                )
            if failed := answer.get("Failed"):
                raise self._refused(f"{len(failed)} messages: {failed[0]['Code']}")

    def retry_soon(self, receipt: str, received: int) -> None:
        """Let a message that failed come back before its visibility timeout ends.

        Args:
            receipt: The message's receipt handle.
            received: How often it has been received; each time it waits longer.

        Raises:
            QueueError: When SQS refuses.
        """
        with self._told():
            self._client.change_message_visibility(
                QueueUrl=self._url,
                ReceiptHandle=receipt,
                VisibilityTimeout=min(_LONGEST_DELAY, _RETRY_SECONDS * received),
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise self._refused(str(error)) from error

    def _refused(self, why: str) -> QueueError:
        return QueueError(
            f"SQS does not take a load's messages ({why})",
            subject=self._url,
            remedy="check the function role's rights on the queue and the SQS endpoint "
            "of its network; the next run sends them again",
        )
