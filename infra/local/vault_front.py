"""Vault's address in a local stack: passes requests to OpenBao, adds `aws` logins.

Run as `python -m infra.local.vault_front <folder of the stack>`.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from infra.local.parts import HOST, LocalStack
from infra.local.vault_aws_auth import AwsAuth
from infra.local.vault_wire import Answer, OpenBao, Refusal, Request, SigningKey


class VaultFront(ThreadingHTTPServer):
    """The server; one thread for each connection.

    Args:
        stack: The stack whose Vault this is.
    """

    daemon_threads = True
    # A burst of functions logs in at once; five waiting connections are too few.
    request_queue_size = 128

    def __init__(self, stack: LocalStack) -> None:
        self._bao = OpenBao(stack)
        key = SigningKey(stack.part_dir("vault") / "signing_key.pem")
        self._aws_auth = AwsAuth(stack, self._bao, key)
        super().__init__((HOST, stack.port("vault")), _Handler)

    def answer(self, request: Request) -> Answer:
        """Return what Vault answers."""
        try:
            return self._aws_auth.answer(request) or self._bao.send(request)
        except Refusal as refusal:
            return refusal.answer()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    server: VaultFront

    def _serve(self) -> None:
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
            return self._send(Refusal(411, "send a Content-Length").answer())
        length = int(self.headers.get("Content-Length", 0))
        request = Request(
            method=self.command,
            target=self.path,
            headers=dict(self.headers.items()),
            body=self.rfile.read(length),
        )
        return self._send(self.server.answer(request))

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_LIST = _serve


def main() -> None:
    """Serve the stack in the folder that the command line names."""
    with VaultFront(LocalStack(Path(sys.argv[1]))) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
