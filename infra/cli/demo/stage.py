"""What the demonstration's chapters have in common: tables, sessions, commands."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg2

from infra.cli import output
from infra.cli.demo.page import Page
from infra.cli.target import LocalTarget
from infra.local import postgres
from infra.local.parts import CONNECT_SECONDS, LocalError, LocalStack
from runtime.contract.names import literal
from runtime.contract.specs import Table
from runtime.ops import verify as verifying
from runtime.ops.selection import select_tables
from runtime.ops.sync import SyncOutcome, Syncing

ORDERS, STOCK = "shop.orders", "shop.stock"
_SYNC_SECONDS = 300.0
# A schedule fires once a minute; its first run starts a cold function.
_TICK_SECONDS = 90.0
_REMEDY = "see the logs of a stack that is kept: KEEP=1 make demo"


class Stage:
    """A local stack with the sample shop, and what is done with it.

    Args:
        folder: Folder of the stack; there is none in it yet.
        config: Its `sync_config.json`, without contracts.
        page: Where it is told.
    """

    def __init__(self, folder: Path, config: Path, page: Page) -> None:
        self.folder = folder
        self.config = config
        self.page = page
        self.target = LocalTarget(LocalStack(folder), config)

    @property
    def _dsn(self) -> str:
        return postgres.aurora_dsn(LocalStack(self.folder))

    def others(self) -> tuple[Table, ...]:
        """All tables but the one that is left to its schedule."""
        tables = select_tables(self.config, ())
        return tuple(each for each in tables if str(each.spec.source) != STOCK)

    def table(self, name: str) -> Table:
        """One table by its source name."""
        return select_tables(self.config, [name])[0]

    def _connected(self, **options: Any) -> Any:
        return psycopg2.connect(self._dsn, connect_timeout=CONNECT_SECONDS, **options)

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A session of the shop's application; each statement commits."""
        with closing(self._connected()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    @contextmanager
    def open_transaction(self) -> Iterator[Any]:
        """A session that has not committed yet."""
        name = "slow checkout"
        with closing(self._connected(application_name=name)) as connection:
            with connection.cursor() as cursor:
                yield cursor

    def sync(self, *tables: Table, reconcile: bool = False) -> tuple[SyncOutcome, ...]:
        """Run tables and follow them until merged.

        Args:
            tables: Which ones.
            reconcile: Whether to compare all keys too.

        Raises:
            LocalError: When one failed.
        """
        target = self.target
        with target.warehouse() as warehouse, output.Watch() as watch:
            outcomes = Syncing(
                target.exporter,
                target.ledger,
                warehouse,
                _SYNC_SECONDS,
                watch.tell,
                [{"reconcile": reconcile}],
            ).run(tables)
        for each in outcomes:
            if each.error is not None:
                raise LocalError(
                    "a sync of the demonstration failed",
                    subject=each.table,
                    got=each.error["message"],
                    remedy=_REMEDY,
                )
        return outcomes

    def verify(self, *names: str) -> None:
        """Compare tables, all but the scheduled by default, and tell that they agree.

        Args:
            names: Source tables.

        Raises:
            LocalError: When they are not.
        """
        page = self.page
        chosen = select_tables(self.config, names) if names else self.others()
        page.command(" ".join(("aurora-sync verify", *names)))
        with closing(self.target.aurora()) as aurora:
            with self.target.warehouse() as warehouse, output.Watch() as watch:
                found = verifying.verify(chosen, aurora, warehouse, watch.tell)
        page.fact(verdicts=[msgspec.to_builtins(each) for each in found])
        if not verifying.sound(found):
            raise LocalError(
                "both sides differ",
                subject=", ".join(e.table for e in found if e.verdict != "equal"),
                remedy=_REMEDY,
            )
        rows = sum(each.source_rows or 0 for each in found)
        page.say(
            f"Equal: {output.plural(len(found), 'table')}, {rows:,} rows,"
            " by count and checksum, column by column.",
            "green",
        )

    def scheduled_run(self, table: Table) -> dict[str, Any]:
        """Wait until what the schedule started is merged; return its row of SYNC_RUNS.

        Raises:
            LocalError: When it does not fire.
        """
        deadline = time.monotonic() + _TICK_SECONDS
        with self.target.warehouse() as warehouse, output.Watch() as watch:
            name = warehouse.objects.qualified("SYNC", "SYNC_RUNS")
            while time.monotonic() < deadline:
                rows = warehouse.ask(
                    "SELECT seq, rows_exported, committed_at, "
                    f"merged_at::VARCHAR AS merged_at FROM {name} "
                    f"WHERE table_name = {literal(STOCK)} AND complete "
                    "ORDER BY seq LIMIT 1"
                )
                if rows:
                    return rows[0]
                left = 60 - time.time() % 60
                watch.tell(STOCK, f"next minute in {left:.0f} s", passing=True)
                time.sleep(0.5)
        raise LocalError(
            "the schedule did not fire",
            subject=str(table.spec.source),
            got=f"no run in {_TICK_SECONDS:.0f} s",
            remedy="see the log of the part aws in the stack's folder",
        )
