"""Carries exports to S3 as Aurora does: the sidecar of a local stack's PostgreSQL.

It answers the two calls that the SQL functions (aurora_s3.sql) make through curl, one
before the rows and one after, and plays the cluster's identity towards AWS.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from hmac import compare_digest
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from infra.local.aurora_export import Exports, Refused
from infra.local.parts import HOST, Command, LocalError, LocalStack, Part
from infra.local.postgres import home, make_server_folder, server_account

_ANSWER_SECONDS = 60
_FOLDERS = ("answers", "pipes")
_NAME = re.compile(r"[0-9a-f]{32}")


class _Handler(BaseHTTPRequestHandler):
    """Answers curl; a GET only tells that we live."""

    protocol_version = "HTTP/1.1"
    # The answer leaves in two packets, the second without waiting for curl's word.
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:
        self._answer(HTTPStatus.OK, {})

    def do_POST(self) -> None:
        try:
            name, step, order = self._call()
            if step == ".begin":
                self._answer(HTTPStatus.OK, self.server.exports.begin(name, order))
            else:
                self._answer(HTTPStatus.OK, self.server.exports.commit(name))
        except Refused as refused:
            self._answer(HTTPStatus.BAD_REQUEST, refused.answer)

    def _call(self) -> tuple[str, str, dict[str, str]]:
        """Return the export's identity, the step, and what is ordered."""
        given = self.headers.get("Authorization", "")
        address = urlsplit(self.path)
        call = PurePosixPath(address.path)
        trusted = compare_digest(given, self.server.authorization)
        if not trusted or not _NAME.fullmatch(call.stem):
            raise Refused(error="AccessDenied: not a call of this stack's PostgreSQL")
        return (
            call.stem,
            call.suffix,
            {
                name: bytes.fromhex(value).decode()
                for name, value in parse_qsl(address.query)
            },
        )

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

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
        """Say nothing of callers that are gone: their export is dropped."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _authorization(stack: LocalStack) -> str:
    return f"Bearer {stack.secret('aurora_s3_token')}"


def sweep(folder: Path) -> None:
    """Remove what was left there long ago: answers that PostgreSQL has read."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _ANSWER_SECONDS:
                path.unlink()


def _sweep_for_ever(exports: Exports, folders: Sequence[Path]) -> None:
    while True:
        time.sleep(0.5)
        exports.sweep()
        for folder in folders:
            sweep(folder)


def _release(pipes: Path) -> None:
    """Let go of backends that wait for the sidecar before us, which has died."""
    for path in pipes.iterdir():
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        path.unlink()


def main() -> None:
    """Serve the stack whose folder is the argument."""
    stack = LocalStack(Path(sys.argv[1]))
    _release(home(stack) / "pipes")
    with Server(stack) as server:
        folders = [home(stack) / name for name in _FOLDERS]
        sweeping = (server.exports, folders)
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
            remedy="install a newer one",
        )
    make_server_folder(home(stack) / "answers")
    # Ours: what we read in the server's place must be what we have put there.
    pipes = home(stack) / "pipes"
    pipes.mkdir(exist_ok=True)
    pipes.chmod(0o711)
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
        # Whatever the address says.
        "connect-to": f"::{HOST}:{stack.port('aurora_s3')}",
        "header": f"Authorization: {_authorization(stack)}",
    }
    lines = [
        f'{name} = "{value}"\n' if value else f"{name}\n"
        for name, value in options.items()
    ]
    settings.write_text("".join(lines))


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
