"""One table's exports, started and followed: invocations of the deployed function."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from runtime.contract.errors import LeaseHeldError, SyncError
from runtime.contract.names import SourceName
from runtime.contract.records import ExportedFile, LedgerState, Mode, RunResult
from runtime.ops.ledger import LedgerReader

# A lease ends with its run, or expires by itself a little after the function's 5
# minutes.
LEASE_SECONDS = 360
_LEASE_POLL_SECONDS = 1.0
_LOAD_POLL_SECONDS = 1.0

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


class Followed(Struct, frozen=True, kw_only=True):
    """A load as it was last seen in the ledger.

    Attributes:
        plan: Its identity.
        mode: What kind of load; None when it was over before it was seen.
        after: Number of the last manifest before it.
    """

    plan: str
    mode: Mode | None = None
    after: int | None = None

    def result(
        self,
        answer: RunResult,
        state: LedgerState,
        files: Sequence[ExportedFile | None],
        seconds: float,
    ) -> RunResult:
        """Return what the load has done since the invocation that began it answered.

        Args:
            answer: That answer.
            state: The ledger's state after the load.
            files: Files of its chunks.
            seconds: How long it was followed.
        """
        told = {file.key for file in answer.files}
        new = tuple(file for file in files if file and file.key not in told)
        mode, rows = self.mode or answer.mode, sum(file.rows for file in new)
        keys_only = mode == "reconcile"
        return RunResult(
            status="done",
            table=answer.table,
            mode=answer.mode if keys_only else mode,
            seq=state.seq,
            after=self.after,
            low=answer.low,
            high=state.high,
            held_by=state.held_by,
            files=new,
            rows_exported=0 if keys_only else rows,
            bytes=sum(file.bytes for file in new),
            reconcile_seq=state.seq if keys_only else None,
            keys_exported=rows if keys_only else 0,
            seconds=round(seconds, 3),
            drift=state.drift,
        )


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
            The answer of the invocation; of a load in chunks also what became of it.

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
            if result.status == "more" and wait:
                done.append(self._loaded(source, result, deadline, tell))
            return tuple(done)

    def _loaded(
        self, source: SourceName, answer: RunResult, deadline: float, tell: Tell
    ) -> RunResult:
        """Follow loads in the ledger until their last chunk is committed.

        Returns:
            What the last of them has exported beside what the answer tells.

        Raises:
            RefusedError: When a chunk failed for a reason that stays.
            FunctionError: When the time is over.
        """
        begun, last = time.monotonic(), Followed(plan=answer.plan)
        while True:
            state = self._ledger.states([source])[source]
            raw = state.load or state.backfill or state.reconcile
            if raw is not None:
                last = Followed(plan=raw["id"], mode=raw["mode"], after=raw["after"])
            files = self._ledger.chunks(source, last.plan)
            if raw is None:
                return last.result(answer, state, files, time.monotonic() - begun)
            if state.refusal is not None and not state.refusal["retryable"]:
                raise RefusedError(state.refusal)
            rows = sum(file.rows for file in files if file)
            so_far = f"{len(files)} of {len(raw['chunks'])} chunks, {rows} rows"
            waits = f"; waits: {state.waits_for}" if state.waits_for else ""
            tell(f"loading: {so_far}{waits}")
            if time.monotonic() > deadline:
                raise FunctionError(
                    "not everything is exported within the time-out",
                    subject=str(source),
                    got=so_far + waits,
                    remedy="it goes on by itself; follow it with `aurora-sync status`, "
                    "or call sync again with a longer --timeout",
                )
            time.sleep(_LOAD_POLL_SECONDS)

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
