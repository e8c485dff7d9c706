"""Every file that PostgreSQL writes for us is read back by Snowflake's rules.

The reader is a second opinion (`tests/contract/snowflake_csv.py`): it has the rules
from Snowflake's documentation and nothing from the product.
"""

from collections import Counter
from io import BytesIO

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from runtime.contract.dialect import DIALECT, FileDialect, session_options
from runtime.contract.specs import Table
from tests.contract.snowflake_csv import DEFAULTS, LoadError, selected
from tests.exporter.conftest import BUCKET, Scene
from tests.hostile import EDGES, KEYS

WIDEST = 6
DIALECTS = [
    FileDialect(delimiter=delimiter, quote=quote)
    for delimiter in (",", ";", "|", "\t")
    for quote in ('"', "'")
]
CELLS = st.one_of(
    st.sampled_from([*EDGES]).map(EDGES.__getitem__),
    st.text("\\\"'\r\n\t ,;|aN.\ufeff\u2028\x85", max_size=8),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
)
TABLES = st.integers(1, WIDEST).flatmap(
    lambda width: st.lists(st.tuples(*[CELLS] * width), min_size=1, max_size=12)
)
C = [f"c{number}" for number in range(1, WIDEST + 1)]


def written(cursor, query: str, dialect: FileDialect = DIALECT) -> bytes:
    out = BytesIO()
    cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH ({dialect.copy_options})", out)
    return out.getvalue()


def store(cursor, rows) -> None:
    """Make these the rows of the table `cells`; columns beyond theirs stay NULL."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    names, arrays = C[: len(columns)], ["%s::text[]"] * len(columns)
    cursor.execute(
        f"DELETE FROM cells; INSERT INTO cells (k, {', '.join(names)}) "
        f"SELECT k, {', '.join(names)} FROM unnest({', '.join(arrays)}) "
        f"WITH ORDINALITY AS t ({', '.join(names)}, k)",
        columns,
    )


@pytest.fixture
def cursor(scene):
    typed = ", ".join(f"{name} TEXT" for name in C)
    made = f"CREATE TEMPORARY TABLE cells (k INT, {typed})"
    return scene.session(made, options=session_options())


def test_every_text_of_postgresql_comes_back_whatever_the_dialect(cursor):
    seen: Counter[str | None] = Counter()
    blank_lines: Counter[str] = Counter()

    @settings(
        max_examples=300,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.sampled_from(DIALECTS), TABLES)
    def comes_back(dialect, rows):
        width = len(rows[0])
        event(f"{width} columns")
        seen.update(cell for row in rows for cell in row)
        store(cursor, rows)
        query = f"SELECT {', '.join(C[:width])} FROM cells ORDER BY k"
        data = written(cursor, query, dialect)
        cursor.execute(query)
        assert cursor.fetchall() == rows
        if width == 1 and (None,) in rows:
            # The one row that CSV cannot tell: an empty line. It is no silent loss.
            blank_lines[dialect.quote] += 1
            with pytest.raises(LoadError, match="blank line"):
                selected(data, dialect.file_format, width)
        else:
            read = selected(data, dialect.file_format, width)
            assert [tuple(row) for row in read] == rows

    comes_back()
    assert [name for name, cell in EDGES.items() if not seen[cell]] == []
    assert blank_lines


HOSTILE = [(cell, name, cell) for name, cell in EDGES.items()]


@pytest.mark.parametrize(
    "option",
    [
        {name: DEFAULTS[name]}
        for name, value in DIALECT.file_format.items()
        if value != DEFAULTS[name] and name != "COMPRESSION"
        # With a SELECT, as in our pipes, it has no meaning.
        and name != "ERROR_ON_COLUMN_COUNT_MISMATCH"
    ]
    + [{"NULL_IF": ["NULL"]}, {"NULL_IF": [""]}, {"EMPTY_FIELD_AS_NULL": False}]
    + [{"TRIM_SPACE": True}, {"MULTI_LINE": False}, {"ESCAPE": "\\"}]
    + [{"FIELD_DELIMITER": ";"}, {"FIELD_OPTIONALLY_ENCLOSED_BY": "'"}]
    + [DEFAULTS | {"FIELD_OPTIONALLY_ENCLOSED_BY": '"'}],
    ids=lambda option: str(option) if len(option) == 1 else "all of Snowflake's own",
)
def test_with_another_value_of_an_option_the_same_texts_would_be_spoilt(cursor, option):
    """Also with Snowflake's defaults, where they are not ours."""
    # A byte order mark matters at the beginning of the file alone.
    rows = [("\ufeff", "first", "x"), *HOSTILE]
    store(cursor, rows)
    data = written(cursor, "SELECT c1, c2, c3 FROM cells ORDER BY k")
    ours = DIALECT.file_format
    assert [tuple(row) for row in selected(data, ours, 3)] == rows
    try:
        spoilt = selected(data, ours | option, 3)
    except LoadError:
        return
    assert [tuple(row) for row in spoilt] != rows


