"""No rule of the commit-safe watermark can go without a row being lost here."""

import subprocess
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extras import LogicalReplicationConnection

from infra.local import postgres
from infra.local.parts import Command, LocalStack, Part
from infra.local.postgres import aurora_dsn
from infra.local.process_table import as_user
from infra.local.processes import start_parts
from runtime.contract.aurora_sql import EXPORTER_ROLE
from runtime.contract.errors import SourceError
from runtime.exporter.credentials import DatabaseUser
from runtime.exporter import units
from runtime.exporter.selection import newer_than
from runtime.exporter.watermark import Safe, read_safe, window
from tests.exporter.conftest import EXACT, ORDERS, Scene
from tests.local.running import stop_part


@pytest.fixture
def orders(scene):
    return scene.table(ORDERS, **EXACT)


def safe(scene: Scene, table):
    with scene.source() as source:
        return read_safe(source.cursor, table)


def since(scene: Scene, cursor, column: str) -> str:
    """Return what pg_stat_activity says of a session, as text."""
    return scene.value(
        f"SELECT ({column})::text FROM pg_stat_activity WHERE pid = %s",
        cursor.connection.info.backend_pid,
    )


def before(scene: Scene, cursor, column: str) -> str:
    """Return the last moment before that one of a session."""
    return since(scene, cursor, f"{column} - interval '1 microsecond'")


@contextmanager
def blocked(scene: Scene, statement: str, *before: str):
    """Let a session run a statement that waits for the advisory lock 1."""
    gate = scene.session("SELECT pg_advisory_lock(1)")
    cursor = scene.session(*before)
    thread = threading.Thread(target=cursor.execute, args=(statement,))
    thread.start()
    try:
        wait_for(
            scene,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s "
            "AND wait_event = 'advisory')",
            cursor.connection.info.backend_pid,
        )
        yield cursor
    finally:
        gate.execute("SELECT pg_advisory_unlock(1)")
        thread.join(timeout=10)


def wait_for(scene: Scene, condition: str, *params) -> None:
    session = scene.session()
    for _ in range(500):
        session.execute(condition, params)
        if session.fetchone()[0]:
            return
        session.execute("SELECT pg_sleep(0.01)")
    raise AssertionError(f"never true: {condition}")


# --- what bounds the high


def test_without_open_transactions_high_is_now_less_the_margin(scene):
    table = scene.table(ORDERS, margin="PT30S")
    before = scene.value("SELECT clock_timestamp()")
    found = safe(scene, table)
    after = scene.value("SELECT clock_timestamp()")
    high, recent = scene.sql(
        "SELECT %s::timestamptz, %s::timestamptz", found.high, found.recent
    )[0]
    assert before - timedelta(seconds=30) < high < after - timedelta(seconds=30)
    assert recent == high + timedelta(seconds=30, microseconds=1)
    assert found.holder is None


def test_an_open_transaction_that_has_done_nothing_yet_holds_the_high(scene, orders):
    writer = scene.session("BEGIN")
    assert safe(scene, orders).high == before(scene, writer, "xact_start")


def test_of_several_the_oldest_transaction_holds_the_high(scene, orders):
    oldest = scene.session("BEGIN")
    scene.session("BEGIN; INSERT INTO orders VALUES (1, 's')")
    scene.session("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM orders")
    assert safe(scene, orders).high == before(scene, oldest, "xact_start")


def test_a_later_statement_of_an_open_transaction_changes_nothing(scene, orders):
    writer = scene.session("BEGIN", "SELECT pg_sleep(0.02)", "SELECT 1")
    started = before(scene, writer, "xact_start")
    assert started < since(scene, writer, "query_start")
    assert safe(scene, orders).high == started


def test_a_transaction_that_can_go_on_from_a_savepoint_holds_the_high(scene, orders):
    writer = scene.session("BEGIN", "SAVEPOINT before_the_error")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        writer.execute("SELECT 1 / 0")
    assert safe(scene, orders).high == before(scene, writer, "xact_start")


