"""What a task may do: one guarded transaction, or a loop over statements of a view.

Any other body is refused. A transaction cannot lose or double rows:

    BEGIN
      BEGIN TRANSACTION; INSERT | MERGE | UPDATE | DELETE …; COMMIT;
    EXCEPTION WHEN OTHER THEN ROLLBACK; RAISE;
    END

In a loop each statement is on its own; one that fails is noted and does not keep the
others:

    DECLARE … CURSOR FOR query; …
    BEGIN
      FOR each IN … DO
        …; BEGIN EXECUTE IMMEDIATE command; EXCEPTION WHEN OTHER THEN … END;
        INSERT …;
      END FOR;
    END
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import sqlglot
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import Error as SnowflakeError
from sqlglot import TokenType, exp
from sqlglot.errors import ParseError

from infra.local.snowflake.reader import Reader
from runtime.contract.errors import WarehouseError
from runtime.contract.names import literal

_START = ("BEGIN", "BEGIN", "TRANSACTION")
_FINISH = (
    ("COMMIT",),
    ("EXCEPTION", "WHEN", "OTHER", "THEN", "ROLLBACK"),
    ("RAISE",),
    ("END",),
)
_DML = (exp.Insert, exp.Merge, exp.Update, exp.Delete)
_LOOP = re.compile(
    r"DECLARE overdue CURSOR FOR (?P<query>SELECT [^;]+); "
    r"swept_table VARCHAR; swept_file VARCHAR; command VARCHAR; problem VARCHAR; "
    r"BEGIN FOR each IN overdue DO swept_table := each\.table_name; "
    r"swept_file := each\.file_name; command := each\.statement; problem := NULL; "
    r"BEGIN EXECUTE IMMEDIATE command; "
    r"EXCEPTION WHEN OTHER THEN problem := sqlerrm; END; "
    r"(?P<note>INSERT INTO [^;]+); END FOR; END;?"
)

Run = Callable[[FakeSnowflakeCursor, str], None]


class Loop(NamedTuple):
    """A loop's query, of table, file and statement, and what notes each outcome."""

    query: str
    note: str


@lru_cache(maxsize=256)
def read_block(text: str) -> tuple[str, ...]:
    """Return the statements of a task's body, in order.

    Raises:
        WarehouseError: The body has another shape than the one we render.
    """
    reader = Reader(text)
    if reader.take("EXECUTE"):
        reader.need("IMMEDIATE")
        reader = Reader(reader.text())
    if not reader.take(*_START):
        reader.refuse(" ".join(_START))
    parts: list[list[Any]] = [[]]
    for token in reader.tokens[len(_START) :]:
        if token.token_type == TokenType.SEMICOLON:
            parts.append([])
        else:
            parts[-1].append(token)
    parts = [part for part in parts if part]
    tail = [tuple(token.text.upper() for token in part) for part in parts[-4:]]
    if tuple(tail) != _FINISH or len(parts) == len(_FINISH):
        raise WarehouseError(
            "body of a task is not one guarded transaction",
            got=" ".join(tail[-1]) if tail else "nothing",
            allowed="BEGIN TRANSACTION; …; COMMIT; EXCEPTION WHEN OTHER THEN"
            " ROLLBACK; RAISE; END",
        )
    statements = tuple(
        reader.sql[part[0].start : part[-1].end + 1] for part in parts[: -len(_FINISH)]
    )
    for statement in statements:
        _check_statement(statement)
    return statements


def _check_statement(statement: str) -> None:
    try:
        tree = sqlglot.parse_one(statement, read="snowflake")
    except ParseError as error:
        raise WarehouseError(f"statement of a task: {error}") from error
    if not isinstance(tree, _DML):
        raise WarehouseError(
            "statement is not allowed in a task",
            got=statement[:60],
            allowed="INSERT, MERGE, UPDATE, DELETE",
        )


def read_loop(text: str) -> Loop | None:
    """Return the loop that a body is, None when it is none.

    Args:
        text: The body; where it breaks its lines does not matter.
    """
    match = _LOOP.fullmatch(" ".join(text.split()))
    return Loop(**match.groupdict()) if match else None


def run_loop(loop: Loop, cursor: FakeSnowflakeCursor, run: Run) -> None:
    """Run a loop.

    Args:
        loop: What `read_loop` found.
        cursor: Of a session in which each statement commits by itself.
        run: Runs a statement as a client's.
    """
    run(cursor, loop.query)
    for table, file, statement in cursor.fetchall():
        problem = None
        try:
            run(cursor, statement)
        except SnowflakeError as error:
            problem = str(error)
        note = loop.note
        values = {"swept_table": table, "swept_file": file, "problem": problem}
        for name, value in values.items():
            note = note.replace(f":{name}", "NULL" if value is None else literal(value))
        run(cursor, note)
