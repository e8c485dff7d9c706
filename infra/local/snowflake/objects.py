"""What the local Snowflake knows of objects: their definitions, kept in one file.

Recorded without any effect: warehouses, roles, users and grants (every session may
do everything). In force: integrations, stages and file formats, which pipes read.
"""

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snowflake.connector.errors import ProgrammingError

from infra.local.snowflake.reader import Name, Option, Reader, known_options
from runtime.contract.errors import WarehouseError
from runtime.contract.names import literal

_ANY = Option()
_NO = Option(False, (False,))
_EITHER = (True, False)
# https://docs.snowflake.com/en/sql-reference/sql/create-file-format
CSV = {
    "COMMENT": _ANY,
    "TYPE": Option("CSV", ("CSV",)),
    "COMPRESSION": Option("AUTO", ("AUTO", "NONE", "GZIP")),
    "RECORD_DELIMITER": Option("\n", ("\n",)),
    "FIELD_DELIMITER": Option(","),
    "PARSE_HEADER": _NO,
    "SKIP_HEADER": Option(0),
    "SKIP_BLANK_LINES": Option(False, _EITHER),
    "DATE_FORMAT": Option("AUTO", ("AUTO",)),
    "TIME_FORMAT": Option("AUTO", ("AUTO",)),
    "TIMESTAMP_FORMAT": Option("AUTO", ("AUTO",)),
    "BINARY_FORMAT": Option("HEX", ("HEX",)),
    "ESCAPE": Option("NONE", ("NONE",)),
    "ESCAPE_UNENCLOSED_FIELD": Option("\\", ("NONE",)),
    "TRIM_SPACE": _NO,
    "FIELD_OPTIONALLY_ENCLOSED_BY": Option("NONE", ("NONE", '"', "'")),
    "NULL_IF": Option(["\\N"]),
    "ERROR_ON_COLUMN_COUNT_MISMATCH": Option(True, _EITHER),
    "REPLACE_INVALID_CHARACTERS": _NO,
    "EMPTY_FIELD_AS_NULL": Option(True, _EITHER),
    "SKIP_BYTE_ORDER_MARK": Option(True, _EITHER),
    "ENCODING": Option("UTF8", ("UTF8", "UTF-8")),
    "MULTI_LINE": Option(True, (True,)),
}
JSON = {
    "COMMENT": _ANY,
    "TYPE": Option("JSON", ("JSON",)),
    "COMPRESSION": Option("AUTO", ("AUTO", "NONE", "GZIP")),
    "STRIP_OUTER_ARRAY": Option(False, _EITHER),
    "STRIP_NULL_VALUES": _NO,
    "ALLOW_DUPLICATE": _NO,
    "ENABLE_OCTAL": _NO,
    "IGNORE_UTF8_ERRORS": _NO,
    "REPLACE_INVALID_CHARACTERS": _NO,
    "TRIM_SPACE": _NO,
    "NULL_IF": Option([], ([],)),
    "MULTI_LINE": Option(True, (True,)),
    "SKIP_BYTE_ORDER_MARK": Option(True, (True,)),
}
# How an unload encrypts; other ways are another bucket's.
_KMS = "AWS_SSE_KMS"
# Directory tables concern listing, not what is read or written.
_STAGE = {
    "URL": _ANY,
    "STORAGE_INTEGRATION": _ANY,
    "ENCRYPTION": _ANY,
    "DIRECTORY": Option({"ENABLE": False}, ({"ENABLE": False},)),
    "COMMENT": _ANY,
}
RECORDED = ("WAREHOUSE", "ROLE", "USER")
_SYSTEM_ROLES = ("ACCOUNTADMIN", "SYSADMIN", "SECURITYADMIN", "USERADMIN", "PUBLIC")
_S3_URL = re.compile(r"s3://([^/]+)/(.*)\Z")


def missing(kind: str, name: Name) -> ProgrammingError:
    """Return Snowflake's error for an object that is not there."""
    return ProgrammingError(
        msg=f"{kind.capitalize()} '{name.sql}' does not exist or not authorized.",
        errno=2003,
        sqlstate="02000",
    )


