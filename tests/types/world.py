"""A drawn table on its way: PostgreSQL, exporter, S3, COPY and merge, the target."""

import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import msgspec

from infra.local.parts import LocalStack
from runtime.contract.names import quote_postgres, quote_snowflake_column
from runtime.contract.snowflake_names import FILE_RECEIPTS, QUARANTINE, SYNC
from runtime.contract.specs import Table
from runtime.contract.type_map import rule_for
from runtime.ops.catalog import read_relation
from tests.exporter.conftest import BUCKET, Scene
from tests.factories import make_contract
from tests.faults.warehouse import OBJECTS, Warehouse
from tests.types.judge import Column, Evidence, Judge, Row

# So large that a table is one file.
_CHUNK = 10**9
# What decides how PostgreSQL prints a value, written once more.
_PINNED = (
    "SET search_path = pg_catalog; SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; "
    "SET intervalstyle = 'iso_8601'; SET extra_float_digits = 3; "
    "SET bytea_output = 'hex'"
)
_NULL = "\x01null"


class DrawnTable:
    """A table that is filled, synced and compared, as often as is wanted.

    Args:
        scene: Database, emulated AWS and the exporter's surroundings.
        folder: For this table's part of the local Snowflake; its name is the table's.
        columns: In the order of the table.
        seed: Decides where between them key and watermark stand.
    """

    def __init__(
        self, scene: Scene, folder: Path, columns: Sequence[Column], seed: int
    ) -> None:
        self._scene, self.columns = scene, tuple(columns)
        self._runs = 0
        self._id = folder.name
        self._name = f"public.{folder.name}"
        self._table = self._made(random.Random(seed))
        places = {column.name: at for at, column in self._table.contract.live}
        self._places = [places[column.name] for column in self.columns]
        self._key_place = places["k"]
        self._warehouse = Warehouse(
            LocalStack(folder), scene.around.s3, BUCKET, self._table
        )

    def close(self) -> None:
        """Close the databases."""
        self._warehouse.close()
        self._scene.sql(f"DROP TABLE {self._name}")

    def compare(self, rows: Sequence[Row]) -> Judge:
        """Store rows, sync them, read both sides and decide."""
        self._store(rows)
        body = self._sync()
        fields = csv.reader(StringIO(body.decode(), newline=""))
        by_key = {int(row[self._key_place - 1]): row for row in fields}
        target = self._target()
        evidence = Evidence(
            exported={k: [r[at - 1] for at in self._places] for k, r in by_key.items()},
            printed=self._asked([quote_postgres(c.name) for c in self.columns]),
            misread=self._misread(body),
            foreseen=self._foreseen(),
            target={key: list(row[: len(self.columns)]) for key, *row in target},
            beside={key: list(row[len(self.columns) :]) for key, *row in target},
            waiting=self._waiting(),
            nulled=self._nulled(),
        )
        return Judge(self.columns, rows, evidence).decide()

    def _made(self, chance: random.Random) -> Table:
        columns = [
            f"{c.name} {c.kind.declared}{'' if c.nullable else ' NOT NULL'}"
            for c in self.columns
        ]
        for own in (
            "k BIGINT PRIMARY KEY",
            "updated_at TIMESTAMPTZ NOT NULL DEFAULT '2024-01-01 00:00+00'",
        ):
            columns.insert(chance.randint(0, len(columns)), own)
        ddl = f"CREATE TABLE {self._name} ({', '.join(columns)})"
        table = self._scene.table(ddl, table_name=self._name, primary_key="k")
        with self._scene.source() as source:
            relation = read_relation(source.cursor, table.spec.source)
        assert relation is not None
        rules = {column.name: column.misfit for column in self.columns}
        frozen = tuple(
            msgspec.structs.replace(
                found.contract, misfit=rules.get(found.name, "fail")
            )
            for found in relation.columns
        )
        contract = make_contract(frozen, table=self._name)
        return Table(spec=table.spec, contract=contract)

    def _store(self, rows: Sequence[Row]) -> None:
        """Let the input functions of the types read the literals."""
        out = StringIO()
        writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
        for key, row in enumerate(rows):
            texts = (_NULL if value is None else value.literal for value in row)
            writer.writerow([key, *texts])
        out.seek(0)
        names = ", ".join(quote_postgres(column.name) for column in self.columns)
        with self._scene.admin.cursor() as cursor:
            cursor.execute(f"TRUNCATE {self._name}")
            cursor.copy_expert(
                f"COPY {self._name} (k, {names}) FROM STDIN WITH "
                f"(FORMAT csv, NULL '{_NULL}', FORCE_NULL ({names}))",
                out,
            )

    def _sync(self) -> bytes:
        """Run the exporter in a new deployment; its files arrive and are merged.

        Returns:
            The files.
        """
        self._runs += 1
        name = f"{self._scene.name}-{self._id.replace('_', '-')}-{self._runs}"
        settings = msgspec.structs.replace(
            self._scene.around.settings, stack=name, chunk_bytes=_CHUNK
        )
        around = replace(self._scene.around, settings=settings)
        here = replace(self._scene, name=name, around=around)
        self._warehouse.begin(name)
        here.load(self._table)
        body = b""
        for manifest in here.manifests(self._table):
            for file in manifest.files:
                self._warehouse.arrive(file.key)
                stored = around.s3.get_object(Bucket=BUCKET, Key=file.key)
                body += stored["Body"].read()
        self._warehouse.merge()
        return body

    def _asked(self, values: Sequence[str], *before: Any) -> dict[int, list[str]]:
        """Return what PostgreSQL prints of expressions for each row."""
        out = StringIO()
        cursor = self._scene.session(_PINNED)
        source = f"{self._name} AS x"
        if before:
            names = ", ".join(f"e{n} TEXT" for n in range(1, self._width + 1))
            cursor.execute(f"CREATE TEMP TABLE exported ({names})")
            cursor.copy_expert("COPY exported FROM STDIN WITH (FORMAT csv)", *before)
            source += f" JOIN exported AS e ON e.e{self._key_place}::BIGINT = x.k"
        shown = ", ".join(("x.k", *values))
        cursor.copy_expert(
            f"COPY (SELECT {shown} FROM {source}) TO STDOUT WITH (FORMAT csv)", out
        )
        cursor.connection.close()
        found = csv.reader(StringIO(out.getvalue(), newline=""))
        return {int(key): row for key, *row in found}

    @property
    def _width(self) -> int:
        return self._table.contract.width

    def _misread(self, body: bytes) -> dict[int, list[bool]]:
        """Return which exported texts PostgreSQL reads as something else."""
        conditions = []
        for column, place in zip(self.columns, self._places, strict=True):
            kind, name = column.kind, f"x.{quote_postgres(column.name)}"
            if kind.back is None:
                # A composite of NULLs IS NULL, and yet it is a value.
                conditions.append(f"(e.e{place} IS NULL) <> ({name}::TEXT IS NULL)")
            else:
                back = kind.back.format(text=f"e.e{place}", type=kind.declared)
                conditions.append(f"({back})::TEXT IS DISTINCT FROM {name}::TEXT")
        return _truths(self._asked(conditions, BytesIO(body)))

    def _foreseen(self) -> dict[int, list[bool]]:
        """Return which values the product's own question calls misfits."""
        conditions = []
        for place, column in zip(self._places, self.columns, strict=True):
            misfit = rule_for(self._table.contract.columns[place - 1]).misfit
            name = quote_postgres(column.name)
            asked = misfit(name) if misfit else "FALSE"
            conditions.append(f"COALESCE({asked}, FALSE)")
        return _truths(self._asked(conditions))

    def _target(self) -> list[tuple[Any, ...]]:
        """Return key, the texts of the values, and the texts that stand beside."""
        values, beside = [], []
        for column in self.columns:
            name = quote_snowflake_column(column.name.upper())
            companion = quote_snowflake_column(f"{column.name.upper()}__TEXT")
            values.append(column.kind.form.select.format(name))
            beside.append(companion if column.misfit == "text" else "NULL")
        shown = ", ".join(f"{it} AS t{n}" for n, it in enumerate(values + beside))
        target = OBJECTS.qualified(*self._table.spec.target)
        return self._warehouse.ask(f"SELECT k, {shown} FROM {target}")

    def _waiting(self) -> dict[int, tuple[str, str]]:
        rows = self._warehouse.ask(
            "SELECT key_text, column_name, value_text FROM "
            + OBJECTS.qualified(SYNC, QUARANTINE)
        )
        found = {int(key): (column, text) for key, column, text in rows}
        assert len(found) == len(rows), "a row waits twice in quarantine"
        return found

    def _nulled(self) -> int:
        ((count,),) = self._warehouse.ask(
            f"SELECT SUM(values_nulled) FROM {OBJECTS.qualified(SYNC, FILE_RECEIPTS)}"
        )
        return int(count or 0)


def _truths(rows: dict[int, list[str]]) -> dict[int, list[bool]]:
    return {key: [each == "t" for each in row] for key, row in rows.items()}
