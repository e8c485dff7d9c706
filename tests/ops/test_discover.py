"""Freezing a table's columns from PostgreSQL's catalog."""

import pytest

from runtime.contract.errors import ConfigErrors

COLUMNS = "id BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL"


def refusal(source, **keys) -> str:
    """Return the one problem of a table."""
    with pytest.raises(ConfigErrors) as caught:
        source.discover(**keys)
    (problem,) = {str(each) for each in caught.value.problems}
    return problem


def places(contract) -> list[str]:
    """Return number and name of each place, and whether it is given up."""
    return [f"{c.attnum} {c.name}{' dropped' * c.dropped}" for c in contract.columns]


def shape(contract):
    return [(c.attnum, c.name, c.base_type, c.kind) for c in contract.columns]


def test_types_are_resolved_through_all_domains(source):
    source.sql(
        "CREATE DOMAIN {s}.price AS NUMERIC(10, 2)",
        'CREATE DOMAIN {s}."Prüfpreis" AS {s}.price NOT NULL',
        "CREATE TYPE {s}.mood AS ENUM ('ok')",
        "CREATE DOMAIN {s}.moods AS {s}.mood[]",
        "CREATE TYPE {s}.pair AS (a INT, b TEXT)",
        "CREATE TABLE {s}.t (" + COLUMNS + ', price {s}."Prüfpreis", mood {s}.mood, '
        "moods {s}.moods, pair {s}.pair, span INT4RANGE, spans INT4MULTIRANGE, "
        "code VARCHAR(5)[], spot POINT, label NAME, small TIMESTAMP(3))",
    )
    contract = source.discover()
    s = source.schema
    assert shape(contract)[2:] == [
        (3, "price", "numeric(10,2)", "base"),
        (4, "mood", f"{s}.mood", "enum"),
        (5, "moods", f"{s}.mood[]", "array"),
        (6, "pair", f"{s}.pair", "composite"),
        (7, "span", "int4range", "range"),
        (8, "spans", "int4multirange", "range"),
        (9, "code", "character varying(5)[]", "array"),
        (10, "spot", "point", "base"),
        (11, "label", "name", "base"),
        (12, "small", "timestamp(3) without time zone", "base"),
    ]
    assert contract.columns[2].type == f'{s}."Prüfpreis"'
    assert [c.nullable for c in contract.columns][:3] == [False, False, True]
    assert contract.base_width == 12


def test_generated_columns_are_exported_like_any_other(source):
    source.sql(
        "CREATE TABLE {s}.t ("
        + COLUMNS
        + ", twice BIGINT GENERATED ALWAYS AS (id * 2) STORED,"
        " thrice BIGINT GENERATED ALWAYS AS (id * 3) VIRTUAL)"
    )
    assert [c.name for c in source.discover().columns] == [
        "id",
        "at",
        "twice",
        "thrice",
    ]


def test_columns_and_exclude_choose_and_the_order_is_the_tables(source):
    source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a INT, b INT)")
    chosen = source.discover(columns=["b", "at", "id"])
    assert [c.name for c in chosen.columns] == ["id", "at", "b"]
    assert [c.name for c in source.discover(exclude=["a"]).columns] == ["id", "at", "b"]


@pytest.mark.parametrize("key", ["columns", "exclude"])
def test_a_misspelt_column_is_an_error_because_it_would_be_sent(source, key):
    source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a INT)")
    names = {"columns": ["id", "at", "A"], "exclude": ["A"]}[key]
    assert "names a column the table does not have" in refusal(source, **{key: names})


def test_letters_of_names_keep_their_case(source):
    source.sql('CREATE TABLE {s}."Orders" (' + COLUMNS + ', "Größe" INT)')
    contract = source.discover(table="Orders")
    assert [c.name for c in contract.columns] == ["id", "at", "Größe"]
    assert "no such table" in refusal(source, table="orders")


def test_a_name_longer_than_postgresql_stores_does_not_match_its_beginning(source):
    source.sql("CREATE TABLE {s}." + "x" * 63 + " (" + COLUMNS + ")")
    assert source.discover(table="x" * 63).columns
    assert "no such table" in refusal(source, table="x" * 64)


def test_an_unknown_type_names_column_and_way_out(source):
    source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", v ACLITEM)")
    text = refusal(source)
    assert "'v'" in text and "aclitem" in text and "exclude" in text
    assert source.discover(exclude=["v"]).width == 2