def test_a_procedure_holds_the_high_from_its_call_not_from_its_last_commit(
    scene, orders
):
    """statement_timestamp() in it is older than the transaction it runs in."""
    scene.sql(
        "CREATE PROCEDURE public.load() LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_sleep(0.02); COMMIT; PERFORM pg_advisory_xact_lock(1); END $$"
    )
    with blocked(scene, "CALL load()") as writer:
        called = before(scene, writer, "query_start")
        assert called < since(scene, writer, "xact_start")
        assert safe(scene, orders).high == called


def test_a_message_of_several_statements_holds_the_high_from_its_arrival(scene, orders):
    message = "BEGIN; SELECT pg_sleep(0.02); COMMIT; BEGIN; SELECT pg_advisory_lock(1)"
    with blocked(scene, message) as writer:
        clock = since(scene, writer, "query_start")
        assert safe(scene, orders).high <= clock


def test_an_idle_session_holds_nothing(scene, orders):
    idle = scene.session("BEGIN", "SELECT 1", "COMMIT")
    assert safe(scene, orders).high > since(scene, idle, "query_start")


def test_a_session_that_hides_its_state_holds_the_high_from_its_start(scene, orders):
    writer = scene.session(
        "SELECT pg_sleep(0.02)", "SET track_activities = off", "BEGIN"
    )
    assert since(scene, writer, "state") == "disabled"
    found = safe(scene, orders)
    assert found.high == before(scene, writer, "backend_start")
    writer.connection.close()
    assert safe(scene, orders).high > found.high


def test_the_margin_is_taken_off_what_holds_as_well(scene):
    table = scene.table(ORDERS, margin="PT1M")
    writer = scene.session("BEGIN")
    late = before(scene, writer, "xact_start - interval '1 minute'")
    assert safe(scene, table).high == late


def test_transactions_of_other_databases_hold_nothing(scene, orders):
    scene.session("BEGIN", dbname="postgres")
    other = scene.value("SELECT clock_timestamp()::text")
    assert safe(scene, orders).high > other


def test_a_stream_of_replication_holds_nothing(scene, orders):
    """Its one statement runs as long as the replica lives, and cannot write."""
    connection = psycopg2.connect(
        aurora_dsn(scene.stack),
        connection_factory=LogicalReplicationConnection,
    )
    with closing(connection), connection.cursor() as stream:
        here = scene.value("SELECT pg_current_wal_lsn()")
        stream.start_replication_expert(f"START_REPLICATION PHYSICAL {here}")
        wait_for(
            scene,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s "
            "AND state = 'active')",
            connection.info.backend_pid,
        )
        began = scene.value("SELECT clock_timestamp()::text")
        assert safe(scene, orders).high > began


# --- who is left out


def member(scene: Scene, options: str, grant: str = "", **connect) -> str:
    """Return when an open transaction of a new member of the role began."""
    name = f"{scene.name}_member"
    scene.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'p' {options}")
    try:
        scene.sql(f"GRANT {EXPORTER_ROLE} TO {name} {grant}")
        if connect.get("also"):
            scene.sql(f"GRANT {connect['also']} TO {name}")
        session = scene.session("BEGIN", user=name, password="p")
        table = scene.table(ORDERS, **EXACT)
        held = safe(scene, table).high == before(scene, session, "xact_start")
        session.connection.close()
        return held
    finally:
        scene.sql(f"DROP ROLE {name}")


LEASED = "VALID UNTIL '2999-01-01'"


def test_a_leased_user_of_the_exporter_holds_nothing(scene):
    assert not member(scene, LEASED)


def test_an_administrator_of_the_exporters_role_may_write_and_counts(scene):
    assert member(scene, LEASED, "WITH ADMIN OPTION")


def test_a_member_without_an_end_is_a_person_and_counts(scene):
    assert member(scene, "")


def test_a_member_that_has_other_roles_too_may_write_and_counts(scene):
    assert member(scene, LEASED, also="pg_write_all_data")


def test_a_superuser_counts_though_a_member_of_every_role(scene):
    assert member(scene, f"{LEASED} SUPERUSER")


