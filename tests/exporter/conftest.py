"""Real parts for the exporter's tests; a clean database and a name for each test."""

import csv
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any

import boto3
import msgspec
import psycopg2
import pytest
from boto3.dynamodb.conditions import Attr
from botocore.config import Config

from infra import policies
from infra.components.vault_access import CREATION, LEASE_SECONDS, REVOCATION
from infra.local import aurora_uploader, aws, postgres, vault
from infra.local.parts import AWS_REGION, HOST, LocalStack
from runtime.contract.aurora_sql import (
    EXPORTER_ROLE,
    admin_statements,
    vault_admin_statements,
)
from runtime.contract.dialect import SESSION
from runtime.contract.names import LakeKeys
from runtime.contract.records import (
    LedgerState,
    Manifest,
    RunResult,
    ledger_key,
    state_from_item,
)
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import Table, TableContract
from runtime.exporter.credentials import AwsKeys, DatabaseUser
from runtime.exporter.lake import Lake
from runtime.exporter.ledger import Ledger
from runtime.exporter.load_queue import LoadQueue, Message
from runtime.exporter import run as run_module
from runtime.exporter.run import Surroundings, run_table
from runtime.exporter.source import Source
from runtime.exporter.worker import take
from tests.factories import make_column, make_contract, make_spec
from tests.local.running import running

PARTS = (
    aws.PART,
    postgres.PART,
    aurora_uploader.PART,
    vault.BACKEND_PART,
    vault.PART,
)
BUCKET = "lake-of-tests"
# Where the program notes the role it associates with the cluster.
ROLE_FACT = "aurora_role_arn"
LEDGER = "ledger-of-tests"
DATABASE_ROLE = "aurora-sync"
# The table that most tests use.
ORDERS = """
CREATE TABLE public.orders (
  order_id BIGINT PRIMARY KEY,
  status TEXT NOT NULL,
  updated_at TIMESTAMPTZ DEFAULT NOW()
)
"""

# No row is read twice, and none is held back.
EXACT = {"lookback": "PT0S", "margin": "PT0S"}
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/exporter/" in item.path.as_posix() and "stack" in getattr(
            item, "fixturenames", ()
        ):
            item.add_marker(pytest.mark.integration)


