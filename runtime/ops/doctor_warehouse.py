"""What a sync needs in Snowflake: objects, pipes, tasks, files that arrive."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from runtime.contract.names import SourceName, literal
from runtime.contract.records import LedgerState
from runtime.contract.snowflake_names import LANDING, SYNC
from runtime.contract.snowflake_sweep import LATE_MINUTES
from runtime.contract.specs import Table
from runtime.ops.deletes import Decision, last_decisions
from runtime.ops.findings import Report, Site
from runtime.ops.warehouse import Warehouse


def examine_warehouse(
    report: Report,
    warehouse: Warehouse,
    tables: Sequence[Table],
    states: Mapping[SourceName, LedgerState],
    site: Site,
) -> None:
    """Check Snowflake's half of each table's way.

    Args:
        report: Where findings go.
        warehouse: The open connection.
        tables: The tables.
        states: What the ledger knows of them.
        site: Names the stack in commands.
    """
    manifests = warehouse.objects.qualified(SYNC, warehouse.objects.manifests_pipes)
    with report.check("pipe", manifests, "runs"):
        _pipe(report, warehouse, warehouse.manifests_pipe(), site)
    decisions: dict[str, Decision] = {}
    with report.check("deletes", "Snowflake", "can be read"):
        decisions = last_decisions(warehouse)
    for table in tables:
        name = table.contract.table
        with report.check("deletes", name, "none waits for a person"):
            _deletes(report, decisions.get(name), site)
        with report.check("objects", name, "landing table, target and stream stand"):
            _objects(report, warehouse, table, site)
        with report.check("pipe", name, "runs"):
            _pipe(report, warehouse, warehouse.table_pipe(table), site)
        with report.check("task", name, "runs, and its last run ended well"):
            _task(report, warehouse, table, site)
        with report.check("files", name, f"all of {LATE_MINUTES} minutes ago are in"):
            _files(report, warehouse, table, states.get(table.spec.source), site)


def _objects(report: Report, warehouse: Warehouse, table: Table, site: Site) -> None:
    objects = warehouse.objects
    places = {(LANDING, objects.landing(table)), table.spec.target}
    schemas = ", ".join(sorted(literal(schema) for schema, _ in places))
    information = objects.qualified("INFORMATION_SCHEMA", "TABLES")
    found = warehouse.ask(
        f"SELECT table_schema, table_name FROM {information} "
        f"WHERE table_schema IN ({schemas})"
    )
    there = {(row["table_schema"], row["table_name"]) for row in found}
    lacking = [objects.qualified(*place) for place in sorted(places - there)]
    stream = objects.stream(table)
    place, shown = objects.qualified(LANDING, stream), warehouse.shown(
        "STREAMS", stream
    )
    if shown is None or str(shown["stale"]).lower() == "true":
        state = "stale" if shown else "missing"
        report.shell(
            "error",
            f"stream {place} is {state}: what landed since is not merged",
            _sweep(table, site),
        )
    for missing in lacking:
        report.shell("error", f"{missing} is missing", site.deploy)


def _pipe(report: Report, warehouse: Warehouse, pipe: str, site: Site) -> None:
    trouble = warehouse.pipe_trouble(pipe)
    if trouble.endswith(" is PAUSED"):
        resume = f"ALTER PIPE {pipe} SET PIPE_EXECUTION_PAUSED = FALSE"
        report.snowflake("error", f"{trouble}: its files wait", resume)
    elif trouble:
        report.shell("error", trouble, site.deploy)


def _task(report: Report, warehouse: Warehouse, table: Table, site: Site) -> None:
    task = warehouse.objects.qualified(LANDING, warehouse.objects.task(table))
    state = warehouse.task_state(table)
    if state == "missing":
        report.shell("error", f"{task} is missing", site.deploy)
        return
    failure = warehouse.task_failure(table)
    if failure:
        report.snowflake(
            "error",
            f"{failure}; nothing of it was merged. Once the cause is mended:",
            f"ALTER TASK {task} RESUME",
            f"EXECUTE TASK {task}",
        )
    elif state != "started":
        fact = f"task {task} is {state}: rows land and are not merged"
        report.snowflake("error", fact, f"ALTER TASK {task} RESUME")


def _files(
    report: Report,
    warehouse: Warehouse,
    table: Table,
    state: LedgerState | None,
    site: Site,
) -> None:
    """Compare what was exported a while ago with what has arrived and merged."""
    name, again = table.contract.table, _sweep(table, site)
    failed = warehouse.failed_file(table)
    if failed:
        fact = f"{failed}. It is tried less and less often; once the cause is mended:"
        report.shell("error", fact, again)
    for row in [] if failed else _late_runs(warehouse, table):
        fact = f"{row['files']} files of run {row['run']}, exported {row['since']}, "
        fact += "landed and are not merged" if row["landed"] else "have not landed"
        report.shell("error", fact, again)
    progress = warehouse.progress([name]).get(name)
    arrived = progress.last_seq if progress else 0
    if state is not None and arrived < state.seq and _is_late(state):
        fact = f"manifests {arrived + 1} to {state.seq} have not arrived"
        # Nothing newer tells the sweep that they are missing.
        report.snowflake(
            "error", fact, f"ALTER PIPE {warehouse.manifests_pipe()} REFRESH"
        )


def _sweep(table: Table, site: Site) -> str:
    return f"aurora-sync sweep {shlex.quote(table.contract.table)}{site.options}"


def _late_runs(warehouse: Warehouse, table: Table) -> list[dict[str, Any]]:
    """Return runs with files that should be merged by now, the oldest first."""
    objects = warehouse.objects
    return warehouse.ask(
        "SELECT r.run, COUNT(f.file_name) AS files, "
        "MIN(r.committed_at) AS since, COUNT(l.file_name) AS landed "
        f"FROM {objects.qualified(SYNC, 'SYNC_FILES')} AS f "
        f"JOIN {objects.qualified(SYNC, 'SYNC_RUNS')} AS r "
        "ON r.table_name = f.table_name AND r.seq = f.seq "
        "LEFT JOIN (SELECT DISTINCT file_name "
        f"FROM {objects.qualified(LANDING, objects.landing(table))}) AS l "
        "ON l.file_name = f.file_name "
        f"WHERE f.table_name = {literal(table.contract.table)} AND NOT f.complete "
        "AND r.committed_at::TIMESTAMP_TZ < "
        f"DATEADD(MINUTE, -{LATE_MINUTES}, CURRENT_TIMESTAMP()) "
        "GROUP BY r.run ORDER BY since LIMIT 20"
    )


def _is_late(state: LedgerState) -> bool:
    at = (state.last_run or {}).get("at")
    late = timedelta(minutes=LATE_MINUTES)
    return at is not None and datetime.fromisoformat(at) < datetime.now(UTC) - late


def _deletes(report: Report, last: Decision | None, site: Site) -> None:
    if last is not None and last.decision == "braked":
        report.shell(
            "warning",
            f"{last.gone_count} of {last.row_count} rows are gone in Aurora, more than "
            "max_delete_fraction lets go; if that is right:",
            f"aurora-sync approve-deletes {shlex.quote(last.table_name)}{site.options}",
        )
    if last is not None and last.missing_count:
        report.shell(
            "warning",
            f"{last.missing_count} of {last.key_count} keys of Aurora had no row in "
            f"the target when they were compared at {last.decided_at}; what is still "
            "missing is exported again by:",
            f"aurora-sync repair {shlex.quote(last.table_name)}{site.options}",
        )
