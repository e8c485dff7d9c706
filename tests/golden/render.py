"""Writes what the example configuration renders to, for reviewers to read as a diff.

    python -m tests.golden.render [--check]

Every SQL statement per table, what each type is exported and kept as, every policy
document and every URN of the stack `dev`, the JSON schemas for editors, the list of all
errors, the table of settings, what a month costs and the tables of docs/SECURITY.md. A
changed URN is a replaced resource.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from infra.components.vault_access import CREATION, REVOCATION
from infra.stack import ROOT, StackSettings
from runtime.contract.aurora_sql import admin_statements, vault_admin_statements
from runtime.contract.loader import load_tables
from runtime.contract.snowflake_names import (
    landing_columns,
    shared_tables,
    target_columns,
)
from runtime.contract.snowflake_pipes import copy_statement, manifest_copy_statement
from runtime.contract.snowflake_sql import merge_block, task_condition
from runtime.contract.snowflake_status import SYNC_STATE, state_view, status_statement
from runtime.contract.snowflake_sweep import (
    SYNC_OVERDUE,
    overdue_view,
    sweep_block,
    sweep_condition,
)
from runtime.contract.snowflake_views import views
from runtime.contract.specs import Table, TableContract, TableSpec
from tests.golden import costs, errors, security, settings, types
from tests.golden.every_type import columns_text, type_sql
from tests.infra.recording import Graph, example_settings, packed, run

GOLDEN = Path(__file__).parent
CONFIG = ROOT / "config" / "sync_config.json"
TYPES = ROOT / "docs" / "TYPES.md"
DEPLOYMENT = ROOT / "docs" / "DEPLOYMENT.md"
SECURITY = ROOT / "docs" / "SECURITY.md"


class SyncConfig(Struct, forbid_unknown_fields=True):
    """`sync_config.json`: what to sync."""

    tables: tuple[TableSpec, ...]
    schema: str = field(default="", name="$schema")


_SCHEMAS = {"sync_config": SyncConfig, "contract": TableContract}


def rendered() -> dict[Path, str]:
    """Return every generated file with its text."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = packed(CONFIG, Path(folder))
        graph = run(example_settings() | {"bundle": str(bundle)})
    tables = load_tables(CONFIG)
    files = {
        GOLDEN / name: text.rstrip("\n") + "\n"
        for part in (
            _policies(graph),
            _shared_sql(tables),
            _table_sql(tables),
            type_sql(_objects()),
        )
        for name, text in part
    }
    body = graph.one("aws:cloudwatch/dashboard").inputs["dashboardBody"]
    files[GOLDEN / "dashboard.json"] = _json(json.loads(body))
    files[GOLDEN / "alarms.txt"] = _alarms(graph)
    urns = sorted(each.urn for each in graph.resources)
    files[GOLDEN / "urns.txt"] = "\n".join(urns) + "\n"
    for kind, model in _SCHEMAS.items():
        schema = msgspec.json.schema(model)
        files[CONFIG.parent / f"{kind}.schema.json"] = _json(schema)
    files[TYPES] = types.page(TYPES)
    files[DEPLOYMENT] = settings.page(DEPLOYMENT)
    files |= costs.pages(ROOT, graph)
    files[SECURITY] = security.page(SECURITY, [table.spec for table in tables])
    files[ROOT / "docs" / "ERRORS.md"] = errors.page(errors.modules())
    return files


def _policies(graph: Graph) -> Iterator[tuple[str, str]]:
    for each in graph.resources:
        for key in ("assumeRolePolicy", "policy"):
            text = each.inputs.get(key)
            if text is None:
                continue
            if each.type.startswith("vault:"):
                yield f"policies/{each.name}.hcl", text
            else:
                suffix = "-trust" if key == "assumeRolePolicy" else ""
                yield f"policies/{each.name}{suffix}.json", _json(json.loads(text))


def _alarms(graph: Graph) -> str:
    """Return a line for each alarm: what it looks at, and when it goes off."""
    lines = []
    for each in graph.of("aws:cloudwatch/metricAlarm"):
        made = each.inputs
        sign = {"GreaterThanThreshold": ">", "LessThanThreshold": "<"}
        dimensions = ",".join(f"{k}={v}" for k, v in made["dimensions"].items())
        lines.append(
            f"{made['name']}: {made['statistic']} of {made['namespace']} "
            f"{made['metricName']} ({dimensions}) "
            f"{sign[made['comparisonOperator']]} {made['threshold']:g} for "
            f"{made['evaluationPeriods']:g} x {made['period']:g} s, "
            f"missing {made['treatMissingData']}\n"
            f"    {made['alarmDescription']}"
        )
    return "\n".join(sorted(lines)) + "\n"


def _shared_sql(tables: tuple[Table, ...]) -> Iterator[tuple[str, str]]:
    objects = _objects()
    specs = [table.spec for table in tables]
    yield "sql/aurora_admin.sql", _script(admin_statements(specs))
    vault_admin = vault_admin_statements("vault", "'<password>'")
    yield "sql/aurora_vault_admin.sql", _script(vault_admin)
    yield "sql/aurora_leased_user.sql", _script([CREATION, REVOCATION])
    yield "sql/manifests_pipe.sql", manifest_copy_statement(objects)
    yield "sql/sweep_condition.sql", sweep_condition(objects)
    yield "sql/sweep.sql", sweep_block(objects)
    yield "sql/status.sql", status_statement(objects)
    own = {SYNC_OVERDUE: overdue_view(objects, tables)}
    own |= {SYNC_STATE: state_view(objects, tables)}
    for view, statement in (views(objects) | own).items():
        yield f"sql/{view.lower()}.sql", statement
    for name, columns in shared_tables().items():
        yield f"sql/{name.lower()}_columns.txt", columns_text(columns)


def _table_sql(tables: tuple[Table, ...]) -> Iterator[tuple[str, str]]:
    objects = _objects()
    for table in tables:
        folder = f"sql/{table.spec.source.slug}"
        yield f"{folder}/landing_columns.txt", columns_text(landing_columns(table))
        yield f"{folder}/target_columns.txt", columns_text(target_columns(table))
        yield f"{folder}/pipe.sql", copy_statement(objects, table)
        yield f"{folder}/task_condition.sql", task_condition(objects, table)
        yield f"{folder}/task.sql", merge_block(objects, table)


def _objects() -> Any:
    raw = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in example_settings().items()
    }
    return StackSettings.read(raw, "dev").objects


def _script(statements: Any) -> str:
    return ";\n".join(statements) + ";"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def differences(files: dict[Path, str]) -> list[str]:
    """Return the names of files that are missing, different, or not generated."""
    wanted = set(files)
    there = {
        path
        for folder in ("sql", "policies")
        for path in (GOLDEN / folder).rglob("*")
        if path.is_file()
    }
    wrong = there - wanted
    wrong |= {
        path for path in wanted if not path.exists() or path.read_text() != files[path]
    }
    return sorted(str(path.relative_to(ROOT)) for path in wrong)


def write(files: dict[Path, str]) -> None:
    """Bring the generated files up to date; what is no longer generated goes."""
    for name in differences(files):
        path = ROOT / name
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()
        print(name)


def main() -> None:
    """Write, or with --check only compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.render")
    parser.add_argument("--check", action="store_true")
    files = rendered()
    if not parser.parse_args().check:
        write(files)
    elif wrong := differences(files):
        sys.exit("generated files differ, run make golden: " + ", ".join(wrong))


if __name__ == "__main__":
    main()