class TestRelation:
    """Which sorts of relations can be synced."""

    @pytest.mark.parametrize(
        ("ddl", "reason"),
        [
            ("CREATE MATERIALIZED VIEW {s}.t AS SELECT 1 AS id, now() AS at", "mater"),
            ("CREATE SEQUENCE {s}.t", "sequence"),
            ("CREATE TYPE {s}.t AS (id INT, at TIMESTAMPTZ)", "composite"),
            ("CREATE VIEW {s}.t AS SELECT 1 AS id, now() AS at", "more than one table"),
        ],
    )
    def test_what_is_not_a_table_is_refused(self, source, ddl, reason):
        source.sql(ddl)
        assert reason in refusal(source)

    def test_a_foreign_table_is_refused(self, source):
        source.sql(
            "CREATE EXTENSION IF NOT EXISTS postgres_fdw",
            "CREATE SERVER {s} FOREIGN DATA WRAPPER postgres_fdw",
            "CREATE FOREIGN TABLE {s}.t (id INT, at TIMESTAMPTZ) SERVER {s}",
            "CREATE VIEW {s}.v AS SELECT id, at FROM {s}.t",
        )
        assert "foreign" in refusal(source)
        assert "foreign" in refusal(source, table="v")
        source.sql("DROP SERVER {s} CASCADE")

    def test_a_temporary_table_is_refused(self, source):
        source.sql("CREATE TEMPORARY TABLE {s}_t (" + COLUMNS + ")")
        with source.admin.cursor() as cursor:
            cursor.execute(
                "SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n "
                "ON n.oid = c.relnamespace WHERE c.relname = %s",
                (f"{source.schema}_t",),
            )
            (schema,) = cursor.fetchone()
        name = f"{schema}.{source.schema}_t"
        assert "temporary" in refusal(source, table_name=name)

    def test_row_security_is_refused_with_the_way_out(self, source):
        source.sql(
            "CREATE TABLE {s}.t (" + COLUMNS + ")",
            "ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY",
        )
        assert "owner also owns the table" in refusal(source)

    def test_inheritance_is_refused_because_the_key_covers_only_the_parent(
        self, source
    ):
        source.sql(
            "CREATE TABLE {s}.t (" + COLUMNS + ")",
            "CREATE TABLE {s}.child () INHERITS ({s}.t)",
        )
        assert "inherit" in refusal(source)

    def test_a_partitioned_table_and_a_partition_are_tables(self, source):
        source.sql(
            "CREATE TABLE {s}.t (" + COLUMNS + ") PARTITION BY RANGE (id)",
            "CREATE TABLE {s}.p PARTITION OF {s}.t FOR VALUES FROM (0) TO (9)",
        )
        assert source.discover().width == 2
        assert source.discover(table="p").width == 2


