"""A proxy before Vault that does to chosen requests what a bad day does."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOGIN = "/login"
CREDENTIALS = "/database/creds/"
GIVE_BACK_LEASE = "/sys/leases/revoke"
GIVE_BACK_TOKEN = "/auth/token/revoke-self"

Answer = tuple[int, bytes]
# Given what Vault would answer, when asked; None cuts the connection.
Rule = Callable[[Callable[[], Answer], str], Answer | None]


def answer(status: int, body: bytes = b'{"errors": []}') -> Rule:
    """Answer in Vault's place."""
    return lambda forward, token: (status, body)


def cut(forward: Callable[[], Answer], token: str) -> None:
    """Cut the connection before Vault hears of the request."""


def lose_answer(forward: Callable[[], Answer], token: str) -> None:
    """Let Vault do it, and cut the connection."""
    forward()


def late(seconds: float) -> Rule:
    """Answer after that time, without asking Vault."""

    def rule(forward: Callable[[], Answer], token: str) -> Answer:
        time.sleep(seconds)
        return 503, b"{}"

    return rule


def first(do: Callable[[str], object]) -> Rule:
    """Do something with the client's token before Vault is asked."""
    return lambda forward, token: (do(token), forward())[1]


def then(do: Callable[[], object]) -> Rule:
    """Do something between Vault's answer and the client's having it."""
    return lambda forward, token: (forward(), do())[0]


@dataclass(kw_only=True)
class VaultProxy:
    """A proxy that runs.

    Attributes:
        url: Where it is.
        rules: What happens to requests whose path holds a text.
        seen: The paths that were asked for.
    """

    url: str
    rules: dict[str, Rule] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)


@contextmanager
def vault_proxy(port: int) -> Iterator[VaultProxy]:
    """Run a proxy before Vault's port."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            proxy.seen.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = self.headers.get("X-Vault-Token", "")

            def forward() -> Answer:
                far = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                far.request(self.command, self.path, body, dict(self.headers))
                got = far.getresponse()
                found = got.status, got.read()
                far.close()
                return found

            rules = [rule for part, rule in proxy.rules.items() if part in self.path]
            found = rules[0](forward, token) if rules else forward()
            if found is not None:
                status, content = found
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_LIST = handle_any

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                # A client that did not wait for a late answer.
                pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        proxy = VaultProxy(url=f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