def test_a_superuser_without_membership_counts(scene, orders):
    """pg_has_role says yes for it; pg_auth_members does not."""
    name = f"{scene.name}_super"
    scene.sql(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'p' {LEASED}")
    try:
        session = scene.session("BEGIN", user=name, password="p")
        assert safe(scene, orders).high == before(scene, session, "xact_start")
        session.connection.close()
    finally:
        scene.sql(f"DROP ROLE {name}")


# --- failing closed


@pytest.mark.parametrize("membership", ["", f"IN ROLE {EXPORTER_ROLE} NOINHERIT"])
def test_without_the_right_to_see_sessions_there_is_no_watermark(
    scene, orders, membership
):
    name = f"{scene.name}_blind"
    scene.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'p' {membership}")
    try:
        scene.session("BEGIN")
        blind = DatabaseUser(name=name, password="p")
        with pytest.raises(SourceError, match="cannot see other sessions") as caught:
            safe(replace(scene, user=blind), orders)
        assert "GRANT pg_read_all_stats" in caught.value.remedy
    finally:
        scene.sql(f"DROP ROLE {name}")


def standby(primary: LocalStack) -> Part:
    """A second server that follows the first, as Aurora's readers do."""
    folder = postgres.home(primary) / "standby"

    def copy(stack: LocalStack) -> None:
        subprocess.run(
            [
                postgres.programs() / "pg_basebackup",
                f"--pgdata={folder}",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
                f"--dbname={postgres.aurora_dsn(stack)}",
            ],
            cwd="/",
            check=True,
            capture_output=True,
            timeout=60,
            **as_user("nobody"),
        )

    def command(stack: LocalStack) -> Command:
        port, known = stack.port("standby"), postgres.PART.command(stack)
        data = f"-D{postgres.home(stack) / 'data'}"
        changes = {data: f"-D{folder}", f"-p{stack.port('postgres')}": f"-p{port}"}
        argv = tuple(changes.get(each, each) for each in known.argv)
        return replace(known, argv=argv)

    def is_ready(stack: LocalStack) -> bool:
        try:
            dsn = postgres.aurora_dsn(stack)
            psycopg2.connect(dsn, port=stack.port("standby")).close()
        except psycopg2.OperationalError:
            return False
        return True

    return Part(
        name="standby",
        ports=("standby",),
        prepare=copy,
        command=command,
        is_ready=is_ready,
    )


def test_a_reader_does_not_show_who_writes_and_is_refused(scene, orders):
    postgres.make_server_folder(postgres.home(scene.stack) / "standby")
    start_parts(scene.stack, [standby(scene.stack)])
    try:
        with scene.source(aurora_port=scene.stack.port("standby")) as source:
            with pytest.raises(SourceError, match="is a reader") as caught:
                read_safe(source.cursor, orders)
        assert "writer endpoint" in caught.value.remedy
    finally:
        stop_part(scene.stack, "standby")


def prepare(scene: Scene, statement: str = "SELECT pg_current_xact_id()") -> str:
    name = f"two-phase {scene.name}"
    scene.session("BEGIN", statement, f"PREPARE TRANSACTION '{name}'")
    return name


def test_while_a_transaction_is_prepared_nothing_is_safe(scene, orders):
    name = prepare(scene)
    found = safe(scene, orders)
    assert found.high is None
    assert found.recent
    assert found.holder["prepared"] == name
    assert found.holder["user"] == "postgres"
    scene.session(f"COMMIT PREPARED '{name}'")
    assert safe(scene, orders).high is not None


def test_what_is_prepared_is_read_after_the_sessions(scene, orders):
    """Else what is prepared between the two would be seen by neither."""
    with scene.source() as source:
        read_safe(source.cursor, orders)
        source.cursor.execute(b"EXPLAIN " + source.cursor.query)
        plan = "\n".join(line for (line,) in source.cursor.fetchall())
    prepared = plan.index("Function Scan on pg_prepared_xact")
    waiting = plan.index("One-Time Filter: (clock.safe IS NOT NULL)")
    # A sub-plan of the row that the sessions have made, not one by itself.
    assert plan.rindex("SubPlan", 0, prepared) < waiting < prepared
    assert "InitPlan" not in plan[plan.rindex("SubPlan", 0, prepared) : prepared]


def test_what_is_prepared_in_another_database_holds_nothing(scene, orders):
    other = scene.session("BEGIN", "SELECT pg_current_xact_id()", dbname="postgres")
    other.execute(f"PREPARE TRANSACTION '{scene.name}'")
    try:
        assert safe(scene, orders).high is not None
    finally:
        other.execute(f"ROLLBACK PREPARED '{scene.name}'")


def test_who_holds_the_high_for_long_is_named(scene, orders):
    writer = scene.session("SET application_name = 'nightly'", "BEGIN")
    assert safe(scene, orders).holder is None
    scene.sql("SELECT pg_sleep(1)")
    holder = safe(scene, orders).holder
    assert holder["pid"] == writer.connection.info.backend_pid
    assert holder["user"] == "postgres"
    assert holder["application"] == "nightly"
    assert holder["state"] == "idle in transaction"
    assert 1 <= holder["age_seconds"] < 10
    assert holder["too_long"] is False


def test_who_holds_the_high_longer_than_max_holdback_raises_an_alarm(scene):
    table = scene.table(ORDERS, **EXACT, max_holdback="PT1S")
    scene.session("BEGIN")
    scene.sql("SELECT pg_sleep(1.2)")
    assert scene.run(table).held_by["too_long"] is True
    assert scene.state(table).held_by["too_long"] is True


# --- watermarks of other types


NAIVE = ORDERS.replace("TIMESTAMPTZ", "TIMESTAMP")
DATED = ORDERS.replace("TIMESTAMPTZ", "DATE")


@pytest.mark.parametrize(
    "zone", ["Pacific/Auckland", "Asia/Kolkata", "UTC", "America/Los_Angeles"]
)
def test_a_watermark_without_zone_is_bounded_in_the_writers_zone(scene, zone):
    keys = EXACT | {"lookback": "PT90M", "watermark_timezone": zone}
    table = scene.table(NAIVE, **keys)
    # A writer of that zone, whose default is its own local time.
    writer = scene.session(f"SET timezone = '{zone}'", "BEGIN")
    writer.execute(
        "INSERT INTO orders VALUES (1, 's') "
        "RETURNING (updated_at - interval '1 microsecond')::text"
    )
    assert safe(scene, table).high == writer.fetchone()[0]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_a_date_watermark_is_the_writers_last_finished_day(scene, zone):
    table = scene.table(DATED, **EXACT, watermark_timezone=zone)
    writer = scene.session(f"SET timezone = '{zone}'", "BEGIN")
    writer.execute("SELECT CURRENT_DATE - 1")
    assert safe(scene, table).high == str(writer.fetchone()[0])


def test_a_second_row_of_the_same_date_is_not_lost(scene):
    table = scene.table(DATED, **EXACT, watermark_timezone="UTC")
    scene.sql("INSERT INTO orders VALUES (1, 's')")
    assert scene.run(table).rows_exported == 1
    scene.sql("INSERT INTO orders VALUES (2, 's')")
    result = scene.run(table)
    last = scene.manifests(table)[-1]
    assert "2" in scene.exported(last)
    # The day goes on: whoever reads how far the target is complete is not deceived.
    today = scene.value("SELECT CURRENT_DATE::text")
    assert max(scene.state(table).watermark, last.high, result.high) < today


def test_when_clocks_go_back_the_second_hour_is_not_lost(scene):
    """02:10 comes after 02:55 then; the watermark waits and the lookback covers it."""
    keys = {
        "lookback": "PT90M",
        "margin": "PT0S",
        "watermark_timezone": "Europe/Berlin",
    }
    table = scene.table(NAIVE, **keys)
    first, second = "2026-10-25 00:55Z", "2026-10-25 01:10Z"
    with scene.source() as source:
        source.cursor.execute(
            sql.SQL("SELECT {}::text, {}::text").format(
                *(
                    units.of_instant(table, sql.SQL(f"'{each}'::timestamptz"))
                    for each in (first, second)
                )
            )
        )
        before, after = source.cursor.fetchone()
    assert (before, after) == ("2026-10-25 02:55:00", "2026-10-25 02:10:00")
    found = moved(scene, table, after, before)
    assert (found.high, found.moved) == (before, False)
    scene.sql("INSERT INTO orders VALUES (1, 's', %s)", after)
    condition = newer_than(table, found.above, None).as_string(scene.admin)
    assert scene.value(f"SELECT order_id FROM orders WHERE {condition}") == 1


def test_a_watermark_of_whole_seconds_does_not_lose_what_it_rounds_down(scene):
    """timestamp(0) rounds 12:00:00.4 to 12:00:00, which is below a high of .3."""
    table = scene.table(ORDERS.replace("TIMESTAMPTZ", "TIMESTAMPTZ(0)"), **EXACT)
    scene.sql("SELECT pg_sleep(1 - EXTRACT(SECOND FROM clock_timestamp()) % 1)")
    scene.run(table)
    scene.sql("INSERT INTO orders VALUES (1, 's')")
    scene.run(table)
    assert scene.exported(*scene.manifests(table)) == ["1"]


def test_a_watermark_of_whole_seconds_stays_below_what_is_rounded_down(scene):
    """However slow the machine: what is written next, in its first half second."""
    table = scene.table(ORDERS.replace("TIMESTAMPTZ", "TIMESTAMPTZ(0)"), **EXACT)
    written = "SELECT (%s::timestamptz + interval '1 microsecond')::timestamptz(0)"
    for _ in range(60):
        found = safe(scene, table)
        if scene.value(f"{written} < %s::timestamptz", *[found.recent] * 2):
            break
    else:
        raise AssertionError("never in the first half of a second")
    assert scene.value(f"{written} > %s::timestamptz", found.recent, found.high)


# --- rows arrive, whenever they commit


def test_a_row_that_commits_late_arrives_with_the_next_run(scene, orders):
    scene.run(orders)
    late = scene.session("BEGIN")
    scene.sql("INSERT INTO orders VALUES (1, 'early')")
    assert scene.run(orders).rows_exported == 1
    late.execute("INSERT INTO orders VALUES (2, 'late')")
    scene.sql("INSERT INTO orders VALUES (3, 'early')")
    scene.run(orders)
    late.execute("COMMIT")
    scene.run(orders)
    assert "2" in scene.exported(scene.manifests(orders)[-1])


def test_a_row_written_by_the_clock_of_a_procedures_call_arrives(scene):
    table = scene.table(ORDERS.replace("NOW()", "STATEMENT_TIMESTAMP()"), **EXACT)
    scene.sql(
        "CREATE PROCEDURE public.load() LANGUAGE plpgsql AS $$ BEGIN "
        "COMMIT; PERFORM pg_advisory_xact_lock(1); "
        "INSERT INTO public.orders VALUES (1, 's'); END $$"
    )
    scene.run(table)
    with blocked(scene, "CALL load()"):
        scene.sql("SELECT pg_sleep(0.02)")
        scene.run(table)
    scene.run(table)
    assert scene.exported(*scene.manifests(table)) == ["1"]


def test_a_row_of_a_session_that_hides_its_state_arrives(scene, orders):
    scene.run(orders)
    hidden = scene.session("SET track_activities = off", "BEGIN")
    hidden.execute("INSERT INTO orders VALUES (1, 's')")
    scene.run(orders)
    scene.run(orders)
    hidden.execute("COMMIT")
    hidden.connection.close()
    scene.run(orders)
    assert scene.exported(*scene.manifests(orders)) == ["1"]


def test_a_row_that_was_prepared_arrives_after_its_commit(scene, orders):
    scene.run(orders)
    name = prepare(scene, "INSERT INTO orders VALUES (1, 's')")
    watermark = scene.state(orders).watermark
    scene.sql("INSERT INTO orders VALUES (2, 's')")
    held = scene.run(orders)
    assert held.held_by["prepared"] == name
    assert held.rows_exported == 1
    assert scene.state(orders).watermark == watermark
    scene.sql(f"COMMIT PREPARED '{name}'")
    scene.run(orders)
    assert scene.exported(scene.manifests(orders)[-1]) == ["1", "2"]


def test_a_first_load_while_something_is_prepared_leaves_the_watermark_unset(
    scene, orders
):
    scene.sql("INSERT INTO orders VALUES (1, 's')")
    name = prepare(scene, "INSERT INTO orders VALUES (2, 's')")
    result = scene.run(orders)
    assert (result.mode, result.status) == ("first_load", "done")
    assert result.rows_exported == 1
    assert result.held_by["prepared"] == name
    assert result.high is None
    assert scene.state(orders).watermark is None
    assert scene.manifests(orders)[-1].high is None
    scene.sql(f"COMMIT PREPARED '{name}'")
    result = scene.run(orders)
    assert result.mode == "first_load"
    assert scene.exported(scene.manifests(orders)[-1]) == ["1", "2"]
    assert scene.state(orders).watermark == result.high


def test_a_row_dated_in_the_future_does_not_poison_the_watermark(scene, orders):
    scene.sql("INSERT INTO orders VALUES (1, 's', '2999-01-01')")
    scene.run(orders)
    scene.sql("INSERT INTO orders VALUES (2, 's')")
    result = scene.run(orders)
    assert result.high < "2999"
    assert "2" in scene.exported(scene.manifests(orders)[-1])


def test_while_held_back_runs_go_on_from_a_fresh_marker_then_everything_goes_once_more(
    scene, orders
):
    scene.run(orders)
    holder = scene.session("BEGIN")
    scene.run(orders)
    held_at = scene.state(orders).watermark
    assert held_at == before(scene, holder, "xact_start")

    scene.sql("INSERT INTO orders VALUES (1, 's')")
    assert scene.run(orders).rows_exported == 1
    assert scene.state(orders).fresh > held_at
    # Not once more at every run, however long it takes.
    assert scene.run(orders).rows_exported == 0
    scene.sql("INSERT INTO orders VALUES (2, 's')")
    assert scene.run(orders).rows_exported == 1
    assert scene.state(orders).watermark == held_at

    holder.execute("INSERT INTO orders VALUES (3, 'late')")
    holder.execute("COMMIT")
    scene.run(orders)
    assert scene.exported(scene.manifests(orders)[-1]) == ["1", "2", "3"]
    assert scene.state(orders).watermark > held_at
    assert scene.state(orders).fresh is None
    assert scene.run(orders).rows_exported == 0


def test_the_lookback_reads_again_below_the_watermark(scene):
    table = scene.table(ORDERS, lookback="PT10M", margin="PT0S")
    scene.run(table)
    scene.sql(
        "INSERT INTO orders SELECT n, 's', NOW() - n * interval '1 minute' "
        "FROM generate_series(1, 20) AS n"
    )
    scene.run(table)
    last = scene.manifests(table)[-1]
    assert {int(key) for key in scene.exported(last)} == set(range(1, 11))


# --- the window


def moved(scene: Scene, table, high, watermark, fresh=None, recent="2026-01-09"):
    with scene.source() as source:
        return window(
            source.cursor,
            table,
            Safe(high=high, recent=recent, holder=None),
            watermark,
            fresh,
        )


def test_the_watermark_never_goes_back(scene, orders):
    found = moved(scene, orders, "2026-01-01 00:00+00", "2026-01-02 00:00+00")
    assert found.high == found.low == found.above == "2026-01-02 00:00:00+00"
    assert not found.moved
    assert found.fresh == "2026-01-09"


def test_moments_are_compared_as_moments_not_as_text(scene, orders):
    found = moved(scene, orders, "2026-01-01 10:00+00", "2026-01-01 11:30+02")
    assert found.moved
    assert found.high == "2026-01-01 10:00:00+00"
    assert found.low == "2026-01-01 09:30:00+00"


def test_a_fresh_marker_older_than_the_watermark_is_not_used(scene, orders):
    found = moved(scene, orders, None, "2026-01-02 00:00+00", "2026-01-01 00:00+00")
    assert found.low == "2026-01-02 00:00:00+00"


def test_microseconds_survive(scene, orders):
    found = moved(scene, orders, "2026-01-01 00:00:00.000002+00", "2026-01-01 00:00+00")
    assert found.high == "2026-01-01 00:00:00.000002+00"
