"""Each check of `doctor` on a real PostgreSQL: it finds its fault, and mends it."""

from contextlib import closing
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from infra.local import postgres
from runtime.contract.errors import (
    LedgerError,
    SourceUnavailableError,
    VaultUnavailableError,
    WarehouseError,
)
from runtime.contract.specs import Table
from runtime.ops import doctor_source
from runtime.ops.doctor import diagnose
from runtime.ops.doctor_source import examine_source
from runtime.ops.doctor_tables import examine_tables
from runtime.ops.findings import Finding, Report, Site
from tests.factories import make_spec

ROLE = "aurora_sync_exporter"
TABLE = "CREATE TABLE {s}.t (id BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL, a INT)"
INDEX = "CREATE INDEX ON {s}.t (at)"
TOUCH = (
    "CREATE FUNCTION {s}.touch() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN NEW.at := now(); RETURN NEW; END $$",
    "CREATE TRIGGER touch BEFORE UPDATE ON {s}.t FOR EACH ROW "
    "EXECUTE FUNCTION {s}.touch()",
)


class Nowhere(Site):
    """A stack nothing of which can be reached."""

    options, deploy, function = " --stack x", "pulumi up --stack x", "f"
    role: str | None = "arn:aws:iam::1:role/aurora"

    def __init__(self, config: Path = Path("none")) -> None:
        self.config = config

    @property
    def ledger(self) -> Any:
        raise LedgerError("no answer")

    def aurora(self) -> Any:
        raise SourceUnavailableError("no answer", subject="Aurora", remedy="ring it")

    def warehouse(self) -> Any:
        raise WarehouseError("no answer")

    def client(self, service: str) -> Any:
        raise LedgerError("no answer", subject=service)

    def vault(self, settings: Any) -> Any:
        raise VaultUnavailableError("no answer")

    def export_role(self) -> str | None:
        return self.role

    def cluster_id(self) -> str | None:
        return None

    def rule(self, source: Any) -> str:
        return "rule"


def wrong(report: Report) -> list[Finding]:
    """Return what is not ok."""
    return [each for each in report.findings if each.severity != "ok"]


@pytest.fixture
def role(source):
    """The exporter's role with all rights; made as the remedy makes it."""
    for finding in server(source):
        mend(source, finding)
    return ROLE


def server(source, **spec: Any) -> list[Finding]:
    report = Report("source")
    examine_source(report, source.session, [make_spec(**spec)], Nowhere())
    return wrong(report)


def mend(source, finding: Finding) -> None:
    assert finding.where == "aurora" and finding.remedy
    source.sql(*finding.remedy)


def table(source, **keys: Any) -> Table:
    """Freeze the schema's table as it is now."""
    return Table(spec=source.spec(**keys), contract=source.discover(**keys))


def examined(source, made: Table) -> list[Finding]:
    report = Report("tables")
    examine_tables(report, source.session, [made], Nowhere())
    return wrong(report)


def test_what_cannot_be_reached_is_one_finding_and_the_rest_goes_on(source):
    source.sql(TABLE)
    source.write_config({"table_name": "t"})
    found = diagnose(Nowhere(source.config), ())
    assert [(each.part, each.check, each.severity) for each in found] == [
        ("source", "connection", "error"),
        ("tables", "contract file", "error"),
        ("stack", "function", "error"),
        ("snowflake", "connection", "error"),
    ]
    assert found[0].fact == "no answer" and found[0].remedy == ("ring it",)
    assert "contract refresh" in found[1].remedy[0]


