"""Bad input through the deployed function: one clear error, and no harm."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from infra.local.adapter.landscape import VAULT_ADMIN
from tests.integration.conftest import Sandbox
from tests.integration.losing import in_aurora
from tests.integration.refusing import Scene, role_name
from tests.integration.shop import shop


@pytest.fixture(scope="module")
def orders(sandbox: Sandbox) -> Scene:
    return shop(sandbox).orders


@pytest.fixture(scope="module")
def stock(sandbox: Sandbox) -> Scene:
    return shop(sandbox).stock


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
    with orders.unharmed():
        message = orders.invoke(Records=[{"eventSource": "aws:s3"}])["errorMessage"]
    fact = "event: is not a request for a run"
    for words in (fact, "Records", '{"table": "schema.t'):
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
