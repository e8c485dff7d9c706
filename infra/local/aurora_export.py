"""Exports under way: rows come in through a pipe, objects go out to S3.

PostgreSQL is given a named pipe, writes all rows into it, and then asks for the
objects. What is not asked for in time is dropped: a backend that was killed in the
middle looks, at the pipe, exactly like one that has finished.

A pipe and not the input of curl: all of this competes with the query for a few cores,
and curl alone would take half as much as the query.
"""

import fcntl
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.aurora_put import S3, Put, S3Error
from infra.local.aws import client
from infra.local.parts import AWS_REGION, LocalStack
from infra.local.postgres import home, server_account

_BUFFER_BYTES = 2**18
# The most that Linux lets anyone have; elsewhere a pipe keeps its size.
_PIPE_BYTES = 2**20
# Beyond this size Aurora goes on in `<key>_part2`; the fact aws_s3_part_bytes changes
# it. Source: AuroraUserGuide, postgresql-s3-export.
_OBJECT_BYTES = 6 * 2**30
# How long a pipe waits for rows to begin, and rows for being asked for; the fact
# aws_s3_commit_seconds changes it.
_COMMIT_SECONDS = 30
_END_SECONDS = 120
# MiniStack looks a role's policy up at every request: only the session is kept.
_SESSION_SECONDS = 300
_ENCRYPTION = "x-amz-server-side-encryption"


class Refused(Exception):
    """An export cannot be done.

    Args:
        answer: What the SQL function turns into its error: `error` by S3, or
            `no_credentials` of the cluster.
    """

    def __init__(self, **answer: str) -> None:
        super().__init__(*answer.values())
        self.answer = answer


class Export:
    """The objects of one export; more than one when it is larger than an object.

    Args:
        s3: Where they go.
        pipe: Where the rows come from; made here, for the server to open.
        bucket: Name of the bucket.
        key: Key of the first object; the next ones are `<key>_part2` and so on.
        encryption: Headers that ask for the objects' encryption.
        object_bytes: Size at which the next object begins, if need be within a row.

    Raises:
        S3Error: S3 does not answer, or a name is not valid.
    """

    def __init__(
        self,
        s3: S3,
        pipe: Path,
        *,
        bucket: str,
        key: str,
        encryption: Mapping[str, str],
        object_bytes: int,
    ) -> None:
        self._s3 = s3
        self._pipe = pipe
        self._bucket = bucket
        self._key = key
        self._encryption = encryption
        self._object_bytes = object_bytes
        self._objects: list[Put] = []
        self._bytes = 0
        # Until all rows are through, for whatever reason they may not be.
        self._failure: S3Error | None = S3Error("InternalError: see the log")
        self._ended = threading.Event()
        # Since when it waits, for rows or for being asked; None while rows flow.
        self.waits_since: float | None = time.monotonic()
        self._begin()
        account = server_account()
        os.mkfifo(pipe, 0o600)
        os.chown(pipe, account.pw_uid, account.pw_gid)
        threading.Thread(target=self._run, daemon=True).start()

    def _begin(self) -> None:
        number = len(self._objects) + 1
        key = self._key if number == 1 else f"{self._key}_part{number}"
        self._objects.append(self._s3.begin(self._bucket, key, self._encryption))

    def _run(self) -> None:
        try:
            with self._pipe.open("rb", buffering=0) as rows:
                # Both sides have it open; nobody else may.
                self._pipe.unlink()
                with suppress(AttributeError, OSError):
                    fcntl.fcntl(rows, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
                self.waits_since = None
                self._carry(rows)
            self._failure = None
        except S3Error as failure:
            self._failure = failure
        finally:
            self.waits_since = time.monotonic()
            self._ended.set()

    def _carry(self, rows: FileIO) -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while size := _fill(rows, buffer[: self._room()]):
            # Only now: rows that end at the limit begin no empty `_part2`.
            if self._bytes and self._bytes % self._object_bytes == 0:
                self._begin()
            self._objects[-1].send(buffer[:size])
            self._bytes += size

    def _room(self) -> int:
        return self._object_bytes - self._bytes % self._object_bytes

    def commit(self) -> dict[str, int]:
        """Make the objects appear, in order; PostgreSQL has written its last row.

        Returns:
            How many `files` and `bytes` there are.

        Raises:
            S3Error: S3 refuses, or does not answer.
        """
        if not self._ended.wait(_END_SECONDS):
            raise S3Error("Unable to connect to endpoint")
        if self._failure is not None:
            raise self._failure
        for each in self._objects:
            each.finish()
        return {"files": len(self._objects), "bytes": self._bytes}

    def drop(self) -> None:
        """Drop what has not appeared; no harm when all has."""
        if not self._ended.is_set():
            # The thread waits for a writer that does not come.
            with suppress(OSError):
                os.close(os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK))
        for each in self._objects:
            each.close()


