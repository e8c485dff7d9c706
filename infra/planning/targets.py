"""What becomes of targets: whether they stay, are taken over, or cannot be."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from infra.planning.model import Action, Refusal, ResourceChange, TablePlan
from infra.planning.standing import Place
from runtime.contract.names import quote_snowflake
from runtime.contract.snowflake_names import SnowflakeObjects, target_columns
from runtime.contract.specs import Table

PREFIX, TARGET = "table-", "-target"


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What is known of targets beside the config.

    Attributes:
        objects: Where the sync lives in Snowflake.
        changes: What becomes of resources; None when nobody could say.
        columns: Columns in Snowflake by schema and table; None when it did not answer.
        unknown: Whether a full name is known to stand outside the state; None when
            only the changes tell.
        adopted: Tables that the settings take over.
    """

    objects: SnowflakeObjects
    changes: Sequence[ResourceChange] | None
    columns: Mapping[Place, set[str]] | None
    unknown: Callable[[Place], bool] | None
    adopted: Collection[str]

    def told(self, plan: TablePlan, old: Table | None, new: Table | None) -> TablePlan:
        """Return a table's plan with what becomes of its target.

        Args:
            plan: The plan, by the contracts alone.
            old: The table as deployed.
            new: The table as it would be.
        """
        if new is None:
            return plan if old is None else self._leaves(plan, old)
        if old is None:
            return self._comes(plan, new)
        refusals = (*plan.refusals, *self._renamed(old, new))
        return replace(plan, refusals=refusals)

    def _action(self, table: Table) -> Action | None:
        name = f"{PREFIX}{table.spec.source.slug}{TARGET}"
        found = [each.action for each in self.changes or () if each.name == name]
        return "import" if "import" in found else next(iter(found), None)

    def _leaves(self, plan: TablePlan, old: Table) -> TablePlan:
        target = self.objects.qualified(*old.spec.target)
        if self._action(old) == "delete":
            statements = (*plan.statements, f"DROP TABLE {target}")
            return replace(plan, statements=statements)
        but = "" if self._action(old) else " (if it was deployed with protection)"
        stays = (
            f"stays{but}: {target} with its rows and grants, the files and manifests "
            "in S3, the receipts in Snowflake and the state in the ledger; back in the "
            f"config and adopted (`aurora-sync adopt {plan.table}`), the table goes on "
            "from there, and the sweep brings what had not been merged"
        )
        return replace(plan, notes=(stays, *plan.notes))

    def _comes(self, plan: TablePlan, new: Table) -> TablePlan:
        there = (self.columns or {}).get(new.spec.target)
        if there is None:
            return plan
        target, action = self.objects.qualified(*new.spec.target), self._action(new)
        if action == "import" or plan.table in self.adopted:
            return self._adopts(plan, new, there)
        if self.unknown is not None and not self.unknown(new.spec.target):
            return plan
        if action not in (None, "create"):
            return plan
        refusal = Refusal(
            kind="adopt",
            table=plan.table,
            fact=f"{target} stands in Snowflake and not in the stack's state: the "
            "deployment would make it and fail, as it already exists",
            remedy=f"run `aurora-sync adopt {plan.table}`, so that the deployment "
            "takes it over with its rows; or drop it, or give the entry another "
            "target_table",
        )
        return replace(plan, refusals=(*plan.refusals, refusal))

    def _adopts(self, plan: TablePlan, new: Table, there: set[str]) -> TablePlan:
        target = self.objects.qualified(*new.spec.target)
        declared = {column.name: column.type for column in target_columns(new)}
        gone = sorted(there - declared.keys())
        statements = [each for each in plan.statements if each.split()[-1] != target]
        statements += [
            f"ALTER TABLE {target} DROP COLUMN {quote_snowflake(name)}" for name in gone
        ]
        statements += [
            f"ALTER TABLE {target} ADD COLUMN {quote_snowflake(name)} {kind}"
            for name, kind in declared.items()
            if name not in there
        ]
        note = (
            f"{target} is taken over with its rows; what people set on its columns "
            "(masking policies, comments, defaults) goes: set it again"
        )
        refusals = tuple(
            Refusal(
                kind="drop-column",
                table=plan.table,
                fact=f"column {name} is not in the contract and would leave the target "
                "that is taken over, with its values",
                remedy="clone the target before (CREATE TABLE … CLONE) if they are "
                f"still needed, then add --allow drop-column:{plan.table}",
            )
            for name in gone
        )
        return replace(
            plan,
            statements=tuple(statements),
            notes=(note, *plan.notes),
            refusals=(*plan.refusals, *refusals),
        )

    def _renamed(self, old: Table, new: Table) -> Iterator[Refusal]:
        was, now = old.spec.target, new.spec.target
        if self.columns is None or was == now or was[0] != now[0]:
            return
        one, other = (self.objects.qualified(*place) for place in (was, now))
        why = None
        if was not in self.columns:
            why = f"{one} is not there", f"name it {one} again, by hand"
        elif now in self.columns:
            why = f"{other} is there already", f"give {other} another name, by hand"
        if why is not None:
            yield Refusal(
                kind="target",
                table=new.contract.table,
                fact=f"{one} cannot be renamed {other}: {why[0]}",
                remedy=f"{why[1]}, and deploy",
            )
