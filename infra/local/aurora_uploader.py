"""The sidecar of the emulated aws_s3: takes a stream of rows and puts it into S3.

`PUT /upload/<id>/<target>` stages a stream, `POST /commit/<id>` makes the object
appear. What is not committed shortly after its end is thrown away: the query that fed
it was cancelled or its session died. Memory is bounded by a few parts per upload.

It acts in the role that the program associated with the cluster, which decides what
may be written where; without such a role it answers as Aurora does.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.aws import assumed_client
from infra.local.parts import HOST, Command, LocalStack, Part

PART_BYTES = 8 * 1024 * 1024
# Parts on their way to S3 at once: the next one is read meanwhile.
PARTS_AHEAD = 2
STAGED_SECONDS = 10.0
# How long one session in the role is used.
SESSION_SECONDS = 60
ROLE_FACT = "aurora_role_arn"

_NO_ROLE = {
    "error": "Credentials stored with the database cluster can't be accessed",
    "detail": "No IAM role is associated with the cluster for the feature s3Export.",
    "hint": 'Has the IAM role been associated with the feature-name "s3Export"?',
}


@dataclass(kw_only=True)
class Upload:
    """One object on its way: staged parts of it, and where it shall appear."""

    s3: Any
    where: dict[str, str]
    encryption: dict[str, str]
    size: int = 0
    multipart: str = ""
    first: bytes = b""
    sent: "list[Future[dict[str, Any]]]" = field(default_factory=list)

    def add(self, pool: ThreadPoolExecutor, part: bytes) -> None:
        """Send one more part; waits while enough of them are under way."""
        if not self.multipart:
            self.multipart = self.s3.create_multipart_upload(
                **self.where, **self.encryption
            )["UploadId"]
        if len(self.sent) >= PARTS_AHEAD:
            self.sent[-PARTS_AHEAD].result()
        self.sent.append(pool.submit(self._send, len(self.sent) + 1, part))

    def _send(self, number: int, part: bytes) -> dict[str, Any]:
        answer = self.s3.upload_part(
            **self.where, UploadId=self.multipart, PartNumber=number, Body=part
        )
        return {"ETag": answer["ETag"], "PartNumber": number}

    def commit(self) -> None:
        """Let the object appear."""
        if not self.multipart:
            self.s3.put_object(**self.where, **self.encryption, Body=self.first)
            return
        parts = [future.result() for future in self.sent]
        self.s3.complete_multipart_upload(
            **self.where, UploadId=self.multipart, MultipartUpload={"Parts": parts}
        )

    def abort(self) -> None:
        """Leave nothing behind."""
        if self.multipart:
            for future in self.sent:
                with suppress(ClientError, BotoCoreError):
                    future.result()
            with suppress(ClientError, BotoCoreError):
                self.s3.abort_multipart_upload(**self.where, UploadId=self.multipart)


class Sidecar(ThreadingHTTPServer):
    """The HTTP server with its staged uploads.

    Args:
        stack: The stack it belongs to.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, stack: LocalStack) -> None:
        super().__init__((HOST, stack.port("aurora_s3")), Handler)
        self.stack = stack
        self.token = stack.secret("aurora_s3_token")
        self.pool = ThreadPoolExecutor(max_workers=8)
        self._staged: dict[str, tuple[Upload, threading.Timer]] = {}
        self._lock = threading.Lock()

    def open(self, target: dict[str, Any]) -> Upload:
        """Begin an upload in the cluster's role."""
        role = self.stack.fact(ROLE_FACT)
        if role is None:
            raise LookupError
        kms_key = target.get("kms_key")
        return Upload(
            s3=_in_role(self.stack, role, int(time.monotonic() / SESSION_SECONDS)),
            where={"Bucket": target["bucket"], "Key": target["key"]},
            encryption=(
                {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
                if kms_key
                else {}
            ),
        )

    def stage(self, name: str, upload: Upload) -> None:
        """Keep a finished stream until it is committed, for a short while."""
        timer = threading.Timer(STAGED_SECONDS, self._expire, (name,))
        timer.daemon = True
        with self._lock:
            self._staged[name] = (upload, timer)
        timer.start()

    def take(self, name: str) -> Upload | None:
        """Return a staged upload, once."""
        with self._lock:
            upload, timer = self._staged.pop(name, (None, None))
        if timer is not None:
            timer.cancel()
        return upload

    def _expire(self, name: str) -> None:
        upload = self.take(name)
        if upload is not None:
            upload.abort()


@lru_cache(maxsize=4)
def _in_role(stack: LocalStack, role: str, period: int) -> Any:
    """Return a client in the role; what the role may do is asked at each request."""
    return assumed_client(stack, "s3", "aurora", role)


class Handler(BaseHTTPRequestHandler):
    """Speaks with curl, started by the database server."""

    protocol_version = "HTTP/1.1"
    timeout = 600
    # Headers and body leave in two packets; the second must not wait for an answer.
    disable_nagle_algorithm = True
    server: Sidecar

    def do_PUT(self) -> None:
        """Stage a stream: `/upload/<id>/<hex of the target's JSON>`."""
        _, verb, name, target = (*self.path.split("/"), "", "", "")[:4]
        if verb != "upload" or not self._trusted():
            return self._answer(404, {"error": "no such service"})
        upload = None
        try:
            upload = self.server.open(json.loads(bytes.fromhex(target)))
            for part in self._parts():
                upload.size += len(part)
                if len(part) < PART_BYTES and not upload.multipart:
                    upload.first = part
                else:
                    upload.add(self.server.pool, part)
        except (ClientError, BotoCoreError, LookupError) as error:
            if upload is not None:
                upload.abort()
            self._drain()
            return self._answer(403, _told(error))
        except (OSError, ValueError):  # the client died in the middle
            if upload is not None:
                upload.abort()
            self.close_connection = True
            return None
        self.server.stage(name, upload)
        return self._answer(200, {})

    def do_POST(self) -> None:
        """Commit a staged stream: `/commit/<id>`."""
        _, verb, name = (*self.path.split("/"), "", "")[:3]
        upload = self.server.take(name) if verb == "commit" else None
        if upload is None or not self._trusted():
            return self._answer(404, {"error": "could not upload to Amazon S3"})
        try:
            upload.commit()
        except (ClientError, BotoCoreError) as error:
            upload.abort()
            return self._answer(403, _told(error))
        return self._answer(200, {"files": 1, "bytes": upload.size})

    def _trusted(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {self.server.token}"

    def _parts(self) -> Iterator[bytes]:
        """Regroup the chunked body into parts; the last one may be short or empty."""
        part = bytearray()
        for chunk in self._chunks():
            part += chunk
            while len(part) >= PART_BYTES:
                yield bytes(part[:PART_BYTES])
                del part[:PART_BYTES]
        if part:
            yield bytes(part)

    def _chunks(self) -> Iterator[bytes]:
        # Source of the format: RFC 9112, section 7.1.
        while size := int(self.rfile.readline(32), 16):
            chunk = self.rfile.read(size)
            if len(chunk) < size:
                raise ConnectionError("the stream ended inside a chunk")
            self.rfile.readline(2)
            yield chunk
        self.rfile.readline(2)

    def _drain(self) -> None:
        """Read on for a moment: a reset would eat the answer before curl reads it."""
        self.connection.settimeout(2)
        with suppress(OSError, ValueError):
            for _ in self._chunks():
                pass
        self.close_connection = True

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the log for errors."""


def _told(error: Exception) -> dict[str, str]:
    """Word an S3 error as Aurora does."""
    if isinstance(error, LookupError):
        return _NO_ROLE
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        reason = f"{told.get('Code', '')}: {told.get('Message', '')}"
    else:
        reason = "Unable to connect to endpoint"
    return {
        "error": "could not upload to Amazon S3",
        "detail": f"Amazon S3 client returned '{reason}'.",
    }


def _is_ready(stack: LocalStack) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, stack.port("aurora_s3"))) == 0


PART = Part(
    name="aurora_s3",
    ports=("aurora_s3",),
    command=lambda stack: Command(
        argv=(sys.executable, "-m", "infra.local.aurora_uploader", str(stack.dir)),
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(stack.dir)},
    ),
    is_ready=_is_ready,
)


def main() -> None:
    """Serve one stack until a signal comes."""
    Sidecar(LocalStack(Path(sys.argv[1]))).serve_forever()


if __name__ == "__main__":
    main()
