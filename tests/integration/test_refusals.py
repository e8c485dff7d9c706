"""Bad input and bad weather through the deployed function: one clear error, no harm."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import psutil
import psycopg2
import pytest

from infra.local import postgres, stack, vault
from infra.local.adapter.landscape import VAULT_ADMIN
from infra.local.parts import LocalStack
from infra.local.processes import exclusive, start_parts
from tests.integration.conftest import Sandbox
from tests.integration.losing import in_aurora, without_action
from tests.integration.refusing import Scene, role_name, shop, until
from tests.local.running import process


@pytest.fixture(scope="module")
def orders(sandbox: Sandbox) -> Scene:
    return shop(sandbox).orders


@pytest.fixture(scope="module")
def stock(sandbox: Sandbox) -> Scene:
    return shop(sandbox).stock


@contextmanager
def unharmed(scene: Scene) -> Iterator[None]:
    """Hold that the block moves nothing and leaves no file."""
    before = scene.moved(), scene.objects(scene.keys.exports)
    yield
    assert (scene.moved(), scene.objects(scene.keys.exports)) == before


# --- events


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shop.salaries", ("not in the config", "shop.orders", "table add")),
        ("shop.Orders", ("not in the config",)),
        ("orders", ("not a qualified table name", "schema.table")),
    ],
)
def test_a_table_that_is_not_in_the_config_is_refused(
    orders: Scene, name: str, words: tuple[str, ...]
) -> None:
    answer = orders.invoke(table=name, report_errors=True)
    assert answer["status"] == "failed"
    orders.check(answer["error"], "config", name, *words, noted=False)


def test_an_event_that_is_no_request_fails_the_invocation(orders: Scene) -> None:
    """Nobody waits for the answer of such a thing: Lambda counts it as an error."""
    with unharmed(orders):
        message = orders.invoke(Records=[{"eventSource": "aws:s3"}])["errorMessage"]
    for words in ("event is not a request for a run", "Records", '{"table": "schema.t'):
        assert words in message


# --- a source that changed


@pytest.mark.parametrize(
    ("change", "back", "words"),
    [
        pytest.param(
            'ALTER TABLE shop.orders RENAME COLUMN status TO "state"',
            'ALTER TABLE shop.orders RENAME COLUMN "state" TO status',
            ("column 'status'", "got 'state text'", "allowed: status text"),
            id="column renamed",
        ),
        pytest.param(
            "ALTER TABLE shop.orders ALTER COLUMN amount TYPE NUMERIC(12, 4)",
            "ALTER TABLE shop.orders ALTER COLUMN amount TYPE NUMERIC(12, 2)",
            ("column 'amount'", "numeric(12,4)", "numeric(12,2)"),
            id="column widened",
        ),
        pytest.param(
            "ALTER TABLE shop.orders ALTER COLUMN amount TYPE TEXT",
            "ALTER TABLE shop.orders ALTER COLUMN amount TYPE NUMERIC(12, 2)"
            " USING amount::NUMERIC",
            ("column 'amount'", "amount text"),
            id="type changed",
        ),
        pytest.param(
            "ALTER TABLE shop.orders RENAME COLUMN updated_at TO changed_at",
            "ALTER TABLE shop.orders RENAME COLUMN changed_at TO updated_at",
            ("column 'updated_at'", "changed_at"),
            id="watermark renamed",
        ),
        pytest.param(
            "ALTER TABLE shop.orders DROP CONSTRAINT orders_pkey",
            "ALTER TABLE shop.orders ADD PRIMARY KEY (order_id)",
            ("unique index", "order_id", "primary_key"),
            id="key not unique",
        ),
        pytest.param(
            "ALTER TABLE shop.orders DROP CONSTRAINT orders_pkey,"
            " ALTER COLUMN order_id DROP NOT NULL, ADD UNIQUE (order_id)",
            "ALTER TABLE shop.orders DROP CONSTRAINT orders_order_id_key,"
            " ADD PRIMARY KEY (order_id)",
            ("NOT NULL", "order_id"),
            id="key nullable",
        ),
        pytest.param(
            "ALTER TABLE shop.orders RENAME TO old_orders",
            "ALTER TABLE shop.old_orders RENAME TO orders",
            ("the table is gone", "does not exist", "remove its entry"),
            id="table gone",
        ),
    ],
)
def test_a_table_that_left_its_contract_stops(
    orders: Scene, change: str, back: str, words: tuple[str, ...]
) -> None:
    with in_aurora(orders.sandbox, change, back):
        orders.refused("drift", "shop.orders", *words)
    orders.recovers()


def test_a_dropped_column_stops_its_table_and_no_other(
    orders: Scene, stock: Scene
) -> None:
    """What was dropped cannot come back; here the old table takes its place again."""
    aurora = orders.sandbox.aurora
    aurora("ALTER TABLE shop.orders RENAME TO kept")
    try:
        aurora("CREATE TABLE shop.orders (LIKE shop.kept INCLUDING ALL)")
        aurora("GRANT SELECT ON shop.orders TO aurora_sync_exporter")
        aurora("ALTER TABLE shop.orders DROP COLUMN amount")
        orders.refused(
            "drift",
            "shop.orders",
            "column 'amount'",
            "got 'nothing'",
            "contract refresh shop.orders",
        )
        stock.recovers()
    finally:
        aurora("DROP TABLE IF EXISTS shop.orders")
        aurora("ALTER TABLE shop.kept RENAME TO orders")
    orders.recovers()


def test_a_nullable_watermark_that_is_gone_is_drift_too(stock: Scene) -> None:
    """Rows without a watermark are counted before the columns are compared."""
    change = "ALTER VIEW shop.stock RENAME COLUMN updated_at TO changed_at"
    back = "ALTER VIEW shop.stock RENAME COLUMN changed_at TO updated_at"
    with in_aurora(stock.sandbox, change, back):
        stock.refused("drift", "shop.stock", "updated_at", "contract refresh")
    stock.recovers()


def test_a_table_whose_rows_are_hidden_is_refused(orders: Scene) -> None:
    change = "ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY"
    back = "ALTER TABLE shop.orders DISABLE ROW LEVEL SECURITY"
    with in_aurora(orders.sandbox, change, back):
        orders.refused("source", "shop.orders", "row-level security", "see every row")
    orders.recovers()


def test_a_value_that_cannot_be_read_ends_the_export_half_way(stock: Scene) -> None:
    """The view divides by zero in its last row; the rows before were on their way."""
    change = "UPDATE shop.parts SET divisor = 0 WHERE part_id = 200"
    back = "UPDATE shop.parts SET divisor = 1 WHERE part_id = 200"
    with in_aurora(stock.sandbox, change, back):
        stock.refused("source", "shop.stock", "division by zero", "22012")
    stock.recovers()


# --- a bucket that refuses


@contextmanager
def denying(scene: Scene, role: str, action: str) -> Iterator[None]:
    """Add a denial to the bucket's policy."""
    s3, bucket = scene.sandbox.aws("s3"), scene.settings.bucket
    before = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    policy = json.loads(before)
    policy["Statement"].append(
        {
            "Effect": "Deny",
            "Principal": {"AWS": scene.roles[role]},
            "Action": action,
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    try:
        yield
    finally:
        s3.put_bucket_policy(Bucket=bucket, Policy=before)


@pytest.mark.parametrize(
    ("role", "action", "code", "words", "files"),
    [
        ("aurora", "s3:PutObject", "export", ("could not write to S3", "exports/"), 0),
        ("exporter", "s3:PutObject", "lake", ("refuses to put", "manifests/"), 1),
        ("exporter", "s3:ListBucket", "lake", ("refuses to list", "manifests/"), 0),
    ],
)
def test_a_bucket_that_denies_is_told(
    orders: Scene, role: str, action: str, code: str, words: tuple[str, ...], files: int
) -> None:
    with denying(orders, role, action):
        orders.refused(code, "AccessDenied", *words, files=files)
    orders.recovers()


@contextmanager
def environment(scene: Scene, **changes: str) -> Iterator[None]:
    """Change variables of the deployed function."""
    client, name = scene.sandbox.aws("lambda"), scene.function["FunctionName"]
    before = scene.function["Environment"]["Variables"]
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": before | changes}
    )
    try:
        yield
    finally:
        client.update_function_configuration(
            FunctionName=name, Environment={"Variables": before}
        )


@contextmanager
def right_to_list(scene: Scene, bucket: str) -> Iterator[None]:
    """Let the exporter list a bucket, as its policy does for its own."""
    iam, named = scene.sandbox.aws("iam"), {
        "RoleName": role_name(scene.roles["exporter"]),
        "PolicyName": "other-bucket",
    }
    statement = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
    }
    iam.put_role_policy(**named, PolicyDocument=json.dumps({"Statement": [statement]}))
    try:
        yield
    finally:
        iam.delete_role_policy(**named)


