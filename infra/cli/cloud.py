"""A deployed stack in the cloud, reached with the operator's own credentials.

AWS: boto3's usual chain (profile, environment, single sign-on). Aurora: libpq's
environment (PGUSER, PGPASSWORD or a password file, PGHOST for a tunnel). Snowflake:
the connector's connections.toml, whose database is the sync's. Nothing is configured
twice: ledger, endpoint and database name come from the deployed function's settings,
and before there is one from `Pulumi.<stack>.yaml`.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import hvac
import psycopg2.extensions
import snowflake.connector
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.cli.target import Target
from infra.stack import StackSettings, resource_name, rule_name
from runtime.contract.errors import ConfigError
from runtime.contract.names import SourceName
from runtime.contract.settings import ExporterSettings
from runtime.contract.snowflake_names import SnowflakeObjects
from runtime.ops import source
from runtime.ops.invoke import Exporter, FunctionError
from runtime.ops.ledger import LedgerReader
from runtime.ops.warehouse import SESSION, Warehouse, refusals

_FUNCTION_SECONDS = 330


class CloudTarget(Target):
    """A stack in the cloud.

    Args:
        name: Name of the stack.
        config: The config to read.
    """

    def __init__(self, name: str, config: Path) -> None:
        self._name = name
        self.config = config

    @property
    def function(self) -> str:
        """Name of the deployed function."""
        return resource_name(self._name, "exporter")

    def aurora(self) -> Any:
        """Open a session as the user that libpq's environment names."""
        given = {
            "PGHOST": "host",
            "PGPORT": "port",
            "PGDATABASE": "dbname",
            "PGSSLMODE": "sslmode",
        }
        missing = {key for name, key in given.items() if name not in os.environ}
        known = self._aurora_place() if missing else {}
        place: dict[str, Any] = {key: known[key] for key in missing}
        return source.connect(psycopg2.extensions.make_dsn(**place))

    def _aurora_place(self) -> dict[str, Any]:
        """Return where Aurora is: before the first deployment the settings know."""
        try:
            deployed = self._settings
        except FunctionError:
            with suppress(ConfigError):
                wanted = StackSettings.from_file(self._name).aurora
                return {
                    "host": wanted.host,
                    "port": wanted.port,
                    "dbname": wanted.database,
                    "sslmode": wanted.sslmode,
                }
            raise
        return {
            "host": deployed.aurora_host,
            "port": deployed.aurora_port,
            "dbname": deployed.aurora_database,
            "sslmode": deployed.aurora_sslmode,
        }

    @contextmanager
    def warehouse(self) -> Iterator[Warehouse]:
        """Open the connection that SNOWFLAKE_DEFAULT_CONNECTION_NAME names."""
        name = os.environ.get("SNOWFLAKE_DEFAULT_CONNECTION_NAME", "default")
        with refusals(f"connection {name!r} of Snowflake's connections.toml"):
            connection = snowflake.connector.connect(
                connection_name=name,
                login_timeout=60,
                network_timeout=600,
                session_parameters=SESSION,
            )
        try:
            database = connection.database
            if not database:
                raise ConfigError(
                    "names no database",
                    subject=f"connection {name!r} of Snowflake's connections.toml",
                    remedy="add database = ... to it",
                )
            objects = SnowflakeObjects(
                database=database, warehouse="", stack=self._name
            )
            yield Warehouse(connection, objects)
        finally:
            connection.close()

    @property
    def ledger(self) -> LedgerReader:
        """The ledger that the function uses."""
        client = self._client("dynamodb", 30)
        return LedgerReader(client, self._settings.ledger_table, self._name)

    @property
    def exporter(self) -> Exporter:
        """The function; a request is never sent twice."""
        client = self._client("lambda", _FUNCTION_SECONDS, attempts=1)
        return Exporter(client, self.function, self.ledger)

    @property
    def options(self) -> str:
        """The stack's name."""
        return f" --stack {shlex.quote(self._name)}"

    @property
    def deploy(self) -> str:
        """A refresh first: what was changed by hand is unknown to Pulumi's state."""
        return f"pulumi up --refresh{self.options}"

    def client(self, service: str) -> Any:
        """Return a client that gives up after half a minute."""
        return self._client(service, 30)

    def vault(self, settings: ExporterSettings) -> Any:
        """Return a client with VAULT_TOKEN, or the token of `vault login`."""
        return hvac.Client(
            url=settings.vault_addr,
            namespace=settings.vault_namespace or None,
            verify=os.environ.get("VAULT_CACERT") or True,
            timeout=10,
        )

    def export_role(self) -> str | None:
        """Return what the cluster behind the writer's endpoint is associated with."""
        roles = self._cluster.get("AssociatedRoles", [])
        found = (r["RoleArn"] for r in roles if r.get("FeatureName") == "s3Export")
        return next(found, None)

    def cluster_id(self) -> str | None:
        """Return the resource id of the cluster behind the writer's endpoint."""
        return self._cluster.get("DbClusterResourceId")

    @cached_property
    def _cluster(self) -> dict[str, Any]:
        pages = self.client("rds").get_paginator("describe_db_clusters").paginate()
        found = (
            cluster
            for page in pages
            for cluster in page["DBClusters"]
            if cluster.get("Endpoint") == self._settings.aurora_host
        )
        return next(found, {})

    def rule(self, source: SourceName) -> str:
        """Return the name of a table's rule."""
        return rule_name(self._name, source)

    @cached_property
    def _settings(self) -> ExporterSettings:
        try:
            answer = self._client("lambda", 30).get_function_configuration(
                FunctionName=self.function
            )
        except (ClientError, BotoCoreError) as error:
            raise FunctionError(
                f"cannot be found ({error})",
                subject=f"function {self.function} of stack {self._name}",
                remedy="check AWS_PROFILE or AWS credentials and AWS_REGION, and that "
                "the stack is deployed",
            ) from error
        return ExporterSettings.from_env(
            answer.get("Environment", {}).get("Variables", {})
        )

    def _client(self, service: str, seconds: int, attempts: int = 4) -> Any:
        # boto3 itself only knows AWS_DEFAULT_REGION and the profile's region.
        make: Any = boto3.Session(region_name=os.environ.get("AWS_REGION")).client
        try:
            return make(
                service,
                config=Config(
                    connect_timeout=10,
                    read_timeout=seconds,
                    retries={"mode": "standard", "total_max_attempts": attempts},
                ),
            )
        except BotoCoreError as error:
            raise ConfigError(
                f"AWS cannot be reached ({error})",
                subject=f"stack {self._name}",
                remedy="set AWS_REGION, and AWS_PROFILE or AWS credentials",
            ) from error
