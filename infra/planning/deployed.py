"""The tables as they are deployed: config and contracts in the function's own zip."""

import io
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from runtime.contract.errors import ConfigError
from runtime.contract.loader import load_tables
from runtime.contract.specs import Table
from runtime.ops.invoke import FunctionError

_SECONDS = 60
_CONFIG = "config/sync_config.json"


def deployed_tables(client: Any, function: str) -> tuple[Table, ...] | None:
    """Return the tables that the deployed function knows.

    Args:
        client: A client of Lambda.
        function: The function's name.

    Returns:
        The tables; None when there is no such function.

    Raises:
        FunctionError: When its code cannot be had or read.
    """
    subject = f"function {function}"
    try:
        place = client.get_function(FunctionName=function)["Code"]["Location"]
        answer = requests.get(place, timeout=_SECONDS)
        answer.raise_for_status()
        return _tables(answer.content)
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


def _tables(package: bytes) -> tuple[Table, ...]:
    with (
        zipfile.ZipFile(io.BytesIO(package)) as archive,
        tempfile.TemporaryDirectory() as folder,
    ):
        wanted = [
            name
            for name in archive.namelist()
            if PurePosixPath(name).parts[0] == "config" and name.endswith(".json")
        ]
        archive.extractall(folder, wanted)
        if _CONFIG not in wanted:
            raise KeyError(f"no {_CONFIG}")
        return load_tables(Path(folder) / _CONFIG)