@dataclass(kw_only=True)
class Scene:
    """A clean database, and a deployment of its own: tests share nothing.

    Attributes:
        stack: The running parts.
        name: Name of the deployment.
        around: What a run needs.
        user: A database user as Vault leases them.
        admin: A superuser's connection that all tests share.
    """

    stack: LocalStack
    name: str
    around: Surroundings
    user: DatabaseUser
    admin: Any
    _open: list[Any] = field(default_factory=list)

    def connect(self, **changes: Any) -> Any:
        """Return a new autocommit connection, the superuser's by default."""
        connection = psycopg2.connect(postgres.aurora_dsn(self.stack), **changes)
        connection.autocommit = True
        self._open.append(connection)
        return connection

    def session(self, *statements: str, **changes: Any) -> Any:
        """Return the cursor of a new session that has run these statements."""
        cursor = self.connect(**changes).cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run one statement as superuser, in a transaction of its own."""
        with self.admin.cursor() as cursor:
            cursor.execute(query, params or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, *params: Any) -> Any:
        """Return the only value of a query."""
        ((found,),) = self.sql(query, *params)
        return found

    def table(self, ddl: str | None = None, /, **keys: Any) -> Table:
        """Make a table, grant it to the exporter and freeze its contract."""
        spec = make_spec(**keys)
        if ddl is not None:
            self.sql(ddl)
        self.sql("; ".join(admin_statements([spec])))
        return Table(spec=spec, contract=self.contract(str(spec.source)))

    def contract(self, name: str, **fields: Any) -> TableContract:
        """Freeze the columns of a table as they are now."""
        spec = make_spec(table_name=name)
        # Types are printed with their schema, as the exporter's session prints them.
        self.sql(f"SET search_path = {SESSION['search_path']}")
        found = self.sql(_CATALOG, spec.source.sql)
        self.sql("RESET search_path")
        columns = tuple(
            make_column(number, column, base, type=declared, kind=kind, nullable=null)
            for number, column, declared, base, kind, null in found
        )
        return make_contract(columns, table=name, **fields)

    @contextmanager
    def source(self, seconds: float = 60, **settings: Any) -> Iterator[Source]:
        """Open the exporter's own connection as a leased user."""
        source = Source(
            msgspec.structs.replace(self.around.settings, **settings),
            self.user,
            time.monotonic() + seconds,
            "aurora-sync test",
        )
        try:
            yield source
        finally:
            source.close()

    def run(
        self,
        table: Table,
        seconds: float = 60,
        reconcile: bool = False,
        backfill: str | None = None,
        **changes: Any,
    ) -> RunResult:
        """Run the exporter once; `changes` are settings."""
        around = self.with_settings(**changes)
        return run_table(table, around, seconds, reconcile, backfill=backfill)

    def with_settings(self, **changes: Any) -> Surroundings:
        """Return what a run needs, with other settings."""
        settings = msgspec.structs.replace(self.around.settings, **changes)
        return replace(self.around, settings=settings)

    def messages(self) -> list[Message]:
        """Return the messages that can be received now, and delete them."""
        sqs, url = self.around.queue._client, self.around.queue._url
        found: list[Message] = []
        while batch := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            for each in batch:
                found.append(msgspec.json.decode(each["Body"], type=Message))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return found

    def work(
        self, table: Table, *messages: Message, seconds: float = 60, **changes: Any
    ) -> list[RunResult]:
        """Take messages as the function does, by default all there are.

        Returns:
            The answers of the runs that they led to.
        """
        around = self.with_settings(**changes)
        answers = [
            take(table, around, seconds, each) for each in messages or self.messages()
        ]
        return [each for each in answers if each is not None]

    def load(self, table: Table, **how: Any) -> list[RunResult]:
        """Run, and take messages until there are no more; return all answers."""
        results = [self.run(table, **how)]
        how.pop("reconcile", None), how.pop("backfill", None)
        while messages := self.messages():
            results += self.work(table, *messages, **how)
        return results

    def ledger(self, table: Table) -> Ledger:
        """Return the table's ledger."""
        return Ledger(self.around.ledger_table, self.name, table.spec.source)

    def lake(self, table: Table) -> Lake:
        """Return the table's chain of manifests."""
        settings = self.around.settings
        return Lake(self.around.s3, BUCKET, settings.kms_key_arn, self.keys(table))

    def keys(self, table: Table) -> LakeKeys:
        """Return where the table's objects stand."""
        return LakeKeys(stack=self.name, table=table.spec.source)

    def item(self, table: Table) -> dict[str, Any]:
        """Return the ledger's item of the table as it is stored."""
        key = {"pk": ledger_key(self.name, table.spec.source), "sk": "STATE"}
        return self.around.ledger_table.get_item(Key=key, ConsistentRead=True).get(
            "Item", {}
        )

    def state(self, table: Table) -> LedgerState:
        """Return the ledger's state of the table."""
        return state_from_item(self.item(table))

    def lose_ledger(self, table: Table) -> None:
        """Delete the ledger's item of the table."""
        item = self.item(table)
        key = {"pk": item["pk"], "sk": item["sk"]}
        self.around.ledger_table.delete_item(Key=key)

    def expire(self, table: Table) -> None:
        """Let the table's lease have ended, as after a kill and some minutes."""
        over = {"lease_until": int(time.time()) - 1}
        self.ledger(table).write(over, Attr("pk").exists())

    def manifests(self, table: Table) -> tuple[Manifest, ...]:
        """Return the chain."""
        return tuple(self.lake(table).after(0))

    def rows(self, *manifests: Manifest) -> list[list[str]]:
        """Return the rows of all files of manifests, as text."""
        found = []
        for file in (file for manifest in manifests for file in manifest.files):
            body = self.around.s3.get_object(Bucket=BUCKET, Key=file.key)["Body"].read()
            rows = list(csv.reader(StringIO(body.decode())))
            assert len(rows) == file.rows
            assert len(body) == file.bytes
            found += rows
        return found

    def exported(self, *manifests: Manifest) -> list[str]:
        """Return the first column of those rows, sorted."""
        return sorted(row[0] for row in self.rows(*manifests))

    def close(self) -> None:
        """End all sessions and leave the database as it was."""
        for connection in self._open:
            connection.close()
        self.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for (name,) in self.sql("SELECT gid FROM pg_prepared_xacts"):
            self.sql("ROLLBACK PREPARED %s", name)
        self.sql(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; "
            "GRANT USAGE ON SCHEMA public TO PUBLIC"
        )


