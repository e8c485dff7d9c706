"""Aurora and Vault are believed by their certificates alone, and over TLS alone."""

import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from runtime.contract.errors import (
    CredentialError,
    SourceError,
    VaultUnavailableError,
)
from runtime.exporter.credentials import leased_user
from tests.exporter.conftest import EXACT, ORDERS
from tests.exporter.tls_front import SSL_REQUEST, Authority, Front, tls_front


class Authorities(NamedTuple):
    """Whom we trust, and whom we do not."""

    right: Authority
    wrong: Authority


@pytest.fixture(scope="module")
def authorities(tmp_path_factory) -> Authorities:
    folder = tmp_path_factory.mktemp("ca")
    return Authorities(Authority(folder, "right"), Authority(folder, "wrong"))


def through(front: Front, ca: Path | str) -> dict[str, object]:
    """Return the settings that lead through a front."""
    return {
        "aurora_host": "localhost",
        "aurora_port": front.port,
        "aurora_sslmode": "verify-full",
        "aurora_sslrootcert": str(ca),
    }


def test_a_whole_run_goes_over_tls(scene, authorities):
    table = scene.table(ORDERS, **EXACT)
    scene.sql("INSERT INTO orders VALUES (1, 'new', '2020-01-01')")
    with tls_front(scene.stack.port("postgres"), authorities.right.server()) as front:
        answer = scene.run(table, **through(front, authorities.right.file))
    assert answer.status == "done"
    assert scene.exported(*scene.manifests(table)) == ["1"]
    assert front.handshakes == len(front.asked) == 1
    assert set(front.asked) == {SSL_REQUEST}


def test_no_surroundings_lower_what_is_asked_of_tls(scene, authorities, monkeypatch):
    monkeypatch.setenv("PGSSLMINPROTOCOLVERSION", "TLSv1")
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PGGSSENCMODE", "prefer")
    with tls_front(scene.stack.port("postgres"), authorities.right.server()) as front:
        with scene.source(**through(front, authorities.right.file)) as source:
            session = source._connection.info
            assert session.ssl_in_use
            asked = session.dsn_parameters
    assert asked["ssl_min_protocol_version"] == "TLSv1.2"
    assert (asked["sslmode"], asked["gssencmode"]) == ("verify-full", "disable")


def outdated(authority: Authority) -> ssl.SSLContext:
    """Return the context of a server that knows nothing newer than TLS 1.1."""
    context = authority.server()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


Case = tuple[Callable[[Authorities], ssl.SSLContext | None], str, str]
REFUSED: dict[str, Case] = {
    "another CA": (
        lambda known: known.wrong.server(),
        "of no trusted CA, or has expired",
        "put the CA bundle of the cluster's region into",
    ),
    "expired": (
        lambda known: known.right.server(days=-1),
        "of no trusted CA, or has expired",
        "renew the cluster's certificate",
    ),
    "another host": (
        lambda known: known.right.server("aurora.example"),
        "the certificate is another server's",
        "set aurora.host to the writer endpoint",
    ),
    "TLS 1.1": (
        lambda known: outdated(known.right),
        "does not speak TLS 1.2",
        "raise ssl_max_protocol_version",
    ),
    "no TLS": (
        lambda known: None,
        "the server offers no TLS",
        "nothing is sent unencrypted",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_not_proven_to_be_aurora_gets_nothing(scene, authorities, case):
    context, fact, remedy = REFUSED[case]
    with tls_front(scene.stack.port("postgres"), context(authorities)) as front:
        with pytest.raises(SourceError, match=fact) as caught:
            with scene.source(**through(front, authorities.right.file)):
                pass
    assert type(caught.value) is SourceError
    assert caught.value.subject == f"Aurora localhost:{front.port}/app"
    assert remedy in caught.value.remedy
    # One attempt, which asked for TLS and said nothing before it had it.
    assert (front.asked, front.clear) == ([SSL_REQUEST], b"")


@pytest.mark.parametrize("ca", ["/absent/ca.pem", __file__])
def test_a_ca_bundle_that_cannot_be_read_is_named(scene, authorities, ca):
    with tls_front(scene.stack.port("postgres"), authorities.right.server()) as front:
        with pytest.raises(SourceError, match="the CA bundle cannot be read") as caught:
            with scene.source(**through(front, ca)):
                pass
    assert type(caught.value) is SourceError
    assert caught.value.subject == ca
    assert "disable" not in str(caught.value)
    assert front.handshakes == 0


# --- Vault


def vault_through(scene, front: Front, ca: object, host: str = "localhost"):
    """Lease a user through a front before Vault."""
    settings = msgspec.structs.replace(
        scene.around.settings,
        vault_addr=f"https://{host}:{front.port}",
        vault_cacert=str(ca),
    )
    return leased_user(settings, scene.around.aws_keys)


def test_vault_is_believed_by_its_ca(scene, authorities):
    right = authorities.right
    port = scene.stack.port("vault_backend")
    with tls_front(port, right.server(), postgres=False) as front:
        with vault_through(scene, front, right.file) as user:
            assert user.name.startswith("v-")
    # Login, lease, and both given back.
    assert front.handshakes >= 1


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("another CA", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        ("another host", "[Hh]ostname mismatch"),
    ],
)
def test_a_vault_that_is_not_proven_gets_no_secret(scene, authorities, case, reason):
    context, _, _ = REFUSED[case]
    port = scene.stack.port("vault_backend")
    with tls_front(port, context(authorities), postgres=False) as front:
        with pytest.raises(CredentialError, match=reason) as caught:
            with vault_through(scene, front, authorities.right.file):
                pass
    assert type(caught.value) is CredentialError
    assert "certificate is not believed" in str(caught.value)
    assert "vault.ca" in caught.value.remedy
    assert front.clear == b""


@pytest.mark.parametrize("case", ["TLS 1.1", "no TLS"])
def test_a_vault_without_tls_that_is_new_enough_gets_no_secret(
    scene, authorities, case
):
    context, _, _ = REFUSED[case]
    port = scene.stack.port("vault_backend")
    with tls_front(port, context(authorities), postgres=False) as front:
        with pytest.raises(VaultUnavailableError, match="does not answer"):
            with vault_through(scene, front, authorities.right.file):
                pass
    # Where there is no TLS: a ClientHello, and nothing else.
    assert front.clear[:1] in (b"", b"\x16")
    assert b"role_id" not in front.clear


@pytest.mark.parametrize("ca", ["/absent/ca.pem", __file__])
def test_a_ca_file_of_vault_that_cannot_be_read_is_named(scene, ca):
    settings = msgspec.structs.replace(scene.around.settings, vault_cacert=ca)
    with pytest.raises(CredentialError, match="the CA file cannot be read") as caught:
        with leased_user(settings, scene.around.aws_keys):
            pass
    assert caught.value.subject == ca
