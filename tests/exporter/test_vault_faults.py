"""Bad days of Vault: each is told, none loses a row, and nothing stays in Aurora."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from hvac.exceptions import InternalServerError

from infra.components.vault_access import CREATION, REVOCATION
from infra.local import vault
from runtime.contract.errors import CredentialError, VaultUnavailableError
from runtime.exporter import credentials
from runtime.exporter.connecting import UserGoneError
from runtime.exporter.source import Source
from tests.exporter.conftest import DATABASE_ROLE, EXACT, ORDERS, Scene
from tests.exporter.test_credentials import lease
from tests.exporter.vault_proxy import (
    CREDENTIALS,
    GIVE_BACK_LEASE,
    GIVE_BACK_TOKEN,
    LOGIN,
    VaultProxy,
    answer,
    cut,
    first,
    late,
    lose_answer,
    then,
    vault_proxy,
)

LEASES = f"database/creds/{DATABASE_ROLE}"


@pytest.fixture
def root(scene: Scene) -> Any:
    """Vault's client with all rights."""
    return vault.vault_client(scene.stack)


@pytest.fixture
def proxy(scene: Scene, root: Any) -> Iterator[VaultProxy]:
    with vault_proxy(scene.stack.port("vault_backend")) as made:
        yield made
    root.sys.revoke_prefix(LEASES)


@pytest.fixture
def orders(scene):
    table = scene.table(ORDERS, **EXACT)
    scene.sql("INSERT INTO orders VALUES (1, 'new', '2020-01-01')")
    return table


def leased(scene: Scene) -> list[str]:
    """Return the users that were leased and are not dropped."""
    found = scene.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")
    return [name for (name,) in found]


def none_left(scene: Scene, seconds: float = 10) -> bool:
    """Say whether all leased users are dropped before long."""
    deadline = time.monotonic() + seconds
    while leased(scene) and time.monotonic() < deadline:
        time.sleep(0.05)
    return leased(scene) == []


@contextmanager
def users_made(root: Any, **changes: Any) -> Iterator[None]:
    """Let Vault make and drop users otherwise for a while."""
    usual = root.read(f"database/roles/{DATABASE_ROLE}")["data"]
    root.write_data(f"database/roles/{DATABASE_ROLE}", data=usual | changes)
    try:
        yield
    finally:
        root.write_data(f"database/roles/{DATABASE_ROLE}", data=usual)


# --- Vault answers otherwise than it should


@pytest.mark.parametrize("step", [LOGIN, CREDENTIALS])
@pytest.mark.parametrize(
    "rule",
    [
        *(answer(status) for status in (412, 429, 473, 500, 501, 502, 503, 504)),
        answer(200, b"<html>a captive portal</html>"),
        answer(200, b'{"data": null}'),
        answer(204, b""),
        cut,
    ],
)
def test_what_passes_can_be_tried_again(scene, proxy, step, rule):
    proxy.rules = {step: rule}
    with pytest.raises(VaultUnavailableError) as caught:
        with lease(scene.around.settings, vault_addr=proxy.url):
            pass
    assert caught.value.retryable and caught.value.remedy
    assert caught.value.subject.startswith(f"Vault {proxy.url}: ")
    assert leased(scene) == []
    proxy.rules = {}
    with lease(scene.around.settings, vault_addr=proxy.url):
        pass


@pytest.mark.parametrize("step", [LOGIN, CREDENTIALS])
def test_a_run_that_vault_fails_is_made_up_for_by_the_next(
    real_vault, scene, orders, proxy, step
):
    proxy.rules = {step: answer(429)}
    with pytest.raises(VaultUnavailableError):
        scene.run(orders, vault_addr=proxy.url)
    state = scene.state(orders)
    assert (state.refusal["code"], state.lease_run) == ("vault_unavailable", "")
    proxy.rules = {}
    scene.run(orders, vault_addr=proxy.url)
    assert scene.exported(*scene.manifests(orders)) == ["1"]


