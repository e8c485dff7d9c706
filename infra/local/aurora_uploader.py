"""Carries exports to S3 as Aurora does: the sidecar of a local stack's PostgreSQL.

It answers the two calls that the SQL functions (aurora_s3.sql) make through curl, and
plays the cluster's identity towards AWS.
"""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from hmac import compare_digest
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from infra.local.aurora_export import Body, Exports, Refused
from infra.local.parts import HOST, Command, LocalStack, Part
from infra.local.postgres import home, make_server_folder, server_account
from infra.local.processes import LocalError

_ANSWER_SECONDS = 60
_DRAIN_SECONDS = 2


class _Handler(BaseHTTPRequestHandler):
    """Answers curl: GET tells that we live, PUT stages rows, POST asks for them."""

    protocol_version = "HTTP/1.1"
    # curl passes on what it finds in the pipe: about 4 KiB a chunk.
    rbufsize = 2**18
    # The answer leaves in two packets, the second without waiting for curl's word.
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:
        self._answer(HTTPStatus.OK, {})

    def do_PUT(self) -> None:
        try:
            name, order = self._call()
            self.server.exports.stage(name, order, Body(self.rfile))
            self._answer(HTTPStatus.OK, {"bytes": 0})
        except Refused as refused:
            self._answer(HTTPStatus.BAD_REQUEST, refused.answer)
            self._drain()

    def do_POST(self) -> None:
        try:
            name, _ = self._call()
            self._answer(HTTPStatus.OK, self.server.exports.commit(name))
        except Refused as refused:
            self._answer(HTTPStatus.BAD_REQUEST, refused.answer)

    def _call(self) -> tuple[str, dict[str, str]]:
        """Return the identity of the export and what is ordered, from hexadecimal."""
        given = self.headers.get("Authorization", "")
        if not compare_digest(given, self.server.authorization):
            raise Refused(error="AccessDenied: not a call of this stack's PostgreSQL")
        address = urlsplit(self.path)
        return PurePosixPath(address.path).stem, {
            name: bytes.fromhex(value).decode()
            for name, value in parse_qsl(address.query)
        }

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def _drain(self) -> None:
        """Read on for a while: closed at once, the answer would be lost in a reset."""
        self.connection.settimeout(_DRAIN_SECONDS)
        until = time.monotonic() + _DRAIN_SECONDS
        with suppress(OSError):
            while time.monotonic() < until and self.rfile.read1():
                pass

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the log to what fails."""


class Server(ThreadingHTTPServer):
    """The sidecar of one stack; one thread per call."""

    request_queue_size = 128

    def __init__(self, stack: LocalStack) -> None:
        super().__init__((HOST, stack.port("aurora_s3")), _Handler)
        self.exports = Exports(stack)
        self.authorization = _authorization(stack)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that are gone: their export is aborted."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _authorization(stack: LocalStack) -> str:
    return f"Bearer {stack.secret('aurora_s3_token')}"


def sweep(answers: Path) -> None:
    """Remove the answers that PostgreSQL has read long ago."""
    for answer in answers.iterdir():
        with suppress(FileNotFoundError):
            if answer.stat().st_mtime < time.time() - _ANSWER_SECONDS:
                answer.unlink()


def _sweep_for_ever(exports: Exports, answers: Path) -> None:
    while True:
        time.sleep(0.5)
        exports.sweep()
        sweep(answers)


def main() -> None:
    """Serve the stack whose folder is the argument."""
    stack = LocalStack(Path(sys.argv[1]))
    with Server(stack) as server:
        sweeping = (server.exports, home(stack) / "answers")
        threading.Thread(target=_sweep_for_ever, args=sweeping, daemon=True).start()
        server.serve_forever()


def _prepare(stack: LocalStack) -> None:
    """Write how curl calls us, where only PostgreSQL can read it."""
    checked = subprocess.run(
        ["curl", "-q", "--fail-with-body", "--version"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=10,
    )
    if checked.returncode != 0:
        raise LocalError(
            "the installed curl is too old",
            subject="local part aurora_s3",
            allowed="7.76 or newer",
        )
    make_server_folder(home(stack) / "answers")
    settings = home(stack) / "curl.conf"
    settings.unlink(missing_ok=True)
    settings.touch(mode=0o600)
    account = server_account()
    os.chown(settings, account.pw_uid, account.pw_gid)
    options = {
        "fail-with-body": "",
        "silent": "",
        "show-error": "",
        "noproxy": "*",
        "connect-timeout": "5",
        # Whatever the address says; without waiting for a go-ahead.
        "connect-to": f"::{HOST}:{stack.port('aurora_s3')}",
        "header": f"Authorization: {_authorization(stack)}",
    }
    lines = [
        f'{name} = "{value}"\n' if value else f"{name}\n"
        for name, value in options.items()
    ]
    settings.write_text("".join(lines) + 'header = "Expect:"\n')


def _command(stack: LocalStack) -> Command:
    return Command(
        argv=(sys.executable, "-m", "infra.local.aurora_uploader", str(stack.dir)),
        env={"PATH": "/usr/bin:/bin", "HOME": str(stack.part_dir("aurora_s3"))},
    )


def _is_ready(stack: LocalStack) -> bool:
    line = HTTPConnection(HOST, stack.port("aurora_s3"), timeout=2)
    try:
        line.request("GET", "/")
        return line.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        line.close()


PART = Part(
    name="aurora_s3",
    ports=("aurora_s3",),
    needs=("aws", "postgres"),
    prepare=_prepare,
    command=_command,
    is_ready=_is_ready,
)

if __name__ == "__main__":
    main()
