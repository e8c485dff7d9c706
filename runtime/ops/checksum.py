"""The same text for the same row on both sides, and what is made of it.

A row's text holds each column as the export prints it, in one order, with marks that
no value can imitate: `|` between columns, `~N` for NULL, and within texts `~~` and
`~|` for these two characters. Its MD5's first 60 bits, summed over all rows, do not
depend on any order and, unlike an exclusive or, tell rows that are there twice.

Columns without a canonical text in Snowflake (floats, JSON) are fetched and compared
by value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.contract.columns import INTEGERS, Column
from runtime.contract.names import quote_postgres, quote_snowflake_column
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for

# 65,536 buckets by the key's MD5: few enough to hold, and small in a large table.
_BUCKET_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Side:
    """One database's SQL for a table's rows.

    Attributes:
        name: The table, quoted.
        where: Condition of the rows that are compared.
        md5: How a text's MD5 is written, around `{}`.
        prefix: How the first 60 bits of such an MD5 become a number, around `{}`.
        texts: SQL of each canonical text, by source column.
        parts: The same with its marks, by source column.
        values: SQL of what is compared by value, by source column.
        key: Source columns of the key.
    """

    name: str
    where: str
    md5: str
    prefix: str
    texts: dict[str, str]
    parts: dict[str, str]
    values: dict[str, str]
    key: tuple[str, ...]

    def aggregate(self, standing: str, where: str) -> str:
        """Return the query of rows and their checksum, by bucket and standing.

        Args:
            standing: What a row counts as.
            where: Condition of the rows to count.
        """
        number = self.prefix.format(self.md5.format(self._joined(self.parts)))
        return (
            f"SELECT {self._bucket} AS bucket, {standing} AS standing, COUNT(1) AS n, "
            f"SUM({number}) AS checksum FROM {self.name} WHERE {where} GROUP BY 1, 2"
        )

    def rows(self, standing: str, where: str, buckets: Sequence[str] = ()) -> str:
        """Return the query of rows by their key's MD5.

        That comes first, then the row's MD5, its standing, key texts, and values.

        Args:
            standing: What a row counts as.
            where: Condition of the rows to return.
            buckets: Those to return; all by default.
        """
        digest = self.md5.format(self._joined(self.parts))
        texts = [self.texts[name] for name in self.key]
        wanted = [self._key_md5, digest, standing, *texts, *self.values.values()]
        columns = ", ".join(f"{sql} AS r{n}" for n, sql in enumerate(wanted))
        if buckets:
            few = ", ".join(f"'{bucket}'" for bucket in buckets)
            where = f"({where}) AND {self._bucket} IN ({few})"
        return f"SELECT {columns} FROM {self.name} WHERE {where} ORDER BY 1"

    def picked(self, digests: list[str]) -> str:
        """Return the query of a few rows' canonical texts.

        Args:
            digests: MD5s of their keys, hexadecimal.
        """
        wanted = [self._key_md5, *self.parts.values()]
        columns = ", ".join(f"{sql} AS r{n}" for n, sql in enumerate(wanted))
        few = ", ".join(f"'{digest}'" for digest in digests)
        return (
            f"SELECT {columns} FROM {self.name} "
            f"WHERE ({self.where}) AND {self._key_md5} IN ({few})"
        )

    @property
    def _bucket(self) -> str:
        return f"LEFT({self._key_md5}, {_BUCKET_DIGITS})"

    @property
    def _key_md5(self) -> str:
        return self.md5.format(
            self._joined({name: self.parts[name] for name in self.key})
        )

    def one_row(self, head: str) -> str:
        """Return the query of some columns, then of all that are compared."""
        columns = [*self.parts.values(), *self.values.values()]
        named = ", ".join(f"{part} AS x{n}" for n, part in enumerate(columns))
        return f"SELECT {head}, {named} FROM {self.name} WHERE {self.where}"

    def _joined(self, parts: dict[str, str]) -> str:
        return " || '|' || ".join(parts.values())


def source_side(table: Table) -> Side:
    """Return the SQL for the source, in a session that prints as the export does."""
    texts, values = {}, {}
    for _, column in table.contract.live:
        rule, quoted = rule_for(column), quote_postgres(column.name)
        there = f"{quoted} IS NOT NULL"
        if rule.misfit is not None and column.misfit == "null":
            there = f"({rule.misfit(quoted)}) IS FALSE"
        if column.mask == "null":
            texts[column.name] = "NULL::pg_catalog.text"
        elif rule.text is None:
            values[column.name] = f"CASE WHEN {there} THEN {rule.export(quoted)} END"
        else:
            # concat prints what COPY prints; a cast says true for t and strips blanks.
            shown = (rule.canonical or rule.export)(quoted)
            texts[column.name] = (
                f"CASE WHEN {there} THEN pg_catalog.concat({shown}) END"
            )
    return Side(
        name=table.spec.source.sql,
        where=f"{selected(table)} AND {unmarked(table)}",
        # Collation C: the order of the hexadecimal digits as Snowflake has it.
        md5="pg_catalog.md5(pg_catalog.convert_to({}, 'UTF8')) COLLATE \"C\"",
        prefix="('x' || pg_catalog.left({}, 15))::pg_catalog.bit(60)"
        "::pg_catalog.int8::pg_catalog.numeric",
        texts=texts,
        parts=_parts(table, texts),
        values=values,
        key=table.spec.key,
    )


def selected(table: Table) -> str:
    """Return the source's condition of rows that neither policy nor filter excludes."""
    # A line of its own: it may end in a comment.
    filtered = f"({table.contract.where}\n)" if table.contract.where else "TRUE"
    if table.spec.is_full or table.spec.null_watermark == "include":
        return filtered
    watermark = quote_postgres(table.watermark.name)
    whole = table.watermark.plain_type in INTEGERS
    finite = f"pg_catalog.isfinite({watermark})"
    return f"{filtered} AND {f'{watermark} IS NOT NULL' if whole else finite}"


