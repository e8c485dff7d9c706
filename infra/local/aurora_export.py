"""Exports under way: rows come in, objects go out, a buffer in between.

The first call sends all rows, the second asks for the objects. What is not asked for
in time is dropped: a backend that was killed in the middle looks, in the first call,
exactly like one that has finished.
"""

import threading
import time
from collections.abc import Mapping
from io import BufferedIOBase
from typing import Any

from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.aurora_put import S3, Put, S3Error
from infra.local.aws import client
from infra.local.parts import AWS_REGION, LocalStack

_BUFFER_BYTES = 2**18
# Beyond this size Aurora goes on in `<key>_part2`; the fact aws_s3_part_bytes changes
# it. Source: AuroraUserGuide, postgresql-s3-export.
_OBJECT_BYTES = 6 * 2**30
# How long rows wait for the second call; the fact aws_s3_commit_seconds changes it.
_COMMIT_SECONDS = 10
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


class Body:
    """A request body in chunked transfer coding, the way curl sends a pipe.

    Args:
        stream: Where the request is read from.
    """

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._left = 0
        self.ended = False

    def fill(self, room: memoryview) -> int:
        """Read until the room is full or the body has ended.

        Returns:
            How many bytes were read.

        Raises:
            ConnectionError: The sender is gone in the middle.
        """
        done = 0
        while done < len(room) and self._more():
            size = self._stream.readinto(room[done : done + self._left])
            if not size:
                raise ConnectionError("the body ends inside a chunk")
            done += size
            self._left -= size
            if not self._left:
                self._stream.readline()
        return done

    def _more(self) -> bool:
        if not self._left and not self.ended:
            line = self._stream.readline()
            if not line:
                raise ConnectionError("the body has no last chunk")
            self._left = int(line, 16)
            self.ended = not self._left
        return not self.ended


class Export:
    """The objects of one export; more than one when it is larger than an object.

    Args:
        s3: Where they go.
        bucket: Name of the bucket.
        key: Key of the first object; the next ones are `<key>_part2` and so on.
        encryption: Headers that ask for the objects' encryption.
        object_bytes: Size at which the next object begins, if need be within a row.
    """

    def __init__(
        self,
        s3: S3,
        *,
        bucket: str,
        key: str,
        encryption: Mapping[str, str],
        object_bytes: int,
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._key = key
        self._encryption = encryption
        self._object_bytes = object_bytes
        self._objects: list[Put] = []
        self._bytes = 0
        self.staged_at = 0.0

    def stage(self, body: Body) -> None:
        """Send all rows, invisibly.

        Raises:
            S3Error: S3 refuses, or does not answer.
            ConnectionError: The sender of the rows is gone.
        """
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while not body.ended:
            in_object = self._bytes % self._object_bytes
            size = body.fill(buffer[: self._object_bytes - in_object])
            # No rows make an empty object, but no empty `_part2`.
            if in_object == 0 and (size or not self._objects):
                self._begin()
            if size:
                self._objects[-1].send(buffer[:size])
                self._bytes += size
        self.staged_at = time.monotonic()

    def _begin(self) -> None:
        number = len(self._objects) + 1
        key = self._key if number == 1 else f"{self._key}_part{number}"
        self._objects.append(self._s3.begin(self._bucket, key, self._encryption))

    def commit(self) -> dict[str, int]:
        """Make the objects appear, in order.

        Returns:
            How many `files` and `bytes` there are.

        Raises:
            S3Error: S3 refuses, or does not answer.
        """
        for each in self._objects:
            each.finish()
        return {"files": len(self._objects), "bytes": self._bytes}

    def close(self) -> None:
        """Drop what has not appeared."""
        for each in self._objects:
            each.close()


class Exports:
    """All exports of a stack, and the cluster's session with S3.

    Args:
        stack: The stack.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._lock = threading.Lock()
        self._staged: dict[str, Export] = {}
        self._session: tuple[str, float, Credentials] | None = None

    def stage(self, name: str, order: Mapping[str, str], body: Body) -> None:
        """Send the rows of an export to S3, invisibly.

        Args:
            name: Identity of the export.
            order: Its `bucket`, `key`, and if given `region` and `kms_key`.
            body: The rows.

        Raises:
            Refused: S3 does not take them.
            ConnectionError: The sender is gone.
        """
        if order.get("region", AWS_REGION) != AWS_REGION:
            raise Refused(error=f"PermanentRedirect: the bucket is in {AWS_REGION}")
        encryption = {}
        if "kms_key" in order:
            encryption[_ENCRYPTION] = "aws:kms"
            encryption[f"{_ENCRYPTION}-aws-kms-key-id"] = order["kms_key"]
        export = Export(
            S3(self._stack.url("aws"), AWS_REGION, self._credentials()),
            bucket=order["bucket"],
            key=order["key"],
            encryption=encryption,
            object_bytes=self._stack.fact("aws_s3_part_bytes", _OBJECT_BYTES),
        )
        try:
            export.stage(body)
        except S3Error as error:
            export.close()
            raise self._refusal(error) from error
        except ConnectionError:
            export.close()
            raise
        with self._lock:
            self._staged[name] = export

    def commit(self, name: str) -> dict[str, int]:
        """Make the objects of a staged export appear; see `Export.commit`.

        Raises:
            Refused: S3 does not do it, or it was not asked in time.
        """
        with self._lock:
            export = self._staged.pop(name, None)
        if export is None:
            raise Refused(error="RequestTimeout: the rows were not asked for in time")
        try:
            return export.commit()
        except S3Error as error:
            raise self._refusal(error) from error
        finally:
            export.close()

    def sweep(self) -> None:
        """Drop what was not asked for in time."""
        seconds = self._stack.fact("aws_s3_commit_seconds", _COMMIT_SECONDS)
        limit = time.monotonic() - seconds
        with self._lock:
            known = self._staged.items()
            late = {name: each for name, each in known if each.staged_at < limit}
            for name in late:
                del self._staged[name]
        for export in late.values():
            export.close()

    def _refusal(self, error: S3Error) -> Refused:
        # It may be the session that S3 no longer accepts.
        self._session = None
        return Refused(error=str(error))

    def _credentials(self) -> Credentials:
        """Return the session in the role that is associated with the cluster now."""
        role = self._stack.fact("aurora_role_arn")
        if role is None:
            raise Refused(no_credentials="No IAM role is associated for s3Export.")
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
