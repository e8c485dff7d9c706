"""The deployment as a whole: reads settings and tables, then composes the parts.

Wrong settings, tables or a stale bundle end it before any resource is registered.
"""

import gc

import pulumi

from infra import bundle
from infra.components.alarm_topic import AlarmTopic, AlarmTopicArgs
from infra.components.aurora_access import AuroraAccess, AuroraAccessArgs
from infra.components.checker_function import CheckerFunction, CheckerFunctionArgs
from infra.components.data_lake import DataLake, DataLakeArgs
from infra.components.exporter_function import ExporterFunction, ExporterFunctionArgs
from infra.components.exporter_role import ExporterRole, ExporterRoleArgs
from infra.components.lake_events import LakeEvents, LakeEventsArgs
from infra.components.network import Network, NetworkArgs
from infra.components.observability import Observability, ObservabilityArgs
from infra.components.schedule import Schedule, ScheduleArgs
from infra.components.snowflake_errors import SnowflakeErrors, SnowflakeErrorsArgs
from infra.components.snowflake_foundation import (
    SnowflakeFoundation,
    SnowflakeFoundationArgs,
)
from infra.components.snowflake_landing import SnowflakeLanding, SnowflakeLandingArgs
from infra.components.snowflake_trust import SnowflakeTrust, SnowflakeTrustArgs
from infra.components.table_pipeline import TablePipeline, TablePipelineArgs
from infra.components.vault_access import VaultAccess, VaultAccessArgs
from infra.preflight import alarm_warnings, check_names, quota_warnings
from infra.providers import Providers
from infra.stack import StackSettings
from runtime.contract.errors import ConfigError
from runtime.contract.loader import load_tables
from runtime.contract.specs import Table


def main() -> None:
    """Run under Pulumi: a configuration error is told without a stack trace.

    The process ends with the program. What is registered stays until then, so that to
    look for garbage in it again and again is half of the work with hundreds of tables.
    """
    gc.disable()
    try:
        deploy()
    except ConfigError as error:
        raise pulumi.RunError(str(error)) from error


def deploy() -> None:
    """Register every resource of the stack that Pulumi runs.

    Raises:
        ConfigError: When settings, tables or bundle are wrong; nothing is registered.
    """
    settings = StackSettings.from_pulumi()
    tables = load_tables(settings.config_path)
    check_names(settings.objects, tables)
    bundle.check(
        settings.bundle_path,
        settings.config_path,
        bundle.Target(
            python=settings.function.runtime.removeprefix("python"),
            machine=settings.function.architecture,
        ),
        needed=(settings.aurora.ca, settings.vault.ca),
    )
    for warning in (
        *quota_warnings(len(tables), settings.aws.region),
        *alarm_warnings(settings.alarms),
    ):
        pulumi.log.warn(warning)
    providers = Providers(settings)
    lake, aurora, events, trust = _lake(settings, providers)
    alarm_topic, errors = _alarm_topic(settings, providers, lake)
    landing, pipelines = _snowflake(
        settings, providers, tables, lake, events, trust, errors
    )
    exporter = _exporter(settings, providers, lake, aurora, pipelines)
    _schedules(settings, providers, tables, pipelines, exporter)
    checker = CheckerFunction(
        "checker",
        CheckerFunctionArgs(
            settings=settings,
            bundle=settings.bundle_path,
            bucket=lake.bucket,
            bucket_arn=lake.bucket_arn,
            key_arn=lake.key_arn,
            ledger=exporter.ledger,
            after=[landing.status, exporter],
        ),
        providers.all,
    )
    Observability(
        "observability",
        ObservabilityArgs(
            settings=settings,
            tables=tables,
            topic_arn=alarm_topic.arn,
            after=[checker],
        ),
        providers.all,
    )
    pulumi.export("bucket", lake.bucket)
    pulumi.export("function", exporter.name)
    pulumi.export("checker", checker.name)
    pulumi.export("ledger", exporter.ledger)
    pulumi.export("dead_letters_url", exporter.dead_letters_url)
    pulumi.export("alarm_topic", alarm_topic.arn)


def _alarm_topic(
    settings: StackSettings, providers: Providers, lake: DataLake
) -> tuple[AlarmTopic, SnowflakeErrors]:
    topic = AlarmTopic(
        "alarms",
        AlarmTopicArgs(settings=settings, key_arn=lake.key_arn),
        providers.all,
    )
    errors = SnowflakeErrors(
        "errors",
        SnowflakeErrorsArgs(
            settings=settings, topic_arn=topic.arn, key_arn=lake.key_arn
        ),
        providers.all,
    )
    return topic, errors


