"""SQL that people run on a local stack: an administrator's grants, and questions."""

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import psycopg2
from psycopg2 import sql
from snowflake.connector import DictCursor
from snowflake.connector.errors import Error as SnowflakeError
from sqlglot import TokenType, tokenize
from sqlglot.errors import TokenError

from infra.local.parts import CONNECT_SECONDS, LocalError, LocalStack
from infra.local.postgres import aurora_dsn
from infra.local.snowflake.part import connect
from runtime.contract.aurora_sql import EXPORTER_ROLE, setup_statements
from runtime.contract.errors import ConfigError
from runtime.contract.specs import TableSpec

# Codes of the connector for VARIANT, OBJECT and ARRAY, whose values come as JSON text.
# Source: snowflake.connector.constants.FIELD_TYPES
_NESTED = {5, 9, 10}

_GRANTED = """
    SELECT n.nspname, c.relname
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
      pg_catalog.aclexplode(c.relacl) AS a
    WHERE a.grantee = %s::pg_catalog.regrole AND a.privilege_type = 'SELECT'
"""


def grant(
    stack: LocalStack, specs: Iterable[TableSpec], vault_user: str
) -> tuple[str, ...]:
    """Do what a database administrator does once on Aurora, and for new tables.

    Args:
        stack: A stack whose part `postgres` runs.
        specs: The tables of the config; all others are closed to the exporter.
        vault_user: Name of Vault's own database user.

    Returns:
        Tables that do not exist yet, and to which nobody was given a right.

    Raises:
        LocalError: Aurora refuses.
    """
    try:
        with closing(
            psycopg2.connect(aurora_dsn(stack), connect_timeout=CONNECT_SECONDS)
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                return _grant(cursor, stack, list(specs), vault_user)
    except psycopg2.Error as error:
        raise LocalError(
            f"administrator's SQL fails ({str(error).strip()})",
            subject="local Aurora",
            remedy="mend what stands in its way, then deploy again",
        ) from error


def _grant(
    cursor: Any, stack: LocalStack, specs: list[TableSpec], vault_user: str
) -> tuple[str, ...]:
    standing: list[TableSpec] = []
    missing: list[TableSpec] = []
    for spec in specs:
        cursor.execute("SELECT pg_catalog.to_regclass(%s)", (spec.source.sql,))
        (standing if cursor.fetchone()[0] else missing).append(spec)
    password = sql.Literal(stack.secret("vault_admin_password")).as_string(cursor)
    for statement in setup_statements(standing, vault_user, password):
        cursor.execute(statement)
    kept = {(spec.source.schema, spec.source.name) for spec in standing}
    cursor.execute(_GRANTED, (EXPORTER_ROLE,))
    for table in set(cursor.fetchall()) - kept:
        cursor.execute(
            sql.SQL("REVOKE SELECT ON TABLE {} FROM {}").format(
                sql.Identifier(*table), sql.Identifier(EXPORTER_ROLE)
            )
        )
    return tuple(str(spec.source) for spec in missing)


def run(stack: LocalStack, where: str, statement: str) -> list[dict[str, Any]]:
    """Run one statement and return its rows, ready for JSON.

    Exact numbers are texts, moments ISO texts with six digits, binaries hexadecimal,
    JSON nested; NaN and the infinities, which JSON lacks, are texts.

    Args:
        stack: A running stack.
        where: `aurora` (as superuser) or `snowflake`.
        statement: Exactly one statement.

    Raises:
        LocalError: Another place, several statements, or the database refuses.
    """
    places = {"aurora": _aurora, "snowflake": _snowflake}
    if where not in places:
        raise ConfigError(
            "is no database of the stack",
            subject="argument",
            got=where,
            allowed=", ".join(places),
            remedy="name one of them",
        )
    dialect = "postgres" if where == "aurora" else where
    try:
        tokens = [token.token_type for token in tokenize(statement, dialect)]
    except TokenError as error:
        raise ConfigError(
            f"is no SQL ({error})",
            subject=f"statement for {where}",
            got=statement,
            remedy="close what is open: a quote, a comment",
        ) from error
    ends = [place for place, kind in enumerate(tokens) if kind == TokenType.SEMICOLON]
    if not tokens or any(place < len(tokens) - 1 for place in ends):
        raise ConfigError(
            "is not exactly one statement",
            subject=f"statement for {where}",
            got=statement,
            remedy="give them one by one",
        )
    try:
        return places[where](stack, statement)
    except (psycopg2.Error, SnowflakeError) as error:
        raise LocalError(
            f"{where} refuses ({str(error).strip()})",
            subject="statement",
            got=statement,
            remedy=f"correct it, or make what it names in {where} first",
        ) from error


def _aurora(stack: LocalStack, statement: str) -> list[dict[str, Any]]:
    with closing(
        psycopg2.connect(aurora_dsn(stack), connect_timeout=CONNECT_SECONDS)
    ) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            if cursor.description is None:
                return []
            names = [column.name for column in cursor.description]
            return [_plain(dict(zip(names, row, strict=True))) for row in cursor]


def _snowflake(stack: LocalStack, statement: str) -> list[dict[str, Any]]:
    with closing(connect(stack)) as connection:
        with connection.cursor(DictCursor) as cursor:
            cursor.execute(statement)
            nested = {
                column.name
                for column in cursor.description or ()
                if column.type_code in _NESTED
            }
            return [_plain(_parsed(row, nested)) for row in cursor.fetchall()]


def _parsed(row: Mapping[str, Any], nested: set[str]) -> dict[str, Any]:
    return {
        name: json.loads(value) if name in nested and value is not None else value
        for name, value in row.items()
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _json(value) for name, value in row.items()}


def _json(value: Any) -> Any:
    if isinstance(value, (bool, str, dict)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (int, Decimal)):
        return format(value, "f") if isinstance(value, Decimal) else str(value)
    if isinstance(value, (datetime, time)):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return str(value)