_CATALOG = """
SELECT a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
  CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
    ELSE format_type(a.atttypid, a.atttypmod) END,
  CASE WHEN t.typtype = 'e' THEN 'enum' WHEN t.typtype = 'r' THEN 'range'
    WHEN t.typtype = 'c' THEN 'composite' WHEN t.typcategory = 'A' THEN 'array'
    ELSE 'base' END,
  NOT a.attnotnull
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


def fill_many(scene: Scene) -> None:
    """Insert 400 old rows into the orders, enough for several chunks."""
    scene.sql(
        "INSERT INTO orders SELECT n, repeat('x', 100), '2020-01-01' "
        "FROM generate_series(1, 400) AS n"
    )


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Run the parts for all tests of the exporter."""
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    try:
        with running(stack, *PARTS):
            yield stack
    finally:
        postgres.remove(stack)


@pytest.fixture(scope="package")
def surroundings(stack: LocalStack) -> Callable[[str], Surroundings]:
    """Make bucket, ledger, roles and Vault's engine once; give them a stack name."""
    key = aws.client(stack, "kms").create_key()["KeyMetadata"]["Arn"]
    aws.client(stack, "s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": AWS_REGION}
    )
    _associate_role(stack)
    settings = ExporterSettings(
        stack="unnamed",
        bucket=BUCKET,
        region=AWS_REGION,
        kms_key_arn=key,
        ledger_table=LEDGER,
        load_queue_url="",
        aurora_host=HOST,
        aurora_port=stack.port("postgres"),
        aurora_database=postgres.DATABASE,
        aurora_sslmode="disable",
        vault_addr=stack.url("vault_backend"),
        vault_auth="approle",
        vault_auth_mount="approle",
        vault_role=_vault(stack),
        vault_secret_id_file=str(stack.part_dir("vault") / "secret_id"),
        vault_database_role=DATABASE_ROLE,
        # Small enough that a test's table needs several.
        chunk_bytes=100_000,
    )
    ledger = _ledger(stack)

    def surroundings(name: str) -> Surroundings:
        sqs = aws.client(stack, "sqs")
        url = sqs.create_queue(QueueName=f"load-{name}")["QueueUrl"]
        return Surroundings(
            settings=msgspec.structs.replace(settings, stack=name, load_queue_url=url),
            queue=LoadQueue(sqs, url),
            ledger_table=ledger,
            s3=aws.client(stack, "s3"),
            aws_keys=_no_keys,
        )

    return surroundings


def _no_keys() -> AwsKeys:
    raise AssertionError("AppRole needs no AWS keys")


def _associate_role(stack: LocalStack) -> None:
    """Give the cluster its role: it may write exports and nothing else."""
    iam = aws.client(stack, "iam")
    trust = {"AWS": aws.user_arn("aurora")}
    role = iam.create_role(
        RoleName="aurora-export",
        AssumeRolePolicyDocument=_document("sts:AssumeRole", Principal=trust),
    )
    iam.put_role_policy(
        RoleName="aurora-export",
        PolicyName="exports",
        PolicyDocument=_document(
            "s3:PutObject", Resource=f"arn:aws:s3:::{BUCKET}/exports/*"
        ),
    )
    stack.put_fact(ROLE_FACT, role["Role"]["Arn"])


