"""`doctor`: what would keep tables from flowing, part by part, before it does.

Reads only: nothing is leased, exported, loaded or issued. A part that cannot be
reached is one finding, and the others are examined all the same.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

from runtime.contract.loader import load_specs, load_table
from runtime.contract.specs import Table, TableSpec
from runtime.ops.doctor_quarantine import examine_quarantine
from runtime.ops.doctor_source import examine_source
from runtime.ops.doctor_stack import examine_stack
from runtime.ops.doctor_tables import examine_tables
from runtime.ops.doctor_warehouse import examine_warehouse
from runtime.ops.findings import Finding, Report, Site
from runtime.ops.selection import select_specs

Tell = Callable[[str, str], None]


def diagnose(
    site: Site, names: Sequence[str], tell: Tell = lambda part, text: None
) -> tuple[Finding, ...]:
    """Examine source, tables, stack and Snowflake, in this order.

    Args:
        site: The stack.
        names: Source tables; none means all of the config.
        tell: Told part and what happens, for people who watch.

    Raises:
        ConfigErrors: The config cannot be read, or lacks a named table.
    """
    source, tables = Report("source"), Report("tables")
    stack, snowflake = Report("stack"), Report("snowflake")
    specs = load_specs(site.config)
    if names or specs:
        specs = select_specs(specs, names, site.config)
    chosen = _with_contracts(tables, site, specs)
    tell("Aurora", "asking")
    with ExitStack() as opened:
        session = warehouse = None
        with source.check("connection", "Aurora", "can be reached"):
            session = opened.enter_context(closing(site.aurora()))
        if session is not None:
            examine_source(source, session, specs, site)
            tell("tables", "looking at their catalog")
            examine_tables(tables, session, chosen, site)
        tell("stack", "asking AWS and Vault")
        states = examine_stack(stack, specs, site)
        tell("Snowflake", "asking")
        with snowflake.check("connection", "Snowflake", "can be reached"):
            warehouse = opened.enter_context(site.warehouse())
        if warehouse is not None:
            examine_warehouse(snowflake, warehouse, chosen, states, site)
            if session is not None:
                examine_quarantine(snowflake, session, warehouse, chosen)
    return tuple(
        finding
        for report in (source, tables, stack, snowflake)
        for finding in report.findings
    )


def _with_contracts(
    report: Report, site: Site, specs: Sequence[TableSpec]
) -> list[Table]:
    """Return the tables whose contracts can be read; the others are findings."""
    tables = []
    for spec in specs:
        with report.check("contract file", str(spec.source), "can be read"):
            tables.append(load_table(site.config, spec))
    return tables
