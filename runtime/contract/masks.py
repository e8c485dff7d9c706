"""Masks: what leaves Aurora in the place of a value that must not.

A mask is part of the export's SQL, so that no file, no landing table and no log ever
holds the clear value. `hash` is an HMAC: equal values have equal hashes, in whatever
table and column, and nobody without the key can try values out. The key stands in a
table of its own that only its owner can read; a function with the owner's rights uses
it, so that it is in no query's text. Neither the exporter nor this program knows it.
"""

from dataclasses import replace

from runtime.contract.columns import MOMENTS, Column
from runtime.contract.names import quote_postgres
from runtime.contract.type_rule import TypeRule, varchar

SCHEMA = "aurora_sync"
HASH_FUNCTION = f"{SCHEMA}.masked_hash"
_KEY_TABLE = f"{SCHEMA}.mask_key"
_NEW_KEY = f"{SCHEMA}.new_mask_key"
_REDACTED = "***"
_TEXTS = ("text", "character varying", "character", "bpchar", "citext", "name")


def masked(rule: TypeRule, column: Column) -> TypeRule:
    """Return the rule of a column under its mask.

    Args:
        rule: The rule of the type.
        column: The column with its mask.
    """
    name, _, length = (column.mask or "").partition(":")
    if name == "hash":
        return varchar("VARCHAR(64)", lambda c: _hashed(rule.export(c)), key=False)
    if name == "redact":
        return varchar(
            "VARCHAR(3)",
            lambda c: f"CASE WHEN {c} IS NOT NULL THEN '{_REDACTED}' END",
            key=False,
        )
    if name == "null":
        return replace(rule, export=lambda c: "NULL", misfit=None, key=False)
    return _truncated(rule, column, length or "1")


def _hashed(export: str) -> str:
    """concat gives the text that a file has; a cast of a boolean would not."""
    return (
        f"CASE WHEN {export} IS NOT NULL "
        f"THEN {HASH_FUNCTION}(pg_catalog.concat({export})) END"
    )


def _truncated(rule: TypeRule, column: Column, length: str) -> TypeRule:
    """The first characters of a text, the first of January of a moment's year."""
    if column.plain_type in MOMENTS:
        kind, shown = column.plain_type, rule.canonical or rule.export

        def year(c: str) -> str:
            begun = f"pg_catalog.date_trunc('year', {c}::pg_catalog.timestamp)"
            return f"{begun}::{_BACK[kind]}"

        return replace(
            rule,
            export=lambda c: rule.export(year(c)),
            canonical=lambda c: shown(year(c)),
            key=False,
        )
    return varchar(
        rule.type,
        lambda c: f"pg_catalog.left({rule.export(c)}, {length})",
        key=False,
    )


# From a timestamp of UTC, which every session of the sync is in.
_BACK = {
    "timestamp with time zone": "pg_catalog.timestamptz",
    "timestamp without time zone": "pg_catalog.timestamp",
    "date": "pg_catalog.date",
}


def fits(mask: str, column: Column) -> bool:
    """Whether a mask can be laid on a column of that type."""
    name, _, length = mask.partition(":")
    if name != "truncate":
        return True
    if column.plain_type in MOMENTS:
        return not length
    return column.kind == "base" and column.plain_type.split(".")[-1] in _TEXTS


def hash_statements(exporter_role: str) -> tuple[str, ...]:
    """Return what an administrator runs once for `hash`; again it changes nothing.

    The key is made inside the database, of 488 random bits, and stored with the pads
    of RFC 2104 laid on: HMAC-SHA-256 is then two calls of PostgreSQL's own sha256.
    `new_mask_key()` makes another key, `new_mask_key(key)` takes one over.

    Args:
        exporter_role: Who may have values hashed, without seeing the key.
    """
    return (
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
        f"CREATE TABLE IF NOT EXISTS {_KEY_TABLE} (\n"
        "  one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),\n"
        "  inner_pad BYTEA NOT NULL,\n"
        "  outer_pad BYTEA NOT NULL,\n"
        "  made_at TIMESTAMPTZ NOT NULL\n)",
        f"REVOKE ALL ON TABLE {_KEY_TABLE} FROM PUBLIC",
        _NEW_KEY_SQL,
        _HASH_SQL,
        f"REVOKE ALL ON FUNCTION {_NEW_KEY}(BYTEA) FROM PUBLIC",
        f"REVOKE ALL ON FUNCTION {HASH_FUNCTION}(TEXT) FROM PUBLIC",
        f"SELECT {_NEW_KEY}() WHERE NOT EXISTS (SELECT 1 FROM {_KEY_TABLE})",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {quote_postgres(exporter_role)}",
        f"GRANT EXECUTE ON FUNCTION {HASH_FUNCTION}(TEXT) "
        f"TO {quote_postgres(exporter_role)}",
    )


_NEW_KEY_SQL = f"""
CREATE OR REPLACE FUNCTION {_NEW_KEY}(key BYTEA DEFAULT NULL) RETURNS VOID
LANGUAGE sql SET search_path = pg_catalog AS $$
  WITH bits AS (
    SELECT string_agg(gen_random_uuid()::TEXT, '') AS drawn FROM generate_series(1, 4)
  ), short AS (
    SELECT CASE WHEN key IS NULL THEN sha256(convert_to(drawn, 'UTF8'))
      WHEN length(key) > 64 THEN sha256(key) ELSE key END AS k
    FROM bits
  ), padded AS (
    SELECT k || decode(repeat('00', 64 - length(k)), 'hex') AS k FROM short
  ), pads AS (
    SELECT string_agg(set_byte('\\x00', 0, get_byte(k, n) # 54), '' ORDER BY n) AS i,
      string_agg(set_byte('\\x00', 0, get_byte(k, n) # 92), '' ORDER BY n) AS o
    FROM padded, generate_series(0, 63) AS n
  )
  INSERT INTO {_KEY_TABLE} (inner_pad, outer_pad, made_at)
  SELECT i, o, now() FROM pads
  ON CONFLICT (one) DO UPDATE
  SET inner_pad = EXCLUDED.inner_pad, outer_pad = EXCLUDED.outer_pad,
    made_at = EXCLUDED.made_at
$$""".strip()

_HASH_SQL = f"""
CREATE OR REPLACE FUNCTION {HASH_FUNCTION}(value TEXT) RETURNS TEXT
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  key RECORD;
BEGIN
  SELECT inner_pad, outer_pad INTO STRICT key FROM {_KEY_TABLE};
  RETURN encode(sha256(key.outer_pad
    || sha256(key.inner_pad || convert_to(value, 'UTF8'))), 'hex');
END
$$""".strip()
