"""Pipes: what each loads, what it leaves alone, and a name that tells which it is.

A pipe's COPY cannot be altered. Another COPY is another pipe under another name, so
that the new one stands before the old one goes and no event is without a pipe. While
both stand they load the same files twice, which receipts and stamps forgive, but for
what the older one does not know: files that are wider than its contract. It would
leave their last columns out without a word, so it does not take them.
"""

import hashlib
import re

from runtime.contract.dialect import DIALECT, MANIFEST_FORMAT
from runtime.contract.names import literal
from runtime.contract.snowflake_names import (
    LANDING,
    MANIFESTS,
    SYNC,
    SnowflakeObjects,
)
from runtime.contract.specs import Table

_VERSION = re.compile(r"_[0-9A-F]{8}\Z")


def copy_statement(objects: SnowflakeObjects, table: Table) -> str:
    """Render the COPY of a table's pipe."""
    landing = objects.qualified(LANDING, objects.landing(table))
    stage = objects.qualified(LANDING, objects.exports_stage)
    places = range(1, table.contract.width + 1)
    columns = ", ".join(
        ["file_name", "file_row", "loaded_at"] + [f"c{p}" for p in places]
    )
    values = ", ".join(f"t.${place}" for place in places)
    return (
        f"COPY INTO {landing} ({columns})\n"
        "FROM (\n"
        "  SELECT METADATA$FILENAME, METADATA$FILE_ROW_NUMBER, "
        f"METADATA$START_SCAN_TIME, {values}\n"
        f"  FROM @{stage}/{table.spec.source.slug}/ t\n"
        ")\n"
        f"PATTERN = {literal(names_up_to(table.contract.width))}\n"
        f"FILE_FORMAT = ({DIALECT.copy_format})\n"
        "ON_ERROR = SKIP_FILE"
    )


def manifest_copy_statement(objects: SnowflakeObjects) -> str:
    """Render the COPY of the pipe that loads the manifests of all tables."""
    landing = objects.qualified(SYNC, MANIFESTS)
    stage = objects.qualified(LANDING, objects.manifests_stage)
    return (
        f"COPY INTO {landing} (file_name, loaded_at, body)\n"
        "FROM (\n"
        "  SELECT METADATA$FILENAME, METADATA$START_SCAN_TIME, t.$1\n"
        f"  FROM @{stage}/ t\n"
        ")\n"
        f"FILE_FORMAT = ({MANIFEST_FORMAT})\n"
        "ON_ERROR = SKIP_FILE"
    )


def pipe_name(objects: SnowflakeObjects, table: Table) -> str:
    """Return the stored name of a table's pipe, which changes with its COPY."""
    return _versioned(objects.pipes(table), copy_statement(objects, table))


def manifests_pipe_name(objects: SnowflakeObjects) -> str:
    """Return the stored name of the manifests' pipe, which changes with its COPY."""
    return _versioned(objects.manifests_pipes, manifest_copy_statement(objects))


def versions_of(name: str) -> str:
    """Return what the names of all versions of a pipe begin with, from one of them."""
    return _VERSION.sub("", name)


def version_of(name: str) -> str:
    """Return what tells a pipe from other versions of it."""
    return name.rpartition("_")[2].lower()


def is_version(name: str, pipes: str) -> bool:
    """Tell whether a stored name is that of some version of a pipe.

    Args:
        name: The name.
        pipes: What the names of all versions begin with.
    """
    return versions_of(name) == pipes


def _versioned(pipes: str, statement: str) -> str:
    digest = hashlib.sha256(statement.encode()).hexdigest()[:8].upper()
    return f"{pipes}_{digest}"


def names_up_to(width: int) -> str:
    """Return the expression of export files with at most so many columns.

    A pipe applies it to what stands after its path: the run's folder and the file's
    name, stamp first and number of columns second.
    Source: https://docs.snowflake.com/en/sql-reference/sql/copy-into-table

    Args:
        width: The most columns, at least 1.
    """
    return f"(.*/)?[^/_]*_({'|'.join(_up_to(str(width)))})_[^/]*"


def _up_to(most: str) -> list[str]:
    """Return expressions that together match the numbers from 1 up to one."""
    found = ["[1-9]" + "[0-9]" * more for more in range(len(most) - 1)]
    for place, digit in enumerate(most):
        first = 0 if place else 1
        if int(digit) > first:
            rest = "[0-9]" * (len(most) - place - 1)
            found.append(f"{most[:place]}[{first}-{int(digit) - 1}]{rest}")
    return [*found, most]