def _fill(rows: FileIO, room: memoryview) -> int:
    """Read until the room is full or the rows have ended; return how many bytes."""
    done = 0
    while done < len(room) and (size := rows.readinto(room[done:])):
        done += size
    return done


class Exports:
    """All exports of a stack, and the cluster's session with S3.

    Args:
        stack: The stack.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._pipes = home(stack) / "pipes"
        self._lock = threading.Lock()
        self._known: dict[str, Export] = {}
        self._assuming = threading.Lock()
        self._session: tuple[str, float, Credentials] | None = None

    def begin(self, name: str, order: Mapping[str, str]) -> dict[str, str]:
        """Get ready for the rows of an export.

        Args:
            name: Identity of the export.
            order: Its `bucket`, `key`, and if given `region` and `kms_key`.

        Returns:
            The `pipe` to write them to.

        Raises:
            Refused: They cannot be exported.
        """
        if order.get("region", AWS_REGION) != AWS_REGION:
            raise Refused(error=f"PermanentRedirect: the bucket is in {AWS_REGION}")
        encryption = {}
        if "kms_key" in order:
            encryption[_ENCRYPTION] = "aws:kms"
            encryption[f"{_ENCRYPTION}-aws-kms-key-id"] = order["kms_key"]
        pipe = self._pipes / name
        try:
            export = Export(
                S3(self._stack.url("aws"), AWS_REGION, self._credentials()),
                pipe,
                bucket=order.get("bucket", ""),
                key=order.get("key", ""),
                encryption=encryption,
                object_bytes=self._stack.fact("aws_s3_part_bytes", _OBJECT_BYTES),
            )
        except S3Error as error:
            raise self._refusal(error) from error
        with self._lock:
            self._known[name] = export
        return {"pipe": str(pipe)}

    def commit(self, name: str) -> dict[str, int]:
        """Make the objects of an export appear; see `Export.commit`.

        Raises:
            Refused: S3 does not do it, or it was not asked in time.
        """
        with self._lock:
            export = self._known.pop(name, None)
        if export is None:
            raise Refused(error="RequestTimeout: the rows were not asked for in time")
        try:
            return export.commit()
        except S3Error as error:
            raise self._refusal(error) from error
        finally:
            export.drop()

    def sweep(self) -> None:
        """Drop what has waited too long."""
        seconds = self._stack.fact("aws_s3_commit_seconds", _COMMIT_SECONDS)
        limit = time.monotonic() - seconds
        with self._lock:
            late = {
                name: each
                for name, each in self._known.items()
                if each.waits_since is not None and each.waits_since < limit
            }
            for name in late:
                del self._known[name]
        for export in late.values():
            export.drop()

    def _refusal(self, error: S3Error) -> Refused:
        # It may be the session that S3 no longer accepts.
        self._session = None
        return Refused(error=str(error))

    def _credentials(self) -> Credentials:
        """Return the session in the role that is associated with the cluster now."""
        role = self._stack.fact("aurora_role_arn")
        if role is None:
            raise Refused(no_credentials="No IAM role is associated for s3Export.")
        with self._assuming:
            session = self._session
            if session is None or session[0] != role or session[1] < time.monotonic():
                key = self._assume(role)
                until = time.monotonic() + _SESSION_SECONDS
                session = self._session = (role, until, key)
            return session[2]

    def _assume(self, role: str) -> Credentials:
        sts: Any = client(self._stack, "sts", "aurora")
        try:
            answer = sts.assume_role(RoleArn=role, RoleSessionName="aurora")
        except (ClientError, BotoCoreError) as error:
            raise Refused(no_credentials=" ".join(str(error).split())) from error
        key = answer["Credentials"]
        return Credentials(
            key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"]
        )