# --- what a run writes


def files(scene: Scene, table: Table) -> dict[str, list[list[str | None]]]:
    """Return the rows of all files that runs have written, by what they carry."""
    found: dict[str, list[list[str | None]]] = {}
    for manifest in scene.manifests(table):
        for file in manifest.files:
            body = scene.around.s3.get_object(Bucket=BUCKET, Key=file.key)["Body"]
            read = selected(body.read(), DIALECT.file_format, file.columns)
            assert len(read) == file.rows
            kind = file.key.rsplit("_", 1)[1][0]
            found.setdefault(kind, []).extend(read)
    return found


@pytest.mark.parametrize(
    ("ddl", "key", "others"),
    [
        ("k TEXT PRIMARY KEY", "k", 0),
        ("k TEXT PRIMARY KEY, a TEXT, b TEXT", "k", 2),
        ("k TEXT, n INT, PRIMARY KEY (k, n)", ["k", "n"], 1),
        ("gone INT, k TEXT PRIMARY KEY", "k", 0),
    ],
    ids=["only a key", "more columns", "a key of two", "a column is gone"],
)
def test_rows_keys_and_seals_of_a_run_come_back(scene, ddl, key, others):
    """Also where a file has one column only: it is the key, and NOT NULL."""
    keys = {"primary_key": key, "mode": "full", "watermark_col": None}
    table = scene.table(f"CREATE TABLE public.t ({ddl})", table_name="public.t", **keys)
    contract = table.contract
    if contract.column("gone"):
        scene.sql("ALTER TABLE public.t DROP COLUMN gone")
        table = dropped(table)
    number = "row_number() OVER ()" if others == 1 else "NULL"
    values = ", ".join(["k", number, "'last'"][: others + 1])
    into = ", ".join(c.name for _, c in table.contract.live)
    scene.sql(
        f"INSERT INTO public.t ({into}) SELECT {values} FROM unnest(%s) AS k", KEYS
    )
    scene.run(table, reconcile=True)
    found = files(scene, table)
    place = table.keys[0][0] - 1
    assert found.keys() == {"c", "k", "s"}
    for kind in "ck":
        assert sorted(row[place] or "" for row in found[kind]) == sorted(KEYS)
        # What is not the key, or gone, is NULL.
        assert all(row[:place] == [None] * place for row in found[kind])
    if others == 2:
        assert {tuple(row[1:]) for row in found["c"]} == {(None, "last")}
    [[seal]] = found["s"]
    assert seal is not None and "newer" in seal


def dropped(table: Table) -> Table:
    first, *rest = table.contract.columns
    columns = (msgspec.structs.replace(first, dropped=True), *rest)
    contract = msgspec.structs.replace(table.contract, columns=columns)
    return msgspec.structs.replace(table, contract=contract)


def test_a_view_that_comes_to_show_null_as_its_only_column_does_not_load(scene):
    """Of a table, the run is refused; a view tells nothing of NOT NULL.

    The empty line is an error of the file, and its manifest stays open.
    """
    scene.sql(
        "CREATE TABLE public.base (k TEXT PRIMARY KEY); "
        "CREATE VIEW public.v AS SELECT k FROM public.base; "
        "INSERT INTO public.base VALUES ('a')"
    )
    keys = {"primary_key": "k", "mode": "full", "watermark_col": None}
    view = scene.table(table_name="public.v", **keys)
    scene.run(view)
    assert files(scene, view)["c"] == [["a"]]
    scene.sql(
        "ALTER TABLE public.base DROP CONSTRAINT base_pkey, ALTER k DROP NOT NULL; "
        "INSERT INTO public.base VALUES (NULL)"
    )
    scene.run(view)
    with pytest.raises(LoadError, match="blank line"):
        files(scene, view)