def _document(action: str, **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": action} | more
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return msgspec.json.encode(document).decode()


def _ledger(stack: LocalStack) -> Any:
    keys = stack.fact("aws_keys")["admin"]
    resource = boto3.Session(
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
        region_name=AWS_REGION,
    ).resource(
        "dynamodb",
        endpoint_url=stack.url("aws"),
        config=Config(connect_timeout=3, read_timeout=10, max_pool_connections=32),
    )
    return resource.create_table(
        TableName=LEDGER,
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def _vault(stack: LocalStack) -> str:
    """Set up the database engine and AppRole; returns the role id."""
    with psycopg2.connect(postgres.aurora_dsn(stack)) as admin:
        with admin.cursor() as cursor:
            password = stack.secret("vault_database_password")
            for statement in (
                *admin_statements([]),
                *vault_admin_statements("aurora_sync_vault", "%s"),
            ):
                cursor.execute(statement, (password,) if "%s" in statement else None)
    admin.close()
    client: Any = vault.vault_client(stack)
    client.sys.enable_secrets_engine("database")
    client.secrets.database.configure(
        name="aurora",
        plugin_name="postgresql-database-plugin",
        connection_url="postgresql://{{username}}:{{password}}@"
        f"{HOST}:{stack.port('postgres')}/{postgres.DATABASE}?sslmode=disable",
        username="aurora_sync_vault",
        password=password,
        allowed_roles=[DATABASE_ROLE],
    )
    client.secrets.database.create_role(
        name=DATABASE_ROLE,
        db_name="aurora",
        creation_statements=[CREATION],
        revocation_statements=[REVOCATION],
        default_ttl=LEASE_SECONDS,
    )
    policy = policies.vault_exporter(
        database_mount="database", database_role=DATABASE_ROLE
    )
    client.sys.create_or_update_policy(DATABASE_ROLE, policy)
    client.sys.enable_auth_method("approle")
    approle = client.auth.approle
    approle.create_or_update_approle(DATABASE_ROLE, token_policies=[DATABASE_ROLE])
    secret = approle.generate_secret_id(DATABASE_ROLE)["data"]["secret_id"]
    (stack.part_dir("vault") / "secret_id").write_text(secret + "\n")
    return str(approle.read_role_id(DATABASE_ROLE)["data"]["role_id"])


@pytest.fixture(scope="package")
def admin(stack: LocalStack) -> Iterator[Any]:
    """Connect as superuser, and make the next logins cheap: there are a thousand."""
    connection = psycopg2.connect(postgres.aurora_dsn(stack))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET scram_iterations = 1")
        cursor.execute("SELECT pg_reload_conf()")
        cursor.execute("SET scram_iterations = 1")
        password = stack.secret("postgres_password")
        cursor.execute("ALTER ROLE postgres PASSWORD %s", (password,))
    yield connection
    connection.close()


@pytest.fixture(scope="package")
def leased_by_hand(stack: LocalStack, surroundings: Any, admin: Any) -> DatabaseUser:
    """A user as Vault leases them, for tests that speak with the source alone."""
    user = DatabaseUser(name="leased_by_hand", password=stack.secret("leased"))
    with admin.cursor() as cursor:
        cursor.execute(
            f"CREATE ROLE {user.name} LOGIN PASSWORD %s VALID UNTIL '2999-01-01' "
            f"IN ROLE {EXPORTER_ROLE}",
            (user.password,),
        )
    return user


@pytest.fixture
def real_vault() -> None:
    """Let every run of the test lease its user at Vault."""


@pytest.fixture
def scene(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    stack: LocalStack,
    surroundings: Callable[[str], Surroundings],
    leased_by_hand: DatabaseUser,
    admin: Any,
) -> Iterator[Scene]:
    """A clean database with the emulated aws_s3, and a new deployment's name.

    Runs take a user that was leased before, which is half their time; those of tests
    marked with the fixture `real_vault` lease their own.
    """
    if "real_vault" not in request.fixturenames:
        lease = nullcontext(leased_by_hand)
        monkeypatch.setattr(run_module, "leased_user", lambda *_: lease)
    name = f"t{next(_numbers):03d}"
    scene = Scene(
        stack=stack,
        name=name,
        around=surroundings(name),
        user=leased_by_hand,
        admin=admin,
    )
    try:
        yield scene
    finally:
        scene.close()
