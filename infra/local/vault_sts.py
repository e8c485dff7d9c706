"""Who signed a login: what Vault's `aws` auth method learns from STS.

The client signs a GetCallerIdentity request and gives it to Vault; Vault sends it
to STS, which alone can check the signature, and reads the caller from the answer.
Source: builtin/credential/aws/path_login.go of Vault.
"""

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from infra.local.parts import HOST
from infra.local.vault_wire import Refusal

SERVER_ID = "X-Vault-AWS-IAM-Server-ID"
_TIMEOUT_SECONDS = 10
_STS_HOST = re.compile(r"sts(\.[a-z0-9-]+)?\.amazonaws\.com")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An IAM principal as STS names it."""

    arn: str

    @property
    def canonical_arn(self) -> str:
        """ARN of the user or role itself; a session's role stands without path."""
        head, _, resource = self.arn.rpartition(":")
        kind, *names = resource.split("/")
        if kind == "assumed-role":
            return f"{head.replace(':sts:', ':iam:')}:role/{names[0]}"
        return self.arn

    @property
    def friendly_name(self) -> str:
        """Name of the user or role."""
        return self.canonical_arn.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class SignedRequest:
    """A signed GetCallerIdentity request, as the client made it.

    Attributes:
        host: The Host that was signed.
        headers: As signed, with the Authorization.
        body: As signed.
    """

    host: str
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "SignedRequest":
        """Read the request out of a login's fields.

        Raises:
            Refusal: A field is missing, unreadable, or asks STS for more than the
                caller's identity.
        """
        method = fields.get("iam_http_request_method")
        if not method:
            raise Refusal(400, "missing iam_http_request_method")
        if method != "POST":
            raise Refusal(
                400,
                "invalid iam_http_request_method; currently only 'POST' is supported",
            )
        url = urlsplit(_decoded(fields, "iam_request_url").decode("latin-1"))
        body = _decoded(fields, "iam_request_body")
        asked = parse_qs(body.decode("latin-1"), keep_blank_values=True)
        if asked.pop("Action", None) != ["GetCallerIdentity"] or set(asked) - {
            "Version"
        }:
            raise Refusal(400, "iam request body is invalid")
        if url.path not in ("", "/") or url.query:
            raise Refusal(400, "iam request url is invalid")
        return cls(
            host=url.netloc,
            headers=_headers(fields),
            body=body,
        )

    def header(self, name: str) -> str:
        """Return a header, whatever its case; empty when absent."""
        for key, value in self.headers.items():
            if key.lower() == name.lower():
                return value
        return ""

    def check_server_id(self, required: str) -> None:
        """Check that the request was signed for this very Vault.

        Raises:
            Refusal: The header is missing, names another Vault or was not signed.
        """
        problem = ""
        got = self.header(SERVER_ID)
        if not got:
            problem = f'missing header "{SERVER_ID}"'
        elif got != required:
            problem = f'expected "{required}" but got "{got}"'
        elif SERVER_ID.lower() not in self._authorization("SignedHeaders").split(";"):
            problem = "vault header wasn't signed"
        if problem:
            raise Refusal(400, f"error validating {SERVER_ID} header: {problem}")

    def caller(self, port: int, region: str | None) -> Caller:
        """Ask the emulated STS who signed.

        Args:
            port: Where emulated AWS listens; the signed Host is kept.
            region: Of the STS endpoint that Vault uses; None for the client's own.

        Raises:
            Refusal: STS refuses the signature, or does not answer.
        """
        scope = self._authorization("Credential").split("/")
        if not _STS_HOST.fullmatch(self.host):
            raise _upstream(f"{self.host} is not an address of STS")
        # MiniStack takes any region; STS refuses one that is not the endpoint's.
        if region is not None and scope[2:3] != [region]:
            raise _upstream(
                "received error code 403 from STS: SignatureDoesNotMatch:"
                f" Credential should be scoped to a valid region: {region}"
            )
        line = HTTPConnection(HOST, port, timeout=_TIMEOUT_SECONDS)
        try:
            line.putrequest("POST", "/", skip_host=True, skip_accept_encoding=True)
            line.putheader("Host", self.host)
            line.putheader("Content-Length", str(len(self.body)))
            for name, value in self.headers.items():
                if name.lower() not in ("host", "content-length"):
                    line.putheader(name, value)
            line.endheaders(self.body)
            reply = line.getresponse()
            text = reply.read()
        except (OSError, HTTPException, ValueError) as error:
            raise _upstream(str(error)) from error
        finally:
            line.close()
        if reply.status != 200:
            raise _upstream(
                f"received error code {reply.status} from STS: {text.decode()}"
            )
        arn = ElementTree.fromstring(text).findtext("{*}GetCallerIdentityResult/{*}Arn")
        if arn is None:
            raise _upstream("STS answered something else than the caller's identity")
        return Caller(arn=arn)

    def _authorization(self, part: str) -> str:
        found = re.search(rf"{part}=([^,\s]+)", self.header("Authorization"))
        return found.group(1) if found else ""


def _upstream(problem: str) -> Refusal:
    return Refusal(400, f"error making upstream request: {problem}")


def _decoded(fields: Mapping[str, Any], name: str) -> bytes:
    if not fields.get(name):
        raise Refusal(400, f"missing {name}")
    try:
        return b64decode(fields[name], validate=True)
    except (ValueError, TypeError) as error:
        raise Refusal(400, f"failed to base64 decode {name}") from error


def _headers(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the signed headers; Vault takes them as an object or as base64 JSON."""
    given = fields.get("iam_request_headers")
    if not isinstance(given, dict):
        try:
            given = json.loads(_decoded(fields, "iam_request_headers"))
        except ValueError as error:
            raise Refusal(400, f"error parsing iam_request_headers: {error}") from error
    if not isinstance(given, dict):
        raise Refusal(400, "error parsing iam_request_headers: not an object")
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in given.items()
    }
