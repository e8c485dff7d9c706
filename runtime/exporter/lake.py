"""Manifests in the bucket: written once, in an unbroken chain, never changed.

Creating the next link with If-None-Match is the commit of a run. Whatever the ledger
missed because a run died in between is read back from the chain.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from runtime.contract.errors import FencedError, LakeError
from runtime.contract.names import LakeKeys
from runtime.contract.records import Manifest


class Lake:
    """The manifests of one table.

    Args:
        s3: A boto3 S3 client.
        bucket: The bucket.
        kms_key_arn: Key that encrypts what we write.
        keys: Where the table's objects stand.
    """

    def __init__(self, s3: Any, bucket: str, kms_key_arn: str, keys: LakeKeys) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._kms_key_arn = kms_key_arn
        self._keys = keys

    def commit(self, manifest: Manifest) -> None:
        """Create the next link of the chain.

        Raises:
            FencedError: When that link exists: another run committed first. The
                files of this one are harmless, and nothing has been moved.
            LakeError: When S3 refuses or does not answer.
        """
        key = self._keys.manifest_key(manifest.seq)
        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=manifest.to_json(),
                ContentType="application/json",
                IfNoneMatch="*",
                ServerSideEncryption="aws:kms",
                SSEKMSKeyId=self._kms_key_arn,
            )
        except (ClientError, BotoCoreError) as error:
            if _code(error) in ("PreconditionFailed", "ConditionalRequestConflict"):
                # A retry of our own request may find what it has already written.
                if self._read(key).run == manifest.run:
                    return
                raise FencedError(
                    "another run committed this manifest first",
                    subject=key,
                    remedy="nothing is lost; the next run goes on from there",
                ) from error
            raise self._refused("put", key, error) from error

    def after(self, seq: int) -> Iterator[Manifest]:
        """Read the links after one, in order, one by one: there may be years of them.

        Args:
            seq: Number of the last known link; 0 for none.
        """
        prefix, last = self._keys.manifests, self._keys.manifest_key(seq)
        more = True
        while more:
            try:
                page = self._s3.list_objects_v2(
                    Bucket=self._bucket, Prefix=prefix, StartAfter=last, MaxKeys=100
                )
            except (ClientError, BotoCoreError) as error:
                raise self._refused("list", prefix, error) from error
            for found in page.get("Contents", ()):
                last = found["Key"]
                yield self._read(last)
            more = page["IsTruncated"]

    def _read(self, key: str) -> Manifest:
        try:
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise self._refused("get", key, error) from error
        try:
            return msgspec.json.decode(body, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LakeError(
                f"is not a manifest ({error})",
                subject=f"s3://{self._bucket}/{key}",
                remedy="restore the version of the object that a run has written",
            ) from error

    def _refused(self, verb: str, key: str, error: Exception) -> LakeError:
        return LakeError(
            f"S3 refuses to {verb} ({_code(error) or error})",
            subject=f"s3://{self._bucket}/{key}",
            remedy="check the function role's policy, the bucket policy and the key",
        )


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""
