"""What types cost: a COPY as an export writes it beside one of the bare columns."""

from contextlib import closing
from typing import Any

import psycopg2

from runtime.contract.dialect import DIALECT
from runtime.contract.names import quote_postgres
from runtime.contract.specs import Table
from runtime.exporter.chunks import Chunk
from runtime.exporter.source import select
from runtime.ops import source
from runtime.ops.catalog import read_relation
from runtime.ops.discover import contract_of
from tests.benchmarks.figures import Figures
from tests.benchmarks.ground import Ground
from tests.benchmarks.ours import timed, to_s3
from tests.factories import make_spec

_CREATE = """
CREATE TABLE typed (id BIGINT PRIMARY KEY, small SMALLINT, ok BOOLEAN, born DATE,
  at TIME, seen TIMESTAMP, price NUMERIC(12, 2), free NUMERIC, share FLOAT8, code UUID,
  short VARCHAR(20), padded CHAR(8), raw BYTEA, doc JSONB, tags TEXT[], ip INET,
  updated_at TIMESTAMPTZ NOT NULL)
"""
_FILL = """
INSERT INTO typed SELECT g, g %% 1000, g %% 2 = 0, DATE '1970-01-01' + g %% 20000,
  TIME '00:00' + g * INTERVAL '1 s', TIMESTAMP '2020-01-01' + g * INTERVAL '1.5 s',
  g / 7.0, g / 3.0, g / 11.0, MD5(g::TEXT)::UUID, 'n' || g, 'c' || g %% 1000,
  DECODE(MD5(g::TEXT), 'hex'), JSONB_BUILD_OBJECT('n', g, 'list', JSONB_BUILD_ARRAY(g)),
  ARRAY['a' || g, NULL, 'b'], '10.0.0.1'::INET + g,
  NOW() - INTERVAL '60 days' + g * INTERVAL '1 ms'
FROM GENERATE_SERIES(1, %s) AS g
"""
# A quarter of the rows: they are about three times as wide.
_SHARE = 4


def casts(ground: Ground, figures: Figures, repeats: int) -> None:
    """Stream tables to S3 with each type's export and without, in turns."""
    rows = ground.rows // _SHARE
    ground.aurora(_CREATE)
    ground.aurora(_FILL, rows)
    ground.aurora("VACUUM ANALYZE typed")
    for name, table, many in (
        ("seven columns", ground.table("exported"), ground.rows),
        ("a column of each type", _frozen(ground), rows),
    ):
        with closing(psycopg2.connect(ground.dsn)) as connection:
            query = select(table, Chunk().condition(table)).as_string(connection)
        statements = {"typed": query, "bare": _bare(table)}
        taken: dict[str, list[float]] = {which: [] for which in statements}
        for _ in range(repeats):
            for which, statement in statements.items():
                copy = f"COPY ({statement}) TO STDOUT WITH ({DIALECT.copy_options})"
                seconds = timed(lambda: to_s3(ground, f"bench/{which}.csv", copy))
                taken[which].append(seconds)
        for which, samples in taken.items():
            figures.add(f"casts.{which}, {name}", "s", samples, rows=many)
        pairs = zip(taken["bare"], taken["typed"], strict=True)
        ratio = figures.add(f"casts.ratio, {name}", "", [b / t for b, t in pairs])
        figures.judge(
            f"casts of {name}", ratio, ">= 0.85", "rows/s against bare columns"
        )


def _frozen(ground: Ground) -> Table:
    spec: Any = make_spec(table_name="public.typed", primary_key="id")
    with closing(source.connect(ground.dsn)) as session, session.cursor() as cursor:
        relation = read_relation(cursor, spec.source)
        return Table(spec=spec, contract=contract_of(relation, spec, None, "typed"))


def _bare(table: Table) -> str:
    columns = ", ".join(quote_postgres(c.name) for _, c in table.contract.live)
    return f"SELECT {columns} FROM {table.spec.source.sql}"