class TestView:
    """A view is as good as the one table under it."""

    def test_key_and_not_null_come_from_the_table_under_it(self, source):
        source.sql(
            "CREATE TABLE {s}.base (other INT, id BIGINT PRIMARY KEY, "
            "at TIMESTAMPTZ NOT NULL, gone TEXT)",
            "CREATE VIEW {s}.inner AS SELECT at, id AS number, gone FROM {s}.base "
            "WHERE other > 0",
            "CREATE VIEW {s}.t AS SELECT number AS id, at, gone || '!' AS shout "
            "FROM {s}.inner",
        )
        contract = source.discover()
        assert shape(contract) == [
            (1, "id", "bigint", "base"),
            (2, "at", "timestamp with time zone", "base"),
            (3, "shout", "text", "base"),
        ]
        assert [c.nullable for c in contract.columns] == [False, False, True]

    def test_a_column_of_the_keys_name_proves_nothing(self, source):
        source.sql(
            "CREATE TABLE {s}.base (id BIGINT PRIMARY KEY, twin BIGINT NOT NULL, "
            "at TIMESTAMPTZ NOT NULL)",
            "CREATE VIEW {s}.t AS SELECT twin AS id, at FROM {s}.base",
        )
        assert "indexes: none" in refusal(source)

    @pytest.mark.parametrize(
        "query",
        [
            "SELECT a.id, a.at FROM {s}.a JOIN {s}.b ON b.id = a.id",
            "SELECT DISTINCT id, at FROM {s}.a",
            "SELECT id, at FROM {s}.a UNION ALL SELECT id, at FROM {s}.b",
            "SELECT id, max(at) AS at FROM {s}.a GROUP BY id",
            "SELECT id, at FROM {s}.a WHERE id IN (SELECT id FROM {s}.b)",
        ],
    )
    def test_any_other_view_is_refused(self, source, query):
        source.sql(
            "CREATE TABLE {s}.a (" + COLUMNS + ")",
            "CREATE TABLE {s}.b (" + COLUMNS + ")",
            "CREATE VIEW {s}.t AS " + query,
        )
        assert "more than one table" in refusal(source)

    def test_rules_that_make_a_join_deletable_do_not_deceive(self, source):
        source.sql(
            "CREATE TABLE {s}.a (" + COLUMNS + ")",
            "CREATE VIEW {s}.t AS SELECT a.id, a.at FROM {s}.a CROSS JOIN {s}.a AS b",
            "CREATE RULE d AS ON DELETE TO {s}.t DO INSTEAD NOTHING",
        )
        assert "more than one table" in refusal(source)

    def test_row_security_is_that_of_the_views_owner(self, source):
        owner = f"owner_{source.schema}"
        source.sql(
            f"CREATE ROLE {owner}",
            f"GRANT ALL ON SCHEMA {{s}} TO {owner}",
            "CREATE TABLE {s}.base (" + COLUMNS + ")",
            "ALTER TABLE {s}.base ENABLE ROW LEVEL SECURITY",
            "CREATE VIEW {s}.t AS SELECT id, at FROM {s}.base",
            f"ALTER VIEW {{s}}.t OWNER TO {owner}",
            f"GRANT SELECT ON {{s}}.base TO {owner}",
        )
        try:
            assert f"row level security (under it: {source.schema}.base)" in refusal(
                source
            )
            source.sql(f"ALTER TABLE {{s}}.base OWNER TO {owner}")
            assert source.discover().width == 2
            source.sql("ALTER VIEW {s}.t SET (security_invoker = true)")
            assert "row level security" in refusal(source)
            source.sql(
                "ALTER VIEW {s}.t RESET (security_invoker)",
                "ALTER TABLE {s}.base FORCE ROW LEVEL SECURITY",
            )
            assert "row level security" in refusal(source)
        finally:
            source.sql(f"DROP OWNED BY {owner} CASCADE", f"DROP ROLE {owner}")


class TestKey:
    """The database itself must guarantee the key."""

    @pytest.mark.parametrize(
        ("ddl", "fault"),
        [
            ("CREATE INDEX i ON {s}.t (id)", "i (id, not unique)"),
            ("CREATE UNIQUE INDEX i ON {s}.t (id) WHERE id > 0", "i (id, partial)"),
            (
                "ALTER TABLE {s}.t ADD CONSTRAINT i UNIQUE (id) DEFERRABLE",
                "i (id, deferrable)",
            ),
            ("CREATE UNIQUE INDEX i ON {s}.t (id, b)", "i (id, b)"),
            (
                "CREATE UNIQUE INDEX i ON {s}.t (abs(id))",
                "i (expression, of expressions)",
            ),
        ],
    )
    def test_an_index_that_proves_nothing_is_shown_with_its_fault(
        self, source, ddl, fault
    ):
        source.sql(
            "CREATE TABLE {s}.t (id BIGINT NOT NULL, at TIMESTAMPTZ, b INT)", ddl
        )
        text = refusal(source)
        assert "no unique index on exactly these columns" in text
        assert f"got 'indexes: {fault}'" in text

    def test_columns_of_the_key_must_not_be_nullable(self, source):
        source.sql("CREATE TABLE {s}.t (id BIGINT UNIQUE, at TIMESTAMPTZ)")
        assert "not declared NOT NULL: id" in refusal(source)

    def test_a_constraint_that_was_never_validated_guarantees_nothing(self, source):
        source.sql(
            "CREATE TABLE {s}.t (id BIGINT UNIQUE, at TIMESTAMPTZ)",
            "ALTER TABLE {s}.t ADD CONSTRAINT n NOT NULL id NOT VALID",
        )
        assert "not declared NOT NULL: id" in refusal(source)
        source.sql("ALTER TABLE {s}.t VALIDATE CONSTRAINT n")
        assert source.discover().columns[0].nullable is False

    def test_the_order_of_key_and_index_may_differ_and_includes_do_not_count(
        self, source
    ):
        source.sql(
            "CREATE TABLE {s}.t (id BIGINT NOT NULL, at TIMESTAMPTZ, b INT NOT NULL, "
            "c INT)",
            "CREATE UNIQUE INDEX ON {s}.t (b, id) INCLUDE (c)",
        )
        assert source.discover(primary_key=["id", "b"]).width == 4
        assert "no unique index" in refusal(source, primary_key=["id", "b", "at"])

    def test_an_index_on_the_parent_alone_is_not_valid(self, source):
        source.sql(
            "CREATE TABLE {s}.t (id BIGINT NOT NULL, at TIMESTAMPTZ) "
            "PARTITION BY RANGE (id)",
            "CREATE TABLE {s}.p PARTITION OF {s}.t FOR VALUES FROM (0) TO (9)",
            "CREATE UNIQUE INDEX i ON ONLY {s}.t (id)",
        )
        assert "i (id, not valid)" in refusal(source)

    def test_a_nondeterministic_collation_is_refused(self, source):
        source.sql(
            "CREATE COLLATION {s}.loose (PROVIDER = libc, LOCALE = 'C')",
            "UPDATE pg_catalog.pg_collation SET collisdeterministic = FALSE "
            "WHERE collname = 'loose'",
            "CREATE TABLE {s}.t (id TEXT NOT NULL, at TIMESTAMPTZ)",
            "CREATE UNIQUE INDEX ON {s}.t (id)",
            "ALTER TABLE {s}.t ALTER COLUMN id TYPE TEXT COLLATE {s}.loose",
        )
        assert "nondeterministic collation" in refusal(source)

    def test_a_float_is_no_key(self, source):
        source.sql("CREATE TABLE {s}.t (id FLOAT8 PRIMARY KEY, at TIMESTAMPTZ)")
        assert "equality" in refusal(source)


