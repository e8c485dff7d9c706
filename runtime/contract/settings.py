"""Settings of the deployed functions: the program writes them, the Lambda reads them.

They travel as environment variables, one per field, and hold no secret.
"""

from collections.abc import Mapping
from typing import Self

from msgspec import Struct, ValidationError, convert
from msgspec.structs import asdict, fields

from runtime.contract.errors import ConfigError

HANDLER = "runtime.exporter.handler.handle"
CHECKER = "runtime.checker.handler.handle"


class _Settings(Struct, frozen=True, kw_only=True):
    def to_env(self) -> dict[str, str]:
        """Render as environment variables, SYNC_ before each upper-case name."""
        return {
            f"SYNC_{key.upper()}": str(value) for key, value in asdict(self).items()
        }

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the variables that `to_env` wrote.

        Raises:
            ConfigError: When one is missing or has the wrong form.
        """
        raw = {
            field.name: env[f"SYNC_{field.name.upper()}"]
            for field in fields(cls)
            if f"SYNC_{field.name.upper()}" in env
        }
        try:
            return convert(raw, cls, strict=False)
        except ValidationError as error:
            raise ConfigError(
                f"environment of the function is incomplete or wrong: {error}",
                subject="SYNC_ variables",
                remedy="deploy the function again",
            ) from error


class CheckerSettings(_Settings, frozen=True, kw_only=True):
    """What the checker must know of its surroundings.

    Attributes:
        stack: Name of the deployment.
        region: Region of bucket and ledger.
        bucket: Bucket in which Snowflake's status stands.
        ledger_table: DynamoDB table of the ledger.
        heartbeat_seconds: Longest silence between two manifests of a table.
        status_minutes: How often Snowflake writes the status.
        log_level: Level of the JSON log.
    """

    stack: str
    region: str
    bucket: str
    ledger_table: str
    heartbeat_seconds: int = 3600
    status_minutes: int = 15
    log_level: str = "INFO"


class ExporterSettings(_Settings, frozen=True, kw_only=True):
    """What the exporter must know of its surroundings.

    Attributes:
        stack: Name of the deployment; part of every key, lease and lock.
        bucket: Bucket that receives exports and manifests.
        region: Region of the bucket and the cluster.
        kms_key_arn: Key that encrypts the exported objects.
        ledger_table: DynamoDB table of leases, watermarks and runs.
        aurora_cluster_id: Resource id of the cluster, which no clone has; empty when
            it is not known.
        load_queue_url: SQS queue of the chunks of loads.
        aurora_host: Writer endpoint of the cluster.
        aurora_port: Its TCP port.
        aurora_database: Database that holds the tables.
        aurora_sslmode: libpq's sslmode; verify-full in the cloud.
        aurora_sslrootcert: CA bundle inside the function, empty for none.
        vault_addr: Address of Vault.
        vault_auth: `aws` (the function's own IAM role); or `approle`, with which only
            tests log in: a deployed function has no file with a secret id.
        vault_auth_mount: Path of that auth method.
        vault_role: Vault role to log in to; of AppRole the role id.
        vault_server_id: Value of the signed server-id header, empty for none.
        vault_secret_id_file: File with AppRole's secret id, empty otherwise.
        vault_database_mount: Path of the database secrets engine.
        vault_database_role: Role whose leased users read the tables.
        vault_namespace: Vault Enterprise namespace, empty for none.
        vault_cacert: CA file for Vault's certificate, empty for the system's.
        chunk_bytes: Wanted size of one export file in bytes.
        brake_horizon_seconds: A load waits while another transaction holds a snapshot
            for longer.
        brake_connections_percent: And while more of Aurora's connections are in use.
        heartbeat_seconds: Longest silence between two manifests of a table.
        log_level: Level of the JSON log.
    """

    stack: str
    bucket: str
    region: str
    kms_key_arn: str
    ledger_table: str
    load_queue_url: str
    aurora_cluster_id: str = ""
    aurora_host: str
    aurora_port: int
    aurora_database: str
    aurora_sslmode: str = "verify-full"
    aurora_sslrootcert: str = ""
    vault_addr: str
    vault_auth: str = "aws"
    vault_auth_mount: str = "aws"
    vault_role: str
    vault_server_id: str = ""
    vault_secret_id_file: str = ""
    vault_database_mount: str = "database"
    vault_database_role: str
    vault_namespace: str = ""
    vault_cacert: str = ""
    chunk_bytes: int = 200_000_000
    brake_horizon_seconds: int = 1800
    brake_connections_percent: int = 80
    heartbeat_seconds: int = 3600
    log_level: str = "INFO"
