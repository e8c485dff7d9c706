"""The demonstration's chapters; every number in them is read from the parts."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg2

from infra.cli import explain, output
from infra.cli.demo import usual
from infra.cli.demo.page import Page
from infra.cli.local import progress
from infra.cli.target import LocalTarget
from infra.local import postgres, stack
from infra.local.parts import LocalStack
from infra.local.processes import LocalError
from runtime.contract.specs import Table
from runtime.ops import contracts
from runtime.ops import verify as verifying
from runtime.ops.explain import Explaining
from runtime.ops.selection import select_tables
from runtime.ops.sync import SyncOutcome, Syncing

_SHOP = Path(__file__).with_name("shop.sql")
ORDERS, STOCK = "shop.orders", "shop.stock"
LATE, EARLY = 20001, 20002
_SYNC_SECONDS = 300.0
# Long enough to be told as what holds the watermark back.
_CHECKOUT_SECONDS = 6.0
# A schedule fires once a minute; its first run starts a cold function.
_TICK_SECONDS = 90.0

_INSERT = """
INSERT INTO shop.orders (order_id, customer_id, total) VALUES (%s, 7, %s)
RETURNING updated_at
"""


class Story:
    """The chapters, in order.

    Args:
        folder: Folder of the stack; there is none in it yet.
        config: Its `sync_config.json`, without contracts.
        page: Where it is told.
    """

    def __init__(self, folder: Path, config: Path, page: Page) -> None:
        self._folder = folder
        self._config = config
        self._page = page
        self._parts = LocalStack(folder)
        self._target = LocalTarget(self._parts, config)

    def tell(self) -> None:
        """Tell all chapters."""
        self._shop()
        self._deployment()
        self._first_load()
        self._values()
        self._late_commit()
        self._explanation()
        self._changes()
        self._deletion()
        # Last, because its minute passes meanwhile.
        self._schedule()

    # --- chapters

    def _shop(self) -> None:
        page = self._page
        page.chapter("A shop in Aurora")
        with output.Watch() as watch:
            stack.up(self._folder, self._config, deploy=False, progress=progress(watch))
        with self._session() as cursor:
            cursor.execute(_SHOP.read_text())
            usual.sync(cursor)
        page.say(
            "PostgreSQL with aws_s3, AWS, Vault and Snowflake run as local processes."
            " Schema shop holds seven months of business."
        )

    def _deployment(self) -> None:
        page = self._page
        page.chapter("One entry per table; the Pulumi program makes the rest")
        page.say("Three keys are enough in config/sync_config.json:")
        entry = {
            "table_name": ORDERS,
            "watermark_col": "updated_at",
            "primary_key": "order_id",
        }
        page.say(json.dumps(entry), "green")
        page.command("aurora-sync contract refresh")
        with closing(self._target.aurora()) as connection:
            frozen = contracts.refresh(self._config, connection)
        page.command("aurora-sync local deploy")
        with output.Watch() as watch:
            report = stack.deploy(self._folder, progress=progress(watch))
        page.fact(tables=len(frozen), resources=report.resources)
        page.say(
            f"{len(frozen)} tables; {report.resources} resources of the very program"
            " that goes to the cloud: network, roles, bucket, function, schedules,"
            " Vault policies, Snowflake stages, pipes, streams, tasks, tables."
        )

    def _first_load(self) -> None:
        page = self._page
        page.chapter("First load")
        page.say(f"All but {STOCK}, which is left to its schedule.")
        outcomes = self._sync(*self._others())
        page.grid(
            ("Table", "Rows", "Size", "Files", "Lands as"),
            [
                (
                    each.table,
                    f"{each.rows_applied:,}",
                    output.size(each.bytes),
                    str(each.files),
                    _landed(table),
                )
                for each, table in zip(outcomes, self._others(), strict=True)
            ],
        )
        page.fact(rows=sum(each.rows_applied for each in outcomes))
        self._verify()

    def _values(self) -> None:
        page = self._page
        page.chapter("Values that usually get hurt")
        with self._session() as cursor:
            cells = usual.hurt(cursor)
        table = self._table("shop.Odd Values")
        with self._target.warehouse() as warehouse:
            name = warehouse.objects.qualified(*table.spec.target)
            rows = warehouse.ask(
                'SELECT id, "GROUP" AS "Group", exact, TO_JSON(big) AS big '
                f"FROM {name} ORDER BY id"
            )
        ours = {row["id"]: {k.lower(): v for k, v in row.items()} for row in rows}
        page.say(
            "Read from plain CSV, numbers as floats; and as they are in Snowflake now:"
        )
        page.grid(
            ("Row", "Column", "In Aurora", "The usual way", "In Snowflake"),
            [
                (
                    str(cell.row),
                    cell.column,
                    _shown(cell.aurora),
                    "!" + _shown(cell.usual),
                    "+" + _shown(ours[cell.row][cell.column.lower()]),
                )
                for cell in cells
            ],
        )
        page.fact(hurt=len(cells))

    def _late_commit(self) -> None:
        page = self._page
        page.chapter("A transaction stays open across a sync")
        page.say(
            "Most tools remember MAX(updated_at) and ask for what is above it. That"
            " cursor runs here beside ours, on the same database at the same moments."
        )
        events: list[tuple[str, ...]] = []
        with self._session() as watcher, self._open_transaction() as slow:
            slow.execute(_INSERT, (LATE, "1299.00"))
            began = slow.fetchone()[0]
            events.append((_clock(began), f"session A inserts order {LATE}", "", ""))
            watcher.execute(_INSERT, (EARLY, "20.00"))
            then = watcher.fetchone()[0]
            events.append((_clock(then), f"B inserts order {EARLY}, commits", "", ""))
            time.sleep(_CHECKOUT_SECONDS)
            events.append(self._both(watcher, "both tools sync"))
            slow.connection.commit()
            events.append((_clock(), "session A commits", "", ""))
            events.append(self._both(watcher, "both tools sync"))
            lost = usual.lost(watcher)
        page.grid(("Time", "What happens", "MAX(updated_at)", "This sync"), events)
        arrived = self._orders_in_snowflake()
        page.fact(lost_by_usual=lost, arrived=sorted(arrived))
        page.grid(
            ("Order", "Copied by MAX(updated_at)", "In Snowflake"),
            [
                (
                    str(order),
                    "!no, and no later run asks for it" if order in lost else "+yes",
                    "+yes" if order in arrived else "!no",
                )
                for order in (LATE, EARLY)
            ],
        )
        page.say(
            f"updated_at is the start of its transaction: order {LATE} became visible"
            f" below the highest value that was already copied. This sync does not move"
            " its watermark past the start of a transaction that is still open."
        )

    def _changes(self) -> None:
        page = self._page
        page.chapter("Updates and a soft delete")
        with self._session() as cursor:
            cursor.execute(
                "UPDATE shop.orders SET state = 'shipped' WHERE order_id <= 2000"
            )
            cursor.execute(
                "UPDATE shop.customers SET deleted_at = NOW() WHERE customer_id = 7"
            )
        page.say(
            "2,000 orders shipped; customer 7 marked as deleted, a column like any."
            " Runs read the last minutes once more; the merge makes that harmless."
        )
        for outcome in self._sync(*self._others()):
            if outcome.rows_applied:
                page.say(
                    f"{outcome.table}: {output.plural(outcome.rows_applied, 'row')}"
                    " merged"
                )
        self._verify()

    def _schedule(self) -> None:
        page = self._page
        page.chapter("By itself, on schedule")
        table = self._table(STOCK)
        page.say(
            f"Nobody has run {STOCK}. Its schedule is {table.spec.schedule}:"
            " EventBridge starts the function."
        )
        run = self._scheduled_run(table)
        page.say(
            f"Run {run['seq']} committed at {run['committed_at'][11:19]} UTC,"
            f" {int(run['rows_exported']):,} rows merged at {run['merged_at'][11:19]}.",
            "green",
        )
        page.fact(scheduled=run)

    def _explanation(self) -> None:
        page = self._page
        page.chapter(f"Where did order {LATE} come from?")
        page.command(f"aurora-sync explain {ORDERS} {LATE}")
        table = self._table(ORDERS)
        state = self._target.ledger.states([table.spec.source])[table.spec.source]
        with closing(self._target.aurora()) as aurora:
            with self._target.warehouse() as warehouse:
                found = Explaining(
                    table, [str(LATE)], aurora, warehouse, state
                ).explanation()
        page.lines(explain.told(found))
        page.fact(explanation=msgspec.to_builtins(found))

    def _deletion(self) -> None:
        page = self._page
        page.chapter("What it does not do yet")
        with self._session() as cursor:
            cursor.execute("DELETE FROM shop.order_lines WHERE order_id = 1")
            gone = cursor.rowcount
        page.say(
            f"{output.plural(gone, 'row')} of shop.order_lines deleted in Aurora. No"
            " watermark moves, so no run sees it; deletes are not carried over yet;"
            " verify names what is left behind:"
        )
        self._sync(self._table("shop.order_lines"))
        self._verify("shop.order_lines", equal=False)

    # --- what chapters have in common

    def _tables(self) -> tuple[Table, ...]:
        return select_tables(self._config, ())

    def _others(self) -> tuple[Table, ...]:
        return tuple(each for each in self._tables() if str(each.spec.source) != STOCK)

    def _table(self, name: str) -> Table:
        return select_tables(self._config, [name])[0]

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """A session of the shop's application; each statement commits."""
        with closing(psycopg2.connect(postgres.aurora_dsn(self._parts))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    @contextmanager
    def _open_transaction(self) -> Iterator[Any]:
        dsn = postgres.aurora_dsn(self._parts)
        with closing(
            psycopg2.connect(dsn, application_name="slow checkout")
        ) as connection:
            with connection.cursor() as cursor:
                yield cursor

    def _sync(self, *tables: Table) -> tuple[SyncOutcome, ...]:
        names = " ".join(_quoted(str(each.spec.source)) for each in tables)
        self._page.command(f"aurora-sync sync {names} --wait")
        target = self._target
        with target.warehouse() as warehouse, output.Watch() as watch:
            outcomes = Syncing(
                target.exporter, target.ledger, warehouse, _SYNC_SECONDS, watch.tell
            ).run(tables)
        for each in outcomes:
            if each.error is not None:
                raise LocalError(
                    "a sync of the demonstration failed",
                    subject=each.table,
                    got=each.error["message"],
                )
        return outcomes

    def _both(self, cursor: Any, what: str) -> tuple[str, ...]:
        """Run both tools; return the line of the timeline."""
        moved = usual.sync(cursor)
        before = self._orders_in_snowflake()
        target = self._target
        with target.warehouse() as warehouse:
            [outcome] = Syncing(
                target.exporter, target.ledger, warehouse, _SYNC_SECONDS
            ).run([self._table(ORDERS)])
        ours = _named(self._orders_in_snowflake() - before)
        if outcome.held_by is not None:
            ours += f", held back by {output.holder(outcome.held_by)}"
        return (_clock(), what, _named(set(moved)), ours)

    def _orders_in_snowflake(self) -> set[int]:
        with self._target.warehouse() as warehouse:
            name = warehouse.objects.qualified(*self._table(ORDERS).spec.target)
            rows = warehouse.ask(
                f"SELECT order_id FROM {name} WHERE order_id IN ({LATE}, {EARLY})"
            )
        return {int(row["order_id"]) for row in rows}

    def _scheduled_run(self, table: Table) -> dict[str, Any]:
        """Wait until what the schedule started is merged."""
        deadline = time.monotonic() + _TICK_SECONDS
        with self._target.warehouse() as warehouse, output.Watch() as watch:
            name = warehouse.objects.qualified("SYNC", "SYNC_RUNS")
            while time.monotonic() < deadline:
                rows = warehouse.ask(
                    "SELECT seq, rows_exported, committed_at, "
                    f"merged_at::VARCHAR AS merged_at FROM {name} "
                    f"WHERE table_name = '{STOCK}' AND complete ORDER BY seq LIMIT 1"
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

    def _verify(self, *names: str, equal: bool = True) -> None:
        page = self._page
        chosen = select_tables(self._config, names) if names else self._others()
        page.command("aurora-sync verify " + " ".join(names))
        with closing(self._target.aurora()) as aurora:
            with self._target.warehouse() as warehouse, output.Watch() as watch:
                found = verifying.verify(chosen, aurora, warehouse, watch.tell)
        page.fact(verdicts=[msgspec.to_builtins(each) for each in found])
        for each in found:
            if each.verdict != "equal":
                page.say(
                    f"{each.table}: {each.verdict}: {each.missing} missing, "
                    f"{each.extra} extra, {each.different} different",
                    "yellow",
                )
        if verifying.sound(found):
            rows = sum(each.source_rows or 0 for each in found)
            page.say(
                f"Equal: {output.plural(len(found), 'table')}, {rows:,} rows,"
                " by count and checksum, column by column.",
                "green",
            )
        if verifying.sound(found) is not equal:
            raise LocalError("the demonstration's comparison came out otherwise")


def _named(orders: set[int]) -> str:
    return f"order {', '.join(map(str, sorted(orders)))}" if orders else "nothing"


def _landed(table: Table) -> str:
    return ".".join(table.spec.target)


def _clock(moment: Any = None) -> str:
    if moment is None:
        return time.strftime("%H:%M:%S", time.gmtime())
    return str(moment.strftime("%H:%M:%S"))


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def _shown(value: Any) -> str:
    return "NULL" if value is None else f"'{value}'" if value == "" else str(value)