def _lake(
    settings: StackSettings, providers: Providers
) -> tuple[DataLake, AuroraAccess, LakeEvents, SnowflakeTrust]:
    lake = DataLake(
        "lake",
        DataLakeArgs(
            settings=settings,
            log_group_arns=[
                settings.arn("logs", f"log-group:{group}")
                for group in (settings.log_group, settings.checker_log_group)
            ],
        ),
        providers.all,
    )
    aurora = AuroraAccess(
        "aurora",
        AuroraAccessArgs(
            settings=settings, bucket_arn=lake.bucket_arn, key_arn=lake.key_arn
        ),
        providers.all,
    )
    events = LakeEvents(
        "events",
        LakeEventsArgs(
            settings=settings,
            bucket=lake.bucket,
            bucket_arn=lake.bucket_arn,
            key_arn=lake.key_arn,
        ),
        providers.all,
    )
    trust = SnowflakeTrust(
        "trust",
        SnowflakeTrustArgs(
            settings=settings, bucket_arn=lake.bucket_arn, key_arn=lake.key_arn
        ),
        providers.all,
    )
    return lake, aurora, events, trust


def _exporter(
    settings: StackSettings,
    providers: Providers,
    lake: DataLake,
    aurora: AuroraAccess,
    pipelines: list[TablePipeline],
) -> ExporterFunction:
    network = Network("network", NetworkArgs(settings=settings), providers.all)
    role = ExporterRole(
        "exporter-role",
        ExporterRoleArgs(
            settings=settings, bucket_arn=lake.bucket_arn, key_arn=lake.key_arn
        ),
        providers.all,
    )
    admin_secret = settings.vault.admin_secret
    access = VaultAccess(
        "vault",
        VaultAccessArgs(
            settings=settings,
            function_role_arn=role.arn,
            admin_password=(
                None
                if admin_secret is None
                else providers.secret(admin_secret, "password")
            ),
        ),
        providers.all,
    )
    return ExporterFunction(
        "exporter",
        ExporterFunctionArgs(
            settings=settings,
            bundle=settings.bundle_path,
            bucket=lake.bucket,
            key_arn=lake.key_arn,
            role_arn=role.arn,
            cluster_id=aurora.cluster_id,
            subnet_ids=network.subnet_ids,
            security_group_id=network.security_group_id,
            after=[*network.ready, *(one for each in pipelines for one in each.ready)],
            vault_role=access.role,
            vault_database_role=access.database_role,
        ),
        providers.all,
    )


def _snowflake(
    settings: StackSettings,
    providers: Providers,
    tables: tuple[Table, ...],
    lake: DataLake,
    events: LakeEvents,
    trust: SnowflakeTrust,
    errors: SnowflakeErrors,
) -> tuple[SnowflakeLanding, list[TablePipeline]]:
    foundation = SnowflakeFoundation(
        "snowflake",
        SnowflakeFoundationArgs(
            settings=settings,
            tables=tables,
            integration=trust.integration,
            errors=errors.integration,
        ),
        providers.all,
    )
    as_loader = pulumi.ResourceOptions(
        providers=[providers.aws, providers.loader(foundation.loader)]
    )
    landing = SnowflakeLanding(
        "landing",
        SnowflakeLandingArgs(
            settings=settings,
            integration=trust.integration,
            key_arn=lake.key_arn,
            topic_arn=events.topic_arn,
            errors=errors.integration,
            tables=tables,
        ),
        as_loader,
    )
    pulumi.export("snowflake_loader_role", foundation.loader)
    pulumi.export("snowflake_reader_role", foundation.reader)
    pipelines = [
        TablePipeline(
            f"table-{table.spec.source.slug}",
            TablePipelineArgs(
                settings=settings,
                table=table,
                topic_arn=events.topic_arn,
                errors=errors.integration,
                landing=landing.ready,
            ),
            as_loader,
        )
        for table in tables
    ]
    return landing, pipelines


def _schedules(
    settings: StackSettings,
    providers: Providers,
    tables: tuple[Table, ...],
    pipelines: list[TablePipeline],
    exporter: ExporterFunction,
) -> None:
    """They start last: what they export finds its way."""
    for table, pipeline in zip(tables, pipelines, strict=True):
        Schedule(
            f"table-{table.spec.source.slug}-schedule",
            ScheduleArgs(
                settings=settings,
                spec=table.spec,
                function_arn=exporter.arn,
                dead_letters_arn=exporter.dead_letters_arn,
            ),
            pulumi.ResourceOptions(parent=pipeline, depends_on=pipeline.ready),
        )
