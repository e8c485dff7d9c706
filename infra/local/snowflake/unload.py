"""COPY INTO a stage: the one shape that the status is written by.

    COPY INTO @stage/file FROM (SELECT …) FILE_FORMAT = (TYPE = JSON COMPRESSION = NONE)
    OVERWRITE = TRUE SINGLE = TRUE

One column, one line of JSON for each row; the file of that very name is replaced. It is
written in the role of the stage's integration, under the key that the stage names.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from botocore.exceptions import ClientError
from fakesnow.cursor import FakeSnowflakeCursor

from infra.local.parts import LocalStack
from infra.local.snowflake.copy import location, storage
from infra.local.snowflake.objects import Catalog, file_format
from infra.local.snowflake.reader import Name, Reader
from runtime.contract.errors import WarehouseError

_OPTIONS = {"OVERWRITE": True, "SINGLE": True}
_ALLOWED = (
    "FILE_FORMAT = (TYPE = JSON COMPRESSION = NONE) OVERWRITE = TRUE SINGLE = TRUE"
)


class Unload(NamedTuple):
    """An unload: where the file stands, and the query of its lines."""

    stage: Name
    path: str
    query: str


def is_unload(reader: Reader) -> bool:
    """Tell whether a COPY writes to a stage; the reader stays where it is."""
    texts = [token.text.upper() for token in reader.tokens[:3]]
    return texts == ["COPY", "INTO", "@"]


def read_unload(reader: Reader) -> Unload:
    """Read an unload.

    Raises:
        WarehouseError: It has another shape than ours.
    """
    reader.need("COPY", "INTO")
    stage, path = reader.stage()
    if not path or path.endswith("/"):
        reader.refuse("the name of a file behind the stage")
    reader.need("FROM", "(")
    query = reader.until(")")
    options = reader.options()
    reader.finish()
    written = options.pop("FILE_FORMAT", None)
    if options != _OPTIONS or not isinstance(written, dict):
        raise WarehouseError(
            "unload is not in the form the local Snowflake knows",
            got=reader.sql[-80:],
            allowed=_ALLOWED,
        )
    checked = file_format(written)
    if (checked["TYPE"], checked["COMPRESSION"]) != ("JSON", "NONE"):
        raise WarehouseError("unload has another format", allowed=_ALLOWED)
    return Unload(stage, path, query)


def run_unload(
    unload: Unload,
    cursor: FakeSnowflakeCursor,
    run: Callable[[FakeSnowflakeCursor, str], None],
    stack: LocalStack,
    catalog: Catalog,
) -> dict[str, Any]:
    """Write the file; without a row none is written, as in Snowflake.

    Args:
        unload: What `read_unload` has read.
        cursor: Of the session that asks.
        run: Runs a statement as a client's.
        stack: The local stack.
        catalog: Stages and integrations.

    Returns:
        The statement's result row.

    Raises:
        WarehouseError: The query has more columns than one, or S3 refuses.
    """
    run(cursor, unload.query)
    rows: list[Any] = cursor.fetchall()
    if any(len(row) != 1 for row in rows):
        raise WarehouseError("an unload of JSON has one column", got=unload.query[:60])
    lines = [json.dumps(json.loads(row[0]), ensure_ascii=False) for row in rows]
    body = "".join(f"{line}\n" for line in lines).encode()
    bucket, key = location(unload.stage, unload.path, catalog)
    encryption = catalog.get("STAGE", unload.stage).get("ENCRYPTION")
    if lines:
        try:
            storage(unload.stage, catalog, stack).put_object(
                Bucket=bucket, Key=key, Body=body, **_headers(encryption)
            )
        except ClientError as error:
            raise WarehouseError(
                f"cannot write the file ({error})", subject=f"s3://{bucket}/{key}"
            ) from error
    counted = {"rows_unloaded": str(len(lines)), "input_bytes": str(len(body))}
    return counted | {"output_bytes": str(len(body))}


def _headers(encryption: dict[str, Any] | None) -> dict[str, Any]:
    if not encryption:
        return {}
    key = encryption["KMS_KEY_ID"]
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
