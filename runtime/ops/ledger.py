"""The ledger as an operator's command reads it: never written, never leased."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError

from runtime.contract.errors import LedgerError
from runtime.contract.names import SourceName
from runtime.contract.records import (
    STATE_KEY,
    ExportedFile,
    LedgerState,
    ledger_key,
    state_from_item,
)

# DynamoDB's own limit of one request.
_AT_ONCE = 100


class LedgerReader:
    """States of tables.

    Args:
        client: A boto3 DynamoDB client.
        table: Name of the ledger's table.
        stack: Name of the deployment.
    """

    def __init__(self, client: Any, table: str, stack: str) -> None:
        self._client = client
        self._table = table
        self._stack = stack

    def states(self, sources: Sequence[SourceName]) -> dict[SourceName, LedgerState]:
        """Return the state of each table that the ledger knows.

        Args:
            sources: The tables asked for.

        Raises:
            LedgerError: When DynamoDB refuses or does not answer.
        """
        by_key = {ledger_key(self._stack, source): source for source in sources}
        keys = list(by_key)
        found = {}
        for start in range(0, len(keys), _AT_ONCE):
            for item in self._items(keys[start : start + _AT_ONCE]):
                plain = {name: _READ.deserialize(value) for name, value in item.items()}
                found[by_key[plain["pk"]]] = state_from_item(plain)
        return found

    def _items(self, keys: list[str]) -> list[dict[str, Any]]:
        wanted: dict[str, Any] = {
            self._table: {
                "Keys": [{"pk": {"S": key}, "sk": {"S": STATE_KEY}} for key in keys],
                "ConsistentRead": True,
            }
        }
        items = []
        with self._told():
            while wanted:
                answer = self._client.batch_get_item(RequestItems=wanted)
                items += answer["Responses"].get(self._table, [])
                wanted = answer.get("UnprocessedKeys") or {}
        return items

    def chunks(self, source: SourceName, plan: str) -> list[ExportedFile | None]:
        """Return the file of each chunk of a load that is finished; None when empty.

        Args:
            source: The table.
            plan: Identity of the load's plan.

        Raises:
            LedgerError: When DynamoDB refuses or does not answer.
        """
        with self._told():
            pages = self._client.get_paginator("query").paginate(
                TableName=self._table,
                KeyConditionExpression="pk = :table AND begins_with(sk, :plan)",
                ExpressionAttributeValues={
                    ":table": {"S": ledger_key(self._stack, source)},
                    ":plan": {"S": f"CHUNK#{plan}#"},
                },
            )
            items = [item for page in pages for item in page["Items"]]
        return [
            msgspec.json.decode(item["file"]["S"], type=ExportedFile | None)
            for item in items
            if "problem" not in item
        ]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise LedgerError(
                f"DynamoDB does not show the ledger ({error})",
                subject=self._table,
                remedy="deploy the stack first, or check the operator's rights",
            ) from error


_READ = TypeDeserializer()
