"""Peak memory of every part for a small and a large table, on a stack of its own.

    .venv/bin/python -m tests.benchmarks.memory [--rows 2000000]

Prints a JSON line per size and part in bytes, and the ratio between the sizes. Rows
pass through PostgreSQL, the emulated S3 and the local Snowflake by design; the
function, the uploader and Vault only see their names, so that their ratio is near 1.
"""

import argparse
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from psycopg2 import sql

from infra.local import aws, postgres, stack
from infra.local.parts import LocalStack
from runtime.ops import contracts, source

SMALL_ROWS = 20_000
_EVERY_SECONDS = 0.02


def main() -> None:
    """Measure both sizes and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    sizes = {"small": SMALL_ROWS, "large": parser.parse_args().rows}
    with tempfile.TemporaryDirectory() as made:
        folder, config = Path(made) / "stack", Path(made) / "sync_config.json"
        try:
            found = _measure(folder, config, sizes)
        finally:
            stack.down(folder)
    for part in sorted(found["small"]):
        small, large = found["small"][part], found["large"].get(part, 0)
        print(
            json.dumps(
                {
                    "part": part,
                    "rows": list(sizes.values()),
                    "peak_bytes": [small, large],
                    "ratio": round(large / small, 3),
                }
            )
        )


def _measure(
    folder: Path, config: Path, sizes: dict[str, int]
) -> dict[str, dict[str, int]]:
    entries = [
        {
            "table_name": f"public.{name}",
            "watermark_col": "updated_at",
            "primary_key": "id",
        }
        for name in sizes
    ]
    config.write_text(json.dumps({"tables": entries}))
    stack.up(folder, config, deploy=False)
    parts = LocalStack(folder)
    for name, rows in sizes.items():
        _fill(parts, name, rows)
    with closing(source.connect(postgres.aurora_dsn(parts))) as connection:
        contracts.refresh(config, connection)
    stack.deploy(folder, config)
    # The first invocation reads the libraries; it belongs to neither size.
    _invoke(parts, "small")
    found = {}
    for name in sizes:
        _forget(parts, name)
        with _peaks(parts) as peaks:
            _invoke(parts, name)
        found[name] = dict(peaks)
    return found


def _fill(parts: LocalStack, name: str, rows: int) -> None:
    with closing(psycopg2.connect(postgres.aurora_dsn(parts))) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                sql.SQL(
                    "CREATE TABLE {} (id BIGINT PRIMARY KEY, name TEXT, "
                    "amount NUMERIC(12, 2), updated_at TIMESTAMPTZ NOT NULL)"
                ).format(sql.Identifier(name))
            )
            cursor.execute(
                sql.SQL(
                    "INSERT INTO {} SELECT g, MD5(g::TEXT), (g %% 1000) / 7.0, "
                    "NOW() - INTERVAL '60 days' FROM GENERATE_SERIES(1, %s) AS g"
                ).format(sql.Identifier(name)),
                (rows,),
            )


def _forget(parts: LocalStack, name: str) -> None:
    """Let the next run be a first load again."""
    table = parts.fact("outputs")["ledger"]
    key = {"pk": {"S": f"local#public.{name}"}, "sk": {"S": "STATE"}}
    aws.client(parts, "dynamodb").update_item(
        TableName=table, Key=key, UpdateExpression="REMOVE watermark"
    )


def _invoke(parts: LocalStack, name: str) -> None:
    answer = aws.client(parts, "lambda").invoke(
        FunctionName=parts.fact("outputs")["function"],
        Payload=json.dumps({"table": f"public.{name}", "report_errors": True}),
    )
    result = json.loads(answer["Payload"].read())
    if result.get("status") not in ("done", "more"):
        raise SystemExit(f"the run of {name} failed: {result}")


@contextmanager
def _peaks(parts: LocalStack) -> Iterator[dict[str, int]]:
    """Watch the parts' resident memory while the block runs."""
    peaks: dict[str, int] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_EVERY_SECONDS):
            for name, entry in parts.read()["parts"].items():
                with suppress(psutil.Error):
                    _note(peaks, name, psutil.Process(entry["pid"]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()


def _note(peaks: dict[str, int], name: str, process: Any) -> None:
    processes = {name: process}
    if name == "aws":
        # MiniStack runs each function in a process of its own.
        processes |= {"function": child for child in process.children()}
    for part, each in processes.items():
        peaks[part] = max(peaks.get(part, 0), each.memory_info().rss)


if __name__ == "__main__":
    main()