ALTER = "ALTER TABLE {s}.t "


class TestContinued:
    """A column is its number; places are append-only."""

    def test_a_dropped_column_keeps_its_place_and_a_new_one_goes_last(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a INT, b INT)")
        former = source.discover()
        source.sql(ALTER + "DROP COLUMN a", ALTER + "ADD COLUMN c TEXT")
        contract = source.discover(former)
        assert places(contract) == ["1 id", "2 at", "3 a dropped", "4 b", "5 c"]
        assert contract.base_width == 4
        assert source.discover(contract) == contract

    @pytest.mark.parametrize(
        ("changes", "place"),
        [
            (["DROP COLUMN a", "ADD COLUMN a INT"], "4 a"),
            (["ALTER COLUMN a TYPE TEXT"], "3 a"),
            (["ALTER COLUMN a TYPE SMALLINT"], "3 a"),
            (["ALTER COLUMN a TYPE NUMERIC(12, 2)"], "3 a"),
        ],
    )
    def test_what_is_another_column_under_the_same_name_comes_with_the_second_refresh(
        self, source, changes, place
    ):
        """Between the two, a deployment takes the old one's values away."""
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a INT)")
        former = source.discover()
        source.sql(*(ALTER + change for change in changes))
        first = source.discover(former)
        assert places(first) == ["1 id", "2 at", "3 a dropped"]
        second = source.discover(first)
        assert places(second) == [*places(first), place]
        assert source.discover(second) == second

    def test_json_that_becomes_jsonb_is_another_column(self, source):
        """Of json more does not fit: its files need their own cast."""
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a JSON)")
        former = source.discover()
        source.sql(ALTER + "ALTER COLUMN a TYPE JSONB")
        assert places(source.discover(former)) == ["1 id", "2 at", "3 a dropped"]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("INT", "BIGINT"),
            ("SMALLINT", "NUMERIC(20, 0)"),
            ("NUMERIC(8, 2)", "NUMERIC(12, 2)"),
            ("VARCHAR(5)", "VARCHAR(9)"),
            ("VARCHAR(5)", "TEXT"),
            ("UUID", "TEXT"),
        ],
    )
    def test_a_type_that_only_grows_keeps_its_place(self, source, before, after):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + f", a {before})")
        former = source.discover()
        source.sql(ALTER + f"ALTER COLUMN a TYPE {after}")
        contract = source.discover(former)
        assert places(contract) == ["1 id", "2 at", "3 a"]
        assert contract.columns[2] != former.columns[2]

    def test_a_renamed_column_is_a_new_one_at_once(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a INT)")
        former = source.discover()
        source.sql(ALTER + "RENAME COLUMN a TO z")
        contract = source.discover(former)
        assert places(contract) == ["1 id", "2 at", "3 a dropped", "3 z"]

    def test_two_columns_that_swap_their_names_wait_both(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a INT, b INT)")
        former = source.discover()
        for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
            source.sql(ALTER + f"RENAME COLUMN {old} TO {new}")
        first = source.discover(former)
        assert places(first)[2:] == ["3 a dropped", "4 b dropped"]
        assert places(source.discover(first))[4:] == ["3 b", "4 a"]

    def test_a_watermark_may_be_renamed(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ")")
        former = source.discover()
        source.sql(ALTER + "RENAME COLUMN at TO moved")
        contract = source.discover(former, watermark_col="moved")
        assert places(contract) == ["1 id", "2 at dropped", "2 moved"]

    def test_a_column_that_may_be_null_now_is_no_other(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a INT NOT NULL)")
        former = source.discover()
        source.sql(ALTER + "ALTER COLUMN a DROP NOT NULL")
        assert places(source.discover(former)) == ["1 id", "2 at", "3 a"]

    def test_a_key_grows_in_its_place(self, source):
        source.sql("CREATE TABLE {s}.t (id INT PRIMARY KEY, at TIMESTAMPTZ NOT NULL)")
        former = source.discover()
        source.sql(ALTER + "ALTER COLUMN id TYPE BIGINT")
        assert places(source.discover(former)) == ["1 id", "2 at"]

    @pytest.mark.parametrize(
        "changes",
        [
            ["ALTER COLUMN id TYPE TEXT"],
            ["ALTER COLUMN id TYPE INT"],
            ["DROP COLUMN id", "ADD COLUMN id BIGSERIAL PRIMARY KEY"],
        ],
    )
    def test_a_key_that_has_become_another_is_refused(self, source, changes):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ")")
        former = source.discover()
        source.sql(*(ALTER + change for change in changes))
        text = refusal(source, former=former)
        assert "key column 'id' is not one that the contract has" in text
        assert "change it back at the source, or sync a view" in text

    def test_a_renamed_key_is_refused(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ")")
        former = source.discover()
        source.sql(ALTER + "RENAME COLUMN id TO no")
        text = refusal(source, former=former, primary_key="no")
        assert "got 'no bigint'; allowed: id bigint" in text

    @pytest.mark.parametrize(
        ("role", "names"),
        [
            ("watermark_col", "at"),
            ("clustering", ["at"]),
            ("columns", ["id", "at", "on"]),
        ],
    )
    def test_what_waits_must_not_be_needed_meanwhile(self, source, role, names):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ', "on" TIMESTAMPTZ)')
        keys = {"watermark_col": "on"} | {role: names}
        former = source.discover(**keys)
        source.sql(ALTER + "ALTER COLUMN at TYPE TIMESTAMP")
        text = refusal(source, former=former, **keys)
        assert f"column 'at' has become another, and {role} names it" in text
        assert f"name another in {role} or none, refresh and deploy" in text

    def test_a_column_left_behind_and_taken_back_is_a_new_one(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ", a INT, b INT)")
        without = source.discover(source.discover(), exclude=["a"])
        assert [c.dropped for c in without.columns] == [False, False, True, False]
        source.sql(ALTER + "ALTER COLUMN a TYPE TEXT")
        again = source.discover(without)
        assert [(c.attnum, c.base_type, c.dropped) for c in again.columns[2:]] == [
            (3, "integer", True),
            (4, "integer", False),
            (3, "text", False),
        ]

    def test_a_type_that_travels_in_the_same_way_is_no_change(self, source):
        source.sql(
            "CREATE DOMAIN {s}.note AS TEXT",
            "CREATE TABLE {s}.t (" + COLUMNS + ", a TEXT, b TIMESTAMP(3))",
        )
        former = source.discover()
        source.sql(
            "ALTER TABLE {s}.t ALTER COLUMN a TYPE {s}.note",
            "ALTER TABLE {s}.t ALTER COLUMN b TYPE TIMESTAMP",
        )
        contract = source.discover(former)
        assert contract.columns[2].type == f"{source.schema}.note"

    def test_a_dropped_watermark_is_told_by_its_role(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ")")
        former = source.discover()
        source.sql("ALTER TABLE {s}.t DROP COLUMN at")
        assert "watermark_col names a column the table does not have" in refusal(
            source, former=former
        )
