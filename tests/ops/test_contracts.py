"""`contract refresh` and `table add`: all or nothing, and the rest stays as it is."""

import json

import pytest

from runtime.contract.errors import ConfigError, ConfigErrors
from runtime.contract.loader import load_tables
from runtime.ops.contracts import add, refresh

COLUMNS = "id BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL"


def files(source) -> dict[str, bytes]:
    return {
        str(path.relative_to(source.config.parent)): path.read_bytes()
        for path in source.config.parent.rglob("*")
        if path.is_file()
    }


def problems(call, *args) -> str:
    with pytest.raises(ConfigErrors) as caught:
        call(*args)
    return str(caught.value)


@pytest.fixture
def two(source):
    """A config of two tables that exist."""
    source.sql("CREATE TABLE {s}.a (" + COLUMNS + ", n INT)")
    source.sql("CREATE TABLE {s}.b (" + COLUMNS + ")")
    source.write_config({"table_name": "a"}, {"table_name": "b"})
    return source


class TestRefresh:
    """Contracts follow the catalog."""

    def test_it_creates_then_leaves_alone_then_changes(self, two):
        first = refresh(two.config, two.session)
        assert [each.change for each in first] == ["created", "created"]
        assert len(load_tables(two.config)) == 2
        before = files(two)
        again = refresh(two.config, two.session)
        assert [each.change for each in again] == ["unchanged", "unchanged"]
        assert files(two) == before
        two.sql("ALTER TABLE {s}.a DROP COLUMN n", "ALTER TABLE {s}.a ADD COLUMN m INT")
        changed = refresh(two.config, two.session)
        assert [each.change for each in changed] == ["changed", "unchanged"]
        assert (changed[0].added, changed[0].dropped) == (("m",), ("n",))
        assert [c.name for c in two.contract("a").columns] == ["id", "at", "n", "m"]

    def test_what_comes_back_later_is_named(self, two):
        refresh(two.config, two.session)
        two.sql("ALTER TABLE {s}.a ALTER n TYPE TEXT")
        first, _ = refresh(two.config, two.session)
        assert (first.added, first.dropped, first.waiting) == ((), ("n",), ("n",))
        second, _ = refresh(two.config, two.session)
        assert (second.added, second.dropped, second.waiting) == (("n",), (), ())

    def test_only_the_named_tables_are_read(self, two):
        two.sql("DROP TABLE {s}.b")
        (only,) = refresh(two.config, two.session, [f"{two.schema}.a"])
        assert only.table == f"{two.schema}.a"

    def test_the_files_are_stable_text_for_people(self, two):
        two.sql('ALTER TABLE {s}.a ADD COLUMN "Größe" INT')
        refresh(two.config, two.session)
        text = (two.config.parent / "contracts" / f"{two.schema}.a.json").read_text()
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
        assert "Größe" in text

    def test_the_problems_of_all_tables_are_told_and_nothing_is_written(self, source):
        source.sql("CREATE TABLE {s}.a (id INT, at TEXT)")
        source.sql("CREATE TABLE {s}.c (" + COLUMNS + ")")
        source.write_config(*({"table_name": name} for name in "abc"))
        before = files(source)
        text = problems(refresh, source.config, source.session)
        s = source.schema
        assert f"{s}.a: primary_key id is not guaranteed" in text
        assert "watermark column 'at' has a type that cannot be one" in text
        assert f"{s}.b: there is no such table" in text
        assert f"{s}.c:" not in text
        assert files(source) == before

    def test_an_unreadable_former_contract_is_not_overwritten(self, two):
        refresh(two.config, two.session)
        path = two.config.parent / "contracts" / f"{two.schema}.a.json"
        path.write_text("{")
        assert "is not valid JSON" in problems(refresh, two.config, two.session)
        assert path.read_text() == "{"

    def test_the_contract_of_another_table_is_not_taken_for_its_past(self, two):
        refresh(two.config, two.session)
        folder = two.config.parent / "contracts"
        own, other = (folder / f"{two.schema}.{name}.json" for name in "ab")
        own.write_bytes(other.read_bytes())
        text = problems(refresh, two.config, two.session)
        assert "is the contract of another table" in text

    def test_tables_that_would_share_an_object_in_snowflake_are_refused(self, source):
        source.sql(
            "CREATE TABLE {s}.a (" + COLUMNS + ")",
            'CREATE TABLE {s}."A" (' + COLUMNS + ")",
        )
        source.write_config({"table_name": "a"}, {"table_name": "A"})
        assert "shares an object" in problems(refresh, source.config, source.session)
        assert not (source.config.parent / "contracts").exists()

    def test_unknown_names_are_told_with_those_that_are_known(self, two):
        text = problems(refresh, two.config, two.session, ["nothing", "x.y"])
        assert "argument TABLE: is not a qualified table name" in text
        assert f"table x.y: is not in the config; allowed: {two.schema}.a" in text

    def test_a_config_without_tables_is_told(self, source):
        source.write_config()
        assert "lists no tables" in problems(refresh, source.config, source.session)

    def test_a_full_disk_changes_no_file(self, two, monkeypatch):
        refresh(two.config, two.session)
        two.sql(
            "ALTER TABLE {s}.a ADD COLUMN m INT", "ALTER TABLE {s}.b ADD COLUMN m INT"
        )
        before = files(two)
        asked = []

        def full(handle):
            asked.append(handle)
            if len(asked) == 2:
                raise OSError(28, "No space left on device", "b.json")

        monkeypatch.setattr("runtime.ops.files.os.fsync", full)
        with pytest.raises(ConfigError, match="No space left"):
            refresh(two.config, two.session)
        assert files(two) == before


