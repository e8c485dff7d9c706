"""PostgreSQL's errors become ours by SQLSTATE, whatever their text says."""

import psycopg2
import pytest

from runtime.contract.errors import (
    DriftError,
    ExportError,
    SourceError,
    SourceUnavailableError,
)
from runtime.exporter.source_errors import TooLargeError, told

MAPPING = [
    ("57014", TooLargeError, TooLargeError),
    ("42501", SourceError, SourceError),
    ("42P01", DriftError, DriftError),
    ("3F000", DriftError, SourceError),
    ("42883", SourceError, SourceError),
    ("42703", DriftError, DriftError),
    ("40001", SourceUnavailableError, SourceUnavailableError),
    ("40P01", SourceUnavailableError, SourceUnavailableError),
    ("55P03", SourceUnavailableError, SourceUnavailableError),
    ("53300", SourceUnavailableError, SourceUnavailableError),
    ("57P01", SourceUnavailableError, SourceUnavailableError),
    ("57P02", SourceUnavailableError, SourceUnavailableError),
    ("57P03", SourceUnavailableError, SourceUnavailableError),
    ("25P03", SourceUnavailableError, SourceUnavailableError),
    ("08006", SourceUnavailableError, SourceUnavailableError),
    ("58000", SourceError, ExportError),
    ("58030", SourceError, ExportError),
    ("XX000", SourceError, ExportError),
    ("38000", SourceError, ExportError),
    ("39000", SourceError, ExportError),
    ("22012", SourceError, SourceError),
    ("42601", SourceError, SourceError),
]


@pytest.mark.parametrize("exporting", [False, True])
@pytest.mark.parametrize(("state", "reading", "writing"), MAPPING)
def test_a_sqlstate_decides_the_error(scene, state, reading, writing, exporting):
    session = scene.session()
    with pytest.raises(SourceError) as caught:
        with told("public.orders", exporting):
            session.execute(
                f"DO $$ BEGIN RAISE 'what happened' USING ERRCODE = '{state}', "
                "DETAIL = 'and why'; END $$"
            )
    error = caught.value
    assert type(error) is (writing if exporting else reading)
    assert "what happened (and why)" in str(error)
    assert error.subject == "public.orders"
    assert error.remedy
    assert isinstance(error.__cause__, psycopg2.Error)


def test_a_connection_that_was_cut_can_be_tried_again(scene):
    session = scene.session()
    with pytest.raises(SourceUnavailableError):
        with told("public.orders"):
            session.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(SourceUnavailableError):
        with told("public.orders"):
            session.execute("SELECT 1")


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), told("public.orders"):
        raise ZeroDivisionError
