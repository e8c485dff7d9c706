"""One table's exports, started and followed: invocations of the deployed function."""

import json
import time
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from runtime.contract.errors import LeaseHeldError, SyncError
from runtime.contract.names import SourceName
from runtime.contract.records import RunResult
from runtime.ops.ledger import LedgerReader

# A lease ends with its run, or expires by itself a little after the function's 5
# minutes.
LEASE_SECONDS = 360
_LEASE_POLL_SECONDS = 1.0

Tell = Callable[[str], None]


class FunctionError(SyncError):
    """The deployed function cannot be invoked, or ended without an answer."""

    code: ClassVar[str] = "function"
    retryable: ClassVar[bool] = True


class RefusedError(SyncError):
    """The function answered that the run failed.

    Args:
        error: The error as the function told it.
    """

    code: ClassVar[str] = "refused"

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "the run failed")))
        self.error = error

    def as_dict(self) -> dict[str, Any]:
        """Return the error as the function told it."""
        return self.error


class Exporter:
    """The deployed function.

    Args:
        client: A boto3 Lambda client that waits as long as the function may run and
            does not send a request twice.
        function: Name of the function.
        ledger: Tells who holds a lease.
    """

    def __init__(self, client: Any, function: str, ledger: LedgerReader) -> None:
        self._client = client
        self._function = function
        self._ledger = ledger

    def export(
        self,
        source: SourceName,
        *,
        wait: bool,
        deadline: float,
        tell: Tell = lambda text: None,
        **wishes: Any,
    ) -> tuple[RunResult, ...]:
        """Run one table until everything that is due has been exported.

        Args:
            source: The table.
            wait: Whether to wait for another run of the table to end first.
            deadline: When to stop beginning anything, by `time.monotonic`.
            tell: Told what happens, for people who watch.
            **wishes: As of `invoke`.

        Returns:
            The answer of each invocation; several for a load that took more than one.

        Raises:
            RefusedError: When the run failed; its error says why.
            LeaseHeldError: When another run of the table is under way.
            FunctionError: When the function cannot be invoked or died.
            LedgerError: When the ledger cannot be read.
        """
        done: list[RunResult] = []
        lease_deadline = min(deadline, time.monotonic() + LEASE_SECONDS)
        while True:
            tell("exporting")
            result = self.invoke(source, **wishes)
            if result.status in ("failed", "busy"):
                self._failed(source, result, wait, lease_deadline, tell)
                continue
            done.append(result)
            if result.status != "more":
                return tuple(done)
            tell(f"loading: {sum(each.rows_exported for each in done)} rows so far")
            if time.monotonic() > deadline:
                raise FunctionError(
                    "not everything is exported within the time-out",
                    subject=str(source),
                    got=f"{sum(each.rows_exported for each in done)} rows so far",
                    remedy="it goes on with the next run; call sync again, or set a "
                    "longer --timeout",
                )

    def invoke(self, source: SourceName, **wishes: Any) -> RunResult:
        """Invoke the function once and return its answer.

        Args:
            source: The table.
            **wishes: What its event asks for beside a run, or instead.

        Raises:
            FunctionError: When it cannot be invoked, or ended without an answer.
        """
        payload = {"table": str(source), "report_errors": True, **wishes}
        try:
            answer = self._client.invoke(
                FunctionName=self._function,
                InvocationType="RequestResponse",
                Payload=json.dumps(payload).encode(),
            )
            body = answer["Payload"].read()
        except (ClientError, BotoCoreError, OSError) as error:
            raise FunctionError(
                f"cannot be invoked ({error})",
                subject=f"function {self._function}",
                remedy="deploy the stack first, or check the operator's rights",
            ) from error
        if "FunctionError" in answer:
            raise FunctionError(
                f"ended without an answer ({_reason(body)})",
                subject=f"function {self._function}, table {source}",
                remedy="read its log; the next run goes on where this one stopped",
            )
        return msgspec.json.decode(body, type=RunResult)

    def _failed(
        self,
        source: SourceName,
        result: RunResult,
        wait: bool,
        deadline: float,
        tell: Tell,
    ) -> None:
        """Wait for the lease's end when that is all that is in the way."""
        error = result.error or {}
        if error.get("code") != LeaseHeldError.code:
            raise RefusedError(error)
        holder = self._holder(source)
        if wait:
            tell("waiting for another run to end")
            while time.monotonic() < deadline:
                time.sleep(_LEASE_POLL_SECONDS)
                holder = self._holder(source)
                if holder is None:
                    return
        raise LeaseHeldError(
            "another run of this table is under way",
            subject=str(source),
            got=holder,
            remedy="call sync again later" if wait else "wait for it with --wait",
        )

    def _holder(self, source: SourceName) -> str | None:
        """Say which run holds the table's lease; None when it is free."""
        state = self._ledger.states([source]).get(source)
        left = state.lease_until - time.time() if state else 0
        if state is None or left <= 0:
            return None
        return f"run {state.lease_run}, at most {left:.0f} s more"


def _reason(body: bytes) -> str:
    try:
        told = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:300]
    return str(told.get("errorMessage", told))