def test_without_the_role_everything_that_makes_it_is_told(source):
    if any(each.check == "rights" for each in server(source)):
        source.sql(f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")
    (missing,) = server(source)
    assert f"role {ROLE} is missing" in missing.fact
    mend(source, missing)
    assert server(source) == []


@pytest.mark.parametrize(
    ("revoke", "restore"),
    [
        (f"REVOKE pg_read_all_stats FROM {ROLE}", ""),
        (f"REVOKE USAGE ON SCHEMA aws_commons FROM {ROLE}", ""),
        (
            f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_s3 FROM {ROLE}, PUBLIC",
            "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aws_s3 TO PUBLIC",
        ),
        (
            "REVOKE CONNECT ON DATABASE app FROM PUBLIC",
            "GRANT CONNECT ON DATABASE app TO PUBLIC",
        ),
    ],
)
def test_a_right_that_the_role_lacks_is_an_error_with_its_grant(
    source, role, revoke, restore
):
    source.sql(revoke)
    (finding,) = server(source)
    assert (finding.check, finding.severity) == ("rights", "error")
    mend(source, finding)
    assert server(source) == []
    if restore:
        source.sql(restore)


def test_without_the_extension_nothing_can_be_exported(source, role):
    source.sql("ALTER SCHEMA aws_s3 RENAME TO aws_s3_gone")
    try:
        (finding,) = server(source)
        assert finding.remedy == ("CREATE EXTENSION IF NOT EXISTS aws_s3 CASCADE",)
    finally:
        source.sql("ALTER SCHEMA aws_s3_gone RENAME TO aws_s3")


def test_a_cluster_without_export_role_is_an_error(source, role, monkeypatch):
    monkeypatch.setattr(Nowhere, "role", None)
    (finding,) = server(source)
    assert (finding.check, finding.remedy) == ("export role", (Nowhere.deploy,))


def test_sessions_that_hide_their_state_are_told(source, role):
    source.sql(
        'CREATE ROLE "q""u" LOGIN', 'ALTER ROLE "q""u" SET track_activities = off'
    )
    (finding,) = server(source)
    assert 'ROLE "q""u"' in finding.fact
    mend(source, finding)
    source.sql('DROP ROLE "q""u"')
    assert server(source) == []


def test_who_holds_the_watermark_is_named_and_can_be_ended(
    source, role, monkeypatch, stack
):
    monkeypatch.setattr(doctor_source, "_OPEN_SECONDS", 0)
    with closing(psycopg2.connect(postgres.aurora_dsn(stack))) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")
        # Whatever else has a transaction just now is told as well.
        holder = f"pid {other.info.backend_pid} (user postgres"
        (finding,) = [f for f in server(source) if holder in f.fact]
        assert finding.severity == "note"
        old = server(source, max_holdback="PT0S")
        assert [f.severity for f in old if holder in f.fact] == ["warning"]
        mend(source, finding)
    assert [f for f in server(source) if holder in f.fact] == []


def test_a_prepared_transaction_is_named_and_can_be_rolled_back(source, role, stack):
    source.sql(TABLE)
    with closing(psycopg2.connect(postgres.aurora_dsn(stack))) as other:
        other.autocommit = True
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"INSERT INTO {source.schema}.t VALUES (1, NOW())")
            cursor.execute("PREPARE TRANSACTION 'it''s \\ one'")
    (finding,) = server(source)
    assert "it's \\ one" in finding.fact and "COMMIT PREPARED" in finding.fact
    mend(source, finding)
    assert server(source) == []


def test_a_hash_needs_its_function_and_the_remedy_makes_it_once(source, role):
    source.sql(TABLE, "DROP SCHEMA IF EXISTS aurora_sync CASCADE")
    made = table(source, masks={"a": "hash"})
    masks = [each for each in examined(source, made) if each.check == "masks"]
    assert [each.severity for each in masks] == ["error"]
    mend(source, masks[0])
    hashed = "SELECT aurora_sync.masked_hash('x')"
    with source.admin.cursor() as cursor:
        cursor.execute(hashed)
        before = cursor.fetchone()
        assert "masks" not in {each.check for each in examined(source, made)}
        mend(source, masks[0])
        cursor.execute(hashed)
        assert cursor.fetchone() == before
    source.sql(f"REVOKE EXECUTE ON FUNCTION aurora_sync.masked_hash(TEXT) FROM {ROLE}")
    masks = [each for each in examined(source, made) if each.check == "masks"]
    assert len(masks) == 1