class TestAdd:
    """`table add` writes entry and contract together."""

    def entry(self, source, **more):
        return {
            "table_name": f"{source.schema}.t",
            "watermark_col": "at",
            "primary_key": "id",
        } | more

    def test_the_rest_of_the_config_is_kept(self, two):
        raw = json.loads(two.config.read_text())
        raw = {"$schema": "./x.json", "tables": raw["tables"]}
        raw["tables"][0]["schedule"] = "daily"
        two.config.write_text(json.dumps(raw))
        refresh(two.config, two.session)
        two.sql("CREATE TABLE {s}.t (" + COLUMNS + ")")
        entry = self.entry(two, primary_key=["id"])
        [added] = add(two.config, two.session, [entry])
        assert (added.change, added.columns) == ("created", 2)
        raw["tables"].append(entry)
        assert two.config.read_text() == json.dumps(raw, indent=2) + "\n"
        assert len(load_tables(two.config)) == 3

    def test_the_first_table_makes_the_config(self, source):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ")")
        add(source.config, source.session, [self.entry(source)])
        assert [table.spec.key for table in load_tables(source.config)] == [("id",)]

    def test_a_table_stands_once_however_it_is_written(self, two):
        two.sql("CREATE TABLE {s}.t (" + COLUMNS + ")")
        add(two.config, two.session, [self.entry(two)])
        before = files(two)
        quoted = self.entry(two, table_name=f'"{two.schema}"."t"')
        text = problems(add, two.config, two.session, [quoted])
        assert "table stands twice" in text
        assert files(two) == before

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"table_name": "t"}, "is not a qualified table name"),
            ({"schedule": "now and then"}, "is not a schedule"),
            ({"primary_key": []}, "is empty"),
            ({"primary_key": "nope"}, "primary_key names a column"),
            ({"watermark_col": "id"}, "set the unit when it is a time"),
            ({"colour": "red"}, "unknown key 'colour'"),
        ],
    )
    def test_a_wrong_entry_changes_no_file(self, source, wrong, told):
        source.sql("CREATE TABLE {s}.t (" + COLUMNS + ")")
        source.write_config()
        before = files(source)
        entry = self.entry(source, **wrong)
        assert told in problems(add, source.config, source.session, [entry])
        assert files(source) == before

    def test_a_broken_config_is_told_before_the_source_is_asked(self, source):
        source.config.write_text('{"tables": 5}')
        text = problems(add, source.config, None, self.entry(source))
        assert "is not a sync config" in text


