"""Every name the sync uses: identifiers on both sides and keys in the lake.

A name is stored once as the server stores it and quoted only where SQL text is
rendered, by `quote_postgres` and `quote_snowflake`.
"""

import hashlib
import re
from dataclasses import dataclass

from runtime.contract.errors import ConfigError

_SNOWFLAKE_PLAIN = re.compile(r"[A-Z_][A-Z0-9_$]*\Z")
_FOLDABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*\Z")
_SLUG_SAFE = re.compile(r"[a-z0-9_.]+\Z")
_QUALIFIED = re.compile(r'\A("(?:[^"]|"")+"|[^".]+)\.("(?:[^"]|"")+"|[^".]+)\Z')

# https://docs.snowflake.com/en/sql-reference/reserved-keywords, with the words that
# are refused as column names only (LOCALTIME, CURRENT_DATE, TRUE and the like).
_RESERVED = frozenset("""
    ACCOUNT ALL ALTER AND ANY AS BETWEEN BY CASE CAST CHECK COLUMN CONNECT CONNECTION
    CONSTRAINT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP
    CURRENT_USER DATABASE DELETE DISTINCT DROP ELSE EXISTS FALSE FOLLOWING FOR FROM
    FULL GRANT GROUP GSCLUSTER HAVING ILIKE IN INCREMENT INNER INSERT INTERSECT INTO
    IS ISSUE JOIN LATERAL LEFT LIKE LOCALTIME LOCALTIMESTAMP MINUS NATURAL NOT NULL OF
    ON OR ORDER ORGANIZATION QUALIFY REGEXP REVOKE RIGHT RLIKE ROW ROWS SAMPLE SCHEMA
    SELECT SET SOME START TABLE TABLESAMPLE THEN TO TRIGGER TRUE TRY_CAST UNION UNIQUE
    UPDATE USING VALUES VIEW WHEN WHENEVER WHERE WINDOW WITH
    """.split())

# Keywords in other places or other dialects (time travel, PostgreSQL, DuckDB). To
# quote them is always right, and readers and parsers need not guess.
_RESERVED |= frozenset("""
    ANALYSE ANALYZE ARRAY ASC ASOF ASYMMETRIC AT BEFORE BEGIN BOTH COLLATE DEFAULT
    DEFERRABLE DESC DESCRIBE DO END EXCEPT EXCLUDE FETCH FOREIGN GROUPING INITIALLY
    INTERVAL LAMBDA LEADING LIMIT MATCH OFFSET ONLY OVERLAPS PIVOT PLACING POSITIONAL
    PRIMARY REFERENCES REPLACE RETURNING SEMI SHOW SUMMARIZE SYMMETRIC TRAILING UNPIVOT
    VARIADIC
    """.split())


def quote_postgres(name: str) -> str:
    """Quote one PostgreSQL identifier; always in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def snowflake_name(postgres_name: str) -> str:
    """Return the name Snowflake stores for a PostgreSQL name.

    Names that Snowflake folds by itself become upper case, so that people need no
    quotes; any other name is kept as it is and must be quoted.
    """
    if _FOLDABLE.match(postgres_name):
        return postgres_name.upper()
    return postgres_name


def quote_snowflake(stored: str) -> str:
    """Quote one stored Snowflake identifier where SQL needs it."""
    if _SNOWFLAKE_PLAIN.match(stored) and stored not in _RESERVED:
        return stored
    return always_quoted(stored)


def always_quoted(*parts: str) -> str:
    """Return a full Snowflake name as its provider tells it, each part in quotes."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def quote_snowflake_column(stored: str) -> str:
    """Quote one stored column name; plain ones in lower case, as our style has it."""
    quoted = quote_snowflake(stored)
    return quoted if quoted.startswith('"') else quoted.lower()


def literal(text: str) -> str:
    """Return a Snowflake string literal; backslash is an escape character there."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def postgres_literal(text: str) -> str:
    """Return a PostgreSQL string literal, where no driver quotes."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, kw_only=True)
class SourceName:
    """A table of the source: schema and name as PostgreSQL stores them."""

    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "SourceName":
        """Read `schema.table`; a part with a dot in it stands in double quotes.

        Letters keep their case: `Sales.OrderLines` is that very name.

        Raises:
            ConfigError: When the text is not two names with a dot between them.
        """
        match = _QUALIFIED.match(text)
        if match is None:
            raise ConfigError(
                "is not a qualified table name",
                subject="table_name",
                got=text,
                allowed='schema.table, or "sche.ma"."ta.ble" for names with dots',
                remedy="write the schema before the table, for example public.orders",
            )
        schema, name = (_unquote(part) for part in match.groups())
        return cls(schema=schema, name=name)

    def __str__(self) -> str:
        return ".".join(
            quote_postgres(part) if "." in part or '"' in part else part
            for part in (self.schema, self.name)
        )

    @property
    def sql(self) -> str:
        """The quoted name for SQL text."""
        return f"{quote_postgres(self.schema)}.{quote_postgres(self.name)}"

    @property
    def slug(self) -> str:
        """The name in files, S3 keys and AWS names: safe characters, still unique."""
        plain = f"{self.schema}.{self.name}"
        if _SLUG_SAFE.match(plain) and plain.count(".") == 1:
            return plain
        digest = hashlib.sha256(self.sql.encode()).hexdigest()[:8]
        safe = re.sub(r"[^a-z0-9_.]+", "-", plain.lower()).strip("-")
        return f"{safe[:80]}-{digest}"


def ascii_name(stored: str) -> str:
    """Return a stored Snowflake name in letters that every service takes, still unique.

    A dimension of CloudWatch is ASCII.
    """
    safe = re.sub(r"[^A-Za-z0-9_.$-]+", "-", stored)
    if safe == stored and len(stored) <= 64:
        return stored
    digest = hashlib.sha256(stored.encode()).hexdigest()[:8]
    return f"{safe[:55]}-{digest}"


def _unquote(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def fit(name: str, limit: int) -> str:
    """Shorten a name to a service's limit, keeping it unique by a digest.

    Args:
        name: The wanted name.
        limit: The service's limit in characters, at least 16.
    """
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: limit - 9]}-{digest}"


@dataclass(frozen=True, kw_only=True)
class LakeKeys:
    """Where one table's objects stand in the bucket.

    Every prefix ends with a slash: `orders` must not match `orders_archive`.

    Attributes:
        stack: Name of the deployment, the first folder of every key.
        table: The source table.
    """

    stack: str
    table: SourceName

    @property
    def exports(self) -> str:
        """Prefix of the table's export files, relative to the exports stage."""
        return f"exports/{self.stack}/{self.table.slug}/"

    @property
    def manifests(self) -> str:
        """Prefix of the table's manifests."""
        return f"manifests/{self.stack}/{self.table.slug}/"

    def export_key(self, run: str, stamp: str, width: int, chunk: str) -> str:
        """Return the key of one export file.

        Args:
            run: Identity of this attempt; a prefix of its own, because aws_s3
                overwrites keys and Snowpipe remembers names.
            stamp: The snapshot's stamp, which orders versions of a row.
            width: Number of contract columns in the file.
            chunk: Name of the chunk within the run.
        """
        return f"{self.exports}{run}/{stamp}_{width}_{chunk}.csv"

    def manifest_key(self, seq: int) -> str:
        """Return the key of the manifest with that number in the chain."""
        return f"{self.manifests}{seq:010d}.json"
