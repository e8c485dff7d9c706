"""COPY INTO a table from files of a stage: the one shape that pipes use.

    COPY INTO table (columns) FROM (SELECT values FROM @stage/path t)
    [FILES = ('…')] [PATTERN = '…'] FILE_FORMAT = (…) ON_ERROR = SKIP_FILE
    [FORCE = TRUE]

A file loads completely or not at all.
"""

from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import Expr, exp

from infra.local import aws
from infra.local.parts import LocalStack
from infra.local.snowflake.files import VIEW
from infra.local.snowflake.objects import (
    Catalog,
    check_location,
    file_format,
    split_url,
)
from infra.local.snowflake.reader import Name, Reader
from runtime.contract.errors import WarehouseError
from runtime.contract.names import quote_snowflake

_METADATA = ("FILENAME", "FILE_ROW_NUMBER", "START_SCAN_TIME")


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A COPY statement.

    Attributes:
        table: Target.
        columns: Its columns that are filled, as SQL text.
        statement: What loads one file, reading the view of its rows.
        fields: Highest $n that is read.
        stage: Source stage.
        path: Folder below the stage's URL.
        format: Options of the file format by name.
        pattern: What a pipe's file must match as a whole, below the path; empty for
            any.
        files: Names below the path; empty in a pipe.
        force: Load what was loaded before.
        skip_file: Whether a file that fails is left out; else it fails the statement.
    """

    table: Name
    columns: str
    statement: str
    fields: int
    stage: Name
    path: str
    format: dict[str, Any]
    pattern: str
    files: tuple[str, ...]
    force: bool
    skip_file: bool


def read_copy(reader: Reader, catalog: Catalog) -> Copy:
    """Read a COPY statement.

    Raises:
        WarehouseError: It has another shape than ours.
    """
    reader.need("COPY", "INTO")
    table = reader.name()
    reader.need("(")
    columns = [reader.identifier()]
    while reader.take(","):
        columns.append(reader.identifier())
    reader.need(")")
    reader.need("FROM")
    reader.need("(")
    reader.need("SELECT")
    values, fields = _values(reader.until("FROM"))
    stage, path = reader.stage()
    reader.take("AS")
    if not reader.take(")"):
        reader.identifier()
        reader.need(")")
    options = reader.options()
    reader.finish()
    names = ", ".join(quote_snowflake(column) for column in columns)
    copy = Copy(
        table=table,
        columns=names,
        statement=f"INSERT INTO {table.sql} ({names}) SELECT {values}"
        f" FROM TEMP.MAIN.{VIEW}",
        fields=fields,
        stage=stage,
        path=path,
        format=_format(options.pop("FILE_FORMAT", {}), reader, catalog),
        pattern=str(options.pop("PATTERN", "")),
        files=tuple(options.pop("FILES", ())),
        force=bool(options.pop("FORCE", False)),
        skip_file=_skips(options.pop("ON_ERROR", "ABORT_STATEMENT")),
    )
    if options:
        reader.refuse(f"no {', '.join(options)}")
    return copy


def _values(text: str) -> tuple[str, int]:
    """Rewrite the SELECT list to read the view; return it and the highest $n."""
    tree = sqlglot.parse_one(f"SELECT {text}", read="snowflake")
    if tree.find(exp.AggFunc, exp.Window, exp.Star, exp.Subquery) or (
        len(list(tree.find_all(exp.Select))) > 1
    ):
        raise WarehouseError(
            "a COPY may only transform single values",
            got=text,
            allowed="$n, METADATA$…, casts and scalar functions",
        )
    highest = 0
    for node in reversed(list(tree.bfs())):
        name = _field(node)
        if name:
            node.replace(exp.column(exp.to_identifier(name, quoted=True)))
            highest = max(highest, int(name[1:]) if name[0] == "$" else 0)
    return tree.sql(dialect="snowflake").removeprefix("SELECT "), highest


def _field(node: Expr) -> str:
    """Return what a value reads: `$n`, a METADATA$ name, or nothing."""
    if isinstance(node, exp.Parameter) and not isinstance(node.parent, exp.Column):
        return f"${node.name}"
    if not isinstance(node, exp.Column):
        return ""
    if isinstance(node.this, exp.Parameter):
        return f"${node.this.name}"
    known = [f"METADATA${name}" for name in _METADATA]
    if node.name.startswith("$") or node.name in known and node.this.quoted:
        return ""
    if node.name.upper() not in known:
        raise WarehouseError(
            "a COPY reads fields by position",
            got=node.sql(),
            allowed="$1, $2, … and " + ", ".join(known),
        )
    return node.name.upper()


def _format(given: Any, reader: Reader, catalog: Catalog) -> dict[str, Any]:
    if not isinstance(given, dict):
        reader.refuse("FILE_FORMAT = (FORMAT_NAME = '…') or (TYPE = …)")
    if "FORMAT_NAME" not in given:
        return file_format(given)
    name = Reader(str(given["FORMAT_NAME"]), reader.database, reader.schema).name()
    return catalog.get("FILE FORMAT", name)


def _skips(on_error: Any) -> bool:
    if on_error not in ("SKIP_FILE", "ABORT_STATEMENT"):
        raise WarehouseError(
            "ON_ERROR is not honoured by the local Snowflake",
            got=on_error,
            allowed="SKIP_FILE, ABORT_STATEMENT",
        )
    return bool(on_error == "SKIP_FILE")


def location(stage: Name, path: str, catalog: Catalog) -> tuple[str, str]:
    """Return bucket and key prefix of a path below a stage."""
    url = str(catalog.get("STAGE", stage)["URL"])
    return split_url(f"{url.rstrip('/')}/{path}" if path else url)


def storage(stage: Name, catalog: Catalog, stack: LocalStack) -> Any:
    """Return an S3 client in the role of the stage's integration.

    Raises:
        botocore.exceptions.ClientError: The role may not be assumed.
    """
    definition = catalog.get("STAGE", stage)
    own = check_location(catalog, definition["STORAGE_INTEGRATION"], definition["URL"])
    return aws.assumed_client(
        stack,
        "s3",
        "snowflake",
        own["STORAGE_AWS_ROLE_ARN"],
        own["STORAGE_AWS_EXTERNAL_ID"],
    )
