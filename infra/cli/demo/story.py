"""The demonstration's chapters; every number in them is read from the parts."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from infra.cli import explain, output
from infra.cli.demo import usual
from infra.cli.demo.stage import ORDERS, STOCK, Stage
from infra.cli.local import progress
from infra.local import stack
from runtime.ops import contracts
from runtime.ops.explain import Explaining

_SHOP = Path(__file__).with_name("shop.sql")
LATE, EARLY = 20001, 20002
# Long enough to be told as what holds the watermark back.
_CHECKOUT_SECONDS = 3.0

_INSERT = """
INSERT INTO shop.orders (order_id, customer_id, total) VALUES (%s, 7, %s)
RETURNING updated_at
"""


class Story:
    """The chapters, in order.

    Args:
        stage: Where they play; nothing is on it yet.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._page = stage.page

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
            stack.up(
                self._stage.folder,
                self._stage.config,
                deploy=False,
                progress=progress(watch),
            )
        with self._stage.session() as cursor:
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
        with closing(self._stage.target.aurora()) as connection:
            frozen = contracts.refresh(self._stage.config, connection)
        page.command("aurora-sync local deploy")
        with output.Watch() as watch:
            report = stack.deploy(self._stage.folder, progress=progress(watch))
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
        page.command("aurora-sync sync --wait")
        outcomes = self._stage.sync(*self._stage.others())
        page.grid(
            ("Table", "Rows", "Size", "Files", "Lands as"),
            [
                (
                    each.table,
                    f"{each.rows_applied:,}",
                    output.size(each.bytes),
                    str(each.files),
                    ".".join(table.spec.target),
                )
                for each, table in zip(outcomes, self._stage.others(), strict=True)
            ],
        )
        page.fact(rows=sum(each.rows_applied for each in outcomes))
        self._stage.verify()

    def _values(self) -> None:
        page = self._page
        page.chapter("Values that usually get hurt")
        with self._stage.session() as cursor:
            cells = usual.hurt(cursor)
        table = self._stage.table("shop.Odd Values")
        with self._stage.target.warehouse() as warehouse:
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
        with self._stage.session() as watcher, self._stage.open_transaction() as slow:
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
        with self._stage.session() as cursor:
            cursor.execute(
                "UPDATE shop.orders SET state = 'shipped' WHERE order_id <= 2000"
            )
            cursor.execute(
                "UPDATE shop.customers SET deleted_at = NOW() WHERE customer_id = 7"
            )
        page.say(
            "2,000 orders shipped; customer 7 has deleted_at, which the config names."
            " Runs read the last minutes once more; the merge makes that harmless."
        )
        page.command("aurora-sync sync --wait")
        for outcome in self._stage.sync(*self._stage.others()):
            if outcome.rows_applied:
                page.say(
                    f"{outcome.table}: {output.plural(outcome.rows_applied, 'row')}"
                    " merged"
                )
        self._stage.verify()

    def _schedule(self) -> None:
        page = self._page
        page.chapter("By itself, on schedule")
        table = self._stage.table(STOCK)
        page.say(
            f"Nobody has run {STOCK}. Its schedule is {table.spec.schedule}:"
            " EventBridge starts the function."
        )
        run = self._stage.scheduled_run(table)
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
        table = self._stage.table(ORDERS)
        state = self._stage.target.ledger.states([table.spec.source])[table.spec.source]
        with closing(self._stage.target.aurora()) as aurora:
            with self._stage.target.warehouse() as warehouse:
                found = Explaining(
                    table, [str(LATE)], aurora, warehouse, state
                ).explanation()
        page.lines(explain.told(found))
        page.fact(explanation=msgspec.to_builtins(found))

    def _deletion(self) -> None:
        page = self._page
        page.chapter("A hard delete")
        with self._stage.session() as cursor:
            cursor.execute("DELETE FROM shop.order_lines WHERE order_id = 1")
            gone = cursor.rowcount
        page.say(
            f"{output.plural(gone, 'row')} of shop.order_lines deleted in Aurora. No"
            " watermark moves, so once a day, and here now, all keys are compared:"
        )
        page.command("aurora-sync sync shop.order_lines --wait --reconcile")
        lines = self._stage.table("shop.order_lines")
        [outcome] = self._stage.sync(lines, reconcile=True)
        page.say(f"{outcome.keys_exported or 0:,} keys compared.")
        self._stage.verify("shop.order_lines")
        page.say(
            "In Snowflake the rows stay with their _deleted_at set; a reconcile that"
            " would remove more than a tenth of a table waits for your approval."
        )

    # --- parts of chapters

    def _both(self, cursor: Any, what: str) -> tuple[str, ...]:
        """Run both tools; return the line of the timeline."""
        moved = usual.sync(cursor)
        before = self._orders_in_snowflake()
        [outcome] = self._stage.sync(self._stage.table(ORDERS))
        ours = _named(self._orders_in_snowflake() - before)
        if outcome.held_by is not None:
            ours += f", held back by {output.holder(outcome.held_by)}"
        return (_clock(), what, _named(set(moved)), ours)

    def _orders_in_snowflake(self) -> set[int]:
        with self._stage.target.warehouse() as warehouse:
            name = warehouse.objects.qualified(*self._stage.table(ORDERS).spec.target)
            rows = warehouse.ask(
                f"SELECT order_id FROM {name} WHERE order_id IN ({LATE}, {EARLY})"
            )
        return {int(row["order_id"]) for row in rows}


def _named(orders: set[int]) -> str:
    return f"order {', '.join(map(str, sorted(orders)))}" if orders else "nothing"


def _clock(moment: Any = None) -> str:
    if moment is None:
        return time.strftime("%H:%M:%S", time.gmtime())
    return str(moment.strftime("%H:%M:%S"))


def _shown(value: Any) -> str:
    return "NULL" if value is None else f"'{value}'" if value == "" else str(value)
