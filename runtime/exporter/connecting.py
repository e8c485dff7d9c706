"""The way to Aurora: encrypted, to the one server whose certificate says its name.

What fails before there is a session has no SQLSTATE. libpq's own words, which the
driver's wheel does not translate, tell the kinds apart; words that are not known lead
to the general error, and nothing ever leads to a connection without TLS.
"""

from typing import Any

import psycopg2

from runtime.contract.errors import SourceError, SourceUnavailableError
from runtime.contract.settings import ExporterSettings
from runtime.exporter.credentials import DatabaseUser

CONNECT_SECONDS = 10


class UserGoneError(SourceUnavailableError):
    """Aurora does not know the leased user: its lease was revoked meanwhile."""

    code = "user_gone"


def connect(
    settings: ExporterSettings, user: DatabaseUser, application_name: str, options: str
) -> Any:
    """Open one connection to the writer.

    Args:
        settings: Where Aurora is, and which CA it is believed by.
        user: The leased database user.
        application_name: Shown in pg_stat_activity.
        options: Session settings as libpq's `options`.

    Raises:
        SourceError: When the other side is not proven to be Aurora.
        SourceUnavailableError: When there is no connection to be had now.
    """
    try:
        return psycopg2.connect(
            host=settings.aurora_host,
            port=settings.aurora_port,
            dbname=settings.aurora_database,
            user=user.name,
            password=user.password,
            sslmode=settings.aurora_sslmode,
            sslrootcert=settings.aurora_sslrootcert or None,
            ssl_min_protocol_version="TLSv1.2",
            # Encryption by Kerberos would come first, and checks no certificate.
            gssencmode="disable",
            connect_timeout=CONNECT_SECONDS,
            application_name=application_name[:63],
            keepalives_idle=30,
            tcp_user_timeout=60_000,
            options=options,
        )
    except psycopg2.OperationalError as error:
        where = f"{settings.aurora_host}:{settings.aurora_port}"
        subject = f"Aurora {where}/{settings.aurora_database}"
        text = " ".join(str(error).split())
        raise (
            _unproven(subject, text, settings.aurora_sslrootcert)
            or _unavailable(subject, text)
        ) from error


def _unproven(subject: str, text: str, ca: str) -> SourceError | None:
    """Return why the other side is not believed; None when that is not the matter."""
    if "certificate verify failed" in text:
        return SourceError(
            "the certificate is of no trusted CA, or has expired",
            subject=subject,
            got=text,
            allowed=f"a valid certificate of a CA in {ca}",
            remedy="put the CA bundle of the cluster's region into the stack's "
            "aurora.ca and deploy; renew the cluster's certificate if it has expired",
        )
    if "does not match host name" in text:
        return SourceError(
            "the certificate is another server's",
            subject=subject,
            got=text,
            remedy="set aurora.host to the writer endpoint as AWS writes it, not to an "
            "alias or an address",
        )
    if "root certificate file" in text:
        return SourceError(
            "the CA bundle cannot be read",
            subject=ca,
            # libpq's words go on with how to switch the check off.
            got=text.partition(" Either provide the file")[0],
            remedy="put it where the stack's aurora.ca says, in PEM form, and deploy",
        )
    if "protocol version" in text or "unsupported protocol" in text:
        return SourceError(
            "the server does not speak TLS 1.2 or newer",
            subject=subject,
            got=text,
            remedy="raise ssl_max_protocol_version in the cluster's parameter group",
        )
    if "does not support SSL" in text:
        return SourceError(
            "the server offers no TLS",
            subject=subject,
            got=text,
            remedy="set aurora.host and aurora.port to the cluster itself; nothing is "
            "sent unencrypted",
        )
    return None


def _unavailable(subject: str, text: str) -> SourceUnavailableError:
    if "authentication failed" in text or "does not exist" in text:
        return UserGoneError(
            f"Aurora does not admit the leased user: {text}",
            subject=subject,
            remedy="nothing if it happens once: its lease was revoked, and the next "
            "run takes another; else check that the stack's vault.connection_url and "
            "aurora.host lead to the same cluster and database",
        )
    return SourceUnavailableError(
        f"Aurora cannot be reached or gave up: {text}",
        subject=subject,
        remedy="check the cluster, its security group and the network",
    )
