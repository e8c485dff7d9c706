"""Seconds of the Pulumi program's own work, by number of tables."""

import json
import tempfile
import time
from pathlib import Path

import msgspec

from runtime.contract.loader import DeployedTables, contract_path
from runtime.contract.names import SourceName
from tests.benchmarks.figures import Figures
from tests.factories import make_entry, make_table
from tests.infra.recording import example_settings, packed, run

SIZES = (10, 100, 1000)


def evaluation(figures: Figures, sizes: tuple[int, ...], repeats: int) -> None:
    """Run the program against mocks for growing configurations."""
    # The first run reads the libraries.
    _evaluate(1)
    seconds = {}
    for tables in sizes:
        taken, work, resources = zip(
            *(_evaluate(tables) for _ in range(repeats if tables < sizes[-1] else 1)),
            strict=True,
        )
        seconds[tables] = figures.add(
            f"evaluation.{tables}_tables",
            "s",
            list(taken),
            resources=resources[0],
            cpu_seconds=round(min(work), 2),
        )
    few, some, many = sizes[0], sizes[-2], sizes[-1]
    # What a table costs, without what every stack costs.
    early = (seconds[some] - seconds[few]) / (some - few)
    late = (seconds[many] - seconds[some]) / (many - some)
    figures.add("evaluation.ms_per_table", "ms", [late * 1000])
    what = f"ms per table at {many} against {some} tables"
    figures.judge("evaluation is linear", late / early, "<= 1.5", what)
    largest = seconds[many] if many == SIZES[-1] else None
    figures.judge("evaluation of 1,000 tables", largest, "<= 60", "seconds")
    read = [_first_table(many) for _ in range(max(repeats, 3))]
    figures.add("cold_start.first_table", "s CPU", read, tables=many)


def _evaluate(tables: int) -> tuple[float, float, int]:
    """Return seconds, CPU seconds and the number of resources."""
    with tempfile.TemporaryDirectory() as made:
        config = _configuration(Path(made), tables)
        bundle = str(packed(config, Path(made)))
        settings = example_settings() | {"bundle": bundle, "sync_config": str(config)}
        begun, work = time.monotonic(), time.process_time()
        graph = run(settings)
        spent = time.process_time() - work
        return time.monotonic() - begun, spent, len(graph.resources)


def _first_table(tables: int) -> float:
    """Return the CPU that a cold function spends on its configuration."""
    with tempfile.TemporaryDirectory() as made:
        config = _configuration(Path(made), tables)
        begun = time.process_time()
        DeployedTables(config)[SourceName.parse("public.t0000")]
        return time.process_time() - begun


def _configuration(folder: Path, tables: int) -> Path:
    config = folder / "config" / "sync_config.json"
    (config.parent / "contracts").mkdir(parents=True)
    names = [f"public.t{number:04d}" for number in range(tables)]
    entries = [make_entry(table_name=name) for name in names]
    config.write_text(json.dumps({"tables": entries}))
    for name in names:
        table = make_table(table_name=name)
        path = contract_path(config, table.spec.source)
        path.write_bytes(msgspec.json.encode(table.contract))
    return config