def unmarked(table: Table) -> str:
    """Return the source's condition of rows that no column marks as deleted."""
    if table.spec.deletes != "soft_column":
        return "TRUE"
    mark = table.contract.present(table.spec.deleted_col)
    empty = "IS NOT TRUE" if mark.plain_type == "boolean" else "IS NULL"
    return f"{quote_postgres(mark.name)} {empty}"


def target_side(table: Table, objects: SnowflakeObjects) -> Side:
    """Return the SQL for the target; tombstones are no rows."""
    texts, values = {}, {}
    for _, column in table.contract.live:
        rule, quoted = rule_for(column), quote_snowflake_column(column.target)
        if rule.text is not None or column.mask == "null":
            text = rule.text(quoted) if rule.text else f"{quoted}::VARCHAR"
            texts[column.name] = _or_companion(column, text)
        elif rule.type == "VARIANT":
            values[column.name] = _or_companion(column, f"TO_JSON({quoted})")
        else:
            values[column.name] = quoted
    return Side(
        name=objects.qualified(*table.spec.target),
        where="_deleted_at IS NULL",
        md5="MD5({})",
        prefix="TO_NUMBER(SUBSTR({}, 1, 15), 'XXXXXXXXXXXXXXX')::NUMBER(38,0)",
        texts=texts,
        parts=_parts(table, texts),
        values=values,
        key=table.spec.key,
    )


def _or_companion(column: Column, text: str) -> str:
    """What did not fit stands beside the column, as it was exported."""
    if column.companion is None:
        return text
    return f"COALESCE({text}, {quote_snowflake_column(column.companion)})"


def _parts(table: Table, texts: dict[str, str]) -> dict[str, str]:
    columns = {column.name: column for _, column in table.contract.live}
    return {
        name: f"COALESCE({_escaped(columns[name], text)}, '~N')"
        for name, text in texts.items()
    }


def _escaped(column: Column, text: str) -> str:
    """Only free text can hold the two marks."""
    if not rule_for(column).type.startswith("VARCHAR"):
        return text
    return f"REPLACE(REPLACE({text}, '~', '~~'), '|', '~|')"