def test_a_token_that_was_revoked_is_refused_once(
    real_vault, scene, orders, proxy, root
):
    proxy.rules = {CREDENTIALS: first(root.auth.token.revoke)}
    with pytest.raises(CredentialError, match="Vault refuses .*permission denied"):
        scene.run(orders, vault_addr=proxy.url)
    proxy.rules = {}
    scene.run(orders, vault_addr=proxy.url)
    assert scene.exported(*scene.manifests(orders)) == ["1"]


@pytest.mark.parametrize("step", [LOGIN, CREDENTIALS])
def test_a_slow_vault_costs_no_more_than_its_time(scene, proxy, monkeypatch, step):
    monkeypatch.setattr(credentials, "TIMEOUT_SECONDS", 0.2)
    proxy.rules = {step: late(1.5)}
    began = time.monotonic()
    with pytest.raises(VaultUnavailableError, match="timed out"):
        with lease(scene.around.settings, vault_addr=proxy.url):
            pass
    assert time.monotonic() - began < 1


def test_a_vault_that_is_slow_to_take_back_does_not_fail_the_run(
    real_vault, scene, orders, proxy, monkeypatch
):
    monkeypatch.setattr(credentials, "TIMEOUT_SECONDS", 0.5)
    proxy.rules = {GIVE_BACK_LEASE: late(1.5), GIVE_BACK_TOKEN: late(1.5)}
    assert scene.run(orders, vault_addr=proxy.url).status == "done"
    assert scene.exported(*scene.manifests(orders)) == ["1"]
    assert {GIVE_BACK_LEASE, GIVE_BACK_TOKEN} <= {
        path.removeprefix("/v1") for path in proxy.seen
    }


# --- users that nobody gives back


def test_a_user_whose_lease_never_reached_us_goes_with_the_login(scene, proxy):
    proxy.rules = {CREDENTIALS: lose_answer}
    with pytest.raises(VaultUnavailableError):
        with lease(scene.around.settings, vault_addr=proxy.url):
            pass
    assert none_left(scene)


def test_a_user_that_is_not_given_back_ends_with_its_time(scene, proxy, root):
    proxy.rules = {GIVE_BACK_LEASE: cut, GIVE_BACK_TOKEN: cut}
    with users_made(root, default_ttl=2, max_ttl=2):
        with lease(scene.around.settings, vault_addr=proxy.url) as user:
            session = scene.connect(user=user.name, password=user.password)
        assert leased(scene) == [user.name]
        assert none_left(scene)
    # The session that was open has no rights any more.
    with pytest.raises(psycopg2.Error), session.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER")


def test_a_user_whose_making_fails_half_way_is_not_made(scene, root):
    with users_made(root, creation_statements=[CREATION, "SELECT 1 / 0"]):
        with pytest.raises(VaultUnavailableError, match="division by zero"):
            with lease(scene.around.settings):
                pass
    assert leased(scene) == []


OWNED = {
    "temporary table": "CREATE TEMPORARY TABLE loot (id BIGINT)",
    "large object": "SELECT lo_create(4711)",
    "default privileges": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
}
# What the catalogs say of a role, by its oid: owned, granted, or by default.
TRACES = """
SELECT (SELECT COUNT(*) FROM pg_shdepend WHERE refobjid = %(oid)s)
  + (SELECT COUNT(*) FROM pg_auth_members
     WHERE %(oid)s IN (roleid, member, grantor))
  + (SELECT COUNT(*) FROM pg_default_acl WHERE defaclrole = %(oid)s)
  + (SELECT COUNT(*) FROM pg_class WHERE relowner = %(oid)s)
  + (SELECT COUNT(*) FROM pg_largeobject_metadata WHERE lomowner = %(oid)s)
"""


def traces(scene: Scene, oid: int) -> int:
    with scene.admin.cursor() as cursor:
        cursor.execute(TRACES, {"oid": oid})
        ((found,),) = cursor.fetchall()
    return int(found)


@pytest.mark.parametrize("what", OWNED)
def test_a_user_goes_with_all_it_has_made_though_its_session_is_open(scene, what):
    with lease(scene.around.settings) as user:
        session = scene.connect(user=user.name, password=user.password)
        with session.cursor() as cursor:
            cursor.execute(OWNED[what])
        oid = scene.value(
            "SELECT usesysid::BIGINT FROM pg_user WHERE usename = %s", user.name
        )
        assert traces(scene, oid) > 1
    assert leased(scene) == []
    assert traces(scene, oid) == 0


