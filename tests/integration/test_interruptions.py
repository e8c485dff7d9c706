"""Parts that are down, and runs that end half way: told, undone, gone on with."""

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
from infra.local.exclusive import exclusive
from infra.local.parts import LocalStack
from infra.local.processes import start_parts
from tests.integration.conftest import Sandbox
from tests.integration.killing import workers
from tests.integration.losing import in_aurora, without_action
from tests.integration.refusing import Scene, role_name, until
from tests.integration.shop import shop
from tests.local.running import process


@pytest.fixture(scope="module")
def orders(sandbox: Sandbox) -> Scene:
    return shop(sandbox).orders


@pytest.fixture(scope="module")
def stock(sandbox: Sandbox) -> Scene:
    return shop(sandbox).stock


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
    with stock.unharmed(), slow(stock):
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
    with stock.unharmed(), slow(stock), stock.under_way() as answers:
        exporting(stock)
        with stopped(local, "aurora_s3", signal.SIGKILL):
            until(lambda: answers, "the run has ended")
    stock.check(answers[0]["error"], "export", "shop.stock", "could not write to S3")
    stock.recovers()


def test_a_function_that_is_killed_takes_its_export_with_it(stock: Scene) -> None:
    """As when Lambda's time is over. Its lease ends by itself, and so does its user."""
    with stock.unharmed(), slow(stock):
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
    [found] = workers(scene.sandbox.local)
    return found


def sessions(scene: Scene) -> list[Any]:
    return scene.sandbox.aurora(
        "SELECT pid FROM pg_catalog.pg_stat_activity"
        " WHERE application_name LIKE 'aurora-sync local%'"
    )


# --- the lease, and the moment between the commit and the ledger


def test_a_lease_that_is_held_is_waited_for_once(orders: Scene) -> None:
    """Twice in a row is a failure: a run that never ends would go unseen."""
    with orders.unharmed():
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
    with orders.unharmed():
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
