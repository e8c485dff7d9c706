"""Snowflake landing: what all tables share between the lake and their targets."""

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_snowflake as snowflake

from infra.components.snowflake_table import made_table
from infra.stack import StackSettings
from runtime.contract.snowflake_names import (
    LANDING,
    MANIFESTS,
    SYNC,
    SnowflakeObjects,
    shared_tables,
)
from runtime.contract.snowflake_pipes import (
    manifest_copy_statement,
    manifests_pipe_name,
    version_of,
)
from runtime.contract.snowflake_status import SYNC_STATE, state_view, status_statement
from runtime.contract.snowflake_sweep import (
    LATE_MINUTES,
    SYNC_OVERDUE,
    overdue_view,
    sweep_block,
    sweep_condition,
)
from runtime.contract.snowflake_views import views
from runtime.contract.specs import Table


@dataclass(frozen=True, kw_only=True)
class SnowflakeLandingArgs:
    """Arguments of `SnowflakeLanding`.

    Attributes:
        settings: The stack's settings.
        integration: Storage integration of the stages.
        key_arn: Key of what Snowflake writes.
        topic_arn: Topic that tells of new files.
        errors: Integration that errors of pipes and tasks go through.
        tables: All tables; where the sweep loads their files.
    """

    settings: StackSettings
    integration: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    errors: pulumi.Input[str]
    tables: tuple[Table, ...]


class SnowflakeLanding(pulumi.ComponentResource):
    """Stages, the sync's own tables, manifest pipe, views, sweep and status.

    Attributes:
        ready: What must exist before a table's pipe and task do.
        status: The task that tells AWS how far everything is.
    """

    def __init__(
        self,
        name: str,
        args: SnowflakeLandingArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:SnowflakeLanding", name, {}, opts)
        self._name = name
        self._args = args
        self._objects: SnowflakeObjects = args.settings.objects
        self._child = pulumi.ResourceOptions(parent=self)
        stages = self._stages()
        tables = self._tables()
        self._manifests_pipe([*stages.values(), tables[MANIFESTS]])
        views_made = self._views(list(tables.values()))
        self._sweep(tables[MANIFESTS], [*views_made, *stages.values()])
        self.status = self._status([*views_made, *stages.values()])
        self.ready: list[pulumi.Resource] = [
            stages[self._objects.exports_stage],
            *tables.values(),
        ]
        self.register_outputs({})

    def _stages(self) -> dict[str, pulumi.Resource]:
        urls = self._objects.stage_urls(self._args.settings.bucket)
        return {
            stage: snowflake.StageExternalS3(
                f"{self._name}-stage-{stage.lower()}",
                database=self._objects.database,
                schema=LANDING,
                name=stage,
                url=url,
                storage_integration=self._args.integration,
                encryption=self._encryption(stage),
                opts=self._child,
            )
            for stage, url in urls.items()
        }

    def _encryption(self, stage: str) -> Any:
        """The lake takes no object under another key, and nothing else is written."""
        if stage != self._objects.status_stage:
            return None
        return {"aws_sse_kms": {"kms_key_id": self._args.key_arn}}

    def _tables(self) -> dict[str, snowflake.Table]:
        kept = pulumi.ResourceOptions(
            parent=self, retain_on_delete=self._args.settings.deletion_protection
        )
        return {
            table: made_table(
                f"{self._name}-{table.lower()}",
                (self._objects.database, SYNC, table),
                columns,
                kept,
                change_tracking=table == MANIFESTS,
            )
            for table, columns in shared_tables().items()
        }

    def _manifests_pipe(self, needs: list[pulumi.Resource]) -> None:
        """As with tables' pipes, another COPY is another resource."""
        name = manifests_pipe_name(self._objects)
        snowflake.Pipe(
            f"{self._name}-manifests-pipe-{version_of(name)}",
            database=self._objects.database,
            schema=SYNC,
            name=name,
            copy_statement=manifest_copy_statement(self._objects),
            auto_ingest=True,
            aws_sns_topic_arn=self._args.topic_arn,
            error_integration=self._args.errors,
            opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
        )

    def _views(self, needs: list[pulumi.Resource]) -> list[pulumi.Resource]:
        overdue = overdue_view(self._objects, self._args.tables)
        state = state_view(self._objects, self._args.tables)
        named = views(self._objects) | {SYNC_OVERDUE: overdue, SYNC_STATE: state}
        for view, statement in named.items():
            made = snowflake.View(
                f"{self._name}-{view.lower()}",
                database=self._objects.database,
                schema=SYNC,
                name=view,
                statement=statement,
                opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
            )
            # Each may read the ones before it.
            needs = [*needs, made]
        return needs

    def _sweep(self, manifests: snowflake.Table, needs: list[pulumi.Resource]) -> None:
        """The task that loads again what is late; it needs no warehouse of ours.

        A look of seconds would keep a warehouse up for a minute; serverless compute
        is billed by what it takes.
        Source: https://docs.snowflake.com/en/user-guide/tasks-intro
        """
        stream = snowflake.StreamOnTable(
            f"{self._name}-manifests-stream",
            database=self._objects.database,
            schema=LANDING,
            name=self._objects.sweep_stream,
            table=manifests.fully_qualified_name,
            append_only="true",
            opts=self._child,
        )
        snowflake.Task(
            f"{self._name}-sweep",
            database=self._objects.database,
            schema=LANDING,
            name=self._objects.sweep_task,
            user_task_managed_initial_warehouse_size="XSMALL",
            target_completion_interval={"minutes": LATE_MINUTES},
            when=sweep_condition(self._objects),
            sql_statement=sweep_block(self._objects),
            user_task_minimum_trigger_interval_in_seconds=60 * LATE_MINUTES,
            # It heals what fails; nothing is won by giving up.
            suspend_task_after_num_failures=0,
            error_integration=self._args.errors,
            timezone="UTC",
            timestamp_input_format="AUTO",
            started=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*needs, stream]),
        )

    def _status(self, needs: list[pulumi.Resource]) -> snowflake.Task:
        """The task that writes how far each table is to where AWS reads it.

        By the clock: a triggered task would be silent when nothing comes, which is
        when somebody has to be told.
        """
        minutes = self._args.settings.alarms.status_minutes
        return snowflake.Task(
            f"{self._name}-status",
            database=self._objects.database,
            schema=LANDING,
            name=self._objects.status_task,
            user_task_managed_initial_warehouse_size="XSMALL",
            target_completion_interval={"minutes": minutes},
            schedule={"minutes": minutes},
            sql_statement=status_statement(self._objects),
            suspend_task_after_num_failures=0,
            error_integration=self._args.errors,
            timezone="UTC",
            timestamp_input_format="AUTO",
            started=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
        )
