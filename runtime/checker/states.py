"""What the ledger knows of tables, read without a lease."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import BotoCoreError, ClientError

from runtime.contract.errors import LedgerError
from runtime.contract.names import SourceName
from runtime.contract.records import (
    STATE_KEY,
    LedgerState,
    ledger_key,
    state_from_item,
)

# DynamoDB's own limit of one request.
_AT_ONCE = 100
_READ = TypeDeserializer()


def read_states(
    client: Any, table: str, stack: str, sources: Sequence[SourceName]
) -> dict[SourceName, LedgerState]:
    """Return the state of each table that the ledger knows.

    Args:
        client: A boto3 DynamoDB client.
        table: Name of the ledger's table.
        stack: Name of the deployment.
        sources: The tables asked for.

    Raises:
        LedgerError: When DynamoDB refuses or does not answer.
    """
    by_key = {ledger_key(stack, source): source for source in sources}
    keys = list(by_key)
    found = {}
    for start in range(0, len(keys), _AT_ONCE):
        for item in _items(client, table, keys[start : start + _AT_ONCE]):
            plain = {name: _READ.deserialize(value) for name, value in item.items()}
            found[by_key[plain["pk"]]] = state_from_item(plain)
    return found


def _items(client: Any, table: str, keys: list[str]) -> list[dict[str, Any]]:
    wanted: dict[str, Any] = {
        table: {
            "Keys": [{"pk": {"S": key}, "sk": {"S": STATE_KEY}} for key in keys],
            "ConsistentRead": True,
        }
    }
    items = []
    with told(table):
        while wanted:
            answer = client.batch_get_item(RequestItems=wanted)
            items += answer["Responses"].get(table, [])
            wanted = answer.get("UnprocessedKeys") or {}
    return items


@contextmanager
def told(table: str) -> Iterator[None]:
    """Turn a refusal of DynamoDB into an error of the ledger."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise LedgerError(
            f"DynamoDB does not show the ledger ({error})",
            subject=table,
            remedy="deploy the stack first, or check the rights on the table",
        ) from error
