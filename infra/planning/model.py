"""A plan: what a deployment changes in AWS, in Snowflake and in the data."""

from collections.abc import Sequence
from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from runtime.contract.errors import ConfigError
from runtime.ops.costs import Reckoning

Kind = Literal[
    "adopt",
    "bucket",
    "column-returns",
    "column-type",
    "database",
    "drop-column",
    "file-layout",
    "key",
    "ledger",
    "mode",
    "primary-key",
    "removed-table",
    "target",
    "watermark",
]
KINDS: tuple[str, ...] = get_args(Kind)
Change = Literal["new", "changed", "removed", "unchanged"]
Action = Literal["create", "update", "replace", "delete", "leave", "import"]


class Refusal(Struct, frozen=True, kw_only=True):
    """What would lose data, leave it behind or fail, unless somebody says so.

    Attributes:
        kind: What sort of loss; `--allow` names it.
        table: The source table; empty for the stack as a whole.
        fact: What would happen.
        remedy: How to come where one wants to be without it.
        allowed: Whether somebody said so.
    """

    kind: Kind
    table: str
    fact: str
    remedy: str
    allowed: bool = False


class Backfill(Struct, frozen=True, kw_only=True):
    """Rows that are exported, loaded and merged once more.

    Attributes:
        reason: Why.
        rows: How many, as Aurora estimates; None when it does not know.
        bytes: Their size there, near that of their files; None when it does not know.
        cost: What that costs; None without rows and bytes.
    """

    reason: str
    rows: int | None = None
    bytes: int | None = None
    cost: Reckoning | None = None


class TablePlan(Struct, frozen=True, kw_only=True):
    """What becomes of one table.

    Attributes:
        table: The source table.
        change: In one word.
        statements: DDL that runs in Snowflake, in order.
        steps: Objects that are made, altered, replaced or stopped.
        settings: Keys of the entry that change, as `key: before -> now`.
        notes: What to know.
        backfill: Rows that come again; None when none do.
        refusals: What would lose data.
    """

    table: str
    change: Change
    statements: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    backfill: Backfill | None = None
    refusals: tuple[Refusal, ...] = ()


class ResourceChange(Struct, frozen=True, kw_only=True):
    """What becomes of one resource of the program.

    Attributes:
        action: What Pulumi would do; `leave` when it only forgets what stays, `import`
            when it takes over what stands.
        type: Its type's token.
        name: Its logical name.
        keys: Inputs that change; of an update or a replacement.
    """

    action: Action
    type: str
    name: str
    keys: tuple[str, ...] = ()


class Plan(Struct, frozen=True, kw_only=True):
    """Everything that a deployment would do.

    Attributes:
        stack: The stack.
        tables: Its tables, those that go included.
        resources: Resources that change, in the order of the deployment.
        unknown: What could not be looked at, and how to see it.
        refusals: What would lose data of the stack as a whole.
    """

    stack: str
    tables: tuple[TablePlan, ...]
    resources: tuple[ResourceChange, ...] = ()
    unknown: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """All that would lose data and is not allowed."""
        found = [
            *self.refusals,
            *(one for each in self.tables for one in each.refusals),
        ]
        return tuple(one for one in found if not one.allowed)

    @property
    def changes(self) -> bool:
        """Whether the deployment would change anything."""
        return bool(self.resources) or any(
            each.change != "unchanged" for each in self.tables
        )


def allowing(plan: Plan, given: Sequence[str]) -> Plan:
    """Return the plan with what somebody allows.

    Args:
        plan: The plan.
        given: `--allow` as written: a kind, or `kind:schema.table` for one table.

    Raises:
        ConfigError: When something else is written, or nothing of the sort is refused.
    """
    known = [*plan.refusals, *(one for each in plan.tables for one in each.refusals)]
    for text in given:
        kind, _, table = text.partition(":")
        if kind not in KINDS:
            raise ConfigError(
                "is nothing that can be allowed",
                subject="--allow",
                got=text,
                allowed=", ".join(KINDS) + "; with :schema.table for one table only",
                remedy="write a kind that the plan has refused",
            )
        if not any(one.kind == kind and table in ("", one.table) for one in known):
            raise ConfigError(
                "allows what the plan does not refuse",
                subject="--allow",
                got=text,
                allowed=", ".join(sorted({_written(one) for one in known}))
                or "nothing",
                remedy="leave it out",
            )

    def told(refusals: tuple[Refusal, ...]) -> tuple[Refusal, ...]:
        return tuple(
            replace(one, allowed=one.kind in given or _written(one) in given)
            for one in refusals
        )

    return replace(
        plan,
        refusals=told(plan.refusals),
        tables=tuple(
            replace(each, refusals=told(each.refusals)) for each in plan.tables
        ),
    )


def _written(refusal: Refusal) -> str:
    return f"{refusal.kind}:{refusal.table}" if refusal.table else refusal.kind
