"""A TLS front before a server that has none, and certificates made for one test.

The wheel's PostgreSQL is built without TLS, and the local Vault listens without it. The
front answers PostgreSQL's SSLRequest as a server with TLS does, then pipes to the real
server; before Vault it begins TLS at once.
Source: https://www.postgresql.org/docs/current/protocol-flow.html
"""

import datetime
import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from select import select

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
_SECONDS = 10.0
_DAY = datetime.timedelta(days=1)


class Authority:
    """A CA of one test.

    Args:
        folder: Where its files are written.
        name: Its name, of the files too.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        self.file = folder / f"{name}.pem"
        certificate = self._sign(self._subject, self._key, ca=True)
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, host: str = "localhost", days: int = 1) -> ssl.SSLContext:
        """Return the context of a server with a certificate for a host.

        Args:
            host: Name or address that the certificate is for.
            days: How long it is still valid; negative for an expired one.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(host), key, host=host, days=days)
        file = self._folder / f"{self._name}-{host}-{days}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        host: str = "",
        days: int = 1,
    ) -> x509.Certificate:
        end = datetime.datetime.now(datetime.UTC) + days * _DAY
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 30 * _DAY)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
        )
        if host:
            names = x509.SubjectAlternativeName([_general_name(host)])
            builder = builder.add_extension(names, False)
        return builder.sign(self._key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@dataclass(kw_only=True)
class Front:
    """A front that listens.

    Attributes:
        target: Port of the real server.
        context: With the server's certificate; None for a server without TLS.
        postgres: Whether clients ask for TLS first, as PostgreSQL's do.
        port: Where it listens.
        handshakes: How many clients it has talked to over TLS.
        asked: The first bytes of each client that were not encrypted.
        clear: What clients sent unencrypted after they were told that there is no TLS.
    """

    target: int
    context: ssl.SSLContext | None
    postgres: bool
    port: int = 0
    handshakes: int = 0
    asked: list[bytes] = field(default_factory=list)
    clear: bytes = b""

    def serve(self, near: socket.socket) -> None:
        """Talk to one client until either side ends."""
        with near, suppress(OSError):
            near.settimeout(_SECONDS)
            if self.postgres:
                self.asked.append(near.recv(len(SSL_REQUEST)))
                near.sendall(b"S" if self.context else b"N")
            if self.context is None:
                self.clear += near.recv(1000)
                return
            with self.context.wrap_socket(near, server_side=True) as encrypted:
                self.handshakes += 1
                with socket.create_connection(("127.0.0.1", self.target)) as far:
                    _pipe(encrypted, far)


def _pipe(near: ssl.SSLSocket, far: socket.socket) -> None:
    while True:
        ready = [near] if near.pending() else select([near, far], [], [])[0]
        for source in ready:
            piece = source.recv(65536)
            if not piece:
                return
            (far if source is near else near).sendall(piece)


@contextmanager
def tls_front(
    target: int, context: ssl.SSLContext | None, *, postgres: bool = True
) -> Iterator[Front]:
    """Run a front before a port of this machine; see `Front`."""
    front = Front(target=target, context=context, postgres=postgres)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            front.serve(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        front.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()