class TestTables:
    """One table that is well but for the fault of the test."""

    @pytest.fixture
    def made(self, source, role) -> Table:
        source.sql(TABLE, INDEX, *TOUCH)
        source.sql(
            f"GRANT USAGE ON SCHEMA {{s}} TO {role}",
            f"GRANT SELECT ON {{s}}.t TO {role}",
        )
        made = table(source)
        assert examined(source, made) == []
        return made

    @pytest.mark.parametrize(
        ("fault", "check", "severity"),
        [
            ("DROP INDEX {s}.t_at_idx", "watermark index", "warning"),
            ("REVOKE SELECT ON {s}.t FROM " + ROLE, "grants", "error"),
            ("REVOKE USAGE ON SCHEMA {s} FROM " + ROLE, "grants", "error"),
            ("DROP TRIGGER touch ON {s}.t; DROP FUNCTION {s}.touch", "updates", "note"),
            ("ALTER TABLE {s}.t DISABLE TRIGGER touch", "updates", "warning"),
            ("ALTER TABLE {s}.t ENABLE REPLICA TRIGGER touch", "updates", "warning"),
            ("ALTER TABLE {s}.t DROP CONSTRAINT t_pkey", "contract", "error"),
            ("ALTER TABLE {s}.t DROP CONSTRAINT t_pkey, ALTER id DROP NOT NULL",)
            + ("contract", "error"),
            (
                "DROP INDEX {s}.t_at_idx; CREATE INDEX ON {s}.t (at) WHERE a > 0",
                "watermark index",
                "warning",
            ),
        ],
    )
    def test_a_fault_is_found_and_its_remedy_clears_it(
        self, source, made, fault, check, severity
    ):
        source.sql(fault)
        (finding,) = examined(source, made)
        assert (finding.check, finding.severity) == (check, severity)
        mend(source, finding)
        assert examined(source, made) == []

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ("DROP TABLE {s}.t", "there is no such table"),
            ("ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY", "row level security"),
            ("CREATE TABLE {s}.u () INHERITS ({s}.t)", "inherit from it"),
            ("ALTER TABLE {s}.t DROP COLUMN a", "a integer"),
            (
                "ALTER TABLE {s}.t ALTER a TYPE BIGINT",
                "differs from its contract in a integer",
            ),
            (
                "ALTER TABLE {s}.t RENAME a TO b",
                "differs from its contract in a integer",
            ),
        ],
    )
    def test_what_stops_a_table_is_an_error(self, source, made, fault, words):
        source.sql(fault)
        (finding,) = [e for e in examined(source, made) if e.severity == "error"]
        assert finding.check == "contract" and words in finding.fact
        assert finding.remedy

    def test_a_new_column_is_a_warning_with_the_way_to_take_it_in(self, source, made):
        source.sql("ALTER TABLE {s}.t ADD COLUMN news TEXT")
        (finding,) = examined(source, made)
        assert (finding.severity, finding.where) == ("warning", "shell")
        assert finding.remedy == (
            f"aurora-sync contract refresh {source.schema}.t --stack x",
            "pulumi up --stack x",
        )

    @pytest.mark.parametrize(
        ("keys", "severity"),
        [
            ({}, "note"),
            ({"null_watermark": "exclude"}, "note"),
            ({"null_watermark": "fail"}, "error"),
            ({"max_null_rows": 1}, "error"),
        ],
    )
    def test_rows_without_watermark_go_by_the_policy(
        self, source, made, keys, severity
    ):
        source.sql("ALTER TABLE {s}.t ALTER at DROP NOT NULL")
        source.sql("INSERT INTO {s}.t SELECT g FROM generate_series(1, 2) AS g")
        (finding,) = examined(source, table(source, **keys))
        assert (finding.check, finding.severity) == ("watermark", severity)

    @pytest.mark.parametrize("value", ["'infinity'", "'-infinity'", "NULL"])
    def test_an_infinite_watermark_is_counted_like_a_missing_one(
        self, source, made, value
    ):
        source.sql("ALTER TABLE {s}.t ALTER at DROP NOT NULL")
        source.sql(f"INSERT INTO {{s}}.t VALUES (1, {value})")
        (finding,) = examined(source, table(source, null_watermark="fail"))
        assert (finding.check, finding.severity) == ("watermark", "error")

    def test_a_table_without_index_is_not_read_for_what_statistics_rule_out(
        self, source, made
    ):
        """It may be large; each run counts anyway."""
        source.sql(
            "DROP INDEX {s}.t_at_idx", "ALTER TABLE {s}.t ALTER at DROP NOT NULL"
        )
        source.sql("INSERT INTO {s}.t VALUES (1, NOW())", "ANALYZE {s}.t")
        source.sql("INSERT INTO {s}.t VALUES (2, NULL)")
        strict = table(source, null_watermark="fail")
        assert [each.check for each in examined(source, strict)] == ["watermark index"]
        source.sql("ANALYZE {s}.t")
        found = [each.check for each in examined(source, strict)]
        assert found == ["watermark index", "watermark"]

    def test_ids_that_come_in_no_order_are_an_error_with_its_remedy(self, source, made):
        source.sql("CREATE SEQUENCE {s}.q OWNED BY {s}.t.id CACHE 20")
        ids = table(source, watermark_col="id", id_lookback=1000)
        note, error = sorted(examined(source, ids), key=lambda each: each.severity)[
            ::-1
        ]
        assert (note.check, error.check) == ("updates", "sequence")
        assert "CACHE 20" in error.fact
        mend(source, error)
        assert [each.check for each in examined(source, ids)] == ["updates"]
        source.sql("DROP SEQUENCE {s}.q")
        error, _ = examined(source, ids)
        assert "no sequence belongs to id" in error.fact

    @pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 1000)])
    def test_the_trigger_of_an_epoch_writes_its_unit(
        self, source, role, unit, per_second
    ):
        source.sql("CREATE TABLE {s}.t (id INT PRIMARY KEY, at BIGINT NOT NULL)")
        source.sql("CREATE INDEX ON {s}.t (at)", "INSERT INTO {s}.t VALUES (1, 5)")
        made = table(source, watermark_unit=unit)
        for finding in examined(source, made):
            mend(source, finding)
        assert examined(source, made) == []
        with source.admin.cursor() as cursor:
            cursor.execute(f"UPDATE {source.schema}.t SET id = 2 RETURNING at")
            (moved,) = cursor.fetchone()
            assert abs(moved / per_second - time.time()) < 10

    def test_a_subscription_needs_a_trigger_that_always_fires(self, source, made):
        source.sql(
            "CREATE SUBSCRIPTION doctor CONNECTION 'host=127.0.0.1 port=1' "
            "PUBLICATION p WITH (connect = false)",
            "SET allow_system_table_mods = on",
            "INSERT INTO pg_subscription_rel SELECT oid, '{s}.t'::regclass, 'r' "
            "FROM pg_subscription",
            "UPDATE pg_subscription SET subenabled = TRUE",
        )
        try:
            (finding,) = examined(source, made)
            assert finding.check == "replication"
            mend(source, finding)
            assert examined(source, made) == []
        finally:
            source.sql(
                "ALTER SUBSCRIPTION doctor DISABLE",
                "ALTER SUBSCRIPTION doctor SET (slot_name = NONE)",
                "DROP SUBSCRIPTION doctor",
            )

    def test_the_trigger_that_is_proposed_moves_the_watermark(self, source, role):
        source.sql(
            'CREATE TABLE {s}."T ""x""" (id INT PRIMARY KEY, "A t" TIMESTAMP NOT NULL)',
            'INSERT INTO {s}."T ""x""" VALUES (1, \'2020-01-01\')',
        )
        made = table(
            source,
            table_name=f'{source.schema}."T ""x"""',
            watermark_col="A t",
            watermark_timezone="Asia/Tokyo",
        )
        found = examined(source, made)
        assert {each.check for each in found} == {
            "grants",
            "watermark index",
            "updates",
        }
        for finding in found:
            mend(source, finding)
        assert examined(source, made) == []
        with source.admin.cursor() as cursor:
            cursor.execute(f'UPDATE {made.spec.source.sql} SET id = 2 RETURNING "A t"')
            (moved,) = cursor.fetchone()
            cursor.execute("SELECT NOW() AT TIME ZONE 'Asia/Tokyo'")
            assert abs(moved - cursor.fetchone()[0]) < timedelta(seconds=10)


def test_sizes_of_partitions_are_added_up(source, role):
    source.sql(
        "CREATE TABLE {s}.t (id INT PRIMARY KEY, at TIMESTAMPTZ NOT NULL) "
        "PARTITION BY RANGE (id)",
        "CREATE TABLE {s}.p1 PARTITION OF {s}.t FOR VALUES FROM (0) TO (1000)",
        "CREATE TABLE {s}.p2 PARTITION OF {s}.t FOR VALUES FROM (1000) TO (3000)",
        "INSERT INTO {s}.t SELECT g, NOW() FROM generate_series(0, 2999) AS g",
        "ANALYZE {s}.t",
    )
    report = Report("tables")
    examine_tables(report, source.session, [table(source)], Nowhere())
    (size,) = [each.fact for each in report.findings if each.check == "size"]
    assert size.startswith("about 3,000 rows, ") and " in 2 partitions" in size
    (index,) = [each for each in wrong(report) if each.check == "watermark index"]
    mend(source, index)
