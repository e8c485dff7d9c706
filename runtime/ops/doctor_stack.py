"""What a sync needs of the deployed stack: function, rules, ledger, bucket, Vault."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from hvac.exceptions import Forbidden, InvalidPath

from runtime.contract.aurora_sql import EXPORTER_ROLE
from runtime.contract.names import SourceName
from runtime.contract.records import LedgerState
from runtime.contract.settings import ExporterSettings
from runtime.contract.specs import TableSpec
from runtime.ops.findings import Report, Severity, Site
from runtime.ops.letters import dead_letters

# Enough to tell whose they are.
_MOST_LETTERS = 10
States = dict[SourceName, LedgerState]


def examine_stack(report: Report, specs: Sequence[TableSpec], site: Site) -> States:
    """Check what starts, runs and remembers syncs.

    Args:
        report: Where findings go.
        specs: The tables asked for.
        site: The stack.

    Returns:
        What the ledger knows of the tables.
    """
    settings: ExporterSettings | None = None
    states: States = {}
    with report.check("function", "exporter", "active"):
        settings = _function(report, site)
    if settings is None:
        return states
    for spec in specs:
        with report.check("schedule", str(spec.source), spec.schedule):
            _schedule(report, site, site.rule(spec.source))
    with report.check("ledger", settings.ledger_table, "can be read"):
        states = site.ledger.states([spec.source for spec in specs])
    for spec in specs:
        with report.check("runs", str(spec.source), "the last one ended well"):
            _runs(report, states.get(spec.source), spec.source, site)
    with report.check("dead letters", site.function, "none"):
        _letters(report, settings, site)
    with report.check("cluster", settings.aurora_host, "the one that was deployed"):
        _cluster(report, settings.aurora_cluster_id, site)
    with report.check("bucket", settings.bucket, "there, and tells of new files"):
        _bucket(report, settings, site)
    with report.check("vault", settings.vault_addr, "open, with the exporter's roles"):
        _vault(report, settings, site)
    return states


def _function(report: Report, site: Site) -> ExporterSettings | None:
    client, name = site.client("lambda"), site.function
    try:
        found = client.get_function_configuration(FunctionName=name)
        limit = client.get_function_concurrency(FunctionName=name)
    except ClientError as error:
        report.shell("error", f"cannot be found ({error})", site.deploy)
        return None
    for key, fine in (("State", "Active"), ("LastUpdateStatus", "Successful")):
        state, reason = found.get(key), found.get(f"{key}Reason") or "no reason given"
        # An idle function wakes up with the next invocation.
        if state not in (fine, "Inactive"):
            severity: Severity = "note" if state == "InProgress" else "error"
            fact = f"{name}: {key} is {state} ({reason})"
            report.shell(severity, fact, site.deploy)
    if limit.get("ReservedConcurrentExecutions") == 0:
        fact = f"{name} may run 0 times at once: nothing is started"
        report.shell("error", fact, site.deploy)
    return ExporterSettings.from_env(found.get("Environment", {}).get("Variables", {}))


def _schedule(report: Report, site: Site, rule: str) -> None:
    events = site.client("events")
    fact = ""
    try:
        state = events.describe_rule(Name=rule)["State"]
        targets = events.list_targets_by_rule(Rule=rule)["Targets"]
    except ClientError as error:
        fact = f"rule {rule} cannot be found ({error})"
    else:
        starts = [each for each in targets if each["Arn"].endswith(f":{site.function}")]
        if state != "ENABLED":
            fact = f"rule {rule} is {state}: nothing starts its runs"
        elif not starts:
            fact = f"rule {rule} does not start {site.function}"
    if fact:
        report.shell("error", fact, site.deploy)


def _runs(
    report: Report, state: LedgerState | None, source: SourceName, site: Site
) -> None:
    again = f"aurora-sync sync {shlex.quote(str(source))} --wait{site.options}"
    now = datetime.now(UTC).timestamp()
    if state is None or state.last_run is None:
        report.shell("note", "has not run yet", again)
    if state is None:
        return
    if state.lease_run and state.lease_until < now:
        ended = datetime.fromtimestamp(state.lease_until, UTC).isoformat(" ")
        report.shell(
            "warning",
            f"run {state.lease_run} ended without a word; its lease expired at "
            f"{ended}, and the next run takes over",
            again,
        )
    if state.refusal is not None:
        remedy = str(state.refusal.get("remedy") or "")
        told = str(state.refusal.get("message")).removesuffix(f"; {remedy}")
        fact = f"run of {state.refusal.get('at')} failed: {told}"
        report.add("error", fact, remedy or again)


def _letters(report: Report, settings: ExporterSettings, site: Site) -> None:
    queue = dead_letters(
        site.client("sqs"),
        site.client("lambda"),
        site.function,
        settings.load_queue_url,
    )
    if many := queue.count():
        seen = [each.table for each in queue.look(_MOST_LETTERS)]
        tables = ", ".join(sorted({table for table in seen if table})) or "unknown"
        fact = (
            f"{many} events or chunks were given up ({tables}); the cause first, then"
        )
        again = f"aurora-sync letters --redrive{site.options}"
        report.shell("warning", fact, again)


def _cluster(report: Report, deployed: str, site: Site) -> None:
    now = site.cluster_id()
    if deployed and now and now != deployed:
        report.shell(
            "error",
            f"leads to {now} now, and {deployed} was deployed: restored or switched. "
            "Deploy; then each table is refused until `aurora-sync accept-source`",
            site.deploy,
        )


def _bucket(report: Report, settings: ExporterSettings, site: Site) -> None:
    s3 = site.client("s3")
    s3.head_bucket(Bucket=settings.bucket)
    told = s3.get_bucket_notification_configuration(Bucket=settings.bucket)
    prefixes = {
        rule["Value"]
        for topic in told.get("TopicConfigurations", [])
        for rule in topic.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    }
    for folder in ("exports", "manifests"):
        if f"{folder}/{settings.stack}/" not in prefixes:
            fact = f"tells nobody of new {folder}: no pipe loads them"
            report.shell("error", fact, site.deploy)


def _vault(report: Report, settings: ExporterSettings, site: Site) -> None:
    """Ask without a token first, then as far as the operator's own goes."""
    client: Any = site.vault(settings)
    health = client.sys.read_seal_status()
    if health["sealed"]:
        report.add("error", "is sealed: no run gets a database user", "unseal it")
        return
    if not client.token:
        report.add("note", "open; without VAULT_TOKEN its roles are not looked at")
        return
    role, mount = settings.vault_database_role, settings.vault_database_mount
    admits = f"auth/{settings.vault_auth_mount}/role/{settings.vault_role}"
    for path, what in (
        (f"{mount}/roles/{role}", "leases database users"),
        (admits, "admits the function"),
    ):
        try:
            found = client.read(path)
        except Forbidden:
            report.add("note", f"this token may not read {path}")
            continue
        except InvalidPath:
            found = None
        if found is None:
            fact = f"has no {path}, which {what}"
            report.shell("error", fact, site.deploy)
        elif path.startswith(mount) and EXPORTER_ROLE not in str(found["data"]):
            fact = f"{path} makes users that are no members of {EXPORTER_ROLE}"
            report.shell("error", fact, site.deploy)
