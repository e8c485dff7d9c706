"""The ledger as an operator's command reads it: never written, never leased."""

from collections.abc import Sequence
from typing import Any

import msgspec

from runtime.checker.states import read_states, told
from runtime.contract.names import SourceName
from runtime.contract.records import ExportedFile, LedgerState, ledger_key


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
        return read_states(self._client, self._table, self._stack, sources)

    def chunks(self, source: SourceName, plan: str) -> list[ExportedFile | None]:
        """Return the file of each chunk of a load that is finished; None when empty.

        Args:
            source: The table.
            plan: Identity of the load's plan.

        Raises:
            LedgerError: When DynamoDB refuses or does not answer.
        """
        with told(self._table):
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
