"""PostgreSQL crashes and starts again while an export is on its way."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from infra.local import aurora_uploader, postgres
from infra.local.parts import LocalStack
from infra.local.processes import start_parts
from tests.exporter.conftest import PARTS
from tests.local.running import process

RESTARTED = "server restarted"
_EXPORTING = (
    "SELECT COUNT(1) FROM pg_stat_activity "
    "WHERE state = 'active' AND query LIKE '%query_export_to_s3%' "
    "AND pid <> pg_backend_pid()"
)
_SECONDS = 20


def restart_during(stack: LocalStack, work: Callable[[], Any]) -> Any:
    """Let the server crash in the middle of a statement that exports.

    The export waits for a way to S3 that stands still, so that it is under way for
    certain when the server goes down.

    Args:
        stack: The running parts.
        work: The statement.
    """
    way = process(stack, aurora_uploader.PART.name)
    failed: list[BaseException] = []

    def crash() -> None:
        try:
            _wait_for_the_export(stack)
            server = process(stack, postgres.PART.name)
            # Each backend ends at once, nothing is written any more.
            server.send_signal(signal.SIGQUIT)
            server.wait(_SECONDS)
        except BaseException as error:
            failed.append(error)
        finally:
            way.resume()

    way.suspend()
    thread = threading.Thread(target=crash)
    thread.start()
    try:
        return work()
    finally:
        thread.join()
        start_parts(stack, PARTS)
        assert not failed, failed


def _wait_for_the_export(stack: LocalStack) -> None:
    connection = psycopg2.connect(postgres.aurora_dsn(stack))
    connection.autocommit = True
    deadline = time.monotonic() + _SECONDS
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_EXPORTING)
            if cursor.fetchall() != [(0,)]:
                break
            assert time.monotonic() < deadline, "nothing is exported"
            time.sleep(0.01)
    connection.close()
