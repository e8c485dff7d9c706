"""What the statements of a task have in common is computed once.

Snowflake evaluates the CTEs of each statement on a warehouse; here they would take
most of a merge's time: three statements cast every row of the stream. Within one
transaction they read the same snapshot, so that a temporary table stands for them.
"""

import sqlglot
from sqlglot import Expr, exp

TABLE = "_SHARED"


def share(statements: tuple[str, ...]) -> tuple[Expr | None, tuple[str, ...]]:
    """Take the CTEs that statements begin with, as the first one does, out of them.

    Args:
        statements: DML of one transaction.

    Returns:
        The query of what they share, None when that is nothing, and the statements
        that read its result in the temporary table.
    """
    trees = [sqlglot.parse_one(each, read="snowflake") for each in statements]
    readers = _alike([tree for tree in trees if tree.find(exp.With)])
    common = _common([_ctes(tree) for tree in readers])
    written = {target.name for tree in trees if (target := tree.find(exp.Table))}
    read = {table.name for cte in common for table in cte.find_all(exp.Table)}
    if len(readers) < 2 or not common or read & written:
        return None, statements
    last, inner = common[-1].alias, {cte.alias for cte in common[:-1]}
    query = exp.select("*").from_(last)
    for cte in common:
        query = query.with_(cte.alias, as_=cte.this.copy(), copy=False)
    for tree in readers:
        for cte in _ctes(tree)[: len(common)]:
            cte.pop()
        if not _ctes(tree):
            _with(tree).pop()
        for table in tree.find_all(exp.Table):
            if table.name in inner:
                return None, statements
            if table.name == last and not table.db:
                alias = table.alias or last
                own = exp.table_(TABLE, db="MAIN", catalog="TEMP")
                table.replace(exp.alias_(own, alias, table=True))
    return query, tuple(tree.sql(dialect="snowflake") for tree in trees)


def _alike(trees: list[Expr]) -> list[Expr]:
    """Return those that begin with the CTE that the first begins with."""
    firsts = [_ctes(tree)[0].sql() for tree in trees]
    return [
        tree for tree, first in zip(trees, firsts, strict=True) if first == firsts[0]
    ]


def _with(tree: Expr) -> exp.With:
    return next(tree.find_all(exp.With))


def _ctes(tree: Expr) -> list[exp.CTE]:
    return list(_with(tree).expressions)


def _common(lists: list[list[exp.CTE]]) -> list[exp.CTE]:
    """Return the longest beginning that all lists have."""
    found = []
    for each in zip(*lists, strict=False):
        if len({(cte.alias, cte.sql()) for cte in each}) > 1:
            break
        found.append(each[0])
    return found
