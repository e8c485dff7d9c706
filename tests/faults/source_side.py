"""The source of a scenario: a small table and those who write to it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.contract.aurora_sql import admin_statements
from runtime.contract.specs import Table
from tests.exporter.conftest import Scene

KEYS = range(1, 13)
OLD = """CREATE TABLE public.orders (
  order_id BIGINT PRIMARY KEY, version BIGINT NOT NULL, status TEXT,
  updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW())"""
NEW_COLUMN = "ALTER TABLE public.orders ADD note TEXT DEFAULT 'as it was'"
EXACT: dict[str, Any] = {"lookback": "PT0S", "margin": "PT0S", "max_delete_fraction": 1}


@dataclass(kw_only=True)
class Writer:
    """A transaction that is open."""

    cursor: Any
    keys: set[int] = field(default_factory=set)
    prepared: str = ""


class SourceSide:
    """The table, under the contract before a new column and the one after it.

    Args:
        scene: Database and emulated AWS.
        hits: Counts the faults that happened.

    Attributes:
        here: The scene under the name of the current scenario's deployment.
        table: What is deployed.
        log: The steps of the current scenario.
        writers: Transactions that are open.
    """

    here: Scene
    table: Table
    log: list[str]
    writers: list[Writer]

    def __init__(self, scene: Scene, hits: Counter[tuple[str, str]]) -> None:
        self.scene, self.hits = scene, hits
        self.old = scene.table(OLD, **EXACT)
        scene.sql(NEW_COLUMN)
        self.new = Table(
            spec=self.old.spec, contract=scene.contract("public.orders", base_width=4)
        )

    def begin_source(self, rows: int) -> None:
        """Make the table anew, with a few rows."""
        self.table, self.log, self.writers = self.old, [], []
        self._version = 0
        self.scene.sql("DROP TABLE IF EXISTS public.orders")
        self.scene.sql(OLD)
        self.scene.sql("; ".join(admin_statements([self.old.spec])))
        for key in range(1, rows + 1):
            self._change(self.scene.sql, "insert", key)

    def free_keys(self) -> list[int]:
        """Return the keys that no open transaction holds."""
        held = {key for writer in self.writers for key in writer.keys}
        return [key for key in KEYS if key not in held]

    def write(self, kind: str, key: int) -> None:
        """Change one row, at once."""
        self._say(f"{kind} {key}")
        self._change(self.scene.sql, kind, key)

    def open(self) -> Writer:
        """Begin a transaction, which may write later."""
        self._say("begin a transaction")
        writer = Writer(cursor=self.scene.session("BEGIN; SELECT NOW()"))
        self.writers.append(writer)
        return writer

    def write_in(self, writer: Writer, kind: str, key: int) -> None:
        """Change one row, to be seen when the transaction commits."""
        self._say(f"{kind} {key} in transaction {self.writers.index(writer)}")
        writer.keys.add(key)
        self._change(writer.cursor.execute, kind, key)

    def prepare(self, writer: Writer) -> None:
        """Prepare a transaction: its session is free, its writes wait."""
        self._say(f"prepare transaction {self.writers.index(writer)}")
        writer.prepared = f"{self.here.name}-{self._version}-{id(writer)}"
        writer.cursor.execute("PREPARE TRANSACTION %s", (writer.prepared,))

    def close(self, writer: Writer, verb: str) -> None:
        """COMMIT or ROLLBACK a transaction."""
        self._say(f"{verb} transaction {self.writers.index(writer)}")
        self.writers.remove(writer)
        if writer.prepared:
            writer.cursor.execute(f"{verb} PREPARED %s", (writer.prepared,))
        else:
            writer.cursor.execute(verb)
        writer.cursor.connection.close()

    def _change(self, run: Callable[..., Any], kind: str, key: int) -> None:
        self._version += 1
        values = (key, self._version, f"{kind} {self._version}")
        if kind in ("delete", "replace"):
            run("DELETE FROM public.orders WHERE order_id = %s" % key)
        if kind == "update":
            run(
                "UPDATE public.orders SET version = %d, status = '%s', "
                "updated_at = NOW() WHERE order_id = %d" % (*values[1:], key)
            )
        if kind in ("insert", "replace"):
            run(
                "INSERT INTO public.orders (order_id, version, status) "
                "VALUES (%d, %d, '%s') ON CONFLICT (order_id) DO UPDATE SET version = "
                "excluded.version, status = excluded.status, updated_at = NOW()"
                % values
            )

    def add_column(self) -> None:
        """Add a column at the source and deploy its contract."""
        self._commit_all()
        if self.table is self.old:
            self._say("add a column and deploy its contract")
            self.scene.sql(NEW_COLUMN)
            self.table = self.new

    def deploy(self) -> None:
        """Deploy the new column's contract."""
        self._say("deploy the new column's contract")
        self.table = self.new

    def _commit_all(self) -> None:
        for writer in tuple(self.writers):
            self.close(writer, "COMMIT")

    def _say(self, line: str) -> None:
        self.log.append(line)