def test_a_bucket_that_is_gone_is_told(orders: Scene) -> None:
    """The function is sent elsewhere: the lake's own bucket holds what others use."""
    with right_to_list(orders, "gone"), environment(orders, SYNC_BUCKET="gone"):
        orders.refused("lake", "NoSuchBucket", "s3://gone/manifests/local/shop.orders/")
    orders.recovers()


def test_an_aurora_that_lets_nobody_in_is_told(orders: Scene) -> None:
    change = f"GRANT CONNECT ON DATABASE app TO {VAULT_ADMIN};"
    change += " REVOKE CONNECT ON DATABASE app FROM PUBLIC"
    back = f"REVOKE CONNECT ON DATABASE app FROM {VAULT_ADMIN};"
    back += " GRANT CONNECT ON DATABASE app TO PUBLIC"
    where = f"Aurora {orders.settings.aurora_host}:{orders.settings.aurora_port}/app"
    with in_aurora(orders.sandbox, change, back):
        orders.refused("source_unavailable", where, "permission denied for database")
    orders.recovers()


# --- parts that are down


@contextmanager
def stopped(local: LocalStack, name: str, how: signal.Signals) -> Iterator[None]:
    """End one part; at the end it is started again."""
    found = process(local, name)
    found.send_signal(how)
    found.wait(timeout=20)
    try:
        yield
    finally:
        with exclusive(local):
            start_parts(local, stack.PARTS)


