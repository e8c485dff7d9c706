"""Config and contracts as the deployed function has them."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from botocore.exceptions import ClientError

from infra import bundle
from infra.planning.deployed import deployed
from runtime.ops.invoke import FunctionError
from tests.factories import make_entry, make_table


class NotFound(Exception):
    """As boto3 makes its errors, by client."""


class Client:
    """Lambda with one function."""

    class exceptions:
        ResourceNotFoundException = NotFound

    def __init__(self, answer: Any = None) -> None:
        self._answer = answer

    def get_function(self, FunctionName: str) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return {"Code": {"Location": "https://code"}}


class Response:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def raise_for_status(self) -> None:
        """Nothing is wrong."""


def package(folder: Path, files: dict[str, bytes]) -> bytes:
    return bundle.write(files, folder / "exporter.zip").read_bytes()


def served(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(requests, "get", lambda *_, **__: Response(content))


def config() -> dict[str, bytes]:
    contract = msgspec.json.encode(make_table().contract)
    return {
        "config/sync_config.json": json.dumps({"tables": [make_entry()]}).encode(),
        "config/contracts/public.orders.json": contract,
        "config/certs/ca.pem": b"",
        "runtime/__init__.py": b"",
    }


def test_its_tables_are_read_from_its_own_code(tmp_path, monkeypatch):
    served(monkeypatch, package(tmp_path, config()))
    found = deployed(Client(), "f")
    assert found is not None
    assert found.tables == (make_table(),)
    assert found.files == config()


def test_before_the_first_deployment_there_are_none():
    assert deployed(Client(NotFound()), "f") is None


def test_a_right_that_is_missing_is_named():
    denied = ClientError({"Error": {"Code": "AccessDenied"}}, "GetFunction")
    with pytest.raises(FunctionError, match="lambda:GetFunction"):
        deployed(Client(denied), "f")


def test_code_that_cannot_be_fetched_is_told(monkeypatch):
    def get(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(FunctionError, match="ConnectionError"):
        deployed(Client(), "f")


@pytest.mark.parametrize(
    "change",
    [
        {"config/sync_config.json": b"{}"},
        {"config/sync_config.json": None},
        {"config/contracts/public.orders.json": b"no JSON"},
    ],
)
def test_what_this_version_cannot_read_is_told(tmp_path, monkeypatch, change):
    files = {k: v for k, v in (config() | change).items() if v is not None}
    served(monkeypatch, package(tmp_path, files))
    with pytest.raises(FunctionError, match="cannot be read by this version"):
        deployed(Client(), "f")


def test_what_is_no_zip_is_told(monkeypatch):
    served(monkeypatch, b"<html>")
    with pytest.raises(FunctionError, match="cannot be read by this version"):
        deployed(Client(), "f")