class TestTreatment:
    """What the entry does to rows and columns is checked with Aurora, then frozen."""

    @pytest.fixture
    def one(self, source):
        source.sql("CREATE TABLE {s}.a (" + COLUMNS + ", mail TEXT, born DATE)")
        source.sql("CREATE TABLE {s}.b (" + COLUMNS + ")")
        return source

    def test_it_stands_in_the_contract_and_only_where_there_is_something_to_say(
        self, one
    ):
        one.write_config(
            {
                "table_name": "a",
                "where": "mail <> ''",
                "masks": {"mail": "hash"},
                "misfits": {"born": "text"},
                "rename": {"born": "birthday"},
            },
            {"table_name": "b"},
        )
        refresh(one.config, one.session)
        assert len(load_tables(one.config)) == 2
        raw = json.loads(files(one)[f"contracts/{one.schema}.a.json"])
        assert raw["where"] == "mail <> ''"
        said = [
            {key: column.get(key) for key in ("mask", "misfit", "rename")}
            for column in raw["columns"][2:]
        ]
        assert said == [
            {"mask": "hash", "misfit": None, "rename": None},
            {"mask": None, "misfit": "text", "rename": "birthday"},
        ]
        plain = files(one)[f"contracts/{one.schema}.b.json"].decode()
        for key in ("mask", "misfit", "rename", "where"):
            assert key not in plain

    @pytest.mark.parametrize("key", ["exclude", "masks", "misfits", "rename"])
    def test_a_misspelt_column_is_told(self, one, key):
        value = {"masks": "hash", "misfits": "text", "rename": "x"}.get(key)
        names = {"mial": value} if value else ["mial"]
        one.write_config({"table_name": "a", key: names})
        told = problems(refresh, one.config, one.session)
        assert f"{key} names a column the table does not have; got 'mial'" in told

    @pytest.mark.parametrize(
        "where",
        [
            "mail",
            "nothing = 1",
            "mail = ",
            "mail = 'x') OR (mail = 'y'",
            "TRUE; DROP TABLE x",
            "count(*) > 1",
            "mail = 1",
        ],
    )
    def test_what_is_no_condition_is_told_in_aurora_words(self, one, where):
        one.write_config({"table_name": "a", "where": where}, {"table_name": "b"})
        told = problems(refresh, one.config, one.session)
        assert f"{one.schema}.a: where is no condition" in told
        assert list(files(one)) == ["sync_config.json"]

    @pytest.mark.parametrize(
        "where",
        [
            "EXISTS (SELECT 1 FROM {s}.b WHERE b.id = a.id)",
            "id IN (SELECT id FROM {s}.b)",
            "id > (SELECT 5)",
        ],
    )
    def test_what_asks_other_tables_is_refused(self, one, where):
        """A change there moves no watermark here."""
        where = where.replace("{s}", one.schema)
        one.write_config({"table_name": "a", "where": where})
        assert "where has a subquery" in problems(refresh, one.config, one.session)

    @pytest.mark.parametrize(
        "where", ["mail <> 'x' -- all", "born > now() - INTERVAL '1 y'", "id % 2 = 0"]
    )
    def test_a_condition_on_the_row_is_accepted(self, one, where):
        one.write_config({"table_name": "a", "where": where})
        assert refresh(one.config, one.session)[0].change == "created"

    def test_another_mask_or_name_is_another_column(self, one):
        """Its old values leave the target before the new ones come.

        Also where both masks give the same type.
        """
        one.write_config({"table_name": "a"})
        refresh(one.config, one.session)
        one.write_config({"table_name": "a", "masks": {"mail": "truncate"}})
        (first,) = refresh(one.config, one.session)
        assert (first.dropped, first.waiting) == (("mail",), ("mail",))
        assert len(load_tables(one.config)) == 1
        (second,) = refresh(one.config, one.session)
        assert (second.added, second.waiting) == (("mail",), ())
        keys = {"masks": {"mail": "truncate"}, "rename": {"born": "birthday"}}
        one.write_config({"table_name": "a", **keys})
        (third,) = refresh(one.config, one.session)
        assert third.waiting == ()
        columns = one.contract("a").columns
        assert [(c.name, c.dropped, c.target) for c in columns[2:]] == [
            ("mail", True, "MAIL"),
            ("born", True, "BORN"),
            ("mail", False, "MAIL"),
            ("born", False, "BIRTHDAY"),
        ]

    def test_another_rule_for_misfits_keeps_the_columns_place(self, one):
        one.write_config({"table_name": "a"})
        refresh(one.config, one.session)
        one.write_config({"table_name": "a", "misfits": {"born": "text"}})
        (done,) = refresh(one.config, one.session)
        assert (done.change, done.added, done.dropped) == ("changed", (), ())
        assert one.contract("a").columns[3].misfit == "text"
