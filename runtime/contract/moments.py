"""Dates and times: Snowflake has years 1 to 9999, no infinity and no 24:00:00."""

from runtime.contract.type_rule import Sql, TypeRule, as_text, same, try_cast

_STAMP = "YYYY-MM-DD HH24:MI:SS.FF6"


def _out_of_range(column: str) -> str:
    return f"NOT ({column} >= '0001-01-01' AND {column} < '10000-01-01')"


_RANGE = "infinity, years before Christ or after 9999"


def _moment(in_utc: Sql, suffix: str, snowflake: str, cast: Sql, back: Sql) -> TypeRule:
    """A timestamp, exported as PostgreSQL prints it: to_char would halve an export.

    The canonical text has six digits of a second, inside years 1 to 9999. to_char
    prints infinity as NULL and years BC without their era, so that those must not pass
    through it.
    """

    def canonical(column: str) -> str:
        return (
            f"CASE WHEN {column} >= '0001-01-01' AND {column} < '10000-01-01' "
            f"THEN pg_catalog.to_char({in_utc(column)}, "
            f"'YYYY-MM-DD HH24:MI:SS.US{suffix}') ELSE {column}::pg_catalog.text END"
        )

    return TypeRule(
        export=same,
        type=f"{snowflake}(6)",
        cast=cast,
        text=lambda column: f"TO_VARCHAR({back(column)}, '{_STAMP}') || '{suffix}'",
        canonical=canonical,
        misfit=_out_of_range,
        misfits=_RANGE,
        orderable=True,
    )


def _padded_stamp(text: str) -> str:
    """PostgreSQL leaves zeros at the end of a fraction out; formats want all digits."""
    return f"RPAD(IFF(LENGTH({text}) = 19, {text} || '.', {text}), 26, '0')"


def _naive_cast(text: str) -> str:
    """RPAD cuts what is longer: the end of it might be an era."""
    return (
        f"CASE WHEN LENGTH({text}) <= 26 AND RIGHT({text}, 2) <> 'BC' "
        f"THEN TRY_TO_TIMESTAMP_NTZ({_padded_stamp(text)}, '{_STAMP}') END"
    )


def _zoned_cast(text: str) -> str:
    """Every session of the sync is in UTC; what ends otherwise is no such text."""
    bare = f"LEFT({text}, LENGTH({text}) - 3)"
    return (
        f"CASE WHEN LENGTH({text}) <= 29 AND RIGHT({text}, 3) = '+00' "
        f"THEN TRY_CAST({_padded_stamp(bare)} || '+00:00' AS TIMESTAMP_TZ(6)) END"
    )


DATE = TypeRule(
    export=as_text,
    type="DATE",
    cast=lambda column: f"TRY_TO_DATE({column}, 'YYYY-MM-DD')",
    text=lambda column: f"TO_VARCHAR({column}, 'YYYY-MM-DD')",
    misfit=_out_of_range,
    misfits=_RANGE,
    orderable=True,
)
NAIVE = _moment(same, "", "TIMESTAMP_NTZ", _naive_cast, same)
ZONED = _moment(
    lambda column: f"{column} AT TIME ZONE 'UTC'",
    "+00:00",
    "TIMESTAMP_TZ",
    _zoned_cast,
    lambda column: f"CONVERT_TIMEZONE('UTC', {column})::TIMESTAMP_NTZ",
)
TIME = TypeRule(
    export=same,
    type="TIME(6)",
    cast=try_cast("TIME(6)"),
    text=lambda column: f"TO_VARCHAR({column}, 'HH24:MI:SS.FF6')",
    canonical=lambda column: (
        f"pg_catalog.to_char({column}::pg_catalog.interval, 'HH24:MI:SS.US')"
    ),
    misfit=lambda column: f"{column} = '24:00:00'",
    misfits="24:00:00",
)
