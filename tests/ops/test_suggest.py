"""What is proposed for a table, and what it is said to rest on."""

import json
import re
import threading

import pytest

from infra.local.postgres import aurora_dsn
from runtime.contract.errors import ConfigError
from runtime.contract.loader import load_specs, load_tables
from runtime.contract.names import SourceName
from runtime.ops.contracts import add
from runtime.ops.source import connect
from runtime.ops.suggest import Proposal, completed, suggest

AT = "timestamptz NOT NULL"


def proposed(source, columns: str, *more: str) -> Proposal:
    """Return what is proposed for one table of these columns."""
    source.sql(f"CREATE TABLE {{s}}.t ({columns})", *more)
    [found] = suggest(source.session, (), [f"{source.schema}.t"])
    return found


def entry(source, columns: str, *more: str) -> dict:
    found = proposed(source, columns, *more)
    assert found.entry is not None, found.notes
    return found.entry


def reason(source, columns: str, *more: str) -> str:
    found = proposed(source, columns, *more)
    assert (found.state, found.entry) == ("refused", None)
    return " ".join(found.notes)


class TestKey:
    """The database must prove it."""

    def test_the_primary_key_comes_first_in_its_order(self, source):
        found = entry(
            source,
            f"a int UNIQUE NOT NULL, c int, b int, updated_at {AT}, PRIMARY KEY (c, b)",
        )
        assert found["primary_key"] == ["c", "b"]

    def test_else_the_narrowest_unique_index_that_serves(self, source):
        found = entry(
            source,
            f"a int UNIQUE, b int NOT NULL, c int NOT NULL UNIQUE, "
            f"d int NOT NULL UNIQUE DEFERRABLE, updated_at {AT}, UNIQUE (b, c)",
        )
        assert found["primary_key"] == "c"

    def test_a_key_whose_equality_is_not_its_texts_does_not_serve(self, source):
        found = entry(
            source,
            f"x float PRIMARY KEY, code text NOT NULL UNIQUE, updated_at {AT}",
        )
        assert found["primary_key"] == "code"

    def test_without_one_the_indexes_that_fail_are_named(self, source):
        text = reason(source, f"a int CONSTRAINT half UNIQUE, updated_at {AT}")
        assert "no key" in text and "half" in text and "add a PRIMARY KEY" in text


class TestWatermark:
    """The surest column, and what makes it so."""

    @pytest.mark.parametrize(
        ("columns", "best", "why"),
        [
            (f"created_at {AT}, updated_at {AT}", "updated_at", "by its name"),
            (f"modified date, last_update {AT}", "last_update", "by its name"),
            ('"updatedAt" timestamptz, x date', "updatedAt", "by its name"),
            ("write_date timestamptz", "write_date", "go out when they are written"),
            (f"inserted_at {AT}", "inserted_at", "append-only"),
            (f"a {AT}, b {AT} DEFAULT now()", "b", "append-only"),
            (f"birth_date {AT}, payment_date {AT}", "payment_date", "append-only"),
        ],
    )
    def test_the_best_by_name(self, source, columns, best, why):
        found = proposed(source, f"id int PRIMARY KEY, {columns}")
        assert found.entry is not None
        assert found.entry["watermark_col"] == best
        assert why in "; ".join(found.notes)

    def test_a_trigger_beats_all_names(self, source):
        found = proposed(
            source,
            f"id int PRIMARY KEY, updated_at {AT}, version_time timestamptz",
            "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN NEW.version_time := now(); RETURN NEW; END'",
            "CREATE TRIGGER moved BEFORE UPDATE ON {s}.t "
            "FOR EACH ROW EXECUTE FUNCTION {s}.f()",
        )
        assert found.entry is not None
        assert found.entry["watermark_col"] == "version_time"
        assert "moved by trigger moved" in found.notes

    def test_a_trigger_that_is_off_moves_nothing(self, source):
        found = entry(
            source,
            f"id int PRIMARY KEY, created_at {AT}, other {AT}",
            "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN NEW.other := now(); RETURN NEW; END'",
            "CREATE TRIGGER moved BEFORE UPDATE ON {s}.t "
            "FOR EACH ROW EXECUTE FUNCTION {s}.f()",
            "ALTER TABLE {s}.t DISABLE TRIGGER moved",
        )
        assert found["watermark_col"] == "created_at"

    def test_one_that_is_indexed_and_never_null_is_preferred(self, source):
        found = entry(
            source,
            f"id int PRIMARY KEY, updated_at timestamptz, changed_at {AT}, "
            f"modified_at {AT}",
            "CREATE INDEX ON {s}.t (modified_at)",
        )
        assert found["watermark_col"] == "modified_at"

    @pytest.mark.parametrize(
        "column", ["hire_date date", "due_at timestamptz", "n int", "updated_at int"]
    )
    def test_without_a_column_that_moves_it_is_read_whole(self, source, column):
        found = proposed(source, f"id int PRIMARY KEY, {column}")
        assert found.entry == {
            "table_name": f"{source.schema}.t",
            "mode": "full",
            "primary_key": "id",
        }
        assert "no column moves" in found.notes[0]
        assert re.fullmatch(r"every run reads all of its \d+ \w+", found.notes[1])
        assert len(found.notes) == 2

    def test_where_a_sequence_numbers_rows_the_cheaper_way_is_told(self, source):
        found = proposed(source, "id bigserial PRIMARY KEY, n int")
        assert found.entry is not None and found.entry["mode"] == "full"
        way = f"table add {source.schema}.t --key id --watermark id --id-lookback 1000"
        assert way in found.notes[2]
        source.sql("ALTER SEQUENCE {s}.t_id_seq CACHE 20")
        [found] = suggest(source.session, (), [f"{source.schema}.t"])
        assert len(found.notes) == 2

    @pytest.mark.parametrize(
        ("kind", "values", "unit"),
        [
            ("int", "(1, 1700000000), (2, 0)", "s"),
            ("bigint", "(1, 1700000000000), (2, NULL)", "ms"),
            ("bigint", "(1, 1700000000000000)", "us"),
            ("bigint", "(1, 17), (2, 1700000000)", None),
            ("bigint", "(1, 20231114)", None),
        ],
    )
    def test_an_integer_is_a_time_when_its_values_are(self, source, kind, values, unit):
        found = proposed(
            source,
            f"id int PRIMARY KEY, updated_at {kind}",
            f"INSERT INTO {{s}}.t VALUES {values}",
        )
        assert found.entry is not None
        assert found.entry.get("watermark_unit") == unit
        assert ("watermark_col" in found.entry) == (unit is not None)
        asked = {"table_name": f"{source.schema}.t", "watermark_col": "updated_at"}
        name = SourceName.parse(asked["table_name"])
        known = asked | ({"watermark_unit": unit} if unit else {})
        assert completed(source.session, asked, name) == known
        ids = asked | {"id_lookback": 5}
        assert completed(source.session, ids, name) == ids

    def test_a_moment_goes_before_an_integer(self, source):
        found = entry(
            source,
            f"id int PRIMARY KEY, updated bigint NOT NULL, updated_at {AT}",
            "INSERT INTO {s}.t VALUES (1, 1700000000000, NOW())",
        )
        assert found["watermark_col"] == "updated_at"

    def test_a_naive_one_is_in_the_servers_zone(self, source):
        name = source.admin.info.dbname
        source.sql(f"ALTER DATABASE {name} SET timezone TO 'Europe/Berlin'")
        try:
            found = proposed(source, "id int PRIMARY KEY, updated_at timestamp")
        finally:
            source.sql(f"ALTER DATABASE {name} RESET timezone")
        assert found.entry is not None
        assert found.entry["watermark_timezone"] == "Europe/Berlin"
        assert found.entry["lookback"] == "PT90M"
        assert any("Europe/Berlin, the server's" in note for note in found.notes)