def test_aurora_that_is_down_is_told(orders: Scene) -> None:
    before = orders.moved()
    with stopped(orders.sandbox.local, "postgres", signal.SIGINT):
        answer = orders.sandbox.tick(orders.table)
        orders.check(
            answer["error"],
            "vault_unavailable",
            "database credentials",
            "connect",
            "Vault reaches Aurora",
        )
        assert orders.moved() == before
    orders.recovers()


def test_the_uploads_of_aurora_that_are_down_are_told(orders: Scene) -> None:
    with stopped(orders.sandbox.local, "aurora_s3", signal.SIGKILL):
        orders.refused("export", "shop.orders", "Unable to connect to endpoint")
    orders.recovers()


def test_a_sealed_vault_is_told(orders: Scene) -> None:
    local = orders.sandbox.local
    vault.vault_client(local).sys.seal()
    try:
        orders.refused("vault_unavailable", "Vault", "login", "sealed", "unseal")
    finally:
        vault.unseal(local)
    orders.recovers()


# --- what happens in the middle of an export


@contextmanager
def slow(scene: Scene) -> Iterator[None]:
    """Let the view's 200 rows take ten seconds."""
    change = "UPDATE shop.pace SET seconds = 0.05"
    with in_aurora(scene.sandbox, change, "UPDATE shop.pace SET seconds = 0"):
        yield


def exporting(scene: Scene) -> int:
    """Wait until Aurora reads rows for an export; return the backend's pid."""
    [(pid,)] = until(
        lambda: scene.sandbox.aurora(
            "SELECT pid FROM pg_catalog.pg_stat_activity WHERE wait_event = 'PgSleep'"
            " AND application_name LIKE 'aurora-sync local shop.stock%'"
        ),
        "Aurora exports",
    )
    return int(pid)


def terminate(scene: Scene) -> None:
    """End Aurora's session, as a failover does."""
    scene.sandbox.aurora("SELECT pg_terminate_backend(%s)", exporting(scene))


def crash_aurora(scene: Scene) -> None:
    """Kill a server process: PostgreSQL ends all sessions and recovers."""
    os.kill(exporting(scene), signal.SIGKILL)


@pytest.mark.parametrize("interrupt", [terminate, crash_aurora])
def test_an_export_that_loses_aurora_leaves_nothing(
    stock: Scene, interrupt: Callable[[Scene], None]
) -> None:
    with unharmed(stock), slow(stock):
        with stock.under_way() as answers:
            interrupt(stock)
        until(lambda: answers_again(stock), "Aurora is back")
    stock.check(answers[0]["error"], "source_unavailable", "shop.stock", "Aurora")
    stock.take_back_leases()
    stock.recovers()


def answers_again(scene: Scene) -> bool:
    try:
        return bool(scene.sandbox.aurora("SELECT 1"))
    except psycopg2.OperationalError:
        return False


def test_an_export_that_loses_its_upload_leaves_nothing(stock: Scene) -> None:
    local = stock.sandbox.local
    with unharmed(stock), slow(stock), stock.under_way() as answers:
        exporting(stock)
        with stopped(local, "aurora_s3", signal.SIGKILL):
            until(lambda: answers, "the run has ended")
    stock.check(answers[0]["error"], "export", "shop.stock", "could not write to S3")
    stock.recovers()


