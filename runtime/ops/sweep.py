"""`sweep`: what is exported and not merged is loaded again now, not when it is late.

Also what only a person may do: a stale or missing stream is made anew, a suspended task
and a paused pipe go on.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from runtime.contract.errors import WarehouseError
from runtime.contract.names import quote_snowflake
from runtime.contract.snowflake_names import LANDING, SYNC
from runtime.contract.snowflake_sweep import SYNC_OVERDUE
from runtime.contract.specs import Table
from runtime.ops.warehouse import Warehouse

_COPY_SECONDS = 3600

Tell = Callable[[str, str], None]


def sweep(tables: Sequence[Table], warehouse: Warehouse, tell: Tell) -> int:
    """Mend and load again what the tables wait for.

    Args:
        tables: The tables.
        warehouse: Where they land.
        tell: Told table and what was done, for people.

    Returns:
        Files that could not be loaded.
    """
    for table in tables:
        mend(table, warehouse, tell)
    tried = [load_again(table, warehouse, tell) for table in tables]
    return sum(not loaded for each in tried for loaded in each.values())


def mend(table: Table, warehouse: Warehouse, tell: Tell) -> None:
    """Let a table's stream, task and pipes go on; see `sweep`."""
    objects, name = warehouse.objects, table.contract.table
    stream = objects.qualified(LANDING, objects.stream(table))
    shown = warehouse.shown("STREAMS", objects.stream(table))
    if shown is None or str(shown["stale"]).lower() == "true":
        landing = objects.qualified(LANDING, objects.landing(table))
        with as_loader(warehouse):
            warehouse.ask(
                f"CREATE OR REPLACE STREAM {stream} ON TABLE {landing} "
                "APPEND_ONLY = TRUE"
            )
        tell(name, f"stream {stream} was {'stale' if shown else 'missing'}: made anew")
    if warehouse.task_state(table) == "suspended":
        task = objects.qualified(LANDING, objects.task(table))
        warehouse.ask(f"ALTER TASK {task} RESUME")
        tell(name, f"task {task} was suspended: resumed")
    for pipe in (warehouse.table_pipe(table), warehouse.manifests_pipe()):
        if warehouse.pipe_trouble(pipe).endswith(" is PAUSED"):
            warehouse.ask(f"ALTER PIPE {pipe} SET PIPE_EXECUTION_PAUSED = FALSE")
            tell(name, f"pipe {pipe} was paused: resumed")


@contextmanager
def as_loader(warehouse: Warehouse) -> Iterator[None]:
    """Make what a task reads in the name of the role that the task runs as.

    An object belongs to the session's primary role, and a task has its owner's
    rights only: a stream of the operator's would be closed to it. Granting the
    ownership afterwards is refused where the loader is not the session's role.
    Back to the operator's role, which the connection's warehouse is granted to.
    Source: https://docs.snowflake.com/en/user-guide/security-access-control-overview,
    https://docs.snowflake.com/en/user-guide/tasks-intro and
    https://docs.snowflake.com/en/release-notes/bcr-bundles/2026_07/bcr-2395
    """
    [before] = warehouse.ask("SELECT CURRENT_ROLE() AS name")
    warehouse.ask(f"USE ROLE {quote_snowflake(warehouse.objects.loader)}")
    try:
        yield
    finally:
        warehouse.ask(f"USE ROLE {quote_snowflake(before['name'])}")


def load_again(
    table: Table,
    warehouse: Warehouse,
    tell: Tell,
    *,
    but_for: Collection[str] = (),
) -> dict[str, bool]:
    """Load what a table waits for, late or not; see `sweep`.

    Args:
        table: The table.
        warehouse: Where it lands.
        tell: Told table and what was done.
        but_for: Files to leave alone.

    Returns:
        Whether each file that was tried has been loaded.
    """
    name, tried = table.contract.table, dict[str, bool]()
    view = warehouse.objects.qualified(SYNC, SYNC_OVERDUE)
    waiting = warehouse.ask(
        f"SELECT table_name, file_name, statement FROM {view} ORDER BY seq, file_name"
    )
    for row in waiting:
        if row["table_name"] != name or row["file_name"] in but_for:
            continue
        file, told = row["file_name"], "loaded again"
        tried[file] = True
        try:
            warehouse.ask(row["statement"], _COPY_SECONDS)
        except WarehouseError as error:
            tried[file], told = False, str(error)
        tell(name, f"{file}: {told}")
    return tried