class Catalog:
    """Definitions by kind and name.

    Args:
        file: Where they outlive the process.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._entries: dict[tuple[str, Name], dict[str, Any]] = {}
        if file.exists():
            for kind, name, definition in json.loads(file.read_text()):
                self._entries[kind, Name(*name)] = definition

    def get(self, kind: str, name: Name) -> dict[str, Any]:
        """Return a definition.

        Raises:
            ProgrammingError: There is no such object.
        """
        with self._lock:
            if (kind, name) not in self._entries:
                raise missing(kind, name)
            return dict(self._entries[kind, name])

    def has(self, kind: str, name: Name) -> bool:
        """Tell whether there is such an object."""
        with self._lock:
            return (kind, name) in self._entries

    def all(self, kind: str) -> Iterator[tuple[Name, dict[str, Any]]]:
        """Yield the objects of a kind by name."""
        with self._lock:
            entries = sorted(self._entries.items())
        for (own_kind, name), definition in entries:
            if own_kind == kind:
                yield name, dict(definition)

    def put(self, kind: str, name: Name, definition: dict[str, Any]) -> None:
        """Store a definition, in place of an older one."""
        created = datetime.now(UTC).isoformat()
        with self._lock:
            old = self._entries.get((kind, name), {})
            kept = {"created_on": old.get("created_on", created)}
            self._entries[kind, name] = kept | definition
            self._save()

    def update(self, kind: str, name: Name, **changes: Any) -> None:
        """Change a definition, if the object is still there."""
        with self._lock:
            if (kind, name) in self._entries:
                self._entries[kind, name] |= changes
                self._save()

    def drop(self, kind: str, name: Name) -> None:
        """Forget an object."""
        with self._lock:
            self._entries.pop((kind, name), None)
            self._save()

    def drop_within(self, database: str, schema: str = "") -> None:
        """Forget all that stood in a database or one schema of it."""
        with self._lock:
            for kind, name in list(self._entries):
                if name.database == database and schema in ("", name.schema):
                    del self._entries[kind, name]
            self._save()

    def _save(self) -> None:
        draft = self._file.with_suffix(".new")
        rows = [[kind, name, entry] for (kind, name), entry in self._entries.items()]
        draft.write_text(json.dumps(rows, indent=1))
        draft.replace(self._file)


def read_file_format(reader: Reader) -> dict[str, Any]:
    """Read the options of CREATE FILE FORMAT."""
    return file_format(reader.options())


def file_format(found: dict[str, Any]) -> dict[str, Any]:
    """Check the options of a file format and complete them by Snowflake's defaults."""
    rules = JSON if str(found.get("TYPE")).upper() == "JSON" else CSV
    checked = known_options(found, rules, f"{rules['TYPE'].default} file format")
    if len(checked.get("FIELD_DELIMITER", ",")) != 1:
        raise WarehouseError(
            "FIELD_DELIMITER must be one character", got=checked["FIELD_DELIMITER"]
        )
    return checked


def read_stage(reader: Reader, catalog: Catalog) -> dict[str, Any]:
    """Read the options of CREATE STAGE; its URL must be one the integration allows."""
    found = known_options(reader.options(), _STAGE, "stage")
    url = str(found.get("URL", ""))
    if not _S3_URL.match(url) or "STORAGE_INTEGRATION" not in found:
        reader.refuse("URL = 's3://bucket/…' and STORAGE_INTEGRATION = …")
    found["STORAGE_INTEGRATION"] = str(found["STORAGE_INTEGRATION"])
    encryption = found.get("ENCRYPTION", {})
    if encryption and encryption.keys() != {"TYPE", "KMS_KEY_ID"}:
        reader.refuse(f"ENCRYPTION = (TYPE = '{_KMS}' KMS_KEY_ID = '…')")
    if encryption and encryption["TYPE"] != _KMS:
        reader.refuse(f"ENCRYPTION of the type {_KMS}")
    check_location(catalog, found["STORAGE_INTEGRATION"], url)
    return found


def check_location(catalog: Catalog, integration: str, url: str) -> dict[str, Any]:
    """Return the integration if it is enabled and its locations include the URL.

    Raises:
        WarehouseError: It is disabled, or the URL is outside.
    """
    definition = catalog.get("STORAGE INTEGRATION", Name("", "", integration))
    allowed = definition["STORAGE_ALLOWED_LOCATIONS"]
    blocked = definition["STORAGE_BLOCKED_LOCATIONS"]
    inside = any(place == "*" or url.startswith(place) for place in allowed)
    if not inside or any(url.startswith(place) for place in blocked):
        raise WarehouseError(
            f"location is not allowed by integration {integration}",
            got=url,
            allowed=", ".join(allowed),
        )
    if not definition["ENABLED"]:
        raise WarehouseError(f"integration {integration} is not enabled")
    return definition


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and key prefix of an `s3://` URL."""
    match = _S3_URL.match(url)
    if match is None:
        raise WarehouseError("not an S3 location", got=url, allowed="s3://bucket/…")
    return match.group(1), match.group(2)


def read_grant(reader: Reader, catalog: Catalog) -> Name:
    """Check who GRANT or REVOKE is about; return what is granted as a record's name."""
    what = reader.until("FROM" if reader.take("REVOKE") else "TO")
    kind = "USER" if reader.take("USER") else "ROLE"
    if kind == "ROLE":
        reader.need("ROLE")
    grantee = reader.account_name()
    if grantee.name not in _SYSTEM_ROLES and not catalog.has(kind, grantee):
        raise missing(kind, grantee)
    return Name("", "", f"{what.removeprefix('GRANT').strip()} TO {kind} {grantee.sql}")


def rows_sql(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    """Render rows as a query that yields them in order, every value as text."""
    cells = ", ".join(f'f.value:"{name}"::VARCHAR AS "{name}"' for name in columns)
    texts = [{key: _cell(row.get(key)) for key in columns} for row in rows]
    return (
        f"SELECT {cells} FROM"
        f" TABLE(FLATTEN(INPUT => PARSE_JSON({literal(json.dumps(texts))}))) AS f"
        " ORDER BY f.index"
    )


def status_sql(text: str) -> str:
    """Render the one-row answer of a statement without a result."""
    return rows_sql(("status",), [{"status": text}])


def _cell(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
