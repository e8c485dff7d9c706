"""Table pipeline: everything of one table in Snowflake, from landing to target."""

from dataclasses import dataclass

import pulumi
import pulumi_snowflake as snowflake

from infra.components.snowflake_table import made_table, table_id
from infra.stack import StackSettings
from runtime.contract.names import quote_snowflake_column, snowflake_name
from runtime.contract.snowflake_names import (
    LANDING,
    SnowflakeObjects,
    keys_columns,
    landing_columns,
    target_columns,
)
from runtime.contract.snowflake_pipes import copy_statement, pipe_name, version_of
from runtime.contract.snowflake_sql import merge_block, task_condition
from runtime.contract.specs import Table

_FAILURES_TO_SUSPEND = 10
# A merge that is cut off starts over with more rows; the default hour would never
# end a large first load.
_MERGE_MILLISECONDS = 24 * 3600 * 1000


@dataclass(frozen=True, kw_only=True)
class TablePipelineArgs:
    """Arguments of `TablePipeline`.

    Attributes:
        settings: The stack's settings.
        table: The table.
        topic_arn: Topic that tells of new files.
        errors: Integration that errors of pipe and task go through.
        landing: What all pipelines share in Snowflake.
    """

    settings: StackSettings
    table: Table
    topic_arn: pulumi.Input[str]
    errors: pulumi.Input[str]
    landing: list[pulumi.Resource]


class TablePipeline(pulumi.ComponentResource):
    """Landing table, pipe, stream, task and target of one table.

    Attributes:
        ready: What must stand before files of the contract may come: an older pipe
            would leave their last columns out without a word.
    """

    def __init__(
        self,
        name: str,
        args: TablePipelineArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:TablePipeline", name, {}, opts)
        self._name = name
        self._args = args
        self._table = args.table
        self._objects: SnowflakeObjects = args.settings.objects
        landing = self._landing()
        pipe = self._pipe(landing)
        needed: list[pulumi.Resource] = [self._stream(landing), self._target()]
        if args.table.spec.deletes == "reconcile":
            needed.append(self._keys())
        self.ready: list[pulumi.Resource] = [pipe, self._task(needed)]
        self.register_outputs({})

    def _landing(self) -> snowflake.Table:
        place = (self._objects.database, LANDING, self._objects.landing(self._table))
        return made_table(
            f"{self._name}-landing",
            place,
            landing_columns(self._table),
            pulumi.ResourceOptions(parent=self),
            change_tracking=True,
        )

    def _keys(self) -> snowflake.Table:
        place = (self._objects.database, LANDING, self._objects.keys_table(self._table))
        return made_table(
            f"{self._name}-keys",
            place,
            keys_columns(self._table),
            pulumi.ResourceOptions(parent=self),
        )

    def _pipe(self, landing: snowflake.Table) -> snowflake.Pipe:
        """The pipe; of another COPY it is another resource, not this one replaced.

        Pulumi makes what is new before it deletes what is gone, at its very end. Of a
        replacement the provider would say to delete first, as it does of resources
        whose names the program sets.
        Source: https://github.com/pulumi/pulumi-terraform-bridge,
        nameRequiresDeleteBeforeReplace
        """
        name = pipe_name(self._objects, self._table)
        return snowflake.Pipe(
            f"{self._name}-pipe-{version_of(name)}",
            database=self._objects.database,
            schema=LANDING,
            name=name,
            copy_statement=copy_statement(self._objects, self._table),
            auto_ingest=True,
            aws_sns_topic_arn=self._args.topic_arn,
            error_integration=self._args.errors,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[landing, *self._args.landing]
            ),
        )

    def _stream(self, landing: snowflake.Table) -> snowflake.StreamOnTable:
        return snowflake.StreamOnTable(
            f"{self._name}-stream",
            database=self._objects.database,
            schema=LANDING,
            name=self._objects.stream(self._table),
            table=landing.fully_qualified_name,
            append_only="true",
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _target(self) -> snowflake.Table:
        """The target; it stays when its entry leaves the config.

        What people may set on it is theirs: with an import Pulumi learns of it, and
        would take it back.
        """
        place = (self._objects.database, *self._table.spec.target)
        known = self._table.contract.table in self._args.settings.adopt
        by_name = {c.name: c for _, c in self._table.contract.live}
        clustering = [by_name[name].target for name in self._table.spec.clustering]
        return made_table(
            f"{self._name}-target",
            place,
            target_columns(self._table),
            pulumi.ResourceOptions(
                parent=self,
                retain_on_delete=self._args.settings.deletion_protection,
                ignore_changes=[
                    *("changeTracking", "comment", "dataRetentionTimeInDays")
                ],
                import_=table_id(place) if known else None,
            ),
            cluster_by=[quote_snowflake_column(name) for name in clustering] or None,
        )

    def _task(self, needed: list[pulumi.Resource]) -> snowflake.Task:
        spec = self._table.spec
        return snowflake.Task(
            f"{self._name}-task",
            database=self._objects.database,
            schema=LANDING,
            name=self._objects.task(self._table),
            warehouse=snowflake_name(spec.warehouse or self._objects.warehouse),
            when=task_condition(self._objects, self._table),
            sql_statement=merge_block(self._objects, self._table),
            user_task_minimum_trigger_interval_in_seconds=int(
                spec.merge_interval.total_seconds()
            ),
            user_task_timeout_ms=_MERGE_MILLISECONDS,
            suspend_task_after_num_failures=_FAILURES_TO_SUSPEND,
            error_integration=self._args.errors,
            timezone="UTC",
            timestamp_input_format="AUTO",
            time_input_format="AUTO",
            error_on_nondeterministic_merge=True,
            started=True,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*needed, *self._args.landing]
            ),
        )
