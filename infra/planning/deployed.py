"""What is deployed: code, config and contracts in the function's own zip."""

import io
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from runtime.contract.errors import ConfigError
from runtime.contract.loader import load_tables
from runtime.contract.specs import Table
from runtime.ops.invoke import FunctionError

_SECONDS = 60
_CONFIG = "config/sync_config.json"
_OURS = ("config/", "runtime/")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What a function was deployed with.

    Attributes:
        tables: Its tables, by its own config and contracts.
        files: Names and contents of our own files in its zip.
    """

    tables: tuple[Table, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def deployed(client: Any, function: str) -> Deployed | None:
    """Return what the deployed function was deployed with.

    Args:
        client: A client of Lambda.
        function: The function's name.

    Returns:
        Its tables and files; None when there is no such function.

    Raises:
        FunctionError: When its code cannot be had or read.
    """
    subject = f"function {function}"
    try:
        place = client.get_function(FunctionName=function)["Code"]["Location"]
        answer = requests.get(place, timeout=_SECONDS)
        answer.raise_for_status()
        return _read(answer.content)
    except client.exceptions.ResourceNotFoundException:
        return None
    except (ClientError, BotoCoreError, requests.RequestException) as error:
        raise FunctionError(
            f"its code cannot be read ({type(error).__name__})",
            subject=subject,
            remedy="check the credentials, and their right lambda:GetFunction",
        ) from error
    except (zipfile.BadZipFile, KeyError, ConfigError) as error:
        raise FunctionError(
            f"what it was deployed with cannot be read by this version ({error})",
            subject=subject,
            remedy="plan with the version that deployed it, or read the changes of "
            "config and contracts in version control",
        ) from error


def _read(package: bytes) -> Deployed:
    with (
        zipfile.ZipFile(io.BytesIO(package)) as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        ours = [name for name in archive.namelist() if name.startswith(_OURS)]
        archive.extractall(folder, [n for n in ours if n.startswith("config/")])
        archive.getinfo(_CONFIG)
        return Deployed(
            tables=load_tables(Path(folder) / _CONFIG),
            files={name: archive.read(name) for name in ours},
        )
