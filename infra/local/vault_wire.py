"""Requests and answers between Vault's clients, the front and OpenBao."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from infra.local.parts import HOST, LocalStack
from runtime.contract.errors import CredentialError

# Vault's own limit for a request (its setting default_max_request_duration).
_TIMEOUT_SECONDS = 90
# They belong to one connection, not to the message.
_HOP_HEADERS = frozenset(
    {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client of Vault asks.

    Attributes:
        method: As sent; Vault knows LIST besides the usual ones.
        target: Path with query, beginning with `/v1/`.
        headers: As sent.
        body: As sent; JSON or empty.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def route(self) -> str:
        """The path as Vault's documentation and policies name it."""
        return urlsplit(self.target).path.removeprefix("/v1/").strip("/")

    @property
    def writes(self) -> bool:
        """Whether it creates or updates; POST and PUT are one to Vault."""
        return self.method in ("POST", "PUT")

    @property
    def token(self) -> str:
        """The client's Vault token; empty without one."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        return headers.get("x-vault-token", bearer)

    def with_fields(self, fields: Mapping[str, Any]) -> "Request":
        """Return the same request with another JSON body."""
        return replace(self, body=json.dumps(fields).encode())

    def fields(self) -> dict[str, Any]:
        """Return the JSON object of the body.

        Raises:
            Refusal: The body is something else.
        """
        try:
            fields = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refusal(400, f"error parsing JSON: {error}") from error
        if not isinstance(fields, dict):
            raise Refusal(400, "error parsing JSON: not an object")
        return fields


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What Vault answers; headers without those of the connection."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, status: int, fields: Mapping[str, Any] | None = None) -> "Answer":
        """Return an answer with these JSON fields, or without a body."""
        body = b"" if fields is None else json.dumps(fields).encode()
        return cls(
            status=status, headers={"Content-Type": "application/json"}, body=body
        )


class Refusal(CredentialError):
    """Vault says no, in Vault's own status and words.

    Args:
        status: HTTP status that Vault uses for the case.
        errors: Vault's list of errors, told to the client as it is.
    """

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__("; ".join(errors))
        self.status = status
        self.errors = errors

    def answer(self) -> Answer:
        """Return what the client gets."""
        return Answer.of(self.status, {"errors": list(self.errors)})


class SigningKey:
    """The key pair by which OpenBao knows the front's logins.

    Args:
        file: Where the private key stands; made when absent, for its owner only.
    """

    algorithm = "ES256"

    def __init__(self, file: Path) -> None:
        if not file.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            file.touch(mode=0o600)
            file.write_bytes(pem)
        self.private = file.read_bytes()
        public = load_pem_private_key(self.private, password=None).public_key()
        self.public = public.public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ).decode()


class OpenBao:
    """The stack's OpenBao, which only the front talks to.

    Args:
        stack: The stack; its root token is the front's own.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._port = stack.port("vault_backend")
        self._token = stack.secret("vault_root_token")

    def send(self, request: Request) -> Answer:
        """Pass a request on as it is and return the answer as it is.

        Raises:
            Refusal: OpenBao is down, or does not answer in time.
        """
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _HOP_HEADERS
        }
        line = HTTPConnection(HOST, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            line.request(request.method, request.target, request.body, headers)
            reply = line.getresponse()
            return Answer(
                status=reply.status,
                headers={
                    name: value
                    for name, value in reply.getheaders()
                    if name.lower() not in _HOP_HEADERS
                },
                body=reply.read(),
            )
        except TimeoutError as error:
            raise Refusal(504, "context deadline exceeded") from error
        except (OSError, HTTPException) as error:
            raise Refusal(502, f"Vault does not answer: {error}") from error
        finally:
            line.close()

    def call(self, method: str, route: str, **fields: Any) -> dict[str, Any]:
        """Ask in the front's own name and return the fields of the answer.

        Raises:
            Refusal: With OpenBao's status and errors, for example 503 while sealed.
        """
        answer = self.send(
            Request(
                method=method,
                target=f"/v1/{route}",
                headers={"X-Vault-Token": self._token},
                body=json.dumps(fields).encode() if fields else b"",
            )
        )
        found: dict[str, Any] = json.loads(answer.body or b"{}")
        if answer.status >= 400:
            raise Refusal(answer.status, *found.get("errors", []))
        return found
