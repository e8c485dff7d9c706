"""The ledger in DynamoDB: lease, watermark, first-load plan; every write conditional.

A lease carries a fencing token that grows with each lease: whoever lost it can no
longer change anything here, however late it wakes up.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import BotoCoreError, ClientError

from runtime.contract.errors import FencedError, LeaseHeldError, LedgerError
from runtime.contract.names import SourceName
from runtime.contract.records import (
    STATE_KEY,
    ExportedFile,
    LedgerState,
    ledger_key,
    state_from_item,
    state_to_item,
)

# Longer than the function may run, so that a live run never loses its lease.
LEASE_SECONDS = 330


@dataclass(kw_only=True)
class Lease:
    """The right to change one table's ledger.

    Attributes:
        state: The state as of the last read or write.
    """

    ledger: "Ledger"
    token: int
    state: LedgerState

    def save(self, **changes: Any) -> LedgerState:
        """Write changed fields of the state, if the lease is still ours.

        Args:
            **changes: Fields of `LedgerState`; None removes the attribute.

        Raises:
            FencedError: When a newer run took the lease.
        """
        state = msgspec.structs.replace(self.state, **changes)
        item = state_to_item(state)
        self.ledger.write(
            {name: item.get(name) for name in changes},
            Attr("lease_token").eq(self.token),
        )
        self.state = state
        return state


class Ledger:
    """One table's items in the ledger.

    Args:
        table: The DynamoDB table (boto3 resource).
        stack: Name of the deployment.
        source: The source table.
    """

    def __init__(self, table: Any, stack: str, source: SourceName) -> None:
        self._table = table
        self._key = ledger_key(stack, source)
        self._subject = f"ledger {table.name} ({self._key})"

    @contextmanager
    def lease(self, run: str) -> Iterator[Lease]:
        """Hold the table's lease; it is released at the end, or expires.

        Args:
            run: Identity of the attempt.

        Raises:
            LeaseHeldError: When another run holds it.
        """
        now = int(time.time())
        free = Attr("lease_until").not_exists() | Attr("lease_until").lt(now)
        # A retry of our own request may find what it has already written.
        free |= Attr("lease_run").eq(run)
        try:
            item = self.write(
                {"lease_run": run, "lease_until": now + LEASE_SECONDS, "busy": None},
                free,
                add={"lease_token": 1},
            )
        except FencedError as error:
            raise self._held() from error
        token = int(item["lease_token"])
        lease = Lease(ledger=self, token=token, state=state_from_item(item))
        try:
            yield lease
        finally:
            self._release(token)

    def write(
        self,
        changes: dict[str, Any],
        condition: Any,
        *,
        add: dict[str, int] | None = None,
        sort_key: str = STATE_KEY,
    ) -> dict[str, Any]:
        """Change one item if a condition holds.

        Args:
            changes: Attribute values; None removes the attribute.
            condition: A boto3 condition.
            add: Numbers to add to attributes.
            sort_key: Which item of the table.

        Returns:
            The whole item afterwards.

        Raises:
            FencedError: When the condition does not hold.
            LedgerError: When DynamoDB refuses or does not answer.
        """
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        clauses: dict[str, list[str]] = {"SET": [], "REMOVE": [], "ADD": []}
        for number, (name, value) in enumerate({**changes, **(add or {})}.items()):
            names[f"#u{number}"] = name
            if value is None:
                clauses["REMOVE"].append(f"#u{number}")
                continue
            values[f":u{number}"] = value
            verb = "ADD" if add and name in add else "SET"
            joint = " " if verb == "ADD" else " = "
            clauses[verb].append(f"#u{number}{joint}:u{number}")
        expression = " ".join(
            f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts
        )
        with self._told():
            answer = self._table.update_item(
                Key={"pk": self._key, "sk": sort_key},
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ReturnValues="ALL_NEW",
                **({"ExpressionAttributeValues": values} if values else {}),
            )
        attributes: dict[str, Any] = answer["Attributes"]
        return attributes

    def chunks(self, plan: str) -> dict[int, ExportedFile | None]:
        """Return the finished chunks of a plan: number to file, None when empty."""
        with self._told():
            found: list[dict[str, Any]] = []
            start: dict[str, Any] = {}
            while True:
                page = self._table.query(
                    KeyConditionExpression=Key("pk").eq(self._key)
                    & Key("sk").begins_with(f"CHUNK#{plan}#"),
                    ConsistentRead=True,
                    **start,
                )
                found += page["Items"]
                if "LastEvaluatedKey" not in page:
                    break
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        return {
            int(item["sk"].rsplit("#", 1)[1]): msgspec.json.decode(
                item["file"], type=ExportedFile | None
            )
            for item in found
        }

    def finish_chunk(self, plan: str, number: int, file: ExportedFile | None) -> None:
        """Note a finished chunk, once: whoever comes second changes nothing.

        Args:
            plan: Identity of the plan.
            number: The chunk's number in it.
            file: What was written; None when the chunk has no rows.
        """
        try:
            self.write(
                {"file": msgspec.json.encode(file).decode()},
                Attr("file").not_exists(),
                sort_key=f"CHUNK#{plan}#{number:06d}",
            )
        except FencedError:
            return

    def note(self, **changes: Any) -> None:
        """Write what people should see in `status`, lease or not.

        Args:
            **changes: Fields of `LedgerState` that steer nothing, such as `refusal`.
        """
        item = state_to_item(msgspec.structs.replace(LedgerState(), **changes))
        self.write({name: item.get(name) for name in changes}, Attr("pk").exists())

    def _held(self) -> LeaseHeldError:
        item = self.write({}, Attr("pk").exists(), add={"busy": 1})
        state, times = state_from_item(item), int(item["busy"])
        wait = max(0, state.lease_until - int(time.time()))
        error = LeaseHeldError(
            "another run holds the lease",
            subject=self._key,
            got=f"run {state.lease_run}, at most {wait} s more",
            remedy="wait for it to end",
        )
        error.times = times
        error.seconds_left = wait
        return error

    def _release(self, token: int) -> None:
        """Give the lease back; when that fails it expires by itself."""
        try:
            self.write(
                {"lease_run": None, "lease_until": None}, Attr("lease_token").eq(token)
            )
        except LedgerError:
            return

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ConditionalCheckFailedException":
                raise FencedError(
                    "a newer run took over",
                    subject=self._subject,
                    remedy="nothing is lost; the newer run goes on",
                ) from error
            raise LedgerError(
                f"DynamoDB refuses {error.operation_name} ({code})",
                subject=self._subject,
                remedy="check the function role's rights on the ledger table",
            ) from error
        except BotoCoreError as error:
            raise LedgerError(
                f"DynamoDB does not answer ({error})",
                subject=self._subject,
                remedy="check the DynamoDB endpoint; the next run goes on",
            ) from error
