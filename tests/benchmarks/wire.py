"""Round trips on the wire: a proxy before PostgreSQL that counts turns.

A turn begins when the client sends something after the server has spoken, and counts
when the server answers it. Turns up to the server's first ReadyForQuery are the start
(encryption request, start-up, authentication); the end of the session is not answered
and so not counted.
"""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from infra.local import aws
from infra.local.parts import HOST
from tests.benchmarks.ground import Ground

# Message type, its length, and `I`: idle, no transaction.
# Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
_READY = b"Z\x00\x00\x00\x05I"


@dataclass
class Turns:
    """What one connection has said."""

    start: int = 0
    work: int = 0
    ready: bool = False
    waiting: bool = False
    spoken: bytearray = field(default_factory=bytearray)

    def asked(self) -> None:
        self.waiting = True

    def answered(self, data: bytes) -> None:
        if self.waiting:
            self.waiting = False
            if self.ready:
                self.work += 1
            else:
                self.start += 1
        if not self.ready:
            self.spoken += data
            self.ready = _READY in self.spoken


@contextmanager
def counted(ground: Ground) -> Iterator[list[Turns]]:
    """Send the deployed function's sessions through a counting proxy.

    Yields:
        One entry per connection, as they come.
    """
    found: list[Turns] = []
    client = aws.client(ground.parts, "lambda")
    function = ground.output("function")
    settings = client.get_function_configuration(FunctionName=function)["Environment"]
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        changed = settings["Variables"] | {"SYNC_AURORA_PORT": str(port)}
        target = HOST, ground.parts.port("postgres")
        worker = threading.Thread(
            target=_serve, args=(server, target, found), daemon=True
        )
        worker.start()
        try:
            client.update_function_configuration(
                FunctionName=function, Environment={"Variables": changed}
            )
            yield found
        finally:
            client.update_function_configuration(
                FunctionName=function, Environment=settings
            )
            server.shutdown(socket.SHUT_RDWR)
            worker.join(10)


def _serve(server: socket.socket, target: tuple[str, int], found: list[Turns]) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            turns = Turns()
            found.append(turns)
            with closing(client), closing(socket.create_connection(target)) as behind:
                _carry(client, behind, turns)


def _carry(client: socket.socket, behind: socket.socket, turns: Turns) -> None:
    with selectors.DefaultSelector() as ready:
        ready.register(client, selectors.EVENT_READ)
        ready.register(behind, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not data:
                    return
                if key.fileobj is client:
                    turns.asked()
                    behind.sendall(data)
                else:
                    turns.answered(data)
                    client.sendall(data)
