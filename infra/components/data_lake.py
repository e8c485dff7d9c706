"""Data lake: the one bucket that Aurora writes and Snowflake reads, and its key."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import policies, resource_policies
from infra.components.documents import rendered
from infra.stack import StackSettings
from runtime.contract.snowflake_cleaning import KEPT_DAYS

_NONCURRENT_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class DataLakeArgs:
    """Arguments of `DataLake`.

    Attributes:
        settings: The stack's settings.
        log_group_arns: The log groups that may use the key.
    """

    settings: StackSettings
    log_group_arns: list[str]


class DataLake(pulumi.ComponentResource):
    """Encrypted, versioned, private bucket; TLS and our key or nothing.

    Attributes:
        bucket: Name of the bucket, known once it refuses what it should.
        bucket_arn: Its ARN.
        key_arn: ARN of the key.
    """

    def __init__(
        self,
        name: str,
        args: DataLakeArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aurora-sync:index:DataLake", name, {}, opts)
        self._name = name
        self._settings = args.settings
        self._child = pulumi.ResourceOptions(parent=self)
        self._kept = pulumi.ResourceOptions(
            parent=self, protect=args.settings.deletion_protection
        )
        self.bucket_arn = f"arn:aws:s3:::{args.settings.bucket}"
        self.key_arn = self._key(args.log_group_arns)
        self.bucket = self._bucket()
        self.register_outputs({"bucket": self.bucket, "keyArn": self.key_arn})

    def _key(self, log_group_arns: list[str]) -> pulumi.Output[str]:
        settings = self._settings
        key = aws.kms.Key(
            f"{self._name}-key",
            description=f"Lake, events and logs of {settings.named('lake')}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=rendered(
                resource_policies.key,
                account_id=settings.aws.account_id,
                region=settings.aws.region,
                bucket_arn=self.bucket_arn,
                log_group_arns=log_group_arns,
                alarms_arn=settings.alarms_arn,
            ),
            opts=self._kept,
        )
        aws.kms.Alias(
            f"{self._name}-alias",
            name=f"alias/{settings.named('lake', 250)}",
            target_key_id=key.key_id,
            opts=self._child,
        )
        return key.arn

    def _bucket(self) -> pulumi.Output[str]:
        bucket = aws.s3.Bucket(
            f"{self._name}-bucket",
            bucket=self._settings.bucket,
            # A bucket with files cannot be deleted otherwise.
            force_destroy=not self._settings.deletion_protection,
            opts=self._kept,
        )
        guards = [
            aws.s3.BucketServerSideEncryptionConfiguration(
                f"{self._name}-encryption",
                bucket=bucket.bucket,
                rules=[
                    {
                        "apply_server_side_encryption_by_default": {
                            "sse_algorithm": "aws:kms",
                            "kms_master_key_id": self.key_arn,
                        },
                        "bucket_key_enabled": True,
                    }
                ],
                opts=self._child,
            ),
            aws.s3.BucketVersioning(
                f"{self._name}-versioning",
                bucket=bucket.bucket,
                versioning_configuration={"status": "Enabled"},
                opts=self._child,
            ),
            aws.s3.BucketPublicAccessBlock(
                f"{self._name}-private",
                bucket=bucket.bucket,
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
                opts=self._child,
            ),
            aws.s3.BucketOwnershipControls(
                f"{self._name}-ownership",
                bucket=bucket.bucket,
                rule={"object_ownership": "BucketOwnerEnforced"},
                opts=self._child,
            ),
            aws.s3.BucketPolicy(
                f"{self._name}-policy",
                bucket=bucket.bucket,
                policy=rendered(
                    resource_policies.bucket,
                    bucket_arn=self.bucket_arn,
                    key_arn=self.key_arn,
                ),
                opts=self._child,
            ),
            self._lifecycle(bucket),
        ]
        ids = [guard.id for guard in guards]
        return pulumi.Output.all(bucket.bucket, *ids).apply(lambda known: str(known[0]))

    def _lifecycle(self, bucket: aws.s3.Bucket) -> aws.s3.BucketLifecycleConfiguration:
        """Files go when they are long loaded; manifests stay, the ledger's origin."""
        return aws.s3.BucketLifecycleConfiguration(
            f"{self._name}-lifecycle",
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "exports",
                    "status": "Enabled",
                    "filter": {"prefix": policies.exports(self._settings.stack)},
                    "expiration": {"days": KEPT_DAYS},
                },
                {
                    "id": "remains",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
                    "noncurrent_version_expiration": {
                        "noncurrent_days": _NONCURRENT_DAYS
                    },
                },
            ],
            opts=self._child,
        )
