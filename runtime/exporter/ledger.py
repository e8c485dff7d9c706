"""The ledger in DynamoDB: lease, watermark, first-load plan; every write conditional.

A lease carries a fencing token that grows with each lease: whoever lost it can no
longer change anything here, however late it wakes up.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    Finished,
    LedgerState,
    ledger_key,
    state_from_item,
    state_to_item,
)

# Longer than the function may run, so that a live run never loses its lease.
LEASE_SECONDS = 330
# DynamoDB removes finished chunks after it; no load lasts as long.
_CHUNK_SECONDS = 30 * 24 * 3600


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
    def lease(self, run: str, counted: bool = True) -> Iterator[Lease]:
        """Hold the table's lease; it is released at the end, or expires.

        Args:
            run: Identity of the attempt.
            counted: Whether to count that it is held: twice in a row is a failure of
                scheduled runs, and of no others.

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
            raise self._held(counted) from error
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

    def state(self) -> LedgerState:
        """Return the table's state as it is now, without the lease."""
        items = self._items(Key("sk").eq(STATE_KEY))
        return state_from_item(items[0]) if items else LedgerState()

    def chunks(self, plan: str) -> dict[int, Finished]:
        """Return what became of the chunks of a plan that are finished, by number."""
        return {
            int(item["sk"].rsplit("#", 1)[1]): Finished(
                file=msgspec.json.decode(item["file"], type=ExportedFile | None),
                problem=item.get("problem", ""),
            )
            for item in self._items(Key("sk").begins_with(f"CHUNK#{plan}#"))
        }

    def is_finished(self, plan: str, number: int) -> bool:
        """Tell whether a chunk of a plan is finished."""
        return bool(self._items(Key("sk").eq(_chunk_key(plan, number))))

    def finish_chunk(self, plan: str, number: int, result: Finished) -> None:
        """Note a finished chunk, once: whoever comes second changes nothing."""
        changes = {
            "file": msgspec.json.encode(result.file).decode(),
            "problem": result.problem or None,
            "expires": int(time.time()) + _CHUNK_SECONDS,
        }
        with suppress(FencedError):
            self.write(
                changes,
                Attr("file").not_exists(),
                sort_key=_chunk_key(plan, number),
            )

    def hold_back(self, reason: str, seconds: int) -> bool:
        """Let the table's loads wait, unless they do already.

        Args:
            reason: What they wait for.
            seconds: For how long nobody looks again.

        Returns:
            Whether this call has begun the waiting.
        """
        now = int(time.time())
        try:
            self.write(
                {"waits_for": reason, "waits_until": now + seconds},
                Attr("waits_until").not_exists() | Attr("waits_until").lte(now),
            )
        except FencedError:
            return False
        return True

    def go_on(self, waited_until: int) -> None:
        """End a wait, unless another one has begun since."""
        with suppress(FencedError):
            self.write(
                {"waits_for": None, "waits_until": None},
                Attr("waits_until").eq(waited_until),
            )

    def _items(self, condition: Any) -> list[dict[str, Any]]:
        """Return the table's items whose sort key meets a condition."""
        found: list[dict[str, Any]] = []
        start: dict[str, Any] = {}
        with self._told():
            while True:
                page = self._table.query(
                    KeyConditionExpression=Key("pk").eq(self._key) & condition,
                    ConsistentRead=True,
                    **start,
                )
                found += page["Items"]
                if "LastEvaluatedKey" not in page:
                    return found
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def note(self, **changes: Any) -> None:
        """Write what people should see in `status`, lease or not.

        Args:
            **changes: Fields of `LedgerState` that steer nothing, such as `refusal`.
        """
        item = state_to_item(msgspec.structs.replace(LedgerState(), **changes))
        self.write({name: item.get(name) for name in changes}, Attr("pk").exists())

    def _held(self, counted: bool) -> LeaseHeldError:
        item = self.write({}, Attr("pk").exists(), add={"busy": int(counted)})
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


def _chunk_key(plan: str, number: int) -> str:
    return f"CHUNK#{plan}#{number:06d}"
