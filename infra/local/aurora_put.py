"""One object on its way to S3: a PUT whose end is held back until it is wanted.

Until its last chunk nothing is visible, and S3 drops it when the connection ends
early, even by the end of this process. Aurora itself uploads large files in parts;
MiniStack hashes and copies parts twice, which would make an export a fifth slower.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_TIMEOUT_SECONDS = 120
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class S3Error(Exception):
    """S3 refuses or does not answer; worded as Aurora repeats it."""


class S3:
    """Where exports go, and in whose name.

    Args:
        endpoint: Address of S3.
        region: Its region.
        credentials: The cluster's session.
    """

    def __init__(self, endpoint: str, region: str, credentials: Credentials) -> None:
        address = urlsplit(endpoint)
        self._host, self._port = str(address.hostname), address.port
        self._signer = S3SigV4Auth(credentials, "s3", region)

    def begin(self, bucket: str, key: str, encryption: Mapping[str, str]) -> "Put":
        """Send the head of a PUT.

        Args:
            bucket: Name of the bucket.
            key: Key of the object.
            encryption: Headers that ask for its encryption.

        Raises:
            S3Error: A name is not valid, or nobody answers.
        """
        # Otherwise the address would be that of another bucket or request.
        if not _BUCKET.fullmatch(bucket) or not key:
            raise S3Error("InvalidBucketName: not the names of a bucket and an object")
        path = quote(f"/{bucket}/{key}", safe="/-._~")
        # Aurora speaks TLS, where the payload itself is not signed.
        address = f"https://{self._host}:{self._port}{path}"
        request = AWSRequest("PUT", address, dict(encryption))
        request.context["payload_signing_enabled"] = False
        self._signer.add_auth(request)
        line = HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            line.putrequest("PUT", path, skip_accept_encoding=True)
            for name, value in request.headers.items():
                line.putheader(name, value)
            line.putheader("Transfer-Encoding", "chunked")
            line.endheaders()
        except OSError:
            raise S3Error("Unable to connect to endpoint") from None
        except ValueError as error:
            raise S3Error(f"InvalidArgument: {error}") from None
        return Put(line)


class Put:
    """A PUT under way, made by `S3.begin`."""

    def __init__(self, line: HTTPConnection) -> None:
        self._line = line

    def send(self, rows: memoryview) -> None:
        """Send a piece of the body, not an empty one.

        Raises:
            S3Error: S3 refuses already, or is gone.
        """
        self._send(b"%x\r\n" % len(rows), rows, b"\r\n")

    def finish(self) -> None:
        """Send the end: the object appears.

        Raises:
            S3Error: S3 refuses, or does not answer.
        """
        self._send(b"0\r\n\r\n")
        self._answer()

    def close(self) -> None:
        """Drop the object unless it is finished."""
        self._line.close()

    def _send(self, *pieces: bytes | memoryview) -> None:
        try:
            for piece in pieces:
                self._line.sock.sendall(piece)
        except OSError:
            # S3 that refuses before the end answers and closes.
            self._answer()
            raise S3Error("The connection was closed") from None

    def _answer(self) -> None:
        try:
            response = self._line.getresponse()
            text = response.read()
        except (OSError, HTTPException):
            raise S3Error("Unable to connect to endpoint") from None
        if response.status != HTTPStatus.OK:
            raise S3Error(_told(response.status, text))


def _told(status: int, text: bytes) -> str:
    try:
        error = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return f"HTTP status {status}"
    return f"{error.findtext('Code')}: {error.findtext('Message')}"