class TestTables:
    """Which tables, and what keeps one away."""

    def test_a_type_without_a_rule_is_left_behind(self, source):
        found = proposed(
            source,
            f"id int PRIMARY KEY, odd pg_catalog.gtsvector, updated_at {AT}",
        )
        assert found.entry is not None and found.entry["exclude"] == ["odd"]
        assert any("left behind" in note for note in found.notes)

    def test_discovery_has_the_last_word(self, source):
        columns = f"id int PRIMARY KEY, updated_at {AT}"
        security = "ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY"
        assert "has row level security" in reason(source, columns, security)

    def test_each_table_once_and_those_of_the_config_left_alone(self, source):
        columns = f"id int PRIMARY KEY, updated_at {AT}"
        source.sql(
            f"CREATE TABLE {{s}}.a ({columns})",
            f'CREATE TABLE {{s}}."A" ({columns})',
            f"CREATE TABLE {{s}}.b ({columns})",
            "CREATE VIEW {s}.v AS SELECT id, updated_at FROM {s}.b",
            "CREATE TABLE {s}.p (id int, payment_date date NOT NULL, "
            "PRIMARY KEY (id, payment_date)) PARTITION BY RANGE (payment_date)",
            "CREATE TABLE {s}.p1 PARTITION OF {s}.p FOR VALUES FROM (MINVALUE) "
            "TO (MAXVALUE)",
        )
        source.write_config({"table_name": "b", "watermark_col": "updated_at"})
        present = load_specs(source.config)
        found = suggest(source.session, present, schema=source.schema)
        states = {each.table.split(".")[1]: each.state for each in found}
        assert states == {
            "A": "proposed",
            "a": "refused",
            "b": "present",
            "p": "proposed",
        }
        [view] = suggest(source.session, present, [f"{source.schema}.v"])
        assert view.state == "proposed"

    def test_what_is_proposed_is_accepted(self, source):
        source.sql(
            f"CREATE TABLE {{s}}.a (id int PRIMARY KEY, updated_at {AT})",
            "CREATE TABLE {s}.b (id uuid PRIMARY KEY, created date)",
        )
        found = suggest(source.session, (), schema=source.schema)
        entries = [each.entry for each in found if each.entry is not None]
        assert len(entries) == 2
        add(source.config, source.session, entries)
        assert len(load_tables(source.config)) == 2
        assert json.loads(source.config.read_text())["tables"] == entries

    def test_names_that_are_no_tables_are_told(self, source):
        [found] = suggest(source.session, (), ["public.nope"])
        assert "no such table" in found.notes[0]
        with pytest.raises(ConfigError, match="has no tables"):
            suggest(source.session, (), schema=source.schema)


def test_tables_added_at_the_same_time_all_arrive(source, stack):
    names = [f"t{number}" for number in range(6)]
    for name in names:
        source.sql(f"CREATE TABLE {{s}}.{name} (id int PRIMARY KEY, updated_at {AT})")

    def add_one(name: str) -> None:
        session = connect(aurora_dsn(stack))
        [found] = suggest(session, (), [f"{source.schema}.{name}"])
        assert found.entry is not None
        add(source.config, session, [found.entry])
        session.close()

    threads = [threading.Thread(target=add_one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert {table.spec.source.name for table in load_tables(source.config)} == set(
        names
    )