def test_a_function_that_is_killed_takes_its_export_with_it(stock: Scene) -> None:
    """As when Lambda's time is over. Its lease ends by itself, and so does its user."""
    with unharmed(stock), slow(stock):
        with stock.under_way() as answers:
            exporting(stock)
            worker(stock).kill()
        assert "errorMessage" in answers[0]
        until(lambda: not sessions(stock), "Aurora has given the export up")
        run = stock.state.lease_run
        assert run
        held = stock.sandbox.tick(stock.table)
    stock.check(held["error"], "lease_held", "another run holds", run, noted=False)
    stock.put(lease_until=int(time.time()) - 1)
    stock.take_back_leases()
    stock.recovers()


def worker(scene: Scene) -> psutil.Process:
    """Return the process that runs the function."""
    [found] = [
        each
        for each in process(scene.sandbox.local, "aws").children(recursive=True)
        if each.cmdline()[-1].endswith("_worker.py")
    ]
    return found


def sessions(scene: Scene) -> list[Any]:
    return scene.sandbox.aurora(
        "SELECT pid FROM pg_catalog.pg_stat_activity"
        " WHERE application_name LIKE 'aurora-sync local%'"
    )


# --- the lease, and the moment between the commit and the ledger


def test_a_lease_that_is_held_is_waited_for_once(orders: Scene) -> None:
    """Twice in a row is a failure: a run that never ends would go unseen."""
    with unharmed(orders):
        orders.put(lease_run="other", lease_until=int(time.time()) + 300)
        first = orders.invoke(table="shop.orders")
        assert (first["status"], first["error"]["code"]) == ("busy", "lease_held")
        again = orders.invoke(table="shop.orders")
        assert "another run holds the lease" in again["errorMessage"]
        told = orders.invoke(table="shop.orders", report_errors=True)
        words = ("local#shop.orders", "run other", "s more", "wait")
        orders.check(told["error"], "lease_held", *words, noted=False)
        assert orders.state.lease_run == "other"
    orders.put(lease_until=int(time.time()) - 1)
    orders.recovers()
    assert orders.invoke(table="shop.orders")["status"] == "done"


def test_a_session_that_exports_without_the_lease_is_told(orders: Scene) -> None:
    with closing(psycopg2.connect(postgres.aurora_dsn(orders.sandbox.local))) as other:
        other.cursor().execute(
            "SELECT pg_advisory_lock(hashtextextended('local#shop.orders', 0))"
        )
        other.commit()
        orders.refused("lease_held", "shop.orders", "without the lease", "pg_locks")
    orders.recovers()


def test_a_ledger_that_is_lost_after_the_manifest_follows_it(orders: Scene) -> None:
    """The manifest is the commit: what it says has happened, whatever came then."""
    before = orders.state
    error = fail_half_way(orders, exporter="dynamodb:UpdateItem")
    orders.check(error, "ledger", "DynamoDB refuses UpdateItem", noted=False)
    committed = orders.keys.manifest_key(before.seq + 1)
    assert committed in orders.objects(orders.keys.manifests)
    after = orders.state
    assert (after.seq, after.watermark) == (before.seq, before.watermark)
    # Nobody could give the lease back; its time goes by.
    orders.put(lease_until=int(time.time()) - 1)
    done = orders.recovers(links=2)
    orders.sandbox.merged(orders.table, done["seq"])


def test_an_error_that_the_ledger_cannot_note_is_told_all_the_same(
    orders: Scene,
) -> None:
    lost = {"exporter": "dynamodb:UpdateItem", "aurora": "s3:PutObject"}
    with unharmed(orders):
        error = fail_half_way(orders, **lost)
    orders.check(error, "export", "shop.orders", "AccessDenied", noted=False)
    orders.put(lease_until=int(time.time()) - 1)
    orders.recovers()


def fail_half_way(scene: Scene, **lost: str) -> dict[str, Any]:
    """Take rights away after a run has begun; return its error.

    Args:
        scene: The table, which is locked in the meantime.
        lost: Role and its action.
    """
    dsn = postgres.aurora_dsn(scene.sandbox.local)
    with closing(psycopg2.connect(dsn)) as other, scene.under_way() as answers:
        other.cursor().execute("LOCK TABLE shop.orders IN ACCESS EXCLUSIVE MODE")
        until(lambda: waiting(scene), "the export waits for the table")
        with ExitStack() as rights:
            for role, action in lost.items():
                name = role_name(scene.roles[role])
                rights.enter_context(without_action(scene.sandbox, name, action))
            other.commit()
            until(lambda: answers, "the run has ended")
    error: dict[str, Any] = answers[0]["error"]
    return error


def waiting(scene: Scene) -> list[Any]:
    return scene.sandbox.aurora(
        "SELECT pid FROM pg_catalog.pg_locks WHERE NOT granted"
        " AND relation = 'shop.orders'::regclass"
    )
