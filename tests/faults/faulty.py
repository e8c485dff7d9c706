"""Clients that fail where they are told to, and processes that really die.

A run makes every call to the outside through `Life.call`. One of them may be hit:
before it, inside it (it was carried out, its answer is lost) or after it. A killed run
gets nothing done any more, not even in a `finally`; the server ends its session.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from botocore.exceptions import ClientError, ReadTimeoutError

from runtime.contract.records import STATE_KEY
from runtime.exporter.credentials import DatabaseUser, leased_user
from runtime.exporter.source import Source

KILLS = ("killed before", "killed inside", "killed after")
# Another run, or a writer, between two calls of this one.
BETWEEN = ("overtaken", "met by a rival", "written meanwhile")
CLIENT_KINDS = (*KILLS, "refused", "answer lost", "sent twice", *BETWEEN)
SQL_KINDS = (*KILLS, "session ended", *BETWEEN)
# While LOCK waits for another session.
LOCK_KINDS = ("table rewritten", "table truncated", "column added")
CLIENT_STEPS = ("lease", "follow", "manifest", "ledger", "release")
# What is done for chunks: by runs, and by those who take messages.
LOAD_STEPS = ("chunks sent", "plan read", "fence", "chunk note", "chunks read")
# A new contract, under which a run begins, while somebody is at an old one's chunk.
DEPLOYED = "contract deployed"
# The same while its lease ends, so that the new run does all it has to do.
OUTLIVED = "outlived by its contract"
SQL_STEPS = ("safe high", "window", "lock", "export", "commit")
CUT_STEPS = ("cut", "bounds")
VAULT_STEP = "credentials"
VAULT_KINDS = (*KILLS, "refused", *BETWEEN)
CELLS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(CLIENT_STEPS, CLIENT_KINDS),
    **dict.fromkeys(LOAD_STEPS, (*CLIENT_KINDS, DEPLOYED)),
    **dict.fromkeys(SQL_STEPS + CUT_STEPS, SQL_KINDS),
    "lock": SQL_KINDS + LOCK_KINDS,
    VAULT_STEP: VAULT_KINDS,
}
_SQL = {
    "pg_stat_activity": "safe high",
    "GREATEST(high": "window",
    "LOCK TABLE": "lock",
    "query_export_to_s3": "export",
    "COMMIT": "commit",
    "pg_relation_size": "cut",
    "TABLESAMPLE": "bounds",
}


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass(kw_only=True)
class Fault:
    """What is to happen.

    Attributes:
        step: At which step of the protocol.
        kind: What.
        skip: How many calls of that step come through before.
    """

    step: str
    kind: str
    skip: int = 0

    def __str__(self) -> str:
        return f"{self.kind} at {self.step}" + (f" +{self.skip}" * bool(self.skip))


@dataclass(kw_only=True)
class Life:
    """One run of the exporter, as the outside sees it.

    Attributes:
        fault: What is to happen to it, if anything.
        hits: Counts the faults that did happen, by step and kind.
        between: What else a fault can be: what others do meanwhile, by kind.
        end_session: Ends a session at the server, given its process id.
        dead: Whether the process was killed.
        pid: Of its session.
        exporting: Whether a transaction of it has its snapshot.
    """

    fault: Fault | None
    hits: Counter[tuple[str, str]]
    between: dict[str, Callable[[Callable[[], Any]], Any]]
    end_session: Callable[[int], None]
    dead: bool = False
    pid: int = 0
    exporting: bool = False
    _skipped: int = field(default=0)

    def call(
        self, step: str, work: Callable[[], Any], refuse: Callable[[], Any]
    ) -> Any:
        """Make one call, or let it be hit.

        Args:
            step: Of the protocol.
            work: The call.
            refuse: Fails as the other side fails.
        """
        if self.dead:
            raise Killed
        kind = self._kind(step)
        if kind in self.between:
            return self.between[kind](work)
        if kind == "killed before":
            self._die()
            raise Killed
        if kind in ("refused", "session ended"):
            return refuse()
        answer = work()
        if kind == "sent twice":
            return work()
        if kind == "answer lost":
            raise ReadTimeoutError(endpoint_url=step)
        if kind.startswith("killed"):
            self._die()
            if kind == "killed inside":
                raise Killed
        return answer

    def _kind(self, step: str) -> str:
        fault = self.fault
        if fault is None or fault.step != step:
            return ""
        if self._skipped < fault.skip:
            self._skipped += 1
            return ""
        self.fault = None
        self.hits[step, fault.kind] += 1
        return fault.kind

    def _die(self) -> None:
        self.dead = True
        if self.pid:
            self.end_session(self.pid)


class FaultyLedger:
    """The DynamoDB table of one run."""

    def __init__(self, table: Any, life: Life) -> None:
        self._table, self._life, self.name = table, life, table.name

    def update_item(self, **request: Any) -> Any:
        """Name the step by what is written."""
        names = set(request["ExpressionAttributeNames"].values())
        step = "ledger"
        if request["Key"]["sk"].startswith("CHUNK"):
            step = "chunk note"
        elif "lease_token" in names:
            step = "lease"
        elif "lease_until" in names:
            step = "release"
        elif names == {"refusal"} or names == {"busy"}:
            step = "note"
        return self._call(step, "update_item", request)

    def query(self, **request: Any) -> Any:
        """Name the step by what is read."""
        _, wanted = request["KeyConditionExpression"].get_expression()["values"]
        step = "chunks read"
        if wanted.get_expression()["values"][1] == STATE_KEY:
            step = "fence" if self._life.exporting else "plan read"
        return self._call(step, "query", request)

    def _call(self, step: str, name: str, request: dict[str, Any]) -> Any:
        return self._life.call(
            step,
            lambda: getattr(self._table, name)(**request),
            lambda: refused("ProvisionedThroughputExceededException", 400, name),
        )


class FaultyLake:
    """The S3 client of one run."""

    def __init__(self, s3: Any, life: Life) -> None:
        self._s3, self._life = s3, life

    def __getattr__(self, name: str) -> Any:
        step = "manifest" if name == "put_object" else "follow"
        return lambda **request: self._life.call(
            step,
            lambda: getattr(self._s3, name)(**request),
            lambda: refused("SlowDown", 503, name),
        )


class FaultySqs:
    """The SQS client of one run."""

    def __init__(self, sqs: Any, life: Life) -> None:
        self._sqs, self._life = sqs, life

    def send_message_batch(self, **request: Any) -> Any:
        """Send chunks, or one message that looks again."""
        return self._life.call(
            "chunks sent",
            lambda: self._sqs.send_message_batch(**request),
            lambda: refused("ThrottlingException", 400, "SendMessageBatch"),
        )


def refused(code: str, status: int, operation: str) -> None:
    """Fail as AWS does."""
    metadata: Any = {"HTTPStatusCode": status}
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": metadata}
    raise ClientError(answer, operation)


class _Cursor:
    """The cursor of one run."""

    def __init__(self, cursor: Any, life: Life) -> None:
        self._cursor, self._life = cursor, life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, query: Any, parameters: Any = None) -> None:
        """Name the step by the statement."""
        text = query if isinstance(query, str) else query.as_string(self._cursor)
        step = next((name for mark, name in _SQL.items() if mark in text), "other")

        def work() -> None:
            self._cursor.execute(query, parameters)

        def refuse() -> None:
            self._life.end_session(self._life.pid)
            work()

        self._life.call(step, work, refuse)
        if step in ("lock", "commit"):
            self._life.exporting = step == "lock"


def faulty_source(life: Life) -> type[Source]:
    """Return the exporter's connection, whose statements can be hit."""

    class FaultySource(Source):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            life.pid = self._connection.info.backend_pid
            life.exporting = False
            self.cursor = _Cursor(self.cursor, life)

    return FaultySource


def faulty_credentials(
    life: Life, user: DatabaseUser, transact: Callable[[], Any]
) -> Any:
    """Return what leases a user: one that was leased before, to be quick.

    Args:
        life: The run.
        user: Who was leased before.
        transact: Takes a transaction id, as making a user does: stamps count on it.
    """

    def refuse_with(settings: Any, aws_keys: Any) -> None:
        nowhere = msgspec.structs.replace(settings, vault_addr="http://127.0.0.1:9")
        with leased_user(nowhere, aws_keys):
            raise AssertionError("nobody listens there")

    @contextmanager
    def leased(settings: Any, aws_keys: Any) -> Iterator[DatabaseUser]:
        life.call(VAULT_STEP, transact, lambda: refuse_with(settings, aws_keys))
        yield user

    return leased
