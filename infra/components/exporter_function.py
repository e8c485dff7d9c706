"""Exporter function: with its ledger, its log, its queue, and where lost events go."""

import json
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra import resource_policies
from infra.components.documents import rendered
from infra.components.function_log import made_log
from infra.components.function_permission import made_permission
from infra.components.load_queue import LoadQueue, LoadQueueArgs
from infra.stack import StackSettings
from runtime.contract.settings import HANDLER, ExporterSettings

# An async event is tried once more, unless it has become too old to be worth it.
_RETRIES = 1
_LATEST_SECONDS = 900
_DEAD_LETTER_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class ExporterFunctionArgs:
    """Arguments of `ExporterFunction`.

    Attributes:
        settings: The stack's settings.
        bundle: The function's zip.
        bucket: The lake's bucket.
        key_arn: The lake's key.
        role_arn: The function's role, known once it may do its work.
        cluster_id: Resource id of the cluster that it reads.
        subnet_ids: Where the function runs.
        security_group_id: What it may reach.
        after: What must stand before its code runs: the ways to what it reaches, and
            where files of its contracts go.
        vault_role: Role to log in to at Vault.
        vault_database_role: Role whose leased users read the tables.
    """

    settings: StackSettings
    bundle: Path
    bucket: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    cluster_id: pulumi.Input[str]
    subnet_ids: list[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    after: list[pulumi.Resource]
    vault_role: pulumi.Input[str]
    vault_database_role: str


class ExporterFunction(pulumi.ComponentResource):
    """The function that runs one table's sync per invocation.

    Attributes:
        arn: ARN of the function, known once the stack's rules may invoke it.
        name: Its name.
        ledger: Name of the ledger table.
        dead_letters_arn: Queue of events that were given up.
        dead_letters_url: Its URL.
    """

    def __init__(
        self,
        name: str,
        args: ExporterFunctionArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:ExporterFunction", name, {}, opts)
        self._name = name
        self._args = args
        self._settings = args.settings
        self._child = pulumi.ResourceOptions(parent=self)
        self._rules_arn = self._settings.arn(
            "events", f"rule/{self._settings.rule_prefix}"
        )
        letters = self._dead_letters()
        ledger = self._ledger()
        queue = LoadQueue(
            f"{name}-load",
            LoadQueueArgs(settings=self._settings, dead_letters_arn=letters.arn),
            self._child,
        )
        function = self._function(ledger, queue)
        queue.consumed_by(function)
        allowed = self._invocations(function, letters)
        self.name = function.name
        # Of the permission alone, which waits for the function: what needs both would
        # have Pulumi look for cycles through everything that the function waits for
        # twice, for each table.
        arn = self._settings.arn("lambda", f"function:{self._settings.exporter}")
        self.arn: pulumi.Output[str] = allowed.id.apply(lambda _: arn)
        self.ledger = ledger.name
        self.dead_letters_arn = letters.arn
        self.dead_letters_url = letters.url
        self.register_outputs({"name": self.name, "ledger": self.ledger})

    def _dead_letters(self) -> aws.sqs.Queue:
        queue = aws.sqs.Queue(
            f"{self._name}-dead-letters",
            name=self._settings.dead_letters,
            sqs_managed_sse_enabled=True,
            message_retention_seconds=_DEAD_LETTER_SECONDS,
            # No other queue of the account may leave its dead letters here. Lambda and
            # EventBridge send theirs themselves.
            redrive_allow_policy=json.dumps(
                {
                    "redrivePermission": "byQueue",
                    "sourceQueueArns": [
                        self._settings.arn("sqs", self._settings.load_queue)
                    ],
                }
            ),
            opts=self._child,
        )
        aws.sqs.QueuePolicy(
            f"{self._name}-dead-letters-policy",
            queue_url=queue.url,
            policy=rendered(
                resource_policies.dead_letters,
                queue_arn=queue.arn,
                rules_arn=self._rules_arn,
            ),
            opts=self._child,
        )
        return queue

    def _ledger(self) -> aws.dynamodb.Table:
        return aws.dynamodb.Table(
            f"{self._name}-ledger",
            name=self._settings.ledger,
            hash_key="pk",
            range_key="sk",
            attributes=[{"name": "pk", "type": "S"}, {"name": "sk", "type": "S"}],
            # Finished chunks of old loads; nothing else has that attribute.
            ttl={"attribute_name": "expires", "enabled": True},
            billing_mode="PAY_PER_REQUEST",
            point_in_time_recovery={"enabled": True},
            server_side_encryption={"enabled": True},
            deletion_protection_enabled=self._settings.deletion_protection,
            opts=pulumi.ResourceOptions(
                parent=self, protect=self._settings.deletion_protection
            ),
        )

    def _function(
        self,
        ledger: aws.dynamodb.Table,
        queue: LoadQueue,
    ) -> aws.lambda_.Function:
        wanted = self._settings.function
        return aws.lambda_.Function(
            f"{self._name}-function",
            name=self._settings.exporter,
            description="Exports changed rows of Aurora tables to the lake",
            role=self._args.role_arn,
            runtime=wanted.runtime,
            architectures=[wanted.architecture],
            handler=HANDLER,
            code=pulumi.FileArchive(str(self._args.bundle)),
            memory_size=wanted.memory,
            timeout=wanted.timeout,
            reserved_concurrent_executions=wanted.max_concurrency,
            environment={"variables": self._environment(ledger, queue)},
            vpc_config={
                "subnet_ids": self._args.subnet_ids,
                "security_group_ids": [self._args.security_group_id],
            },
            logging_config=made_log(
                self._name,
                self._settings.log_group,
                wanted,
                self._args.key_arn,
                self._child,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._args.after),
        )

    def _environment(
        self, ledger: aws.dynamodb.Table, queue: LoadQueue
    ) -> pulumi.Output[dict[str, str]]:
        settings = self._settings
        aurora, vault = settings.aurora, settings.vault

        def render(known: dict[str, str]) -> dict[str, str]:
            return ExporterSettings(
                stack=settings.stack,
                region=settings.aws.region,
                aurora_host=aurora.host,
                aurora_port=aurora.port,
                aurora_database=aurora.database,
                aurora_sslmode=aurora.sslmode,
                aurora_sslrootcert=aurora.ca,
                vault_addr=vault.address,
                vault_auth_mount=vault.auth_mount,
                vault_server_id=vault.server_id,
                vault_database_mount=vault.database_mount,
                vault_database_role=self._args.vault_database_role,
                vault_namespace=vault.namespace,
                vault_cacert=vault.ca,
                chunk_bytes=settings.function.chunk_bytes,
                brake_horizon_seconds=settings.function.brake_horizon_seconds,
                brake_connections_percent=settings.function.brake_connections_percent,
                heartbeat_seconds=settings.function.heartbeat_seconds,
                log_level=settings.function.log_level,
                **known,
            ).to_env()

        return pulumi.Output.all(
            bucket=self._args.bucket,
            kms_key_arn=self._args.key_arn,
            ledger_table=ledger.name,
            aurora_cluster_id=self._args.cluster_id,
            load_queue_url=queue.url,
            vault_role=self._args.vault_role,
        ).apply(render)

    def _invocations(
        self, function: aws.lambda_.Function, letters: aws.sqs.Queue
    ) -> aws.lambda_.Permission:
        aws.lambda_.FunctionEventInvokeConfig(
            f"{self._name}-events",
            function_name=function.name,
            maximum_retry_attempts=_RETRIES,
            maximum_event_age_in_seconds=_LATEST_SECONDS,
            destination_config={"on_failure": {"destination": letters.arn}},
            opts=self._child,
        )
        # One for all rules: a function's policy holds 20 KB, which permissions of
        # one rule each would fill at some sixty tables.
        allowed = resource_policies.schedules(
            account_id=self._settings.aws.account_id,
            function_name=self._settings.exporter,
            rules_arn=self._rules_arn,
        )
        return made_permission(
            f"{self._name}-schedules", function, allowed, self._child
        )