def test_what_an_open_transaction_holds_up_is_dropped_later(scene, root):
    hasty = REVOCATION.replace("'5s'", "'50ms'")
    assert hasty != REVOCATION
    with users_made(root, revocation_statements=[hasty]):
        with lease(scene.around.settings) as user:
            session = scene.connect(user=user.name, password=user.password)
            with session.cursor() as cursor:
                cursor.execute("BEGIN; CREATE TEMPORARY TABLE loot (id BIGINT)")
        assert leased(scene) == [user.name]
        with session.cursor() as cursor:
            cursor.execute("ROLLBACK")
        root.sys.revoke_prefix(LEASES)
        assert leased(scene) == []


# --- leases that are revoked while somebody works with them


def revoke(scene: Scene) -> None:
    """Revoke all leases, as an administrator does after an incident."""
    vault.vault_client(scene.stack).sys.revoke_prefix(LEASES)


def test_a_lease_that_is_revoked_before_the_connection_opens(
    real_vault, scene, orders, proxy
):
    proxy.rules = {CREDENTIALS: then(lambda: revoke(scene))}
    with pytest.raises(UserGoneError, match="does not admit the leased user") as caught:
        scene.run(orders, vault_addr=proxy.url)
    assert caught.value.retryable
    assert scene.state(orders).refusal["code"] == "user_gone"
    proxy.rules = {}
    scene.run(orders, vault_addr=proxy.url)
    assert scene.exported(*scene.manifests(orders)) == ["1"]


def revoking(scene: Scene, method: str, after: bool = False) -> Callable[..., Any]:
    """Return a method of `Source` that loses the lease before or after its work."""
    usual = getattr(Source, method)

    def method_of(self: Source, *args: Any, **more: Any) -> Any:
        if not after:
            revoke(scene)
        found = usual(self, *args, **more)
        if after:
            revoke(scene)
        return found

    return method_of


@pytest.mark.parametrize("moment", ["admitted", "snapshot", "export"])
def test_a_lease_that_is_revoked_within_a_run_costs_that_run_only(
    real_vault, scene, orders, monkeypatch, moment
):
    with monkeypatch.context() as patch:
        patch.setattr(Source, moment, revoking(scene, moment))
        with pytest.raises(UserGoneError) as caught:
            scene.run(orders)
    assert caught.value.retryable
    assert scene.manifests(orders) == ()
    scene.run(orders)
    assert scene.exported(*scene.manifests(orders)) == ["1"]
    assert leased(scene) == []


def test_a_lease_that_is_revoked_after_the_export_costs_nothing(
    real_vault, scene, orders, monkeypatch
):
    monkeypatch.setattr(Source, "export", revoking(scene, "export", after=True))
    assert scene.run(orders).status == "done"
    assert scene.exported(*scene.manifests(orders)) == ["1"]


# --- Vault's own user gets another password


def test_syncs_go_on_when_vaults_own_password_is_rotated(
    real_vault, scene, orders, root
):
    own, known = "aurora_sync_vault", scene.stack.secret("vault_database_password")
    root.secrets.database.rotate_root_credentials("aurora")
    try:
        with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
            scene.connect(user=own, password=known)
        scene.run(orders)
        assert scene.exported(*scene.manifests(orders)) == ["1"]
        # Somebody sets it by hand, and Vault opens its connection anew.
        with scene.admin.cursor() as cursor:
            cursor.execute(f"ALTER ROLE {own} PASSWORD %s", (known,))
        with pytest.raises(InternalServerError, match="authentication failed"):
            root.write_data("database/reset/aurora", data={})
        with pytest.raises(VaultUnavailableError, match="Vault cannot do it"):
            scene.run(orders)
    finally:
        with scene.admin.cursor() as cursor:
            cursor.execute(f"ALTER ROLE {own} PASSWORD %s", (known,))
        root.write_data("database/config/aurora", data={"password": known})
    scene.sql("INSERT INTO orders VALUES (2, 'new', NOW())")
    scene.run(orders)
    assert "2" in scene.exported(*scene.manifests(orders))
