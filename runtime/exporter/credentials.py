"""Short-lived database credentials from Vault, and nothing else from Vault.

The function proves who it is by its own IAM role (or AppRole where configured),
takes one leased database user for one invocation and gives it back at the end.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac import exceptions as vault_errors

from runtime.contract.errors import CredentialError, VaultUnavailableError
from runtime.contract.settings import ExporterSettings

TIMEOUT_SECONDS = 10
# hvac signs for the global STS host, so the scope must be its region.
# Source: hvac.api.auth_methods.aws.Aws.iam_login
_STS_REGION = "us-east-1"
# Statuses that hvac has no name for are a standby's, or of something before Vault.
_UNAVAILABLE = (
    vault_errors.VaultDown,
    vault_errors.VaultNotInitialized,
    vault_errors.RateLimitExceeded,
    vault_errors.BadGateway,
    vault_errors.UnexpectedError,
    requests.RequestException,
)


@dataclass(frozen=True, kw_only=True)
class AwsKeys:
    """The function's own AWS credentials, only used to sign the Vault login."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class DatabaseUser:
    """A leased database user."""

    name: str
    password: str = field(repr=False)


@contextmanager
def leased_user(
    settings: ExporterSettings, aws_keys: Callable[[], AwsKeys]
) -> Iterator[DatabaseUser]:
    """Log in to Vault, lease a database user, and revoke both at the end.

    Args:
        settings: Where Vault is and which roles to use.
        aws_keys: Gives the function's credentials; called for the `aws` method only.

    Yields:
        The leased user.

    Raises:
        VaultUnavailableError: When Vault is sealed, unreachable or overloaded.
        CredentialError: When Vault refuses the login or the role.
    """
    _check_ca(settings.vault_cacert)
    client: Any = hvac.Client(
        url=settings.vault_addr,
        timeout=TIMEOUT_SECONDS,
        namespace=settings.vault_namespace or None,
        verify=settings.vault_cacert or True,
    )
    with _told(settings, "login", f"role {settings.vault_role}"):
        _login(client, settings, aws_keys)
    path = f"{settings.vault_database_mount}/creds/{settings.vault_database_role}"
    try:
        with _told(settings, "database credentials", path):
            lease = client.secrets.database.generate_credentials(
                settings.vault_database_role,
                mount_point=settings.vault_database_mount,
            )
            number, data = lease["lease_id"], lease["data"]
            user = DatabaseUser(name=data["username"], password=data["password"])
        try:
            yield user
        finally:
            _quietly(lambda: client.sys.revoke_lease(number))
    finally:
        # Takes a user along whose lease never reached us.
        _quietly(client.auth.token.revoke_self)


def _check_ca(file: str) -> None:
    """Tell a CA file that is none before Vault is asked: requests says it unclearly."""
    if not file:
        return
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        raise CredentialError(
            f"the CA file cannot be read ({error.strerror or error})",
            subject=file,
            remedy="put it where the stack's vault.ca says, in PEM form, and deploy",
        ) from error


def _login(
    client: Any, settings: ExporterSettings, aws_keys: Callable[[], AwsKeys]
) -> None:
    if settings.vault_auth == "approle":
        client.auth.approle.login(
            role_id=settings.vault_role,
            secret_id=_secret_id(settings),
            mount_point=settings.vault_auth_mount,
        )
        return
    keys = aws_keys()
    client.auth.aws.iam_login(
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        session_token=keys.token,
        header_value=settings.vault_server_id or None,
        role=settings.vault_role,
        region=_STS_REGION,
        mount_point=settings.vault_auth_mount,
    )


def _secret_id(settings: ExporterSettings) -> str:
    try:
        return Path(settings.vault_secret_id_file).read_text().strip()
    except OSError as error:
        raise CredentialError(
            f"secret id cannot be read ({error.strerror})",
            subject=settings.vault_secret_id_file or "vault_secret_id_file",
            remedy="mount the file with AppRole's secret id into the function",
        ) from error


@contextmanager
def _told(settings: ExporterSettings, step: str, what: str) -> Iterator[None]:
    subject = f"Vault {settings.vault_addr}: {step} ({what})"
    try:
        yield
    except _UNAVAILABLE as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise CredentialError(
                f"the certificate is not believed ({_short(error)})",
                subject=subject,
                remedy="set vault.address to a name in the certificate, put the CA "
                "that signed it into vault.ca, and deploy; renew it if it has expired",
            ) from error
        raise VaultUnavailableError(
            f"Vault does not answer ({_short(error)})",
            subject=subject,
            remedy="unseal or start Vault, or open the network; the next run goes on",
        ) from error
    except (TypeError, KeyError) as error:
        # hvac hands on what is no JSON, and looks into it.
        raise VaultUnavailableError(
            "the answer is not Vault's",
            subject=subject,
            remedy="check that vault.address leads to Vault: something between may "
            "answer in its place",
        ) from error
    except vault_errors.InternalServerError as error:
        # Vault is well, but not what it asks: Aurora, or AWS for a login.
        raise VaultUnavailableError(
            f"Vault cannot do it ({_short(error)})",
            subject=subject,
            remedy="check that Vault reaches Aurora and AWS, and the rights of its "
            "own database user",
        ) from error
    except vault_errors.VaultError as error:
        raise CredentialError(
            f"Vault refuses ({_short(error)})",
            subject=subject,
            remedy="check the Vault role's bound principal and its policies",
        ) from error


def _short(error: Exception) -> str:
    # Vault writes "1 error occurred:" and the error on the next line.
    return " ".join(str(error).split())[:300] or type(error).__name__


def _quietly(revoke: Callable[[], object]) -> None:
    """Revoke as a courtesy: the lease ends by itself, and the run's outcome counts."""
    try:
        revoke()
    except (vault_errors.VaultError, requests.RequestException):
        return
